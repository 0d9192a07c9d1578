"""What agents and processors must be like: refused before anything is stepped, and never by mistake."""

from __future__ import annotations

import functools
import gc
import inspect
import re
import textwrap
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypedDict, TypeVar
from unittest.mock import MagicMock, Mock, create_autospec

import numpy as np
import pytest
from envs import SampleEnv
from gymnasium import Space, spaces
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import Contribution, GymRunner, RandomAgent, Registry, hookimpl
from runnerkit.errors import ArgumentError, PluginError
from runnerkit.executors import SerialExecutor

if TYPE_CHECKING:
    from collections.abc import Hashable as KnownToTypeCheckersOnly

T = TypeVar("T")

BOX = spaces.Box(-1, 1, (3,), np.float32)
PIXELS = spaces.Box(0, 255, (3,), np.uint8)
DISCRETE = spaces.Discrete(2)
BINARY = spaces.MultiBinary(2)
DICT = spaces.Dict(a=BOX, b=DISCRETE)
TUPLE = spaces.Tuple((BOX, DISCRETE))
TEXT = spaces.Text(3)


class Pixels(TypedDict):
    a: NDArray[np.uint8]


def runner_of(
    observation: Space[Any] = BOX, action: Space[Any] = DISCRETE, make: Any = GymRunner, **options: Any
) -> GymRunner[Any, Any, Any]:
    runner: GymRunner[Any, Any, Any] = make(lambda seed: SampleEnv(observation, action), seed=0, n_envs=2, **options)
    return runner


def zeros(observations: Any) -> NDArray[np.int64]:
    return np.zeros(len(observations), np.int64)


def annotated(name: str, method: Callable[..., object], takes: object, gives: object) -> type:
    """Return a class with a method (self, batch) of these annotations."""

    def annotated_method(self: object, batch: Any, /) -> Any:
        return method(batch)

    annotated_method.__annotations__ = {"batch": takes, "return": gives}
    return type("Mine", (), {name: annotated_method})


def agent_of(action: Space[Any], takes: object = Any, gives: object = Any) -> Any:
    return annotated("act", RandomAgent(action, seed=0).act, takes, gives)()


def refusal(agent: Any, runner: GymRunner[Any, Any, Any]) -> str:
    """Return what a rollout says about an agent, the second time, too."""
    with runner:
        with pytest.raises(ArgumentError):
            runner.rollout(agent, steps=1)
        with pytest.raises(ArgumentError) as caught:
            runner.rollout(agent, steps=1)
    return str(caught.value)


# ---- the form of agents


class Plain:
    def act(self, observations: Any) -> Any:
        return zeros(observations)


class Lenient:
    def act(self, observations: Any = None) -> Any:
        return zeros(observations)


