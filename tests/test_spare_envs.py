"""`spare_envs`: the next episode begins in a spare env while its env is stepped, and nothing else changes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import SPACES, HashAgent, SampleEnv, any_space, exact, summary
from faulty_envs import GO_ON, Constant, Faults, Fleet, ScriptedEnv, build, collected, runnerkit_threads
from gymnasium import Space, spaces
from gymnasium.vector import SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

import runnerkit
from runnerkit import EndReason, EpisodeStart, GymRunner
from runnerkit._envs.elsewhere import call_elsewhere, end_processes, process_ids
from runnerkit._envs.repeatable import depends_on_apart
from runnerkit.errors import ArgumentError, EnvError, EnvTimeoutError, RolloutError
from runnerkit.executors import AutoExecutor, SeedSchedule

LONG = 30.0
SPARE: dict[str, Any] = {"spare_envs": 1, "repeatable": True}
EXECUTORS: list[dict[str, Any]] = [
    {"executor": "serial"},
    {"executor": "auto"},
    {"executor": "threads"},
    *({"executor": "threads", "workers": workers} for workers in (1, 2, 3)),
]


class Scaled(SampleEnv):
    """Its rewards and first observations depend on an attribute, which can be set."""

    scale = 1.0
    thread_safe = True

    @override
    def reset(self, **options: Any) -> Any:
        time.sleep(self._short_while())
        observation, info = super().reset(**options)
        return observation, {**info, "scale": self.scale}

    @override
    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, reward * self.scale, *rest

    def set_scale(self, scale: float) -> float:
        before, self.scale = self.scale, scale
        return before

    @override
    def render(self) -> Any:
        return np.full((4, 6, 3), self._left, np.uint8)

    @staticmethod
    def _short_while() -> float:
        return float(np.random.default_rng().choice([0, 0, 0.001]))


def scaled(seed: int | None) -> Scaled:
    return Scaled(SPACES["float32"], SPACES["Discrete"])


def with_options(env_index: int, episode_index: int) -> EpisodeStart:
    return EpisodeStart(10 * env_index + episode_index, {"length": 1 + (env_index + episode_index) % 4})


KINDS = ["steps", "episodes", "once", "reset", "set_attr", "call", "stream"]
some_programs = st.lists(
    st.tuples(
        st.sampled_from(["steps", "episodes", "once", "reset", "set_attr", "call", "stream"]), st.integers(1, 12)
    ),
    min_size=1,
    max_size=5,
)


def columns(batch: Any) -> Any:
    names = ["observations", "env_actions", "rewards", "terminated", "truncated", "next_observations", "bootstrap"]
    return [exact(getattr(batch, name)) for name in names], list(batch.episodes)


def run(make: Any, program: Any, min_batch: int | None = None, **options: Any) -> Any:
    """Do one thing after the other with a runner; return all that can be seen of it."""
    seen: list[Any] = []
    with GymRunner(make, **options) as runner:
        agent = HashAgent(runner.action_space)
        for kind, number in program:
            runner.auto_reset = kind != "once"
            if kind == "set_attr":
                runner.set_attr("scale", float(number), env_indices=[number % runner.n_envs])
            elif kind == "call":
                seen.append(runner.call("set_scale", 1.0 / number))
            elif kind == "reset":
                runner.maybe_reset()
            elif kind == "stream":
                batches = runner.stream(agent, steps=number)
                seen += [columns(next(batches)) for _ in range(2)]
                batches.close()
            else:
                limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
                seen += [summary(history) for history in runner.rollout(agent, **limit, min_batch=min_batch)]
            seen.append(runner.get_attr("scale"))
        seen.append({key: value for key, value in runner.state_dict().items() if key != "processors"})
    return seen


@given(
    observation=any_space(),
    program=some_programs,
    executor=st.sampled_from(EXECUTORS),
    n_envs=st.integers(1, 4),
    spare_envs=st.integers(1, 3),
    own_pace=st.booleans(),
    options=st.fixed_dictionaries(
        {"keep_infos": st.booleans()},
        optional={
            "schedule": st.just(with_options),
            "thread_safe": st.just(True),
            "preprocessors": st.just(["frame-stack"]),
            "on_env_error": st.just("restart"),
        },
    ),
)
@settings(max_examples=40)
def test_spares_do_not_change_a_bit(
    observation: Space[Any], program: Any, executor: Any, n_envs: int, spare_envs: int, own_pace: bool, options: Any
) -> None:
    def make(seed: int | None) -> SampleEnv:
        return Scaled(observation, SPACES["Discrete"])

    if "preprocessors" in options and observation != SPACES["float32"]:
        del options["preprocessors"]
    own_pace = own_pace and "on_env_error" not in options
    options |= {"seed": 5, "n_envs": n_envs}
    plain = run(make, program, executor="serial", **options)
    min_batch = 1 + n_envs // 2 if own_pace else None
    assert run(make, program, min_batch, spare_envs=spare_envs, repeatable=True, **executor, **options) == plain


@pytest.mark.parametrize(
    ("options", "schedule"),
    [({"workers": 2}, None), ({"workers": 1, "on_env_error": "restart"}, with_options)],
    ids=["two workers", "restarts"],
)
def test_spares_do_not_change_a_bit_in_other_processes(options: dict[str, Any], schedule: Any) -> None:
    def make(seed: int | None) -> SampleEnv:
        return Scaled(SPACES["Dict"] if schedule is None else SPACES["Text"], SPACES["Discrete"])

    program = [("steps", 9), ("call", 3), ("episodes", 7), ("reset", 1), ("set_attr", 2), ("stream", 5), ("once", 9)]
    shared: dict[str, Any] = {"seed": 5, "n_envs": 3, "keep_infos": True, "schedule": schedule}
    plain = run(make, program, executor="serial", **shared)
    given: dict[str, Any] = {"executor": "processes", "spare_envs": 2, "repeatable": True, **options}
    assert run(make, program, **given, **shared) == plain


def test_a_runner_with_spares_goes_on_where_one_without_them_stood_and_the_other_way_round() -> None:
    def make(**options: Any) -> GymRunner[Any, Any, Any]:
        return GymRunner(scaled, 0, n_envs=3, **options)

    results = []
    for first, second in [({}, {}), ({}, SPARE), (SPARE, {})]:
        with make(**first) as runner:
            agent = HashAgent(runner.action_space)
            runner.rollout(agent, steps=8)
            state = runner.state_dict()
        with make(**second) as runner:
            runner.load_state_dict(state)
            histories = runner.rollout(agent, steps=11)
            assert runnerkit.replay(histories, env=scaled).first is None
            results.append([summary(history) for history in histories])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("options", [*EXECUTORS, {"executor": "threads", "step_timeout": LONG}], ids=str)
@pytest.mark.parametrize("spare_envs", [1, 2])
def test_the_next_episodes_begin_while_the_env_is_stepped(options: dict[str, Any], spare_envs: int) -> None:
    begun = {SEEDS(i, k).seed: threading.Event() for i in range(2) for k in range(12)}

    class Awaiting(Scaled):
        @override
        def reset(self, **options: Any) -> Any:
            self.seed = options["seed"]
            begun[self.seed].set()
            return super().reset(**{**options, "options": {"length": 3}})

        @override
        def step(self, action: Any) -> Any:
            i, k = where[self.seed]
            for ahead in range(1, 1 + spare_envs):
                assert begun[SEEDS(i, k + ahead).seed].wait(LONG), "nobody has begun the next episode"
            return super().step(action)

    where = {SEEDS(i, k).seed: (i, k) for i in range(2) for k in range(12)}
    with GymRunner(
        lambda seed: Awaiting(SPACES["float32"], SPACES["Discrete"]),
        RUN_SEED,
        n_envs=2,
        spare_envs=spare_envs,
        repeatable=True,
        **options,
    ) as runner:
        histories: Any = runner.rollout(HashAgent(runner.action_space), steps=12)
        assert [len(history.episodes) for history in histories] == [4, 4]
        histories = runner.rollout(HashAgent(runner.action_space), episodes=4)
        assert sum(len(history.episodes) for history in histories) == 4
    assert runnerkit_threads() == []


RUN_SEED = 3
SEEDS = SeedSchedule(RUN_SEED)


def test_a_curriculum_is_asked_as_without_spares() -> None:
    def told(**options: Any) -> Any:
        asked: list[tuple[int, int]] = []

        def curriculum(env_index: int, episode_index: int) -> EpisodeStart:
            asked.append((env_index, episode_index))
            return EpisodeStart(len(asked), {"length": 1 + len(asked) % 3})

        with GymRunner(scaled, 0, n_envs=2, schedule=curriculum, **options) as runner:
            agent = HashAgent(runner.action_space)
            histories = [*runner.rollout(agent, steps=9), *runner.rollout(agent, episodes=5)]
        return asked, [summary(history) for history in histories]

    assert told(**SPARE) == told()


class Drawing(SampleEnv):
    """Draws into an array in each reset, and ends where it was not drawn."""

    thread_safe = True
    goal: Any = None
    undone = 0

    @override
    def reset(self, **options: Any) -> Any:
        observation, info = super().reset(**options)
        if self.goal is not None:
            self.goal[:] = self.np_random.random(2)
        self.t = 0
        return observation, info

    @override
    def step(self, action: Any) -> Any:
        self.t += 1
        observation, reward, *rest = super().step(action)
        return observation, reward + self.undone + (0 if self.goal is None else self.goal.sum()), *rest

    def undo(self, *_: object) -> None:
        self.undone += 1
        if not self.t:
            raise ValueError("there is nothing to undo")


@pytest.mark.parametrize("spare_envs", [1, 2])
@pytest.mark.parametrize(
    ("name", "values", "message"),
    [("goal", (np.ones(2),), ""), ("undo", (), "nothing to undo"), ("undo", (threading.Lock(),), "cannot be copied")],
    ids=str,
)
def test_a_call_that_a_spare_takes_otherwise_changes_no_bit(
    name: str, values: Any, message: str, spare_envs: int
) -> None:
    def told(**options: Any) -> Any:
        seen: list[Any] = []
        with GymRunner(lambda seed: Drawing(SPACES["float32"], SPACES["Discrete"]), 0, **options) as runner:
            agent = HashAgent(runner.action_space)
            for steps in (8, 5, 30):
                seen += [summary(history) for history in runner.rollout(agent, steps=steps)]
                if name == "goal":
                    runner.set_attr("goal", *values)
                else:
                    try:
                        runner.call("undo", *values)
                    except EnvError as error:
                        seen.append(str(error))
        return seen

    plain = told()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert told(spare_envs=spare_envs, repeatable=True) == plain
    assert all(message in str(one.message) for one in caught)
    assert bool(caught) == bool(message)


def test_frames_are_of_the_env_that_is_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    class Screen:
        needs_frames = True

        def __init__(self, *of: object) -> None: ...
        def begin(self, returns: Any) -> None: ...
        def wait(self) -> None: ...
        def count(self, *of: object) -> None: ...
        def close(self) -> None: ...
        def show(self, frames: Any, env_indices: Any) -> None:
            shown.append((exact(frames), list(env_indices)))

    class Drawn(Scaled):
        render_mode: str | None = "rgb_array"

    monkeypatch.setattr("runnerkit._rollout.stepping.Screen", Screen)
    for options in ({}, SPARE):
        with build(lambda seed: Drawn(SPACES["float32"], SPACES["Discrete"]), seed=0, n_envs=2, **options) as runner:
            runner.rollout(HashAgent(runner.action_space), steps=12, render=True)
    assert shown[:12] == shown[12:]


# ---- faults


@pytest.mark.parametrize("options", EXECUTORS, ids=str)
def test_what_a_spare_raises_in_reset_is_told_of_the_episode_that_it_was_for(options: dict[str, Any]) -> None:
    begun = threading.Event()

    def fails(env: ScriptedEnv) -> object:
        if env.seeds[-1] == SEEDS(0, 2).seed:
            begun.set()
            raise OSError("no more levels")
        return GO_ON

    def wait(env: ScriptedEnv) -> object:
        assert env.seeds[-1] != SEEDS(0, 1).seed or begun.wait(LONG)
        return GO_ON

    faults = Faults(reset=fails, step=wait)
    with build(Fleet(dict.fromkeys(range(4), faults)), n_envs=2, seed=RUN_SEED, **SPARE, **options) as runner:
        with pytest.raises(EnvError, match=r"Env 0 .* raised in reset: OSError: no more levels") as caught:
            runner.rollout(Constant(), steps=20)
        error = caught.value
        assert (error.env_index, error.episode_index, error.seed) == (0, 2, SEEDS(0, 2).seed)
        assert "in a spare env" in error.__cause__.__notes__[0]  # type: ignore[union-attr]
        assert [len(history) for history in collected(error)] == [10, 10]


def test_a_fault_of_an_episode_that_does_not_come_is_no_fault() -> None:
    def fails(env: ScriptedEnv) -> object:
        if env.seeds[-1] == SEEDS(0, 2).seed:
            raise OSError("no more levels")
        return GO_ON

    with build(Fleet(dict.fromkeys(range(2), Faults(reset=fails))), seed=RUN_SEED, **SPARE) as runner:
        (history,) = runner.rollout(Constant(), steps=10)
    assert [episode.end_reason for episode in history.episodes] == [EndReason.TERMINATED] * 2


def hangs_in(episode_index: int, is_over: threading.Event) -> Faults:
    def hang(env: ScriptedEnv) -> object:
        if env.seeds[-1] == SEEDS(0, episode_index).seed:
            is_over.wait(LONG)
        return GO_ON

    return Faults(reset=hang)


def test_a_reset_that_hangs_in_a_spare_is_timed_out_as_that_of_its_episode() -> None:
    is_over = threading.Event()
    fleet = Fleet(dict.fromkeys(range(2), hangs_in(1, is_over)))
    options: dict[str, Any] = {"executor": "threads", "reset_timeout": 0.2}
    runner = build(fleet, seed=RUN_SEED, **SPARE, **options)
    with pytest.raises(EnvTimeoutError, match="reset_timeout") as caught:
        runner.rollout(Constant(), steps=10)
    assert caught.value.episode_index == 1
    with pytest.warns(RuntimeWarning, match="The thread is left behind"):
        runner.close()
    is_over.set()
    while runnerkit_threads():
        time.sleep(0.001)


def test_a_spare_that_hangs_is_left_behind_when_the_runner_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit.executors.spares._CLOSE_S", 0.1)
    is_over = threading.Event()
    fleet = Fleet(dict.fromkeys(range(2), hangs_in(1, is_over)))
    runner = build(fleet, seed=RUN_SEED, **SPARE, executor="serial")
    runner.rollout(Constant(), steps=3)
    with pytest.warns(RuntimeWarning, match="runnerkit-spare-0-0 did not end in time: a spare env hangs in reset"):
        runner.close()
    assert [env.calls("close") for env in fleet.envs] == [1, 0]
    is_over.set()
    while runnerkit_threads():
        time.sleep(0.001)


def test_all_envs_are_closed_though_some_fail_to() -> None:
    def fails(env: ScriptedEnv) -> object:
        raise OSError("still open")

    fleet = Fleet({0: Faults(close=fails), 2: Faults(close=fails)})
    runner = build(fleet, spare_envs=2, repeatable=True)
    runner.rollout(Constant(), steps=12)
    with pytest.raises(EnvError, match="Env 0 failed to close: OSError: still open") as caught:
        runner.close()
    assert "another env of the same index failed to close" in caught.value.__cause__.__notes__[0]  # type: ignore[union-attr]
    assert [env.calls("close") for env in fleet.envs] == [1, 1, 1]
    assert runnerkit_threads() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_of_the_program_goes_on_without_spares() -> None:
    with build(scaled, seed=0, **SPARE, executor="serial") as runner:
        agent = HashAgent(runner.action_space)
        runner.rollout(agent, steps=5)
        pid = os.fork()
        if not pid:
            runner.rollout(agent, steps=20)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


# ---- refusals


@pytest.fixture
def _processes_to_check_in() -> None:
    """Start the processes in which envs are checked; they are there for all tests of this module."""
    call_elsewhere(int)


class Counting(gymnasium.Env[Any, Any]):
    """Its observation counts episodes, as no function of a seed does."""

    observation_space: Space[Any] = spaces.Box(0, np.inf, (1,), np.float32)
    action_space: Space[Any] = spaces.Discrete(2)
    episodes = 0

    @override
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.episodes += 1
        return np.array([self.episodes], np.float32), {}

    @override
    def step(self, action: Any) -> Any:
        return np.array([self.episodes], np.float32), 0.0, bool(self.np_random.random() < 0.3), False, {}


class Sharing(Counting):
    """Two of them that work at the same time disturb each other, though each alone is a function of its seed."""

    begun: list[float] = []  # noqa: RUF012

    @override
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        Sharing.begun[:] = [self.np_random.random()]
        return np.zeros(1, np.float32), {}

    @override
    def step(self, action: Any) -> Any:
        time.sleep(1e-4)
        return np.array(Sharing.begun, np.float32), 0.0, bool(self.np_random.random() < 0.3), False, {}


class OfOneThread(Scaled):
    """Begins in a data base that only the thread that opened it may use."""

    def __init__(self) -> None:
        super().__init__(SPACES["float32"], SPACES["Discrete"])
        self.levels = sqlite3.connect(":memory:")

    @override
    def reset(self, **options: Any) -> Any:
        self.levels.execute("SELECT 1")
        return super().reset(**options)

    @override
    def close(self) -> None:
        self.levels.close()


def plain_env(seed: int | None) -> ScriptedEnv:
    return ScriptedEnv()


def holding(lock: threading.Lock) -> tuple[Any, Any]:
    """Return a factory and a schedule that cannot be pickled."""
    return lambda seed: ScriptedEnv(length=1 + lock.locked()), lambda i, k: EpisodeStart(k + lock.locked())


FACTORY, SCHEDULE = holding(threading.Lock())
NORMALIZED: Any = lambda seed: gymnasium.wrappers.NormalizeObservation(gymnasium.make("CartPole-v1"))  # noqa: E731
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "an env that counts": (
        lambda seed: Counting(),
        {},
        r"this one is none\. It depends on earlier episodes: .* Fix: .* pass repeatable=True",
    ),
    "envs that share": (lambda seed: Sharing(), {}, "depends on envs at work at the same time"),
    "an env of one thread": (lambda seed: OfOneThread(), {}, "the thread that resets it: it raised ProgrammingError"),
    "one of a list": ([lambda seed: gymnasium.make("CartPole-v1"), NORMALIZED], {}, "earlier episodes"),
    "told so": (plain_env, {"repeatable": False}, "repeatable=False says that it is none"),
    "cannot be sent": (FACTORY, {}, r"cannot be checked in another process.* pass repeatable=True"),
    "asyncio": (plain_env, {"executor": "asyncio"}, r"spare_envs needs executor='threads', .*, not 'asyncio'"),
    "a vector env": (
        lambda seed: SyncVectorEnv([ScriptedEnv]),
        {"executor": "serial"},
        "cannot be spare_envs=1: it begins all episodes itself",
    ),
    "windows": (lambda seed: ScriptedEnv(render_mode="human"), {}, "each spare would open a window"),
    "a schedule that cannot be copied": (plain_env, {"schedule": SCHEDULE}, "it cannot be copied"),
    "a negative number": (plain_env, {"spare_envs": -1}, "spare_envs must be a whole number of spares"),
    "no number": (plain_env, {"spare_envs": True}, "spare_envs must be a whole number of spares"),
    "repeatable as a word": (plain_env, {"repeatable": "yes"}, "repeatable must be True, False, or None"),
}


@pytest.mark.usefixtures("_processes_to_check_in")
@pytest.mark.parametrize("case", REFUSED)
def test_spares_are_refused_where_they_cannot_be_right(case: str) -> None:
    env, options, said = REFUSED[case]
    with pytest.raises(ArgumentError, match=said):
        build(env, **{"spare_envs": 1, **options})
    assert runnerkit_threads() == []


def test_an_env_that_comes_twice_is_refused() -> None:
    env = ScriptedEnv()
    with pytest.raises(EnvError, match="returned the same env twice, but spare_envs needs a new one each"):
        build(lambda seed: env, **SPARE)


def test_an_episode_without_a_seed_is_refused() -> None:
    with (
        build(plain_env, schedule=lambda i, k: EpisodeStart(None), **SPARE) as runner,
        pytest.raises(RolloutError, match="returned no seed, which spare_envs needs"),
    ):
        runner.rollout(Constant(), steps=1)


def test_an_env_is_checked_where_it_touches_nothing() -> None:
    made = []

    def make(seed: int | None) -> gymnasium.Env[Any, Any]:
        made.append(seed)
        return gymnasium.make("CartPole-v1")

    end_processes()
    wrappers = [gymnasium.wrappers.RecordEpisodeStatistics]
    with build(make, n_envs=1, spare_envs=1, keep_infos=True, wrappers=wrappers):
        assert len(made) == 2  # here; the check has copies
    assert not process_ids()
    assert depends_on_apart(scaled, infos=True) == []


def test_nobody_sees_what_stands_before_an_env_and_its_spares() -> None:
    seen: list[Any] = []
    for options in ({}, SPARE):
        executor = AutoExecutor(2)
        with build("CartPole-v1", n_envs=2, executor=executor, **options) as runner:
            spec = runner.made_by.parts, runner.get_attr("spec"), executor._trial.known_safe
            seen.append((spec, runner.get_attr("unwrapped")[0].spec))
    assert seen[0] == seen[1]
