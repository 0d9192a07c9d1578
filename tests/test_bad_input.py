"""What users, agents and envs get wrong, and what they are told."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap
import threading
from typing import Any

import gymnasium
import numpy as np
import pytest
from faulty_envs import (
    EXECUTORS,
    Answer,
    AnyRunner,
    Constant,
    Faults,
    Fleet,
    ScriptedEnv,
    build,
    collected,
    raising,
    returning,
    runnerkit_threads,
)
from gymnasium import spaces
from typing_extensions import override

import runnerkit
from runnerkit import EndReason, EpisodeStart, RandomAgent
from runnerkit.errors import (
    AgentError,
    ArgumentError,
    ClosedError,
    EnvError,
    EnvSpaceError,
    MemoryBudgetError,
    RolloutError,
    RunnerKitError,
    SpaceError,
    UnknownNameError,
)

both_executors = pytest.mark.parametrize("executor", EXECUTORS, ids=[options["executor"] for options in EXECUTORS])


class SpaceEnv(gymnasium.Env[Any, Any]):
    """Any two spaces, sampled; never ends."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.observation_space = observation_space
        self.action_space = action_space

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        return self.observation_space.sample(), 0.0, False, False, {}


def acting_in(action_space: spaces.Space[Any], n_envs: int = 2) -> AnyRunner:
    return build(lambda seed: SpaceEnv(spaces.Box(0, 1, (2,)), action_space), seed=0, n_envs=n_envs)


def assert_usable(runner: AnyRunner, n_envs: int, first_episodes: list[int] | None = None) -> None:
    """The next rollout begins new episodes in all envs, and gives all that was asked for."""
    histories = runner.rollout(Constant(1), steps=7)
    assert [len(history) for history in histories] == [7] * n_envs
    for history in histories:
        assert [episode.end_reason for episode in history.episodes] == [EndReason.TERMINATED, EndReason.CUT]
        assert not history.episodes[0].continued
        assert history.observations[0, 0] == 0
    if first_episodes is not None:
        assert [history.episodes[0].episode_index for history in histories] == first_episodes


# ---- names


@pytest.mark.parametrize(
    ("options", "kind", "closest", "known"),
    [
        ({"history": "array"}, "history format", "arrays", ["arrays", "torch", "transitions"]),
        ({"executor": "thread"}, "executor", "threads", ["auto", "serial", "threads"]),
        ({"preprocessors": ["flaten"]}, "preprocessor", "flatten", ["flatten", "frame-stack", "normalize"]),
        ({"postprocessors": ["rescaled"]}, "postprocessor", "rescale", ["clip", "rescale"]),
    ],
)
def test_an_unknown_name_gets_the_closest_one_and_all_that_there_are(
    options: dict[str, Any], kind: str, closest: str, known: list[str]
) -> None:
    with pytest.raises(UnknownNameError) as caught:
        build("CartPole-v1", **options)
    text = str(caught.value)
    (given,) = options.values()
    wrong = given if isinstance(given, str) else given[0]
    assert f"No {kind} is called {wrong!r}." in text
    assert f"Did you mean {closest!r}?" in text
    assert caught.value.kind == kind
    assert caught.value.name == wrong
    assert set(known) <= set(caught.value.known)
    assert all(name in text for name in known)


def test_a_name_that_is_like_no_other_gets_no_guess_but_the_list() -> None:
    with pytest.raises(UnknownNameError) as caught:
        build("CartPole-v1", history="xyzzy")
    assert "Did you mean" not in str(caught.value)
    assert all(name in str(caught.value) for name in ("arrays", "torch", "transitions"))


def test_an_unknown_env_gets_the_closest_id_and_three_ways_out() -> None:
    with pytest.raises(UnknownNameError) as caught:
        build("CartPool-v1")
    text = str(caught.value)
    assert "No env is called 'CartPool-v1'" in text
    assert "Did you mean 'CartPole-v1'?" in text
    assert "'MODULE:CartPool-v1' imports its module first" in text
    assert "(seed) -> env" in text
    assert "gymnasium.register" in text