def _with_state(act: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(act)
    def wrapper(*arguments: Any) -> Any:
        return act(*arguments, None)

    return wrapper


class Decorated:
    """Of which only the decorator knows how it is called, and with what."""

    @_with_state
    def act(self, observations: Mapping[str, Any], state: None) -> Mapping[str, Any]:
        return zeros(observations)  # type: ignore[return-value]


class WrongCase:
    def Act(self, observations: Any) -> Any:
        return zeros(observations)


class Recurrent:
    def act(self, observations: Any, state: Any, *, greedy: bool, **options: Any) -> Any:
        return zeros(observations)


class Awaited:
    async def act(self, observations: Any) -> Any:
        return zeros(observations)


class Streams:
    async def act(self, observations: Any) -> Any:
        yield zeros(observations)


class BeginsAlone(Plain):
    def begin_episodes(self) -> None: ...


class WantsMore(Plain):
    def set_active_envs(self, env_indices: Sequence[int], n_envs: int) -> None: ...


class BeginsLater(Plain):
    async def begin_episodes(self, env_indices: Sequence[int]) -> None: ...


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        (Plain, "Agent Plain is a class. Make one: Plain()."),
        (Lenient, "Agent Lenient is a class. Make one: Lenient()."),
        (Decorated, "Agent Decorated is a class. Make one: Decorated()."),
        (WrongCase(), "Agent WrongCase has no method act(observations). Did you mean 'Act'?"),
        (DISCRETE, "Agent Discrete has no method act(observations). Give it one."),
        (SimpleNamespace(act=3), "Agent SimpleNamespace has no method act(observations). Give it one."),
        (
            Recurrent(),
            "Agent Recurrent: it is called as act(observations), not act(observations, state, *, greedy, **options). "
            "Change its parameters.",
        ),
        (
            type("Selfless", (), {"act": lambda observations: 0})(),
            "Agent Selfless: it is called as act(observations), not ",
        ),
        (
            type("Selfless", (), {"act": lambda: 0})(),
            "Agent Selfless: it is called as act(observations), not act(). Change its parameters.",
        ),
        (
            SimpleNamespace(act=lambda: 0),
            "Agent SimpleNamespace: it is called as act(observations), not act(). Change its parameters.",
        ),
        (
            SimpleNamespace(act=functools.partial(lambda a, b, c: 0, 1)),
            "Agent SimpleNamespace: it is called as act(observations), not act(b, c). Change its parameters.",
        ),
        (
            Awaited(),
            "Agent Awaited: act is async, but nothing awaits it. Make it a plain method, or use executor='asyncio'.",
        ),
        (
            Streams(),
            "Agent Streams: act is async, but nothing awaits it. Make it a plain method, or use executor='asyncio'.",
        ),
        (
            BeginsAlone(),
            "Agent BeginsAlone: it is called as begin_episodes(env_indices), not begin_episodes(). "
            "Change its parameters.",
        ),
        (
            WantsMore(),
            "Agent WantsMore: it is called as set_active_envs(env_indices), not set_active_envs(env_indices, n_envs). "
            "Change its parameters.",
        ),
        (BeginsLater(), "Agent BeginsLater: begin_episodes is async, but nothing awaits it. Make it a plain method."),
    ],
)
def test_an_agent_that_cannot_be_called_is_refused_before_a_step(agent: object, says: str) -> None:
    assert refusal(agent, runner_of()).startswith(says)


class WithOptions:
    def act(self, observations: Any, deterministic: bool = True, *rest: Any, seed: int = 0, **options: Any) -> Any:
        return zeros(observations)


class Static:
    @staticmethod
    def act(observations: Any) -> Any:
        return zeros(observations)


class OfTheClass:
    @classmethod
    def act(cls, observations: Any) -> Any:
        return zeros(observations)


class Selfless:
    """A class that is used as a module is: there are no objects of it."""

    def act(observations: Any) -> Any:  # pyright: ignore[reportSelfClsParameterName]
        return zeros(observations)


class OfPartial:
    act = functools.partial(lambda k, observations: zeros(observations), 1)


class ByMeta(type):
    def act(cls, observations: Any) -> Any:
        return zeros(observations)


class OfMeta(metaclass=ByMeta): ...


class Unresolvable:
    def act(self, observations: KnownToTypeCheckersOnly) -> KnownToTypeCheckersOnly:
        return zeros(observations)  # type: ignore[return-value]


@dataclass(frozen=True)
class OfData:
    bias: int = 0

    def act(self, observations: NDArray[np.float64]) -> NDArray[np.int32]:
        return zeros(observations).astype(np.int32)


class OfTuple(NamedTuple):
    act: Callable[[Any], Any] = zeros


class OfSlots:
    __slots__ = ("act",)

    def __init__(self) -> None:
        self.act = zeros


class Policy:
    def __call__(self, observations: Any) -> Any:
        return zeros(observations)


class ByPolicy:
    act = Policy()


class Wraps:
    """Does for another agent what it has not got itself."""

    act: Callable[[Any], Any]

    def __init__(self, agent: object) -> None:
        self._agent = agent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)


class ByProperty:
    @property
    def act(self) -> Any:
        return zeros


class Bare:
    def act(self, observations):  # type: ignore[no-untyped-def]
        return zeros(observations)


class Noted:
    """Called like an object of a class whose variables have the names of arguments."""

    __annotations__ = {"observations": NDArray[np.str_]}

    def __call__(self, observations: Any) -> Any:
        return zeros(observations)


class Signed:
    """Of which a decorator has said how it wants to be seen."""

    def act(self, observations: Any) -> Any:
        return zeros(observations)

    act.__signature__ = inspect.Signature()  # type: ignore[attr-defined]


def _specified() -> Any:
    agent = create_autospec(RandomAgent, instance=True)
    agent.act.side_effect = zeros
    return agent


