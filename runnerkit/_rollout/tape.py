"""What running episodes were asked so far: all it takes to execute them once more."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column
from runnerkit.executors.recall import Recollection, checksums
from runnerkit.executors.reexecution import Course
from runnerkit.history.block import Block
from runnerkit.records import EpisodeStart

__all__ = ["Tape"]

_TIDIED = 256  # steps after which those are forgotten that no running episode needs


class Tape:
    """The actions and rewards of the last steps, and how the running episodes began::

        tape.begin(i, episode_index, start)     # with each reset
        tape.end(envs)                          # with each end of an episode
        tape.note(block, at)                    # after each step, if `keeps`
        tape.recollection(block, row, i)        # the episode that env i is in, up to the observation in this row

    Every running episode takes part in every step. So the steps of an episode are the last ones. A block cannot serve
    here: an episode may be older than it, and some blocks have one step only.
    """

    def __init__(self, *, keeps: bool) -> None:
        self.keeps: bool = keeps
        self._made = 0
        self._starts: dict[int, tuple[int, EpisodeStart]] = {}
        self._first: dict[int, int] = {}
        self._steps: deque[tuple[list[Column], NDArray[np.float64]]] = deque()

    def begin(self, i: int, episode_index: int, start: EpisodeStart) -> None:
        """Note that an episode begins."""
        self._starts[i], self._first[i] = (episode_index, start), self._made

    def end(self, env_indices: Iterable[int]) -> None:
        """Note that the episodes of these envs are over."""
        for i in env_indices:
            self._first.pop(i, None)

    def clear(self) -> None:
        """Note that all episodes are over."""
        self._first.clear()
        self._steps.clear()

    def runs(self, i: int) -> bool:
        """Whether an env is in an episode."""
        return i in self._first

    def steps(self, i: int) -> int | None:
        """Return how many steps the episode of an env has behind it; None if it is in none."""
        return self._made - self._first[i] if i in self._first else None

    def start_of(self, i: int) -> tuple[int, EpisodeStart]:
        """Return the index of the episode of an env, and how it began."""
        return self._starts[i]

    def note(self, block: Block, at: int) -> None:
        """Note a step, which is in row `at`."""
        self._made += 1
        if not self.keeps:
            return
        actions = [
            copy.deepcopy(column[at]) if column.dtype == object else column[at].copy() for column in block.env_actions
        ]
        self._steps.append((actions, block.rewards[at].copy()))
        if self._made % _TIDIED == 0:
            longest = max((self._made - first for first in self._first.values()), default=0)
            while len(self._steps) > longest:
                self._steps.popleft()

    def load(self, courses: Mapping[int, Course], columns: Sequence[Column], rewards: NDArray[np.float64]) -> None:
        """Go on with these episodes, whose actions, `[T, N, *shape]`, and rewards, `[T, N]`, end in the last row."""
        self.clear()
        self._made = len(rewards)
        for i, course in courses.items():
            self._starts[i], self._first[i] = (course.episode_index, course.start), self._made - course.steps
        if self.keeps:
            self._steps.extend(([column[t] for column in columns], rewards[t]) for t in range(self._made))

    def recollection(self, block: Block, row: int, i: int) -> Recollection:
        """Return what is known of the episode of an env, up to the observation in that row of `block.raw`."""
        steps = self.steps(i) or 0
        last = [self._steps[k] for k in range(len(self._steps) - steps, len(self._steps))]
        actions = [
            _column(values) for values in zip(*([column[i] for column in actions] for actions, _ in last), strict=True)
        ]
        rewards = np.array([rewards[i] for _, rewards in last], np.float64)
        episode_index, start = self._starts[i]
        rows = range(row - (min(steps, row) if block.keeps_raw else 0), row + 1)
        course = Course(episode_index, start, actions, steps)
        return Recollection(course, rewards, checksums(block.raw, rows, i))


def _column(values: Iterable[object]) -> Column:
    """Return a column of values for one env, `[T, *shape]`."""
    some = list(values)
    if all(isinstance(value, (np.ndarray, np.generic)) and value.dtype != object for value in some):
        return np.array(some)
    column: Column = np.empty(len(some), object)
    for k, value in enumerate(some):
        column[k] = value
    return column
