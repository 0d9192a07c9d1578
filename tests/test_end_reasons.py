"""How episodes end that no flag ends: with the episode, wherever in a rollout, whoever steps the envs."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from envs import CountingEnv, ZeroAgent
from gymnasium.spaces import Box, Discrete
from typing_extensions import override

from runnerkit import Contribution, EndReason, EpisodeStart, GymRunner, hookimpl, stack
from runnerkit._plugins.manager import Plugins
from runnerkit.errors import EnvError
from runnerkit.executors import SeedSchedule, SerialExecutor
from runnerkit.history import ArrayHistory, Block, BlockLayout, EpisodeLog, Layout, Mark, Rows
from runnerkit.typing import AnyEnv


class Restarting(SerialExecutor):
    """Makes two episodes anew in the middle of a rollout, as an executor that gives up on an env may."""

    def __init__(self, n_envs: int, workers: int | None = None, /) -> None:
        super().__init__(n_envs, workers)
        self.given_up: dict[int, dict[int, EndReason]] = {3: {0: EndReason.TIMED_OUT}, 5: {1: EndReason.CRASHED}}
        self.block: Block | None = None

    @override
    def attach(self, block: Block | None, /) -> None:
        super().attach(block)
        self.block = block

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        ended = list(super().step(at, row, actions, active, restart))
        for i, reason in self.given_up.get(at, {}).items():
            assert self.block is not None
            self._log.begin(i, at + 1, 1, self.block.raw, (row, i), reason)
            self.reset(row, {i: (1, SeedSchedule(0)(i, 1))})
            ended = sorted({*ended, i})
        return ended


def restarting() -> Plugins:
    class Offer:
        @hookimpl
        def executors(self) -> Iterator[Contribution[Any]]:
            yield Contribution("restarting", lambda: Restarting)

    plugins = Plugins()
    plugins.register(Offer())
    return plugins


def test_an_executor_of_anyone_says_how_episodes_ended_in_the_middle_of_a_rollout() -> None:
    def make(seed: int | None) -> AnyEnv:
        return CountingEnv(2, 100)

    with GymRunner(make, 0, 2, executor="restarting", plugins=restarting()) as runner:
        first, second = runner.rollout(ZeroAgent(), steps=8)
        (later, _) = runner.rollout(ZeroAgent(), steps=2)
    assert [(e.start, e.length, e.end_reason) for e in first.episodes] == [(0, 4, "timed out"), (4, 4, "cut")]
    assert [(e.start, e.length, e.end_reason) for e in second.episodes] == [(0, 6, "crashed"), (6, 2, "cut")]
    assert np.flatnonzero(first.bootstrap).tolist() == [3, 7]
    counted = [[part.observations[0][0], part.observations[-1][0]] for part in first.split()]
    assert counted == [[0, 4], [0, 4]]
    assert (first.next_observations[:, 0] == [1, 2, 3, 4, 1, 2, 3, 4]).all()
    assert [(e.episode_index, e.steps_before) for e in later.episodes] == [(1, 4)]
    kept = pickle.loads(pickle.dumps(first))
    assert kept.episodes == first.episodes
    assert [e.end_reason for e in stack([first, second]).episodes] == ["timed out", "cut", "crashed", "cut"]


def test_an_episode_without_a_step_is_none_and_hides_no_final_observation() -> None:
    block = counted_block(6)
    block.log.begin(0, 3, 1, block.observations, (3, 0))
    block.log.begin(0, 3, 2, [column + 9 for column in block.observations], (3, 0), EndReason.TIMED_OUT)
    block.terminated[2, 0] = True
    history: ArrayHistory[Any, Any] = ArrayHistory(block, 0, block.lengths[0])
    ends = [(e.episode_index, e.length, e.end_reason) for e in history.episodes]
    assert ends == [(0, 3, "terminated"), (2, 3, "cut")]
    assert history.next_observations[2, 0] == 3
    assert np.flatnonzero(history.bootstrap).tolist() == [5]


def test_what_breaks_off_before_the_first_step_leaves_no_episode() -> None:
    block = counted_block(4)
    block.log.begin(0, 0, 1, block.observations, (0, 0), EndReason.CRASHED)
    history: ArrayHistory[Any, Any] = ArrayHistory(block, 0, block.lengths[0])
    assert [(e.episode_index, e.length) for e in history.episodes] == [(1, 4)]
    assert history.next_observations[:, 0].tolist() == [1, 2, 3, 4]


def counted_block(steps: int) -> Block:
    observation, action = Layout(Box(0, 99, (1,)), "observation"), Layout(Discrete(2), "action")
    block = Block(BlockLayout(1, observation, observation, action, action), steps)
    block.observations[0][:, 0, 0] = range(steps + 1)
    block.actions[0][:] = 0
    block.lengths[0] = steps
    block.first_marks[0] = Mark(0, 0, EpisodeStart(1))
    return block


def test_a_log_drops_what_an_exception_broke_off() -> None:
    layout = Layout(Box(0, 99, (1,)), "observation")
    column = np.arange(4, dtype=np.float32).reshape(4, 1, 1)
    log, more = EpisodeLog(layout), EpisodeLog(layout)
    log.begin(0, 1, 1, [column], (1, 0))
    log._finals[0] += b"1234"  # as a signal handler's exception can leave it
    log._begun.append(0)
    more.begin(0, 2, 2, [column], (2, 0), EndReason.CRASHED)
    log.extend(more)
    assert log.table()[:, :3].tolist() == [[0, 1, 1], [0, 2, 2]]
    assert log.finals(layout)[0].tolist() == [[1.0], [2.0]]


class Late(SerialExecutor):
    """Gives up on env 1 in step 3."""

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        if at == 3:
            raise EnvError("did not answer", env_index=1, episode_index=0, end_reason=EndReason.TIMED_OUT)
        return super().step(at, row, actions, active, restart)


def test_an_error_says_how_the_episode_ended_that_it_breaks_off() -> None:
    class Offer:
        @hookimpl
        def executors(self) -> Iterator[Contribution[Any]]:
            yield Contribution("late", lambda: Late)

    plugins = Plugins()
    plugins.register(Offer())
    runner = GymRunner(lambda seed: CountingEnv(2, 100), 0, 2, executor="late", plugins=plugins)
    with runner, pytest.raises(EnvError) as caught:
        runner.rollout(ZeroAgent(), steps=8)
    histories: list[Any] = caught.value.histories
    assert [[e.end_reason for e in history.episodes] for history in histories] == [["interrupted"], ["timed out"]]
    assert pickle.loads(pickle.dumps(caught.value)).end_reason is EndReason.TIMED_OUT