class OfAnyKind(Generic[T]):
    def act(self, observations: T) -> NDArray[np.integer[Any]]:
        return zeros(observations)


class HasNoTime(Plain):
    begin_episodes = None


@pytest.mark.parametrize(
    "agent",
    [
        Plain(),
        Bare(),
        WithOptions(),
        Static(),
        Static,
        OfTheClass,
        Selfless,
        OfPartial,
        OfMeta,
        Unresolvable(),
        OfData(),
        OfTuple(),
        OfSlots(),
        ByPolicy(),
        Wraps(Plain()),
        ByProperty(),
        Decorated(),
        Signed(),
        OfAnyKind[int](),
        HasNoTime(),
        SimpleNamespace(act=zeros),
        SimpleNamespace(act=functools.partial(lambda k, observations: zeros(observations), 1)),
        SimpleNamespace(act=np.vectorize(lambda row: 0, signature="(n)->()", otypes=[np.int64])),
        Mock(act=Mock(side_effect=zeros)),
        MagicMock(act=MagicMock(side_effect=zeros)),
        Mock(spec=RandomAgent, act=zeros),
        SimpleNamespace(act=Noted()),
        SimpleNamespace(act=create_autospec(zeros, side_effect=zeros)),
        _specified(),
    ],
    ids=lambda agent: type(agent).__name__,
)
def test_an_agent_that_can_act_is_never_refused(agent: Any) -> None:
    with runner_of() as runner:
        for _ in range(2):
            assert [len(history) for history in runner.rollout(agent, steps=2)] == [2, 2]


def test_an_agent_may_act_by_a_function_of_numpy_which_says_nothing_of_its_arguments() -> None:
    with runner_of(BOX, BOX) as runner:
        agent: Any = SimpleNamespace(act=np.negative)
        (history, _) = runner.rollout(agent, steps=3)
    np.testing.assert_array_equal(history.actions, -history.observations)


def test_a_torch_module_is_an_agent_with_gradients_or_without() -> None:
    torch: Any = pytest.importorskip("torch")

    class Module(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 2)

        @torch.no_grad()  # type: ignore[untyped-decorator]
        def act(self, observations: NDArray[np.float32]) -> Any:
            return self.linear(torch.as_tensor(observations)).argmax(1)

    with runner_of() as runner:
        assert [len(history) for history in runner.rollout(Module(), steps=2)] == [2, 2]


def test_an_object_is_looked_at_itself_where_it_is_not_as_its_class() -> None:
    with runner_of() as runner:
        runner.rollout(Plain(), steps=1)
        odd: Any = Plain()
        odd.act = lambda: 0
        with pytest.raises(ArgumentError, match=r"not act\(\)"):
            runner.rollout(odd, steps=1)
        wraps: Any = Wraps
        runner.rollout(wraps(Plain()), steps=1)
        with pytest.raises(ArgumentError, match="Wraps: it is called as"):
            runner.rollout(wraps(Recurrent()), steps=1)
        runner.rollout(wraps(Plain()), steps=1)


def test_no_agent_is_asked_for_its_dict_which_would_make_its_steps_slower() -> None:
    class Own(Plain):  # what other tests do to instances of a class changes how CPython keeps those that follow
        def __init__(self) -> None:
            self.memory = [0.0]

    agent = Own()
    with runner_of() as runner:
        runner.rollout(agent, steps=1)
        next(runner.stream(agent, steps=1))
    held = gc.get_referents(agent)
    assert not any(value is vars(agent) for value in held)  # as it is if somebody had asked before


def test_a_class_that_was_patched_is_looked_at_again() -> None:
    class Patched(Plain): ...

    with runner_of() as runner:
        runner.rollout(Patched(), steps=1)
        for wrong, says in ((Awaited.act, "act is async"), (Recurrent.act, "it is called as")):
            Patched.act = wrong  # type: ignore[method-assign, assignment]
            with pytest.raises(ArgumentError, match=says):
                runner.rollout(Patched(), steps=1)
        del Patched.act
        runner.rollout(Patched(), steps=1)
        Patched.begin_episodes = lambda self: None  # type: ignore[attr-defined]
        with pytest.raises(ArgumentError, match="it is called as begin_episodes"):
            runner.rollout(Patched(), steps=1)


