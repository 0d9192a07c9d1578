"""`GymRunner.stream`: batch after batch of one long rollout, in the same arrays."""

from __future__ import annotations

import copy
import itertools
import signal
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import SampleEnv, any_space, exact, follow
from faulty_envs import Constant, Faults, Fleet, build, collected, raising
from gymnasium import Space
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from runnerkit import GymRunner, RandomAgent, stack
from runnerkit.agents import AnyAgent
from runnerkit.errors import ArgumentError, ClosedError, EnvError, RolloutInterrupted
from runnerkit.executors.serial import SerialExecutor
from runnerkit.history.log import EpisodeLog
from runnerkit.typing import AnyEnv

EXECUTORS = [("serial", None), ("threads", 2), ("processes", 2), ("auto", None)]


def collect(runner: GymRunner[Any, Any, Any], agent: AnyAgent, steps: int, count: int) -> list[list[Any]]:
    """Return copies of the histories of each env, batch by batch."""
    batches = []
    for batch in itertools.islice(runner.stream(agent, steps=steps), count):
        batches.append([copy.deepcopy(type(batch)(block, i, len(batch))) for block, i in batch.parts()])
    return [list(histories) for histories in zip(*batches, strict=True)]


@given(
    observation=any_space(),
    action=any_space(),
    steps=st.integers(1, 9),
    count=st.integers(1, 5),
    n_envs=st.integers(1, 4),
    executor=st.sampled_from(["serial", "threads"]),
)
@settings(max_examples=40)
def test_a_stream_gives_what_a_plain_loop_gives(
    observation: Space[Any], action: Space[Any], steps: int, count: int, n_envs: int, executor: str
) -> None:
    def make(seed: int | None) -> AnyEnv:
        return SampleEnv(observation, action)

    with GymRunner(make, seed=3, n_envs=n_envs, executor=executor, keep_infos=True) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        streamed = collect(runner, agent, steps, count)
        then = runner.rollout(agent, steps=5)
    for i in range(n_envs):
        assert follow(lambda: SampleEnv(observation, action), [*streamed[i], then[i]], infos=True) == steps * count + 5


@pytest.mark.parametrize(("executor", "workers"), EXECUTORS)
@pytest.mark.parametrize("preprocessors", [[], ["flatten", "normalize"]], ids=["plain", "preprocessed"])
def test_the_batches_of_a_stream_are_the_rows_of_one_rollout(
    executor: str, workers: int | None, preprocessors: Sequence[str]
) -> None:
    def runner() -> GymRunner[Any, Any, Any]:
        return GymRunner(
            "CartPole-v1", seed=1, n_envs=3, executor=executor, workers=workers, preprocessors=list(preprocessors)
        )

    with runner() as one, runner() as other:
        whole = stack(one.rollout(RandomAgent(one.action_space, seed=0), steps=120))
        parts = []
        for batch in itertools.islice(other.stream(RandomAgent(other.action_space, seed=0), steps=8), 15):
            assert batch.next_observations.shape == batch.observations.shape  # is not to stay
            assert all(episode.length <= 8 for episode in batch.episodes)
            parts.append(copy.deepcopy(batch))
    for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations"):
        assert exact(np.concatenate([getattr(part, name) for part in parts])) == exact(getattr(whole, name)), name
    ended = {(e.env_index, e.episode_index): (e.total_length, e.total_return) for e in whole.episodes if e.complete}
    assert ended
    assert ended == {
        (e.env_index, e.episode_index): (e.total_length, e.total_return)
        for part in parts
        for e in part.episodes
        if e.complete
    }


class Listener(Constant):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[list[int]] = []

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        self.told.append(list(env_indices))


def test_an_agent_is_told_once_of_each_episode_across_batches() -> None:
    agent = Listener()
    with build(Fleet(length=4), n_envs=2) as runner:
        for _ in itertools.islice(runner.stream(agent, steps=2), 4):
            pass
        runner.rollout(agent, steps=4)
    assert agent.told == [[0, 1]] * 3


def test_a_batch_that_is_over_refuses_to_be_read_and_the_last_one_stays() -> None:
    with build(Fleet(), n_envs=2) as runner:
        first, last = itertools.islice(runner.stream(Constant(), steps=3), 2)
        with pytest.raises(ArgumentError, match="This batch is over"):
            first.rewards  # noqa: B018
        kept = last.observations.copy()
        runner.rollout(Constant(), steps=3)
        assert (last.observations == kept).all()


def test_an_open_stream_keeps_the_runner_and_leaves_it_when_it_is_closed() -> None:
    with build(Fleet(), n_envs=2) as runner:
        stream = runner.stream(Constant(), steps=3)
        next(stream)
        with pytest.raises(ArgumentError, match=r"has an open stream\. Call close\(\) of the stream first"):
            runner.rollout(Constant(), steps=1)
        stream.close()
        (episode, _), *_ = [history.episodes for history in runner.rollout(Constant(), steps=4)]
        assert (episode.steps_before, episode.length) == (3, 2)


