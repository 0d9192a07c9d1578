"""What running episodes were asked so far, where each env goes at its own pace: the block has the latest steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column
from runnerkit._rollout.tape import Tape
from runnerkit.executors.recall import Recollection, checksums
from runnerkit.executors.reexecution import Course
from runnerkit.history.block import Block
from runnerkit.records import EpisodeStart

__all__ = ["OwnTape"]


class OwnTape:
    """The running episodes of a rollout, instead of a `Tape`.

    For example::

        own = OwnTape(tape, block, rows, running)   # `rows`: the row at which each env is, which changes
        own.begin(i, episode_index, start)          # when an env has begun an episode
        own.end(i)
        own.turn()                                  # before the rows of a window are forgotten
        own.leave()                                 # at the end: the tape knows the running episodes again
    """

    def __init__(self, tape: Tape, block: Block, rows: Sequence[int], running: Iterable[int]) -> None:
        self._tape, self._block, self._rows = tape, block, rows
        self._starts: dict[int, tuple[int, EpisodeStart]] = {}
        self._first: dict[int, int] = {}
        """The first row of each running episode in the block."""
        self._before: dict[int, int] = {}
        """How many steps it made before that row."""
        self._earlier: dict[int, tuple[Sequence[Column], NDArray[np.float64]]] = {}
        """Their actions and rewards, if the tape keeps them."""
        for i in running:
            known = tape.recollection(block, 0, i) if tape.keeps else None
            self._starts[i], self._first[i], self._before[i] = tape.start_of(i), 0, tape.steps(i) or 0
            if known is not None and known.course.steps:
                self._earlier[i] = known.course.actions, known.rewards

    def begin(self, i: int, episode_index: int, start: EpisodeStart) -> None:
        """Note that an episode has begun, in the row at which the env is."""
        self._starts[i], self._first[i], self._before[i] = (episode_index, start), self._rows[i], 0
        self._earlier.pop(i, None)

    def end(self, i: int) -> None:
        """Note that the episode of an env is over."""
        self._first.pop(i, None)

    def runs(self, i: int) -> bool:
        """Whether an env is in an episode."""
        return i in self._first

    def steps(self, i: int) -> int | None:
        """Return how many steps the episode of an env has behind it; None if it is in none."""
        return self._before[i] + self._rows[i] - self._first[i] if i in self._first else None

    def recollection(self, block: Block, row: int, i: int) -> Recollection:
        """Return what is known of the episode of an env; the row is that at which the env is."""
        now = self._rows[i]
        row = block.raw_row(now)
        rows = range(self._first[i] if block.keeps_raw else row, row + 1)
        actions, rewards = self._made(i)
        course = Course(*self._starts[i], actions, len(rewards))
        return Recollection(course, rewards, checksums(block.raw, rows, i))

    def turn(self) -> None:
        """Keep what is about to be forgotten: the env goes on in row 0."""
        for i in self._first:
            if self._tape.keeps:
                self._earlier[i] = self._made(i)
            self._before[i] = self.steps(i) or 0
        self._first = dict.fromkeys(self._first, 0)

    def leave(self) -> None:
        """Let the tape know the running episodes, for rollouts in lockstep."""
        n_envs = self._block.n_envs if self._tape.keeps else 0
        courses = {i: Course(*self._starts[i], (), self.steps(i) or 0) for i in self._first}
        most = max((course.steps for course in courses.values()), default=0)
        columns = self._block.layout.env_action.allocate(most, n_envs)
        rewards = np.zeros((most, n_envs))
        for i, course in courses.items() if n_envs else ():
            actions, own = self._made(i)
            rewards[most - course.steps :, i] = own
            for column, values in zip(columns, actions, strict=True):
                column[most - course.steps :, i] = values
        self._tape.load(courses, columns, rewards)

    def _made(self, i: int) -> tuple[Sequence[Column], NDArray[np.float64]]:
        """Return copies of the actions and rewards of a running episode."""
        rows = slice(self._first[i], self._rows[i])
        actions = [column[rows, i].copy() for column in self._block.env_actions]
        rewards = self._block.rewards[rows, i].copy()
        if i not in self._earlier:
            return actions, rewards
        before, rewards_before = self._earlier[i]
        return [np.concatenate(pair) for pair in zip(before, actions, strict=True)], np.concatenate(
            [rewards_before, rewards]
        )
