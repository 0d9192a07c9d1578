"""What envs did in a rollout besides filling its arrays, kept small: episodes may be but a few steps long."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column, Layout

__all__ = ["EpisodeLog", "InfoEntry"]

InfoEntry: TypeAlias = "tuple[int, int, dict[str, Any]]"
"""(env index, row, info)"""


class EpisodeLog:
    """The episodes that began in a step, the final observations of those before them, and infos.

    An env whose episode ends begins the next one at once, and its first observation takes the row in which the
    final one stood; so this is where final observations are kept, as the bytes of their leaves.
    """

    __slots__ = ("_begun", "_finals", "infos", "reset_infos", "unknown")

    def __init__(self, layout: Layout) -> None:
        self._begun: array[int] = array("i")  # env index, first row, episode index; and again
        self._finals: list[Any] = [[] if leaf.is_object else bytearray() for leaf in layout.leaves]
        self.infos: list[InfoEntry] = []
        """Infos that were kept, by the row of their step."""
        self.reset_infos: list[InfoEntry] = []
        """Infos that came with first observations, by episode index instead of row."""
        self.unknown: list[tuple[int, int]] = []
        """(env index, row) where an episode ended in an observation that the env did not tell."""

    def __len__(self) -> int:
        return len(self._begun) // 3

    def begin(self, env_index: int, row: int, episode_index: int, columns: Sequence[Column], where: Any) -> None:
        """Note that an episode begins in `row`; `column[where]` is where the one before it ended, for each leaf."""
        for k, kept in enumerate(self._finals):
            kept += [columns[k][where]] if type(kept) is list else columns[k][where].tobytes()
        begun = self._begun  # three appends are faster than to extend by a tuple
        begun.append(env_index)
        begun.append(row)
        begun.append(episode_index)

    def begin_many(self, table: NDArray[np.int64], finals: Sequence[Column]) -> None:
        """Note episodes by their table, `[n, 3]`, with the final observations before them."""
        self._begun.frombytes(table.astype(np.intc).tobytes())
        for k, kept in enumerate(self._finals):
            kept += list(finals[k]) if type(kept) is list else finals[k].tobytes()

    def table(self) -> NDArray[np.int64]:
        """Return the episodes that began as `[n, 3]`: env index, first row, episode index."""
        return self._view().astype(np.int64)

    def _view(self) -> NDArray[np.intc]:
        """Return the table without a copy; for a moment only, as the log cannot grow while it is looked at."""
        return np.frombuffer(self._begun, np.intc).reshape(-1, 3)

    def last(self, before: int | None = None) -> list[tuple[int, int, int]]:
        """Return the last entry of the table, in a row before the given one, for each env that has one."""
        view = self._view()[::-1]
        view = view if before is None else view[view[:, 1] < before]
        _, where = np.unique(view[:, 0], return_index=True)
        return [(i, row, episode_index) for i, row, episode_index in view[where].tolist()]

    def finals(self, layout: Layout) -> list[Column]:
        """Return the final observations in the order of the table, one array `[n, *shape]` per leaf, as copies."""
        return [
            _objects(kept) if leaf.is_object else _array(kept, leaf.dtype).reshape(len(self), *leaf.shape)
            for leaf, kept in zip(layout.leaves, self._finals, strict=True)
        ]

    def extend(self, other: EpisodeLog) -> None:
        """Append what another worker, or another step, logged; `other` is not to be used any more."""
        if self._begun and other._begun:
            self._begun += other._begun
            for kept, more in zip(self._finals, other._finals, strict=True):
                kept += more
        elif other._begun:
            self._begun, self._finals = other._begun, other._finals
        self.infos += other.infos
        self.reset_infos += other.reset_infos
        self.unknown += other.unknown

    def extend_by_arrays(self, table: NDArray[np.int32], finals: Sequence[Column]) -> None:
        """Append what a worker without objects logged as arrays."""
        self._begun.frombytes(table.astype(np.intc, copy=False).tobytes())
        for kept, more in zip(self._finals, finals, strict=True):
            kept += more.tobytes()

    def until(self, layout: Layout, row: int) -> EpisodeLog:
        """Return the log without episodes that began after a row."""
        rows = self._view()[:, 1]
        return self if not len(rows) or rows.max() <= row else self._select(layout, np.flatnonzero(rows <= row))

    def by_env(self, layout: Layout) -> EpisodeLog:
        """Return the log in the order of the envs."""
        return self._select(layout, np.argsort(self.table()[:, 0], kind="stable"))

    def _select(self, layout: Layout, which: NDArray[np.int64]) -> EpisodeLog:
        return self.with_finals(layout, [column[which] for column in self.finals(layout)], self.table()[which])

    def with_finals(
        self, layout: Layout, finals: Sequence[Column], table: NDArray[np.int64] | None = None
    ) -> EpisodeLog:
        """Return this log with other final observations, and other episodes if a table of them is given."""
        log = EpisodeLog(layout)
        for k, (i, row, episode_index) in enumerate((self.table() if table is None else table).tolist()):
            log.begin(i, row, episode_index, finals, k)
        log.infos, log.reset_infos, log.unknown = self.infos, self.reset_infos, self.unknown
        return log


def _array(kept: bytearray, dtype: np.dtype[Any]) -> Column:
    return np.frombuffer(kept, dtype).copy()  # a bytearray that is looked at could not grow


def _objects(values: list[Any]) -> Column:
    column = np.empty(len(values), object)
    for k, value in enumerate(values):
        column[k] = value
    return column