def test_what_was_seen_of_a_class_does_not_keep_it() -> None:
    class Forgotten(Plain):
        @override
        def act(self, observations: Any) -> Any:
            return super().act(observations)  # refers to its class

    gone = weakref.ref(Forgotten)
    with runner_of() as runner:
        runner.rollout(Forgotten(), steps=1)
    del Forgotten
    gc.collect()
    assert gone() is None


def test_a_runner_that_calls_the_agent_in_its_own_way_takes_any_that_acts() -> None:
    class Keeping(GymRunner[Any, Any, Any]):
        @override
        def compute_action(self, agent: Any, obs_list: Any) -> Any:
            return agent.act(obs_list, None, greedy=True)

    misspelt: Any = WrongCase()
    with runner_of(make=Keeping) as runner:
        runner.rollout(agent_of_wrong_types(), steps=1)
        with pytest.raises(ArgumentError, match="WrongCase has no method act"):
            runner.rollout(misspelt, steps=1)


def agent_of_wrong_types() -> Any:
    class Mine:
        def act(self, observations: dict[str, Any], state: Any, greedy: bool) -> Any:
            return zeros(observations)

    return Mine()


# ---- functions as agents, and models


class Chooses:
    """Called itself, and wants to be told when episodes begin."""

    def __init__(self) -> None:
        self.began: list[int] = []

    def __call__(self, observations: Any) -> Any:
        return zeros(observations)

    def begin_episodes(self, env_indices: Sequence[int]) -> None:
        self.began += env_indices


@pytest.mark.parametrize(
    "agent",
    [zeros, lambda observations: zeros(observations), Plain().act, functools.partial(zeros), Chooses()],
    ids=["function", "lambda", "method", "partial", "object"],
)
def test_a_function_of_observations_is_an_agent(agent: Any) -> None:
    with runner_of() as runner:
        by_function = runner.rollout(agent, steps=5)
    with runner_of() as runner:
        asked: Any = SimpleNamespace(act=agent)
        by_method = runner.rollout(asked, steps=5)
    assert [h.actions.tobytes() for h in by_function] == [h.actions.tobytes() for h in by_method]


def test_an_object_that_is_called_itself_is_told_of_episodes_too() -> None:
    agent = Chooses()
    with runner_of() as runner:
        runner.rollout(agent, steps=1)
    assert agent.began == [0, 1]


@pytest.mark.parametrize("asks_itself", [True, False])
def test_an_own_compute_action_gets_a_function_as_an_agent(asks_itself: bool) -> None:
    class Own(GymRunner[Any, Any, Any]):
        @override
        def compute_action(self, agent: Any, obs_list: Any) -> Any:
            return agent.act(obs_list) if asks_itself else super().compute_action(agent, obs_list)

    with runner_of(make=Own) as runner:
        assert [len(history) for history in runner.rollout(zeros, steps=3)] == [3, 3]


async def later(observations: Any) -> Any:
    return zeros(observations)


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        (Chooses, "Agent Chooses is a class. Make one: Chooses()."),
        (lambda: 0, "Agent <lambda>: it is called as <lambda>(observations), not <lambda>(). Change its parameters."),
        (
            Recurrent().act,
            "Agent act: it is called as act(observations), not act(observations, state, *, greedy, **options). ",
        ),
        (
            later,
            "Agent later: later is async, but nothing awaits it. Make it a plain method, or use executor='asyncio'.",
        ),
    ],
)
def test_a_function_that_cannot_be_an_agent_is_refused_before_a_step(agent: Any, says: str) -> None:
    assert refusal(agent, runner_of()).startswith(says)


class Model:
    """As those of Stable-Baselines3."""

    def predict(self, observation: Any, state: Any = None) -> tuple[Any, None]:
        return zeros(observation), None


def lines_in(message: str, model: object) -> Any:
    """Return the agent whose lines stand in a message."""
    import torch

    names: dict[str, Any] = {"model": model, "torch": torch}
    exec(textwrap.dedent(message.partition("\n")[2]), names)
    return names["act"]


def test_a_model_that_predicts_is_refused_with_lines_that_make_an_agent_of_it() -> None:
    pytest.importorskip("torch")
    says = refusal(Model(), runner_of())
    assert says.startswith("Agent Model has no method act(observations), but predict. Pass a function that returns")
    with runner_of() as runner:
        assert len(runner.rollout(lines_in(says, Model()), steps=2)[0]) == 2