@pytest.mark.parametrize("env_id", ["CartPole-v99", "Cart Pole", "", "no_such_module_at_all:Env-v0", "nowhere/Env-v0"])
def test_an_env_id_that_leads_nowhere_is_an_unknown_name(env_id: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        build(env_id)
    assert repr(env_id) in str(caught.value)


def test_an_id_of_a_module_that_is_not_there_keeps_the_import_error() -> None:
    with pytest.raises(UnknownNameError, match="no_such_module_at_all") as caught:
        build("no_such_module_at_all:Env-v0")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert "MODULE:" not in str(caught.value)


def test_an_env_that_was_made_already_is_answered_with_a_function_that_makes_one() -> None:
    env = gymnasium.make("CartPole-v1")
    with pytest.raises(ArgumentError, match=r"itself: .* Pass lambda seed: gymnasium\.make\('CartPole-v1'\)\.$"):
        build(env)
    env.close()


@pytest.mark.parametrize("env", [3, None, 1.5, ["CartPole-v1"]])
def test_an_env_that_is_neither_a_name_nor_a_function_is_an_argument_error(env: object) -> None:
    with pytest.raises(ArgumentError, match="env"):
        build(env)


@pytest.mark.parametrize(
    "options",
    [
        {"executor": None},
        {"executor": 3},
        {"history": None},
        {"history": 3},
        {"history": list},
        {"preprocessors": "flatten"},
        {"preprocessors": None},
        {"preprocessors": [3]},
        {"postprocessors": "clip"},
        {"postprocessors": [dict]},
    ],
    ids=str,
)
def test_what_is_neither_a_name_nor_an_object_of_the_right_shape_is_an_argument_error(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        build("CartPole-v1", **options)
    (given,) = options.values()
    inner = given[0] if isinstance(given, list) else given
    assert (f"{inner.__name__} is a class" if isinstance(inner, type) else repr(inner)) in str(caught.value)


# ---- numbers

WRONG_COUNTS = [0, -1, True, 1.5, "3"]


@pytest.mark.parametrize("value", WRONG_COUNTS)
@pytest.mark.parametrize("what", ["n_envs", "workers"])
def test_counts_of_a_runner_must_be_whole_and_positive(what: str, value: object) -> None:
    with pytest.raises(ArgumentError, match=f"{what} must be a whole number of at least 1") as caught:
        build("CartPole-v1", executor="threads", **{what: value})
    assert repr(value) in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [-1, True, 1.5, "3", [1]])
def test_a_seed_must_be_a_whole_number_or_none(value: object) -> None:
    with pytest.raises(ArgumentError, match="seed must be a whole number of at least 0, or None") as caught:
        build("CartPole-v1", seed=value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", WRONG_COUNTS)
@pytest.mark.parametrize("what", ["steps", "episodes"])
def test_counts_of_a_rollout_must_be_whole_and_positive(what: str, value: object) -> None:
    with build(Fleet()) as runner:
        arguments: dict[str, Any] = {what: value}
        with pytest.raises(ArgumentError, match=f"{what} must be a whole number of at least 1") as caught:
            runner.rollout(Constant(), **arguments)
        assert repr(value) in str(caught.value)
        assert_usable(runner, 1)


@pytest.mark.parametrize("value", [0, -1, True, "3", float("nan"), None])
def test_fps_must_be_a_number_above_0(value: Any) -> None:
    with build(Fleet(), render_mode="human") as runner:
        with pytest.raises(ArgumentError, match="fps must be") as caught:
            runner.rollout(Constant(), steps=1, render=True, fps=value)
        assert repr(value) in str(caught.value)
        assert_usable(runner, 1)


@pytest.mark.parametrize("whole", [np.int64, np.int32, np.uint8])
def test_numpy_integers_are_whole_numbers(whole: Any) -> None:
    fleet = Fleet(length=3)
    with build(fleet, seed=whole(7), n_envs=whole(2), executor="threads", workers=whole(2)) as runner:
        assert runner.seed == 7
        assert type(runner.seed) is int
        assert runner.n_envs == 2
        assert runner.workers == 2
        assert [len(history) for history in runner.rollout(Constant(), steps=whole(4))] == [4, 4]
        histories = runner.rollout(Constant(), episodes=whole(3))
        assert sum(len(history.episodes) for history in histories) == 3


def test_one_worker_as_a_numpy_integer_is_fine_for_the_serial_executor() -> None:
    with build(Fleet(), executor="serial", workers=np.int64(1)) as runner:
        assert runner.workers == 1


def test_serial_with_several_workers_names_the_executor_that_can() -> None:
    with pytest.raises(ArgumentError, match="executor='threads'"):
        build(Fleet(), n_envs=2, executor="serial", workers=2)


def test_steps_and_episodes_at_once_are_refused() -> None:
    with build(Fleet()) as runner:
        with pytest.raises(ArgumentError, match=r"steps or episodes, not both.*steps=3.*episodes=2"):
            runner.rollout(Constant(), steps=3, episodes=2)
        assert_usable(runner, 1)


def test_more_steps_than_max_steps_are_refused() -> None:
    with build(Fleet()) as runner:
        with pytest.raises(ArgumentError, match="at most MAX_STEPS, 1000000, not 1000001"):
            runner.rollout(Constant(), steps=1_000_001)
        assert_usable(runner, 1)


# ---- agents


@pytest.mark.parametrize("agent", [object(), None, 3, "agent"])
def test_an_agent_without_act_is_refused_before_a_step(agent: Any) -> None:
    fleet = Fleet()
    with build(fleet) as runner:
        with pytest.raises(ArgumentError, match=r"has no method act\(observations\)\. Give it one\."):
            runner.rollout(agent, steps=1)
        assert fleet.envs[0].calls("reset") == 0
        assert_usable(runner, 1)


BOX = spaces.Box(-1, 1, (2,), np.float32)
DISCRETE = spaces.Discrete(3)
NESTED = spaces.Dict({"move": BOX, "jump": spaces.Tuple((DISCRETE, spaces.MultiBinary(2)))})
GOOD_NESTED: dict[str, Any] = {
    "move": np.zeros((2, 2), np.float32),
    "jump": (np.zeros(2, np.int64), np.zeros((2, 2), np.int8)),
}


@pytest.mark.parametrize(
    ("space", "actions", "says"),
    [
        (DISCRETE, np.zeros(3, np.int64), ["2 rows", "not 3"]),
        (DISCRETE, np.zeros(1, np.int64), ["2 rows", "not 1"]),
        (DISCRETE, [], ["2 rows", "not 0"]),
        (DISCRETE, np.int64(1), ["shape (2,)", "not ()"]),
        (DISCRETE, np.zeros((2, 1), np.int64), ["shape (2,)", "not (2, 1)"]),
        (DISCRETE, np.zeros(2), ["dtype int64", "float64"]),
        (DISCRETE, [1.0, 2.0], ["dtype int64", "float64"]),
        (DISCRETE, np.zeros(2, bool), ["dtype int64", "bool", ".astype(np.int64) would help"]),
        (DISCRETE, ["0", "1"], ["dtype int64", "<U1"]),
        (DISCRETE, None, ["shape (2,)"]),
        (DISCRETE, {"a": 1}, ["shape (2,)"]),
        (DISCRETE, np.array([0, 3]), ["env 1", "Discrete(3)", "not be 3"]),
        (DISCRETE, np.array([-1, 0]), ["env 0", "Discrete(3)", "not be -1"]),
        (DISCRETE, np.array([0, 2**64 - 1], np.uint64), ["env 1", "18446744073709551615"]),
        (BOX, np.zeros((2, 3), np.float32), ["shape (2, 2)", "not (2, 3)"]),
        (BOX, np.zeros(2, np.float32), ["shape (2, 2)", "not (2,)"]),
        (BOX, np.zeros((3, 2), np.float32), ["2 rows", "not 3"]),
        (BOX, np.array([[0, 0], [0, 1.5]], np.float32), ["env 1", "Box(-1.0, 1.0, (2,), float32)", "1.5"]),
        (BOX, np.array([[0, np.nan], [0, 0]], np.float32), ["env 0", "NaN"]),
        (BOX, [[0.0, float("nan")], [0.0, 0.0]], ["env 0", "NaN"]),
        (BOX, np.array([[0, 0], [np.inf, 0]], np.float32), ["env 1", "inf"]),
        (BOX, [[0.0, 0.0], [0.0]], ["rectangular"]),
        (BOX, None, ["not None (is a return missing?)"]),
        (DISCRETE, (np.zeros(2, np.int64), None), ["not a tuple of 2. Its first item fits: return that alone"]),
        (BOX, (np.zeros((2, 2)), np.zeros((2, 2))), ["not a tuple of 2. Its first item fits: return that alone"]),
        (BOX, {"action": 1}, ["not a dict"]),
        (BOX, {"move": 1}, ["shape (2, 2)"]),
        (BOX, np.zeros((2, 2), complex), ["dtype float32", "complex128"]),
        (BOX, None, ["shape (2, 2)"]),
        (spaces.Box(-np.inf, np.inf, (1,), np.float32), [[np.nan], [0.0]], ["env 0", "NaN"]),
        (spaces.MultiDiscrete([2, 3]), [[0, 0], [0, 3]], ["env 1", "MultiDiscrete"]),
        (spaces.MultiBinary(2), [[0, 0], [2, 0]], ["env 1", "MultiBinary"]),
        (spaces.Discrete(3, start=5), [0, 5], ["env 0", "start=5"]),
        (spaces.Text(3), ["ok", "toolong"], ["env 1", "toolong"]),
        (spaces.Text(3), "ok", ["list of 2 samples"]),
        (spaces.Text(3), ["ok"], ["2 rows", "not 1"]),
        (NESTED, {"move": GOOD_NESTED["move"]}, ["keys ['jump', 'move']"]),
        (NESTED, {**GOOD_NESTED, "extra": 1}, ["keys ['jump', 'move']"]),
        (NESTED, {**GOOD_NESTED, "jump": np.zeros(2)}, ["action['jump'] must be a tuple of 2"]),
        (NESTED, {**GOOD_NESTED, "move": np.full((2, 2), 2.0, np.float32)}, ["action['move']", "env 0"]),
        (NESTED, {**GOOD_NESTED, "jump": (np.array([0, 7]), GOOD_NESTED["jump"][1])}, ["action['jump'][0]", "env 1"]),
        (NESTED, np.zeros((2, 2)), ["must be a dict"]),
        (NESTED, [{"move": [0, 0]}, {"move": [0, 0]}], ["env 0", "keys"]),
        (NESTED, None, ["must be a dict"]),
    ],
)
def test_actions_that_do_not_fit_are_named_with_env_and_expectation(
    space: spaces.Space[Any], actions: object, says: list[str]
) -> None:
    with acting_in(space) as runner:
        sampling = RandomAgent(space, seed=0)
        good_once = iter([True])
        agent = Answer(lambda observations: sampling.act(observations) if next(good_once, False) else actions)
        with pytest.raises(AgentError) as caught:
            runner.rollout(agent, steps=5)
        text = str(caught.value)
        assert all(part in text for part in says), text
        assert "step 1 of the rollout" in text
        assert "action" in text
        assert "one action of" in text
        assert caught.value.__cause__ is not None
        assert [len(history) for history in collected(caught.value)] == [1, 1]
        for history in collected(caught.value):
            assert [episode.end_reason for episode in history.episodes] == [EndReason.INTERRUPTED]
        assert [len(history) for history in runner.rollout(RandomAgent(space, seed=0), steps=3)] == [3, 3]


def test_torch_tensors_are_taken_even_with_a_gradient() -> None:
    torch = pytest.importorskip("torch")
    with acting_in(BOX) as runner:
        weights = torch.zeros((2, 2), requires_grad=True)
        histories = runner.rollout(Answer(lambda observations: weights + 0.5), steps=2)
        assert histories[0].actions.dtype == np.float32
        assert (histories[0].actions == 0.5).all()


@pytest.mark.parametrize("grad", [False, True])
def test_lists_of_torch_tensors_are_taken_even_with_a_gradient(grad: bool) -> None:
    torch = pytest.importorskip("torch")
    scalar, vector = torch.tensor(0.5, requires_grad=grad), torch.full((2,), 0.5, requires_grad=grad)
    batches: list[Any] = [[vector, vector], (vector, [0.5, 0.5]), [[scalar, 0.5], [scalar, scalar]]]
    answers = iter(batches)
    with acting_in(BOX) as runner:
        histories = runner.rollout(Answer(lambda observations: next(answers)), steps=3)
        assert all((history.actions == np.full((3, 2), 0.5, np.float32)).all() for history in histories)
    whole = {"move": vector, "jump": (torch.tensor(1), torch.zeros(2, dtype=torch.int8))}
    with acting_in(NESTED) as runner:
        histories = runner.rollout(Answer(lambda observations: [whole, whole]), steps=2)
        assert histories[1].actions["jump"][0].tolist() == [1, 1]


def test_a_list_of_tensors_that_numpy_does_not_have_is_named() -> None:
    torch = pytest.importorskip("torch")
    with acting_in(BOX) as runner, pytest.raises(AgentError, match=r"not torch\.bfloat16"):
        runner.rollout(Answer(lambda observations: [torch.zeros(2, dtype=torch.bfloat16)] * 2), steps=2)


def test_a_torch_dtype_that_numpy_does_not_have_is_named() -> None:
    torch = pytest.importorskip("torch")
    with acting_in(BOX) as runner:
        with pytest.raises(AgentError, match=r"[Bb][Ff]loat16") as caught:
            runner.rollout(Answer(lambda observations: torch.zeros((2, 2), dtype=torch.bfloat16)), steps=2)
        assert "agent raised" not in str(caught.value)
        assert caught.value.__cause__ is not None


def test_a_float_that_does_not_fit_into_float32_is_outside_of_the_space() -> None:
    with acting_in(BOX) as runner, pytest.raises(AgentError, match="must lie in Box"):
        runner.rollout(Answer(lambda observations: np.full((2, 2), 1e300)), steps=1)


@both_executors
def test_an_agent_that_raises_keeps_its_exception_as_the_cause(executor: dict[str, Any]) -> None:
    calls: list[int] = []

    def answer(observations: Any) -> Any:
        calls.append(1)
        if len(calls) == 8:
            raise KeyError("policy")
        return np.ones(len(observations), np.int64)

    with build(Fleet(), n_envs=3, **executor) as runner:
        with pytest.raises(AgentError, match=r"agent raised at step 7 of the rollout: KeyError: 'policy'") as caught:
            runner.rollout(Answer(answer), steps=20)
        assert isinstance(caught.value.__cause__, KeyError)
        for history in collected(caught.value):
            assert len(history) == 7
            assert [episode.end_reason for episode in history.episodes] == ["terminated", "interrupted"]
            assert (history.rewards == 1).all()
        assert_usable(runner, 3, [2, 2, 2])


@pytest.mark.parametrize("method", ["begin_episodes", "set_active_envs"])
def test_an_agent_that_raises_as_it_is_told_something_is_an_agent_error(method: str) -> None:
    def fail(self: object, env_indices: object) -> None:
        raise KeyError("memory")

    agent = type("Forgetful", (Constant,), {method: fail})()
    with build(Fleet(), n_envs=2) as runner:
        with pytest.raises(AgentError, match="memory") as caught:
            runner.rollout(agent, steps=3)
        assert isinstance(caught.value.__cause__, KeyError)
        assert_usable(runner, 2)


def test_an_agent_may_change_its_observations_without_harm() -> None:
    def spoil(observations: Any) -> Any:
        observations[:] = -1
        return np.ones(len(observations), np.int64)

    with build(Fleet(), n_envs=2) as runner:
        (history, _) = runner.rollout(Answer(spoil), steps=4)
        assert history.observations[:, 0].tolist() == [0, 1, 2, 3]


# ---- envs that break their own word

FIT = np.zeros(2, np.float32)
WRONG_OBSERVATIONS: list[tuple[Any, str]] = [
    (np.zeros(2), "float64"),
    (np.zeros(2, np.int64), "int64"),
    (np.zeros(3, np.float32), r"shape \(3,\)"),
    (np.zeros((1, 2), np.float32), r"shape \(1, 2\)"),
    (np.float32(0), r"shape \(\)"),
    ([0.0, 0.0], "list"),
    (None, "NoneType"),
    ({"x": 1}, "dict"),
    ("ab", "str"),
]


@both_executors
@pytest.mark.parametrize(("observation", "says"), WRONG_OBSERVATIONS)
@pytest.mark.parametrize("where", ["reset", "step"])
def test_an_observation_that_is_not_of_the_space_is_named(
    executor: dict[str, Any], observation: Any, says: str, where: str
) -> None:
    if where == "reset":
        faults = Faults(reset=returning((observation, {}), at_step=0))
    else:
        faults = Faults(step=returning((observation, 0.0, False, False, {}), at_step=3))
    fleet = Fleet({2: faults})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(EnvSpaceError, match=says) as caught:
            runner.rollout(Constant(2), steps=9)
        error = caught.value
        assert f"returned from {where}" in str(error)
        assert "array of dtype float32 and shape (2,)" in str(error)
        assert "TransformObservation" in str(error)
        assert error.__cause__ is not None
        assert (error.env_index, error.episode_index, error.seed) == (2, 0, fleet.envs[2].seeds[0])
        assert (error.step, error.action) == ((None, None) if where == "reset" else (2, 2))
        fleet.mend()
        assert_usable(runner, 3)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ((FIT, 1.0, False, {}), "a tuple of 4"),
        ((FIT, 1.0), "a tuple of 2"),
        (None, "a NoneType"),
        (FIT, "a ndarray"),
        ((FIT, None, False, False, {}), "reward None"),
        ((FIT, "a", False, False, {}), "reward 'a'"),
        ((FIT, np.array([1.0, 2.0]), False, False, {}), "reward array"),
        ((FIT, 1j, False, False, {}), "reward 1j"),
        ((FIT, 1.0, np.array([True, False]), False, {}), "flags"),
        ((FIT, 1.0, False, np.array([True, False]), {}), "flags"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@both_executors
def test_a_step_result_of_the_wrong_form_is_named(executor: dict[str, Any], result: Any, says: str) -> None:
    fleet = Fleet({1: Faults(step=returning(result, at_step=2))})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(EnvSpaceError) as caught:
            runner.rollout(Constant(0), steps=9)
        error = caught.value
        assert says in str(error)
        assert (error.env_index, error.episode_index, error.step, error.action) == (1, 0, 1, 0)
        assert error.seed == fleet.envs[1].seeds[0]
        assert error.__cause__ is not None
        assert [h.episodes[-1].end_reason for h in collected(error)] == ["interrupted", "crashed", "interrupted"]
        fleet.mend()
        assert_usable(runner, 3, [1, 1, 1])


def test_an_env_of_the_old_gym_api_is_told_what_step_returns_today() -> None:
    fleet = Fleet({0: Faults(step=returning((FIT, 1.0, False, {})))})
    with (
        build(fleet) as runner,
        pytest.raises(EnvSpaceError, match=r"not \(observation, reward, terminated, truncated, info\)"),
    ):
        runner.rollout(Constant(), steps=1)


@pytest.mark.parametrize(
    ("result", "says"),
    [(FIT, "not (observation, info)"), (None, "a NoneType from reset"), ((FIT, {}, 3), "a tuple of 3 from reset")],
    ids=["only the observation", "nothing", "three"],
)
@both_executors
def test_a_reset_result_of_the_wrong_form_is_named(executor: dict[str, Any], result: Any, says: str) -> None:
    fleet = Fleet({1: Faults(reset=returning(result, at_step=0))})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(EnvSpaceError) as caught:
            runner.rollout(Constant(), steps=3)
        assert says in str(caught.value)
        assert caught.value.env_index == 1
        fleet.mend()
        assert_usable(runner, 3)


def test_a_text_observation_alone_is_not_taken_for_observation_and_info() -> None:
    class Old(SpaceEnv):
        @override
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            return "ab"

    with (
        build(lambda seed: Old(spaces.Text(5), DISCRETE)) as runner,
        pytest.raises(EnvSpaceError, match="from reset, not"),
    ):
        runner.rollout(Constant(), steps=1)


@both_executors
def test_a_first_observation_out_of_bounds_is_named(executor: dict[str, Any]) -> None:
    outside = np.array([-5, 0], np.float32)
    fleet = Fleet({1: Faults(reset=returning((outside, {}), at_step=0))})
    with build(fleet, n_envs=3, strict_spaces=True, **executor) as runner:
        with pytest.raises(EnvSpaceError, match=r"returned from reset .* outside of its declared bounds") as caught:
            runner.rollout(Constant(), steps=3)
        assert "-5" in str(caught.value)
        assert caught.value.env_index == 1
        fleet.mend()
        assert_usable(runner, 3)


@both_executors
def test_an_observation_out_of_bounds_at_the_first_step_is_named_with_step_and_action(executor: dict[str, Any]) -> None:
    outside = np.array([5000, 0], np.float32)
    fleet = Fleet({2: Faults(step=returning((outside, 0.0, False, False, {})))})
    with build(fleet, n_envs=3, strict_spaces=True, **executor) as runner:
        with pytest.raises(EnvSpaceError, match=r"returned from step .* outside of its declared bounds") as caught:
            runner.rollout(Constant(2), steps=3)
        assert "5000" in str(caught.value)
        assert (caught.value.env_index, caught.value.episode_index) == (2, 0)
        assert (caught.value.step, caught.value.action) == (0, 2)


def test_a_missing_key_of_a_nested_observation_is_named() -> None:
    class Forgetful(SpaceEnv):
        @override
        def step(self, action: Any) -> Any:
            return {"move": np.zeros(2, np.float32)}, 0.0, False, False, {}

    with (
        build(lambda seed: Forgetful(NESTED, DISCRETE)) as runner,
        pytest.raises(EnvSpaceError, match=r"observation must be a dict with the keys \['jump', 'move'\]"),
    ):
        runner.rollout(Constant(), steps=1)


def test_a_wrong_leaf_of_a_nested_observation_is_named_by_its_path() -> None:
    class Sloppy(SpaceEnv):
        @override
        def step(self, action: Any) -> Any:
            bad = {"move": np.zeros(2, np.float32), "jump": (0, np.zeros(3, np.int8))}
            return bad, 0.0, False, False, {}

    with (
        build(lambda seed: Sloppy(NESTED, DISCRETE)) as runner,
        pytest.raises(EnvSpaceError, match=r"observation\['jump'\]\[1\] must be an array of dtype int8"),
    ):
        runner.rollout(Constant(), steps=1)


# ---- envs that raise


@both_executors
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_raising_step_tells_env_episode_seed_step_and_action(executor: dict[str, Any], failing: int) -> None:
    boom = RuntimeError("boom")
    fleet = Fleet({failing: Faults(step=raising(boom, at_step=3, in_episode=2))})
    with build(fleet, n_envs=3, seed=5, **executor) as runner:
        with pytest.raises(EnvError) as caught:
            runner.rollout(Constant(2), steps=100)
        error = caught.value
        assert error.__cause__ is boom
        assert not isinstance(error, EnvSpaceError)
        assert (error.env_index, error.episode_index, error.step, error.action) == (failing, 1, 2, 2)
        assert error.seed == fleet.envs[failing].seeds[1]
        assert str(error) == (
            f"Env {failing} (episode 1, seed {error.seed}, step 2, action 2) raised in step: RuntimeError: boom"
        )
        for i, history in enumerate(collected(error)):
            assert len(history) == 7
            assert history.observations[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1]
            last = EndReason.CRASHED if i == failing else EndReason.INTERRUPTED
            assert [episode.end_reason for episode in history.episodes] == [EndReason.TERMINATED, last]
            assert [episode.length for episode in history.episodes] == [5, 2]
        fleet.mend()
        assert_usable(runner, 3, [2, 2, 2])


@both_executors
def test_the_step_of_a_fault_counts_from_the_reset_in_a_continued_episode(executor: dict[str, Any]) -> None:
    fleet = Fleet({1: Faults(step=raising(RuntimeError("late"), at_step=7))}, length=50)
    with build(fleet, n_envs=3, **executor) as runner:
        runner.rollout(Constant(), steps=2)
        runner.rollout(Constant(), steps=2)
        with pytest.raises(EnvError, match="step 6, action 1") as caught:
            runner.rollout(Constant(), steps=40)
        assert (caught.value.env_index, caught.value.episode_index, caught.value.step) == (1, 0, 6)
        record = collected(caught.value)[1].episodes[-1]
        assert (record.continued, record.steps_before, record.length) == (True, 4, 2)
        assert record.end_reason is EndReason.CRASHED


@both_executors
def test_the_step_of_a_fault_is_right_at_the_first_step_of_a_rollout(executor: dict[str, Any]) -> None:
    fleet = Fleet({2: Faults(step=raising(RuntimeError("at once"), at_step=3))})
    with build(fleet, n_envs=3, **executor) as runner:
        runner.rollout(Constant(), steps=2)
        with pytest.raises(EnvError) as caught:
            runner.rollout(Constant(), steps=4)
        assert (caught.value.step, caught.value.episode_index) == (2, 0)
        assert [len(history) for history in collected(caught.value)] == [0, 0, 0]


@pytest.mark.parametrize(
    "arguments", [{"episodes": 40}, {"steps": 100, "progress": lambda progress: None}], ids=["episodes", "progress"]
)
@both_executors
def test_faults_are_located_alike_in_every_kind_of_rollout(executor: dict[str, Any], arguments: dict[str, Any]) -> None:
    fleet = Fleet({1: Faults(step=raising(RuntimeError("boom"), at_step=4, in_episode=3))})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(EnvError) as caught:
            runner.rollout(Constant(), **arguments)
        assert (caught.value.env_index, caught.value.episode_index, caught.value.step) == (1, 2, 3)
        assert [len(history) for history in collected(caught.value)] == [13, 13, 13]


@both_executors
def test_faults_are_located_with_a_schedule_and_with_preprocessors(executor: dict[str, Any]) -> None:
    fleet = Fleet({1: Faults(step=raising(RuntimeError("boom"), at_step=4, in_episode=3))})
    with (
        build(
            fleet,
            n_envs=3,
            schedule=lambda i, k: EpisodeStart(seed=100 * i + k),
            preprocessors=["flatten"],
            **executor,
        ) as runner,
        pytest.raises(EnvError, match="episode 2, seed 102, step 3, action 1"),
    ):
        runner.rollout(Constant(), steps=30)


def test_faults_are_located_where_a_runner_makes_its_own_histories() -> None:
    from runnerkit import GymRunner

    class Counting(GymRunner[Any, Any, int]):
        @override
        def process_transition(self, history: int | None, transition: Any) -> int:
            return (history or 0) + 1

    fleet = Fleet({1: Faults(step=raising(RuntimeError("boom"), at_step=4, in_episode=3))})
    with Counting(fleet, n_envs=2, history="transitions") as runner:
        with pytest.raises(EnvError) as caught:
            runner.rollout(Constant(), steps=30)
        assert (caught.value.env_index, caught.value.episode_index, caught.value.step) == (1, 2, 3)
        assert caught.value.histories == [13, 13]


@both_executors
def test_a_raising_first_reset_is_named_and_the_next_episode_is_another_one(executor: dict[str, Any]) -> None:
    boom = OSError("no device")
    fleet = Fleet({1: Faults(reset=raising(boom, at_step=0, in_episode=1))})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(
            EnvError, match=r"Env 1 \(episode 0, seed \d+\) raised in reset: OSError: no device"
        ) as caught:
            runner.rollout(Constant(), steps=3)
        assert caught.value.__cause__ is boom
        assert (caught.value.step, caught.value.action) == (None, None)
        assert [len(history) for history in collected(caught.value)] == [0, 0, 0]
        assert_usable(runner, 3)
        assert fleet.envs[1].seeds[1] != fleet.envs[1].seeds[0]


@both_executors
def test_an_env_that_cannot_begin_its_next_episode_loses_nothing_of_the_last(executor: dict[str, Any]) -> None:
    fleet = Fleet({1: Faults(reset=raising(OSError("gone"), at_step=0, in_episode=2))})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(EnvError, match=r"Env 1 \(episode 1, seed \d+\) raised in reset") as caught:
            runner.rollout(Constant(), steps=20)
        history = collected(caught.value)[1]
        assert len(history) == 5
        assert history.episodes[0].end_reason is EndReason.TERMINATED
        fleet.mend()
        assert_usable(runner, 3)


@both_executors
def test_an_env_that_cannot_be_made_is_named_and_the_others_are_closed(executor: dict[str, Any]) -> None:
    made: list[ScriptedEnv] = []
    boom = RuntimeError("licence")

    def make(seed: int | None) -> ScriptedEnv:
        if len(made) == 2:
            raise boom
        made.append(ScriptedEnv())
        return made[-1]

    with pytest.raises(EnvError, match="Env 2 could not be made: RuntimeError: licence") as caught:
        build(make, n_envs=4, **executor)
    assert caught.value.__cause__ is boom
    assert caught.value.env_index == 2
    assert (caught.value.episode_index, caught.value.seed, caught.value.step) == (None, None, None)
    assert [env.calls("close") for env in made] == [1, 1]
    assert runnerkit_threads() == []


def test_the_fault_that_made_a_runner_fail_is_told_though_closing_fails_too() -> None:
    def fail(env: ScriptedEnv) -> object:
        raise RuntimeError("stuck")

    made: list[ScriptedEnv] = []

    def make(seed: int | None) -> ScriptedEnv:
        if made:
            raise RuntimeError("licence")
        made.append(ScriptedEnv(faults=Faults(close=fail)))
        return made[-1]

    with pytest.raises(EnvError, match="Env 1 could not be made: RuntimeError: licence"):
        build(make, n_envs=2)


@pytest.mark.parametrize("thing", [None, 3, object(), ScriptedEnv], ids=["None", "a number", "an object", "a class"])
@both_executors
def test_a_factory_that_returns_no_env_is_named(executor: dict[str, Any], thing: object) -> None:
    with pytest.raises(EnvError, match=r"Env 0 could not be made: .*not a gymnasium.Env"):
        build(lambda seed: thing, n_envs=3, **executor)
    assert runnerkit_threads() == []


@both_executors
def test_envs_of_unequal_spaces_are_refused_and_closed(executor: dict[str, Any]) -> None:
    made: list[ScriptedEnv] = []

    def make(seed: int | None) -> ScriptedEnv:
        env = ScriptedEnv()
        if len(made) == 2:
            env.action_space = spaces.Discrete(4)
        made.append(env)
        return env

    with pytest.raises(
        SpaceError, match=r"same action_space: that of env 2 is Discrete\(4\), that of env 0 is Discrete"
    ):
        build(make, n_envs=3, **executor)
    assert [env.calls("close") for env in made] == [1, 1, 1]
    assert runnerkit_threads() == []


def test_an_env_without_a_space_is_refused() -> None:
    env = ScriptedEnv()
    env.observation_space = None  # type: ignore[assignment]
    with pytest.raises(SpaceError, match="Env 0 has no gymnasium Space as its observation_space, but None"):
        build(lambda seed: env)
    assert env.calls("close") == 1


class Unseedable(spaces.Discrete):
    @override
    def seed(self, seed: int | None = None) -> int:
        raise NotImplementedError("no generator")


def test_an_env_whose_space_cannot_be_seeded_is_closed() -> None:
    env = ScriptedEnv()
    env.action_space = Unseedable(2)
    with pytest.raises(EnvError, match="Env 0 could not be made: NotImplementedError: no generator"):
        build(lambda seed: env)
    assert env.calls("close") == 1


def test_a_render_that_raises_is_an_env_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    boom = RuntimeError("no context")
    fleet = Fleet({1: Faults(render=raising(boom, at_step=2))})
    with build(fleet, n_envs=2, render_mode="rgb_array") as runner:
        with pytest.raises(EnvError, match=r"Env 1 .*failed to render: RuntimeError: no context") as caught:
            runner.rollout(Constant(), steps=4, render=True, fps=10_000)
        assert caught.value.__cause__ is boom
        assert (caught.value.env_index, caught.value.episode_index) == (1, 0)
        assert [h.episodes[-1].end_reason for h in collected(caught.value)] == [EndReason.INTERRUPTED] * 2
        fleet.mend()
        assert_usable(runner, 2)


@both_executors
def test_a_close_that_raises_is_named_and_not_tried_again(executor: dict[str, Any]) -> None:
    boom = RuntimeError("stuck")

    def fail(env: ScriptedEnv) -> object:
        raise boom

    fleet = Fleet({1: Faults(close=fail)})
    runner = build(fleet, n_envs=3, **executor)
    runner.rollout(Constant(), steps=2)
    with pytest.raises(EnvError, match="Env 1 failed to close: RuntimeError: stuck") as caught:
        runner.close()
    assert caught.value.__cause__ is boom
    runner.close()
    assert [env.calls("close") for env in fleet.envs] == [1, 1, 1]


def test_an_env_that_changes_the_observations_it_returned_changes_no_history() -> None:
    class Reusing(ScriptedEnv):
        buffer = np.zeros(2, np.float32)

        @override
        def look(self) -> Any:
            self.buffer[:] = self.steps, self.episodes
            return self.buffer

    with build(lambda seed: Reusing(), n_envs=2) as runner:
        (history, _) = runner.rollout(Constant(), steps=4)
        assert history.observations[:, 0].tolist() == [0, 1, 2, 3]


# ---- use at the wrong time


@both_executors
def test_a_closed_runner_says_so(executor: dict[str, Any]) -> None:
    runner = build(Fleet(), n_envs=3, **executor)
    runner.close()
    with pytest.raises(ClosedError, match=r"was closed\. Build a new runner\."):
        runner.rollout(Constant(), steps=1)
    with pytest.raises(ClosedError, match="was closed"):
        runner.maybe_reset()


@both_executors
def test_a_second_rollout_at_the_same_time_is_refused(executor: dict[str, Any]) -> None:
    inside, refused, errors = threading.Event(), threading.Event(), list[BaseException]()

    def wait(observations: Any) -> Any:
        inside.set()
        assert refused.wait(10)
        return np.ones(len(observations), np.int64)

    with build(Fleet(), n_envs=3, **executor) as runner:

        def second() -> None:
            assert inside.wait(10)
            try:
                runner.rollout(Constant(), steps=1)
            except BaseException as error:
                errors.append(error)
            refused.set()

        thread = threading.Thread(target=second)
        thread.start()
        histories = runner.rollout(Answer(wait), steps=7)
        thread.join()
        (error,) = errors
        assert isinstance(error, ArgumentError)
        assert "is already in a rollout" in str(error)
        assert [len(history) for history in histories] == [7, 7, 7]
        assert [len(history) for history in runner.rollout(Constant(), steps=3)] == [3, 3, 3]


@both_executors
def test_closing_a_runner_in_its_own_rollout_does_not_step_closed_envs(executor: dict[str, Any]) -> None:
    fleet = Fleet()
    runner = build(fleet, n_envs=3, **executor)

    def close(observations: Any) -> Any:
        runner.close()
        return np.ones(len(observations), np.int64)

    with pytest.raises(RunnerKitError):
        runner.rollout(Answer(close), steps=3)
    runner.close()
    for env in fleet.envs:
        names = [name for name, _ in env.journal]
        assert names.count("close") == 1
        assert names[-1] == "close"


# ---- memory


def images(seed: int | None) -> gymnasium.Env[Any, Any]:
    return SpaceEnv(spaces.Box(0, 255, (210, 160, 3), np.uint8), DISCRETE)


def test_a_rollout_that_does_not_fit_into_memory_says_how_much_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._core.memory.available_bytes", lambda: 8_000_000_000)
    with build(images, n_envs=4) as runner:
        with pytest.raises(
            MemoryBudgetError, match=r"1,000,000 steps x 4 envs needs arrays of 403\.3 GB; 8\.0 GB"
        ) as caught:
            runner.rollout(Constant(), steps=None)
        assert isinstance(caught.value, MemoryError)
        assert "fewer steps" in str(caught.value)
        assert "process_transition" in str(caught.value)
        assert [len(history) for history in runner.rollout(Constant(), steps=2)] == [2] * 4


def test_a_limit_of_addresses_counts_as_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(
            """
            import resource, runnerkit
            from runnerkit.errors import MemoryBudgetError
            with runnerkit.make("CartPole-v1", n_envs=64, seed=0) as runner:
                used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, resource.RLIM_INFINITY))
                try:
                    runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=200_000)
                except MemoryBudgetError as error:
                    print("GB are available" in str(error))
            """
        )],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr


def test_the_number_of_steps_that_a_memory_error_proposes_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._core.memory.available_bytes", lambda: 70_000_000)
    with build(images, n_envs=2) as runner:
        with pytest.raises(MemoryBudgetError) as caught:
            runner.rollout(Constant(), steps=10_000)
        proposed = int(str(caught.value).split("rollout(agent, steps=")[1].split(")")[0])
        assert proposed >= 1
        assert [len(history) for history in runner.rollout(Constant(), steps=min(proposed, 20))] == [20, 20]


def test_a_rollout_that_outgrows_the_memory_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._core.memory._NEVER_MIND", 0)
    free = iter([10**9] * 4)  # asked twice as it begins, and twice as it grows
    monkeypatch.setattr("runnerkit._core.memory.available_bytes", lambda: next(free, 10))
    with build(Fleet(length=1000), n_envs=2) as runner:
        with pytest.raises(MemoryBudgetError) as caught:
            runner.rollout(Constant(), episodes=4)
        collected_steps = [len(history) for history in collected(caught.value)]
        assert collected_steps[0] == collected_steps[1] > 256
        assert all(h.episodes[-1].end_reason is EndReason.INTERRUPTED for h in collected(caught.value))
        assert "steps=0" not in str(caught.value)


def test_a_rollout_of_episodes_begins_with_the_steps_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._core.memory._NEVER_MIND", 0)
    room = 20_000  # for some 200 steps, and not for 256
    monkeypatch.setattr("runnerkit._core.memory.available_bytes", lambda: room)
    with build(Fleet(length=5), n_envs=2) as runner:
        assert [len(history) for history in runner.rollout(Constant(), episodes=4)] == [10, 10]
        room = 9
        with pytest.raises(MemoryBudgetError, match=r"1 steps x 2 envs"):
            runner.rollout(Constant(), episodes=2)


# ---- the errors themselves


@pytest.mark.parametrize(
    "error",
    [
        ArgumentError("a"),
        UnknownNameError("env", "x", ["y"], "hint"),
        MemoryBudgetError("m"),
        EnvSpaceError("e", env_index=3, episode_index=2, seed=1, step=0, action=np.zeros(2)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling_and_copying(error: RunnerKitError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.__dict__.keys() == error.__dict__.keys()


def test_every_rollout_error_is_a_runner_kit_error() -> None:
    for kind in (AgentError, EnvError, EnvSpaceError, MemoryBudgetError):
        assert issubclass(kind, RolloutError)
        assert issubclass(kind, RunnerKitError)


@pytest.mark.parametrize(("env_id", "known"), [("PongNoFrameskip-v4", True), ("Pong-v4", True), ("Pong-v5", False)])
def test_atari_ids_without_a_namespace_are_what_they_are_once_ale_is_imported(env_id: str, known: bool) -> None:
    pytest.importorskip("ale_py")
    if not known:
        with pytest.raises(UnknownNameError, match="Did you mean 'ALE/Pong-v5'"):
            runnerkit.make(env_id)
        return
    with runnerkit.make(env_id) as runner:
        env = runner.make_env()
        env.close()
    assert env.spec is not None
    assert env.spec.id == env_id
