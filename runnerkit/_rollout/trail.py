"""The env actions of the running episodes: with their seeds, all it takes to bring envs where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from runnerkit._core.spaces import Column, Layout
from runnerkit.executors.reexecution import Course

__all__ = ["Trail"]

_FIRST_ROWS: Final = 64
_MOST_BYTES: Final = 2**28


class Trail:
    """The last env actions of all envs, as many as the longest running episode has steps::

        trail.add(block.env_actions, [t] * n_envs, steps)    # at the end of a rollout
        columns = trail.last(i, steps[i])

    It keeps copies, as histories belong to users. Episodes of more than 256 MiB of actions are given up.
    """

    def __init__(self, layout: Layout, n_envs: int) -> None:
        self._layout, self._n_envs = layout, n_envs
        self._most: int = _MOST_BYTES // max(1, layout.nbytes * n_envs)
        self._columns: list[Column] = layout.allocate(_FIRST_ROWS, n_envs)
        self._size = _FIRST_ROWS
        self._end = 0  # rows in use, the newest one last

    def add(self, columns: Sequence[Column], lengths: Sequence[int], steps: Sequence[int]) -> None:
        """Take the rows of a rollout: of env i the first `lengths[i]`; its running episode has `steps[i]` steps now."""
        rows, needed = max(lengths), max(steps)
        if min(lengths) < rows:
            self._add_ragged(columns, lengths, steps)
        else:
            self.add_rows(columns, rows, needed)

    def add_rows(self, columns: Sequence[Column], rows: int, needed: int) -> None:
        """Take that many rows of all envs; none of their running episodes has more than `needed` steps now."""
        new = min(rows, needed)
        if new == needed:
            self._end = 0  # nothing is needed of what came before
        if self._end + new > self._size and not self._make_room(needed - new, new):
            self._end = 0
            return
        for own, column in zip(self._columns, columns, strict=True):
            own[self._end : self._end + new] = column[rows - new : rows]
        self._end += new

    def _add_ragged(self, columns: Sequence[Column], lengths: Sequence[int], steps: Sequence[int]) -> None:
        """Take the rows of envs that made different numbers of steps."""
        actions: dict[int, list[Column]] = {}
        for i, (length, now) in enumerate(zip(lengths, steps, strict=True)):
            new = min(length, now)
            before = self.last(i, now - new)
            if before is None:  # too long: given up before
                self._end = 0
                return
            if now:
                mine = [column[length - new : length, i] for column in columns]
                actions[i] = [np.concatenate(pair) for pair in zip(before, mine, strict=True)]
        self._end = 0
        self._fill(actions, {i: steps[i] for i in actions})

    def last(self, i: int, steps: int) -> list[Column] | None:
        """Return copies of the last actions of an env, `[steps, *shape]` per leaf; None if there are not so many."""
        if steps > self._end:
            return None
        return [column[self._end - steps : self._end, i].copy() for column in self._columns]

    def load(self, courses: Mapping[int, Course]) -> list[Column]:
        """Go on with these episodes; return their actions, `[T, N, *shape]` per leaf, which end in the last row."""
        self._end = 0
        return self._fill(
            {i: course.actions for i, course in courses.items()}, {i: course.steps for i, course in courses.items()}
        )

    def _fill(self, actions: Mapping[int, Sequence[Column]], steps: Mapping[int, int]) -> list[Column]:
        rows = max(steps.values(), default=0)
        columns = self._layout.allocate(rows, self._n_envs)
        for i, own in actions.items():
            for column, values in zip(columns, own, strict=True):
                column[rows - steps[i] :, i] = values
        self.add(columns, [rows] * self._n_envs, [rows])
        return columns

    def clear(self) -> None:
        """Forget all."""
        self._end = 0

    def _make_room(self, kept: int, new: int) -> bool:
        """Keep the last `kept` rows, and have room for `new` ones; return whether there is."""
        kept = min(kept, self._end)
        if kept + new > self._most:
            return False
        old = [column[self._end - kept : self._end].copy() for column in self._columns]
        if 2 * (kept + new) > self._size:  # so that rows rarely move
            self._size = min(2 * (kept + new), self._most)
            self._columns = self._layout.allocate(self._size, self._n_envs)
        for own, column in zip(self._columns, old, strict=True):
            own[:kept] = column
        self._end = kept
        return True