def test_what_only_goes_forward_is_told_how_it_becomes_an_agent() -> None:
    class Network:
        def forward(self, observations: Any) -> Any:
            return observations

    says = refusal(Network(), runner_of())
    assert says.startswith("Agent Network has no method act(observations), but forward. Pass runnerkit.agents.from_mod")


@pytest.mark.parametrize(("action", "n"), [(DISCRETE, 2), (spaces.Box(-np.inf, np.inf, (2,), np.float32), 2)])
def test_a_torch_module_is_refused_with_lines_that_make_an_agent_of_it(action: Space[Any], n: int) -> None:
    nn = pytest.importorskip("torch").nn
    module = nn.Sequential(nn.Linear(3, n))
    says = refusal(module, runner_of(action=action))
    assert says.startswith("Agent Sequential is a torch module, and RunnerKit cannot know how its outputs become")
    with runner_of(action=action) as runner:
        assert len(runner.rollout(lines_in(says, module), steps=2)[0]) == 2


# ---- methods that need not be there


def method_of(name: str, base: type = Plain) -> Any:
    """Return an object that has a method of that name besides those of a base."""
    return type("Mine", (base,), {name: lambda self, *given: None})()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("begin_episode", "begin_episodes(env_indices)"),
        ("begin_epsiodes", "begin_episodes(env_indices)"),
        ("beginEpisodes", "begin_episodes(env_indices)"),
        ("set_active_env", "set_active_envs(env_indices)"),
        ("setActiveEnvs", "set_active_envs(env_indices)"),
    ],
)
def test_a_misspelt_method_that_would_never_be_called_is_refused(name: str, meant: str) -> None:
    says = f"Agent Mine: {name} is never called. Did you mean {meant}? Rename it."
    assert refusal(method_of(name), runner_of()).startswith(says)


def test_a_misspelt_method_is_refused_where_the_runner_calls_the_agent_in_its_own_way() -> None:
    class Own(GymRunner[Any, Any, Any]):
        @override
        def compute_action(self, agent: Any, obs_list: Any) -> Any:
            return agent.act(obs_list)

    assert "begin_episode is never called" in refusal(method_of("begin_episode"), runner_of(make=Own))


class _Recorder:
    def finish(self, block: Any) -> list[int]:
        return [0] * block.n_envs

    def close(self) -> None: ...


class _Format:
    def __init__(self, recorder: Any) -> None:
        self.recorder = recorder

    def open(self, spec: Any) -> Any:
        return self.recorder


@pytest.mark.parametrize(("name", "meant"), [("appends", "append(history, transition)"), ("bacth", "batch(block)")])
def test_a_misspelt_method_of_a_recorder_is_refused(name: str, meant: str) -> None:
    says = f"History format _Format: Recorder Mine: {name} is never called. Did you mean {meant}"
    with pytest.raises(PluginError, match=re.escape(says)):
        runner_of(history=_Format(method_of(name, _Recorder)))


def test_a_method_of_a_recorder_that_makes_batches_is_looked_at_before_the_first_stream() -> None:
    class Own(_Recorder):
        def batch(self, block: Any, steps: int) -> None: ...

    with pytest.raises(PluginError, match=r"Recorder Own: it is called as batch\(block\), not batch\(block, steps\)"):
        runner_of(history=_Format(Own()))


@pytest.mark.parametrize("name", ["renders", "alocate", "reports", "call_env", "recal", "pace"])
def test_a_misspelt_method_of_an_executor_is_refused(name: str) -> None:
    hidden = dict.fromkeys(["render", "call_envs", "paces"], property())  # of the base class, they are there no more
    members = {**hidden, name: lambda self, *given: None}
    with pytest.raises(PluginError, match=f"Executor Mine: {name} is never called. Did you mean "):
        build_with_executor(type("Mine", (SerialExecutor,), members))


@pytest.mark.parametrize(
    ("name", "method", "says"),
    [
        ("workers_to_try", lambda self, n_envs: [None], "it is called as workers_to_try(n_envs)"),
        ("shares_to_try", staticmethod(lambda n_envs: []), "it is called as shares_to_try(n_envs, workers)"),
    ],
)
def test_what_tune_could_not_ask_of_an_executor_is_refused(name: str, method: object, says: str) -> None:
    with pytest.raises(PluginError, match=re.escape(says)):
        build_with_executor(type("Mine", (SerialExecutor,), {name: method}))