def test_a_runner_that_is_closed_ends_its_open_stream_and_no_other_exception_is_hidden() -> None:
    def fail_in_a_batch(runner: GymRunner[Any, Any, Any]) -> None:
        with runner:
            for _ in stream:
                raise ZeroDivisionError

    runner = build(Fleet(), n_envs=2)
    stream, unused = runner.stream(Constant(), steps=3), runner.stream(Constant(), steps=3)
    with pytest.raises(ZeroDivisionError):
        fail_in_a_batch(runner)
    assert list(stream) == []
    with pytest.raises(ClosedError):
        next(unused)


def test_a_runner_is_not_closed_by_its_own_stream_while_envs_step() -> None:
    class Closing(Constant):
        @override
        def act(self, observations: Any, /) -> Any:
            with pytest.raises(ArgumentError, match="already in a rollout"):
                runner.close()
            return super().act(observations)

    with build(Fleet(), n_envs=2) as runner:
        assert len(next(runner.stream(Closing(), steps=2))) == 2


def test_a_shallow_copy_of_a_batch_has_rows_of_its_own() -> None:
    with build(Fleet(), n_envs=2) as runner:
        stream = runner.stream(Constant(), steps=3)
        batch = next(stream)
        kept, observations = copy.copy(batch), batch.observations.copy()
        next(stream)
        assert (kept.observations == observations).all()


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_a_fault_in_a_stream_has_the_histories_of_its_batch(executor: str) -> None:
    fleet = Fleet({1: Faults(step=raising(ValueError("broken"), at_step=4, in_episode=2))})
    with build(fleet, n_envs=2, executor=executor) as runner:
        stream = runner.stream(Constant(), steps=3)
        batches = [copy.deepcopy(next(stream)) for _ in range(2)]
        with pytest.raises(EnvError, match="broken") as caught:
            next(stream)
        assert [len(batch) for batch in batches] == [3, 3]
        assert {len(history) for history in collected(caught.value)} <= {2, 3}
        fleet.mend()
        assert [len(history) for history in runner.rollout(Constant(), steps=4)] == [4, 4]


def test_ctrl_c_while_envs_step_raises_with_the_rows_of_the_batch_and_elsewhere_at_once() -> None:
    class Presses(Constant):
        asked = 0

        @override
        def act(self, observations: Any, /) -> Any:
            self.asked += 1
            if self.asked == 5:
                signal.raise_signal(signal.SIGINT)
            return super().act(observations)

    with build(Fleet(), n_envs=2) as runner:
        stream = runner.stream(Presses(), steps=3)
        next(stream)
        with pytest.raises(RolloutInterrupted) as caught:
            next(stream)
        assert [len(history) for history in collected(caught.value)] == [2, 2]
        assert runner.interrupted
        stream = runner.stream(Constant(), steps=3)
        next(stream)
        with pytest.raises(KeyboardInterrupt) as pressed:
            signal.raise_signal(signal.SIGINT)
        stream.close()
        assert pressed.type is KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class OwnHistory(GymRunner[Any, Any, int]):
    @override
    def process_transition(self, history: int | None, transition: Any) -> int:
        return (history or 0) + 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: build(Fleet(), auto_reset=False), "auto_reset=True"),
        (lambda: build(Fleet(), history="transitions"), "history='arrays'"),
        (lambda: OwnHistory("CartPole-v1"), "process_transition"),
        (lambda: build("vector:CartPole-v1"), "NEXT_STEP"),
    ],
)
def test_a_runner_that_cannot_stream_says_so_at_once(make: Callable[[], Any], words: str) -> None:
    with make() as runner, pytest.raises(ArgumentError, match=words):
        runner.stream(Constant(), steps=2)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"steps": None}, ArgumentError, "steps must be a whole number of at least 1, not None"),
        ({"step": 3}, TypeError, r"stream has no argument 'step'\. Did you mean 'steps'\?"),
    ],
)
def test_a_wrong_call_of_stream_is_explained(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with build(Fleet()) as runner, pytest.raises(error, match=words):
        runner.stream(Constant(), **options)


def test_a_vector_env_that_resets_in_the_same_step_streams() -> None:
    def make(seed: int | None, n_envs: int) -> Any:
        mode = gymnasium.vector.AutoresetMode.SAME_STEP
        return gymnasium.make_vec(
            "CartPole-v1", n_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}
        )

    with build(make, n_envs=3, seed=0) as one, build(make, n_envs=3, seed=0) as other:
        whole = stack(one.rollout(Constant(), steps=42))
        parts = [copy.deepcopy(batch) for batch in itertools.islice(other.stream(Constant(), steps=7), 6)]
    for name in ("observations", "rewards", "next_observations"):
        assert exact(np.concatenate([getattr(part, name) for part in parts])) == exact(getattr(whole, name)), name
    assert whole.terminated.any()


def test_what_is_added_to_an_empty_log_is_not_in_the_next_one() -> None:
    logs: list[int] = []

    class Adding(SerialExecutor):
        @override
        def drain(self) -> EpisodeLog:
            log = super().drain()
            logs.append(len(log.unknown))
            log.unknown.append((0, 10**6))
            return log

    with GymRunner("CartPole-v1", seed=0, executor=Adding) as runner:
        stream = runner.stream(RandomAgent(runner.action_space), steps=1)
        for _ in range(3):
            next(stream)
        stream.close()
    assert len(logs) >= 3
    assert not any(logs)
