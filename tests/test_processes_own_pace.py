"""`min_batch` with `executor="processes"`: the data are those of lockstep, and faults are told as ever."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import any_space, summary
from faulty_envs import Constant, build, collected
from gymnasium import Space
from hypothesis import given, settings
from hypothesis import strategies as st
from process_envs import INDEX, RUN_SEED, SEEDS, Mortals, Sleeping
from programs import as_soon_as
from test_own_pace import AGENTS, Uneven
from typing_extensions import override

from runnerkit import EndReason, EpisodeStart, GymRunner
from runnerkit.errors import EnvError, EnvTimeoutError, RolloutError, RolloutInterrupted
from runnerkit.executors.processes.handover import ControlWords, TurnLock
from runnerkit.executors.waiting import Patience

IN_HELPERS = ("processes", {"isolate": True})
MOSTLY_IN_HELPERS = ("processes", {"own_envs": 1})

some_rollouts = st.lists(
    st.tuples(st.sampled_from(["steps", "episodes", "once"]), st.integers(1, 12), st.integers(1, 4)),
    min_size=2,
    max_size=5,
)


def by_index(env_index: int, episode_index: int) -> EpisodeStart:
    """Begin with and without seeds and options, some of which have no room in a number."""
    k = 10 * env_index + episode_index
    return [EpisodeStart(k), EpisodeStart(2**64 + k), EpisodeStart(k, {"k": k})][k % 3]


@given(
    observation=any_space(),
    action=any_space(),
    rollouts=some_rollouts,
    agent=st.sampled_from(AGENTS),
    executor=st.sampled_from(["processes", IN_HELPERS, MOSTLY_IN_HELPERS]),
    workers=st.integers(1, 3),
    n_envs=st.integers(4, 6),
    options=st.fixed_dictionaries(
        {"keep_infos": st.booleans()},
        optional={"schedule": st.just(by_index), "reward_processors": st.just([np.sign])},
    ),
)
@settings(max_examples=5, deadline=None)  # as each starts processes
def test_at_their_own_pace_envs_in_processes_give_the_bytes_of_lockstep(
    observation: Space[Any],
    action: Space[Any],
    rollouts: Any,
    agent: Any,
    executor: Any,
    workers: int,
    n_envs: int,
    options: Any,
) -> None:
    def make(seed: int | None) -> Uneven:
        return Uneven(observation, action)

    def data(executor: Any, workers: int | None, *, own_pace: bool) -> Any:
        found = []
        with GymRunner(make, 5, n_envs=n_envs, executor=executor, workers=workers, **options) as runner:
            acting = agent(runner.action_space)
            for kind, number, min_batch in rollouts:
                runner.auto_reset = kind != "once"
                limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
                histories = runner.rollout(acting, **limit, min_batch=min_batch if own_pace else None)
                found += [(summary(one), {k: v.tobytes() for k, v in one.extras.items()}) for one in histories]
        return found

    if executor == MOSTLY_IN_HELPERS:
        workers = max(2, workers)
    assert data(executor, workers, own_pace=True) == data("serial", None, own_pace=False)


@pytest.fixture
def whole() -> Iterator[Any]:
    with build(Mortals("never", 0), n_envs=4, seed=RUN_SEED, executor="serial") as runner:
        yield runner.rollout(Constant(2), steps=60)


@pytest.mark.parametrize(
    ("executor", "where", "death"),
    [
        ("processes", "step", "SIGKILL"),
        (IN_HELPERS, "reset", "SIGKILL"),
        ("processes", "reset", "OSError"),
        (IN_HELPERS, "step", "OSError"),
    ],
    ids=str,
)
def test_an_env_that_fails_is_named_and_all_keep_what_they_collected(
    whole: Any, executor: Any, where: str, death: str
) -> None:
    place = (where, 3, 2, 3 if where == "step" else 0, death)
    workers = 2 if executor == "processes" else 1
    with build(Mortals(*place), n_envs=4, workers=workers, seed=RUN_SEED, executor=executor) as runner:
        with pytest.raises(EnvError, match=death) as caught:
            runner.rollout(Constant(2), steps=60, min_batch=1)
        error, histories = caught.value, collected(caught.value)
        assert (error.env_index, error.episode_index, error.seed) == (3, 2, SEEDS.episode_seed(3, 2))
        assert (error.step, error.action) == ((2, 2) if where == "step" else (None, None))
        assert len(histories[3]) == (10 if where == "step" else 8)
        assert histories[3].episodes[-1].end_reason is (EndReason.CRASHED if where == "step" else EndReason.TERMINATED)
        for history, all_of_it in zip(histories, whole, strict=True):
            assert (history.observations == all_of_it.observations[: len(history)]).all()
            assert (history.rewards == all_of_it.rewards[: len(history)]).all()
        if death == "OSError":
            assert [len(history) for history in runner.rollout(Constant(2), steps=5, min_batch=2)] == [5] * 4


def test_an_env_that_hangs_is_given_up_and_the_others_keep_their_data() -> None:
    make = lambda seed: Sleeping(seed, 100.0)  # noqa: E731
    with build(make, n_envs=4, workers=2, seed=RUN_SEED, executor="processes", step_timeout=0.5) as runner:
        with pytest.raises(EnvTimeoutError, match=r"did not return from step within 0\.5 s") as caught:
            runner.rollout(Constant(2), steps=10_000, min_batch=1)
        first, second, third, hung = collected(caught.value)
    assert (len(hung), hung.episodes[-1].end_reason, caught.value.action) == (5, EndReason.TIMED_OUT, 2)
    assert min(len(first), len(second)) > 5
    assert len(third) >= 5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_does_not_wait_for_an_env_that_hangs_though_both_have_one_helper(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patience, "_AFTER_FAULT_S", 0.2)

    class Failing(Sleeping):
        @override
        def step(self, action: Any) -> Any:
            if self._steps == 5 and not self._seconds:
                raise OSError("gone")
            return super().step(action)

    make = lambda seed: Failing(seed, 100.0, env_index=2)  # noqa: E731
    with (
        build(make, n_envs=3, workers=workers, seed=RUN_SEED, executor=IN_HELPERS) as runner,
        pytest.raises(EnvError, match="gone"),
    ):
        runner.rollout(Constant(2), steps=100, min_batch=2)


def test_nobody_waits_for_a_slow_env_in_another_process() -> None:
    lengths: list[int] = []

    class Counting(Constant):
        @override
        def act(self, observations: Any, /) -> Any:
            lengths.append(len(observations))
            return super().act(observations)

    make = lambda seed: Sleeping(seed, 1.0, at_step=1, env_index=1)  # noqa: E731
    with build(make, n_envs=2, workers=2, seed=RUN_SEED, executor=IN_HELPERS) as runner:
        histories = runner.rollout(Counting(), steps=20, min_batch=1)
    assert [len(history) for history in histories] == [20, 20]
    assert lengths[-19:] == [1] * 19  # of the slow one, after the other was done


def press(times: int, sleeping: list[int], folder: Path) -> threading.Thread:
    """Press Ctrl-C as soon as these envs sleep."""

    def do() -> None:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    return as_soon_as(lambda: all((folder / str(i)).exists() for i in sleeping), do)


def test_after_ctrl_c_each_env_has_what_it_collected(whole: Any, tmp_path: Path) -> None:
    make = lambda seed: Sleeping(seed, 1.0, at_step=61, folder=tmp_path)  # noqa: E731
    with build(make, n_envs=4, workers=2, seed=RUN_SEED, executor="processes") as runner:
        pressing = press(1, [3], tmp_path)
        with pytest.raises(RolloutInterrupted) as caught:
            runner.rollout(Constant(2), steps=100_000, min_batch=1)
        pressing.join()
        for history, all_of_it in zip(collected(caught.value), whole, strict=True):
            n = min(60, len(history))
            assert n > 0
            assert (history.observations[:n] == all_of_it.observations[:n]).all()
        assert [len(history) for history in runner.rollout(Constant(2), steps=5, min_batch=2)] == [5] * 4


@pytest.mark.parametrize("hanging", [[3], [0, 3]], ids=str)  # in a helper, and in this process, too
def test_a_second_ctrl_c_leaves_at_once_wherever_envs_hang(hanging: list[int], tmp_path: Path) -> None:
    class Later(Sleeping):
        """Hangs after env 3, as nobody gives the others a step meanwhile."""

        @override
        def step(self, action: Any) -> Any:
            self._at_step = self._steps + 1 if (tmp_path / "3").exists() else 0
            return super().step(action)

    def make(seed: int) -> Sleeping:
        i = INDEX[seed]
        return (Sleeping if i else Later)(seed, 100.0 * (i in hanging), env_index=i, folder=tmp_path)

    with build(make, n_envs=4, workers=2, seed=RUN_SEED, executor="processes") as runner:
        pressing = press(2, hanging, tmp_path)
        with pytest.raises(KeyboardInterrupt) as pressed:
            runner.rollout(Constant(2), steps=100_000, min_batch=1)
        pressing.join()
        assert not isinstance(pressed.value, RolloutInterrupted)
        with pytest.raises(RolloutError, match="RunnerKit ended process"):
            runner.rollout(Constant(2), steps=5)


@pytest.mark.parametrize("executor", ["serial", "threads", "asyncio", IN_HELPERS], ids=str)
def test_the_calls_of_envs_are_measured_at_their_own_pace_too(executor: Any) -> None:
    options: dict[str, Any] = {"timings": True, "keep_infos": True, "workers": None if executor != IN_HELPERS else 1}
    with build(Mortals("never", 0), n_envs=2, seed=RUN_SEED, executor=executor, **options) as runner:
        runner.rollout(Constant(2), steps=9, min_batch=1)
        assert [(env.steps, env.resets) for env in runner.timings.envs] == [(9, 3), (9, 3)]


def test_what_does_not_fit_into_the_mail_of_one_side_does_not_stop_both() -> None:
    space: Space[str] = gymnasium.spaces.Text(400_000, min_length=200_000)

    class Talking(gymnasium.Env[str, str]):
        observation_space: Space[str] = space
        action_space: Space[str] = space

        @override
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return "a" * 200_000, {}

        @override
        def step(self, action: str) -> Any:
            return action, 0.0, False, False, {}

    def act(observations: list[str]) -> list[str]:
        return [chr(ord(text[0]) + 1) * 200_000 for text in observations]

    with build(lambda seed: Talking(), n_envs=4, workers=1, executor=IN_HELPERS) as runner:
        histories = runner.rollout(act, steps=3, min_batch=3)
    assert [[text[0] for text in history.observations] for history in histories] == [list("abc")] * 4


@pytest.mark.parametrize("by_bell", [False, True])
def test_turns_that_are_given_ahead_are_all_made_and_heard_of(by_bell: bool) -> None:
    ahead, rounds = 5, 60
    lanes: list[TurnLock] = []
    heard = [0, 0]

    def serve(helper: TurnLock) -> None:
        for _ in range(ahead * rounds):
            helper.wait()
            helper.give()

    with contextlib.ExitStack() as stack:
        for _ in heard:
            words: memoryview[int] = np.zeros(ControlWords.count(1), np.int64).data
            bells = [stack.enter_context(bell) for bell in socket.socketpair()]
            both = [
                TurnLock(words, b, is_caller=c, is_alive=lambda: True, by_bell=by_bell)
                for b, c in zip(bells, (True, False), strict=True)
            ]
            lanes.append(both[0])
            thread = threading.Thread(target=serve, args=both[1:])
            thread.start()
            stack.callback(thread.join)
        for _ in range(rounds):
            for lane in lanes:
                for _ in range(ahead):
                    lane.give()
            due = [turn + ahead for turn in heard]
            while heard != due:
                left = [(lane, turn + 1) for lane, turn, end in zip(lanes, heard, due, strict=True) if turn < end]
                TurnLock.wait_for_any(left, seconds=5.0)
                heard = [
                    turn + (turn < end and lane.came(turn + 1))
                    for lane, turn, end in zip(lanes, heard, due, strict=True)
                ]
    assert heard == [ahead * rounds] * 2