def build_with_executor(made_by: object) -> None:
    """Build a runner with an executor that a plugin contributes."""
    registry = Registry()
    plugin: Any = ModuleType("by_hand")
    plugin.executors = hookimpl(lambda: [Contribution("mine", lambda: made_by)])
    registry.register(plugin)
    registry.build(lambda seed: SampleEnv(BOX, DISCRETE), executor="mine")


class Both(Plain):
    """Has the right one, too."""

    def begin_episodes(self, env_indices: Sequence[int]) -> None: ...
    def begin_episode(self) -> None: ...


class Declines(Plain):
    begin_episodes = None

    def begin_episode(self) -> None: ...


class Similar(Plain):
    """Has nothing that was meant to be called by a runner."""

    begin_episode_number = 3
    begin_episode: Any = None

    def _begin_episode(self) -> None: ...
    def get_active_envs(self) -> list[int]:
        return []

    def end_episodes(self) -> None: ...

    @property
    def set_active_env(self) -> int:
        raise RuntimeError("asked for")


@pytest.mark.parametrize("agent", [Both(), Declines(), Similar()], ids=lambda agent: type(agent).__name__)
def test_names_that_are_merely_similar_are_not_refused(agent: Any) -> None:
    with runner_of() as runner:
        assert len(runner.rollout(agent, steps=2)) == 2


@pytest.mark.parametrize("name", ["appended", "append_row", "_appends", "finishes"])
def test_methods_of_a_recorders_own_are_not_refused(name: str) -> None:
    with runner_of(history=_Format(method_of(name, _Recorder))) as runner:
        assert runner.rollout(Plain(), steps=1) == [0, 0]


# ---- batches that agents take and give

SAYS_NOTHING = [Any, object, T, list, list[float], Sequence[Any], "KnownToTypeCheckersOnly", "no code at all", 3]
RIGHT_BATCHES = [
    (BOX, NDArray[np.float32]),
    (BOX, NDArray[np.float64]),
    (BOX, NDArray[np.floating[Any]]),
    (BOX, NDArray[np.number[Any]]),
    (BOX, NDArray[Any]),
    (BOX, np.ndarray),
    (BOX, np.ndarray[tuple[int, int], np.dtype[np.float32]]),
    (BOX, NDArray[np.float32] | None),
    (BOX, dict[str, Any] | NDArray[np.float64]),
    (BOX, dict[str, Any] | list[float]),
    (PIXELS, NDArray[np.int64]),
    (PIXELS, NDArray[np.unsignedinteger[Any]]),
    (DISCRETE, NDArray[np.int32]),
    (DISCRETE, NDArray[np.uint8]),
    (DISCRETE, NDArray[np.integer[Any] | np.bool_]),
    (BINARY, NDArray[np.int8]),
    (DICT, dict[str, Any]),
    (DICT, Mapping[str, Any]),
    (DICT, Pixels),
    (DICT, list[Any]),
    (DICT, NDArray[Any]),
    (DICT, np.ndarray),
    (TUPLE, np.ndarray),
    (TUPLE, tuple[Any, ...]),
    (TUPLE, list[Any]),
    (TEXT, list[str]),
    *((space, annotation) for space in (BOX, DICT, TEXT) for annotation in SAYS_NOTHING),
]
# What mypy reports: the code may work all the same.
INEXACT = [
    (BOX, NDArray[np.uint8]),
    (BOX, NDArray[np.str_]),
    (BOX, dict[str, Any]),
    (BOX, str),
    (DISCRETE, NDArray[np.float32]),
    (DICT, NDArray[np.float32]),
    (TUPLE, dict[str, Any]),
    (TEXT, dict[str, Any]),
]


@pytest.mark.parametrize(
    ("space", "takes"), [*RIGHT_BATCHES, *INEXACT, (BOX, float), (BOX, np.float32), (DISCRETE, NDArray[np.float32])]
)
def test_no_agent_is_refused_for_what_it_says_to_take(space: Space[Any], takes: object) -> None:
    with runner_of(space) as runner:
        runner.rollout(agent_of(DISCRETE, takes=takes), steps=2)


