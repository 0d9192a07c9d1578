"""`min_batch`: each env goes at its own pace, and its data are those of lockstep."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import SPACES, HashAgent, SampleEnv, any_space, exact, summary
from faulty_envs import (
    GO_ON,
    Constant,
    Faults,
    Fleet,
    ScriptedEnv,
    build,
    collected,
    raising,
    wait_for_those_left_behind,
)
from gymnasium import Space
from gymnasium.vector import SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import EndReason, EpisodeStart, GymRunner, RandomAgent
from runnerkit.agents import FixedBatch
from runnerkit.errors import AgentError, ArgumentError, EnvError, EnvTimeoutError, RolloutError, RolloutInterrupted
from runnerkit.executors.waiting import Patience
from runnerkit.history import EndedEpisode
from runnerkit.processors import FrameStack, Normalize

LONG = 30.0
OWN_PACE: list[dict[str, Any]] = [
    {"executor": "serial"},
    {"executor": "threads"},
    *({"executor": "threads", "workers": workers} for workers in (1, 2, 3)),
    {"executor": "auto"},
    {"executor": "asyncio"},
]


@pytest.fixture(autouse=True, scope="module")
def _blocks_of_unknown_length_begin_small() -> Any:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("runnerkit._rollout.blocks._FIRST_STEPS", 3)
        yield


class Uneven(SampleEnv):
    """Takes now a moment and now none for a step, or a reset."""

    @override
    def reset(self, **options: Any) -> Any:
        time.sleep(random.choice([0, 0, 0.001]))
        return super().reset(**options)

    @override
    def step(self, action: Any) -> Any:
        time.sleep(random.choice([0, 0, 0, 0.0005, 0.002]))
        return super().step(action)


class Recurrent:
    """Acts by how many steps ago the episode of each row began, and returns that as a column, too."""

    def __init__(self, action_space: Space[Any]) -> None:
        self._inner = HashAgent(action_space)
        self._steps: dict[int, int] = {}
        self._active: Sequence[int] = ()

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        self._active = env_indices

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        self._steps.update(dict.fromkeys(env_indices, 0))

    def act(self, observations: Any, /) -> Any:
        column = np.array([self._steps[i] for i in self._active])
        for i in self._active:
            self._steps[i] += 1
        return self._inner.act(observations), {"age": column}


AGENTS: list[Callable[[Space[Any]], Any]] = [HashAgent, Recurrent, lambda space: RandomAgent(space, seed=3)]
some_rollouts = st.lists(
    st.tuples(st.sampled_from(["steps", "episodes", "once"]), st.integers(1, 12)), min_size=1, max_size=4
)


def by_index(env_index: int, episode_index: int) -> EpisodeStart:
    return EpisodeStart(10 * env_index + episode_index)


def run(make: Any, rollouts: Any, agent: Callable[[Space[Any]], Any], min_batch: int | None, **options: Any) -> Any:
    results = []
    with GymRunner(make, **options) as runner:
        acting = agent(runner.action_space)
        for kind, number in rollouts:
            runner.auto_reset = kind != "once"
            limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
            histories = runner.rollout(acting, **limit, min_batch=min_batch)
            results += [
                (summary(history), {k: v.tobytes() for k, v in history.extras.items()}) for history in histories
            ]
    return results


@given(
    observation=any_space(),
    rollouts=some_rollouts,
    agent=st.sampled_from(AGENTS),
    executor=st.sampled_from(OWN_PACE),
    min_batch=st.integers(1, 5),
    more_envs=st.integers(0, 4),
    options=st.fixed_dictionaries(
        {"keep_infos": st.booleans()},
        optional={"schedule": st.just(by_index), "reward_processors": st.just([np.sign])},
    ),
)
@settings(max_examples=25)
def test_at_their_own_pace_envs_give_the_bytes_of_lockstep(
    observation: Space[Any], rollouts: Any, agent: Any, executor: Any, min_batch: int, more_envs: int, options: Any
) -> None:
    def make(seed: int | None) -> SampleEnv:
        return Uneven(observation, SPACES["Discrete"])

    options |= {"seed": 5, "n_envs": min_batch + more_envs}
    lockstep = run(make, rollouts, agent, None, executor="serial", **options)
    assert run(make, rollouts, agent, min_batch, **executor, **options) == lockstep


@pytest.mark.parametrize("options", OWN_PACE, ids=str)
@pytest.mark.parametrize("keep_raw", [False, True])
def test_processors_with_state_per_env_give_the_bytes_of_lockstep(options: dict[str, Any], keep_raw: bool) -> None:
    def data(min_batch: int | None, **options: Any) -> Any:
        rollouts = [("steps", 9), ("episodes", 7), ("steps", 1), ("once", 9)]
        parts: dict[str, Any] = {"preprocessors": ["time-aware", FrameStack(k=2)], "keep_raw": keep_raw}
        return run("CartPole-v1", rollouts, HashAgent, min_batch, seed=0, n_envs=4, **parts, **options)

    assert data(2, **options) == data(None, executor="serial")


@pytest.mark.parametrize("workers", [None, 3])
def test_nobody_waits_for_a_slow_env(workers: int | None) -> None:
    others_are_ahead = threading.Event()

    def wait(env: ScriptedEnv) -> object:
        assert others_are_ahead.wait(LONG)
        return GO_ON

    def note(env: ScriptedEnv) -> object:
        if (env.episodes, env.steps) == (3, 2):
            others_are_ahead.set()
        return GO_ON

    fleet = Fleet({2: Faults(step=wait), 1: Faults(step=note)})
    with build(fleet, n_envs=3, executor="threads", workers=workers) as runner:
        histories = runner.rollout(Constant(), steps=20, min_batch=1)
    assert [len(history) for history in histories] == [20] * 3


@pytest.mark.parametrize("options", OWN_PACE, ids=str)
def test_each_episode_is_told_of_once_with_its_rows(options: dict[str, Any]) -> None:
    told: list[Any] = []

    def on_episode(ended: EndedEpisode[Any, Any]) -> None:
        (part,) = ended.history().split()
        told.append((ended.record, ended.steps, exact(part.observations)))

    with GymRunner(lambda seed: Uneven(SPACES["float32"], SPACES["Discrete"]), 0, n_envs=3, **options) as runner:
        progress: list[int] = []
        histories = runner.rollout(
            HashAgent(runner.action_space),
            episodes=9,
            min_batch=2,
            on_episode=on_episode,
            progress=lambda now: progress.append(now.steps),
        )
    parts = [part for history in histories for part in history.split()]
    by_start = sorted(told, key=lambda one: (one[0].env_index, one[0].episode_index))
    assert [(record, rows) for record, _, rows in by_start] == [
        (part.record, exact(part.observations)) for part in parts
    ]
    steps = [steps for _, steps, _ in told]
    assert steps == sorted(steps)
    assert progress[-1] == sum(map(len, histories))


@pytest.mark.parametrize("options", OWN_PACE, ids=str)
@pytest.mark.parametrize(
    "faults",
    [
        Faults(step=raising(OSError("gone"), at_step=3, in_episode=2)),
        Faults(reset=lambda env: 1 / (3 - env.episodes) and GO_ON),
    ],
)
def test_a_fault_has_what_each_env_collected(options: dict[str, Any], faults: Faults) -> None:
    with build(Fleet(), n_envs=3, seed=0, executor="serial") as runner:
        whole = runner.rollout(Constant(), steps=40)
    with build(Fleet({1: faults}), n_envs=3, seed=0, **options) as runner:
        with pytest.raises(EnvError, match="Env 1") as caught:
            runner.rollout(Constant(), steps=40, min_batch=2)
        histories = collected(caught.value)
        in_reset = faults.reset is not None
        assert len(histories[1]) == (10 if in_reset else 7)
        assert histories[1].episodes[-1].end_reason is (EndReason.TERMINATED if in_reset else EndReason.CRASHED)
        assert (caught.value.episode_index, caught.value.step) == ((2, None) if in_reset else (1, 2))
        for history, all_of_it in zip(histories, whole, strict=True):
            assert (history.observations == all_of_it.observations[: len(history)]).all()
        assert [len(history) for history in runner.rollout(lambda x: [1] * len(x), steps=1)] == [1] * 3


def test_a_step_counts_that_was_made_before_another_one_failed_in_the_same_wait() -> None:
    fleet = Fleet({1: Faults(step=raising(OSError("gone"), at_step=1, in_episode=1))})
    with build(fleet, n_envs=3, executor="serial") as runner, pytest.raises(EnvError, match="Env 1") as caught:
        runner.rollout(Constant(), steps=40, min_batch=2)
    assert [len(history) for history in collected(caught.value)] == [1, 0, 0]
    assert fleet.envs[0].calls("step") == 1


def test_an_env_that_hangs_is_left_behind_and_the_others_keep_their_data() -> None:
    go_on = threading.Event()
    fleet = Fleet({1: Faults(step=lambda env: GO_ON if env.steps < 4 else go_on.wait(LONG))})
    runner = build(fleet, n_envs=3, executor="threads", step_timeout=0.3)
    with pytest.raises(EnvTimeoutError, match=r"did not return from step within 0\.3 s") as caught:
        runner.rollout(Constant(), steps=200, min_batch=1)
    first, hung, last = collected(caught.value)
    assert (len(hung), hung.episodes[-1].end_reason, caught.value.action) == (3, EndReason.TIMED_OUT, 1)
    assert min(len(first), len(last)) > 3
    go_on.set()
    wait_for_those_left_behind(runner)
    runner.close()


@pytest.mark.parametrize("min_batch", [3, None])
@pytest.mark.parametrize(("workers", "failing"), [(2, 0), (3, 0), (3, 2)])
def test_a_fault_does_not_wait_for_an_env_that_hangs(
    workers: int, failing: int, min_batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patience, "_AFTER_FAULT_S", 0.2)
    go_on = threading.Event()
    hangs = Faults(step=lambda env: GO_ON if env.steps < 2 else go_on.wait(LONG))
    fleet = Fleet({failing: Faults(step=raising(OSError("gone"), at_step=2)), 3: hangs})
    runner = build(fleet, n_envs=4, executor="threads", workers=workers)
    began = time.monotonic()
    with pytest.raises(RolloutError) as caught:
        runner.rollout(Constant(), steps=10, min_batch=min_batch)
    assert "gone" in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert time.monotonic() - began < LONG / 2
    go_on.set()
    wait_for_those_left_behind(runner)
    runner.close()


@pytest.mark.parametrize("options", OWN_PACE, ids=str)
def test_after_ctrl_c_the_histories_have_what_each_env_collected(options: dict[str, Any]) -> None:
    def press(env: ScriptedEnv) -> object:
        if (env.episodes, env.steps) == (4, 2):
            signal.raise_signal(signal.SIGINT)
        return GO_ON

    with build(Fleet({0: Faults(step=press)}), n_envs=3, **options) as runner:
        with pytest.raises(RolloutInterrupted) as caught:
            runner.rollout(Constant(), steps=100_000, min_batch=1)
        lengths = [len(history) for history in collected(caught.value)]
        assert min(lengths) > 0
        assert lengths[0] >= 17
        tails = {history.episodes[-1].end_reason for history in collected(caught.value)}
        assert tails <= {EndReason.INTERRUPTED, EndReason.TERMINATED}
        assert [len(history) for history in runner.rollout(Constant(), steps=7, min_batch=2)] == [7] * 3


def test_after_a_deadline_each_env_goes_on_where_it_stands() -> None:
    with build(Fleet(length=1000), n_envs=3, seed=0, executor="threads") as runner:
        first = runner.rollout(Constant(), deadline=0.2, min_batch=1)
        second = runner.rollout(Constant(), steps=5, min_batch=1)
    for before, after in zip(first, second, strict=True):
        rows = np.concatenate([before.observations, after.observations])
        expected = [(step % 1000, 1 + step // 1000) for step in range(len(rows))]
        assert [tuple(row) for row in rows.astype(int).tolist()] == expected
        assert after.episodes[0].steps_before == len(before) % 1000


def test_what_an_agent_raises_comes_with_the_histories() -> None:
    calls: list[int] = []

    def act(observations: NDArray[Any]) -> list[int]:
        calls.append(len(observations))
        if len(calls) == 20:
            raise ZeroDivisionError
        return [1] * len(observations)

    with build(Fleet(), n_envs=3, executor="threads") as runner:
        with pytest.raises(AgentError, match="The agent raised") as caught:
            runner.rollout(act, steps=100, min_batch=1)
        assert sum(map(len, collected(caught.value))) == sum(calls[:-1])


class OwnHistory(GymRunner[Any, Any, list[float]]):
    @override
    def process_transition(self, history: list[float] | None, transition: Any) -> list[float]:
        return [*(history or []), transition.reward]


@pytest.mark.parametrize(
    ("options", "call", "message"),
    [
        ({}, {"min_batch": 0}, "min_batch must be a whole number from 1 to n_envs, 3, not 0"),
        ({}, {"min_batch": 4}, "from 1 to n_envs, 3, not 4"),
        ({"min_batch": True}, {}, "from 1 to n_envs, 3, not True"),
        ({"preprocessors": ["normalize"]}, {"min_batch": 1}, "the running statistics of processor normalize"),
        ({"render_mode": "rgb_array"}, {"min_batch": 1, "render": True}, "min_batch or render"),
        ({"runner_class": OwnHistory}, {"min_batch": 1}, "overrides process_transition"),
        ({"env": lambda seed: SyncVectorEnv([ScriptedEnv] * 3)}, {"min_batch": 1}, "a vector env steps all"),
    ],
)
def test_what_cannot_be_at_its_own_pace_is_refused(options: dict[str, Any], call: dict[str, Any], message: str) -> None:
    options = {"env": "CartPole-v1", "runner_class": GymRunner, **options}
    make, runner_class = options.pop("env"), options.pop("runner_class")
    with pytest.raises(ArgumentError, match=message), runner_class(make, n_envs=3, **options) as runner:
        runner.rollout(Constant(), steps=3, **call)


def test_the_runner_has_a_default_and_frozen_statistics_are_taken() -> None:
    frozen = Normalize()
    frozen.freeze()
    sizes: list[int] = []

    def act(observations: NDArray[Any]) -> list[int]:
        sizes.append(len(observations))
        return [0] * len(observations)

    make: Any = gymnasium.make
    with GymRunner(
        lambda seed: make("CartPole-v1"), n_envs=4, executor="serial", min_batch=2, preprocessors=[frozen]
    ) as r:
        r.rollout(act, steps=8)
        assert set(sizes[1:]) == {2}
        sizes.clear()
        r.rollout(act, steps=8, min_batch=4)
        assert set(sizes) == {4}


class Matrix:
    """A small network in float32, whose last bits depend on the number of rows; and its values as a column."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self._first = generator.standard_normal((4, 96)).astype(np.float32)
        self._second = generator.standard_normal((96, 2)).astype(np.float32)

    def act(self, observations: NDArray[np.float32], /) -> Any:
        logits = np.tanh(observations @ self._first) @ self._second
        return logits.argmax(axis=1), {"logits": logits}