@pytest.mark.parametrize(
    ("space", "gives"),
    [
        *RIGHT_BATCHES,
        *INEXACT,
        (BINARY, NDArray[np.bool_]),
        (BOX, NDArray[np.int64]),
        (TEXT, NDArray[np.object_]),
        (DISCRETE, int),
        (DISCRETE, np.int64),
        (BOX, float | None),
    ],
)
def test_no_agent_is_refused_for_what_it_says_to_give(space: Space[Any], gives: object) -> None:
    with runner_of(action=space) as runner:
        runner.rollout(agent_of(space, gives=gives), steps=2)


# ---- processors


class Passes:
    def bind(self, space: Space[Any], /) -> Space[Any]:
        return space

    def __call__(self, batch: Any, /) -> Any:
        return batch


class BindsByTwo(Passes):
    @override
    def bind(self, space: Space[Any], other: Space[Any], /) -> Space[Any]:  # type: ignore[override]
        raise AssertionError("not to be called")


class Waits(Passes):
    @override
    async def __call__(self, batch: Any, /) -> Any:
        return batch


@pytest.mark.parametrize(
    ("processor", "says"),
    [
        (Passes, "Passes is a class. Make one: Passes()."),
        (zeros, "function has no method bind(space). Give it one."),
        (Plain(), "Plain has no method bind(space). Give it one."),
        (BindsByTwo(), "BindsByTwo: it is called as bind(space), not bind(space, other). Change its parameters."),
        (Waits(), "Waits: __call__ is async, but nothing awaits it. Make it a plain method."),
    ],
)
@pytest.mark.parametrize("what", ["preprocessor", "postprocessor"])
def test_what_cannot_be_a_processor_is_refused(what: str, processor: object, says: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        runner_of(BOX, DISCRETE, GymRunner, **{f"{what}s": [processor]})
    assert str(caught.value) == f"{what.capitalize()} {says}"


@pytest.mark.parametrize("option", ["preprocessors", "postprocessors"])
def test_a_name_that_is_not_in_a_list_is_shown_in_one(option: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        runner_of(BOX, DISCRETE, GymRunner, **{option: "flatten"})
    assert str(caught.value) == f"{option}='flatten' is a string, not a list. Write {option}=['flatten']."


class OfStatic:
    bind = staticmethod(lambda space: space)
    __call__ = staticmethod(lambda batch: batch)


class OfFunctions:
    bind = functools.partial(lambda space: space)
    __call__ = functools.partial(lambda batch: batch)


class OfObjects:
    def __init__(self) -> None:
        self.bind = Passes().bind

    __call__ = Passes()


def _function() -> Any:
    def passes(batch: Any) -> Any:
        return batch

    passes.bind = lambda space: space  # type: ignore[attr-defined]
    return passes


@pytest.mark.parametrize("made", [Passes, OfStatic, OfFunctions, OfObjects, _function])
def test_processors_may_be_called_in_any_way(made: Callable[[], Any]) -> None:
    with runner_of(DISCRETE, DISCRETE, preprocessors=[made()], postprocessors=[made()]) as runner:
        runner.rollout(RandomAgent(runner.action_space, seed=0), steps=2)


def processor_of(takes: object = Any, gives: object = Any, name: str = "Mine") -> Any:
    made = annotated("__call__", lambda batch: batch, takes, gives)
    return type(name, (made,), {"bind": Passes.bind})()


@pytest.mark.parametrize(("space", "annotation"), [*RIGHT_BATCHES, *INEXACT])
def test_no_processor_is_refused_for_its_annotations(space: Space[Any], annotation: object) -> None:
    four = [processor_of(annotation, annotation) for _ in range(4)]
    with runner_of(space, space, preprocessors=four[:2], postprocessors=four[2:]) as runner:
        runner.rollout(RandomAgent(runner.action_space, seed=0), steps=2)


def test_a_bind_of_a_space_of_its_own_kind_or_of_what_may_be_one_is_fine() -> None:
    for result in (spaces.Box, Space, Any, object, T, "KnownToTypeCheckersOnly", spaces.Box | None):
        processor = processor_of()
        bind = functools.update_wrapper(lambda self, space: space, Passes.bind)
        del bind.__wrapped__
        bind.__annotations__ = {"return": result}
        type(processor).bind = bind
        runner_of(preprocessors=[processor]).close()