@pytest.mark.parametrize("options", [{"executor": "serial"}, {"executor": "threads"}], ids=str)
def test_an_agent_with_a_fixed_batch_gives_the_last_bits_of_lockstep(options: dict[str, Any]) -> None:
    def data(agent: Callable[[Space[Any]], Any], min_batch: int | None, **options: Any) -> Any:
        return run("CartPole-v1", [("steps", 60), ("episodes", 9)], agent, min_batch, seed=0, n_envs=7, **options)

    fixed = data(lambda space: FixedBatch(Matrix(), 7), None, executor="serial")
    assert data(lambda space: FixedBatch(Matrix(), 7), 2, **options) == fixed
    assert data(lambda space: Matrix(), None, executor="serial")[:7] == fixed[:7]


def test_an_agent_with_state_has_no_fixed_batch() -> None:
    with pytest.raises(ArgumentError, match="Recurrent has begin_episodes"):
        FixedBatch(Recurrent(gymnasium.spaces.Discrete(2)), 2)
    nested = FixedBatch(lambda rows: (rows["a"], rows["b"][0]), 3)
    nested.set_active_envs([2, 0])
    first, second = nested.act({"a": np.array([1.0, 2.0]), "b": ([5, 6],)})
    assert (first.tolist(), second.tolist()) == ([1.0, 2.0], [5, 6])
