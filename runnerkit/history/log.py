"""The log of a rollout: which episodes began, how those before them ended, and infos.

It is compact, as episodes may have only a few steps.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column, Layout
from runnerkit.records import EndReason, EnvTimings

__all__ = ["EpisodeLog", "InfoEntry", "number_of", "reason_of"]

InfoEntry: TypeAlias = "tuple[int, int, dict[str, Any]]"
"""(env index, row, info)"""

_WIDTH: Final = 4  # numbers per episode
_FEW: Final = 16  # episodes for which a dict is faster than NumPy
_REASONS: Final[tuple[EndReason | None, ...]] = (None, *EndReason)
_NUMBERS: Final = {reason: number for number, reason in enumerate(_REASONS)}


def reason_of(number: int) -> EndReason | None:
    """Return the end reason for a number of `EpisodeLog.table`; None for 0: the flags of the last step say it."""
    return _REASONS[number]


def number_of(reason: EndReason | None) -> int:
    """Return the number for an end reason, as in `EpisodeLog.table`."""
    return _NUMBERS[reason]


class EpisodeLog:
    """The episodes that began with a step, how those before them ended, and infos::

        log.begin(env_index, row, episode_index, columns, (row, env_index))     # before the reset writes that row
        log.infos.append((env_index, row, info))

    When an episode ends, the first observation of the next one overwrites the final one in the block. So the log keeps
    final observations, as bytes.

    Attributes:
        infos: the infos that were kept, as (env index, row of the step, info).
        reset_infos: the infos of resets, as (env index, episode index, info).
        unknown: (env index, row) for each episode whose final observation the env did not provide; `row` is the first
            one of the next episode.
        oddities: how envs broke their own contract without losing data: kind -> description.
        timings: how long the calls of envs took since the last log, if that is measured.
        worked_out: what a block has worked out of this log, until there is more in it.

    """

    __slots__ = ("_begun", "_finals", "_sizes", "infos", "oddities", "reset_infos", "timings", "unknown", "worked_out")

    def __init__(self, layout: Layout) -> None:
        self._begun: array[int] = array("i")  # env index, first row, episode index, end reason; and again
        self._finals: list[Any] = [[] if leaf.is_object else bytearray() for leaf in layout.leaves]
        self._sizes: tuple[int, ...] = layout.kept_sizes
        self.infos: list[InfoEntry] = []
        self.reset_infos: list[InfoEntry] = []
        self.unknown: list[tuple[int, int]] = []
        self.oddities: dict[str, str] = {}
        self.timings: list[EnvTimings] = []
        self.worked_out: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._begun) // _WIDTH

    @property
    def is_empty(self) -> bool:
        """Whether nothing was logged."""
        return not (self._begun or self.infos or self.reset_infos or self.unknown)

    @property
    def has_no_news(self) -> bool:
        """Whether nothing was logged, and no env returned anything odd."""
        return not (self._begun or self.infos or self.reset_infos or self.unknown or self.oddities)

    def begin(
        self,
        env_index: int,
        row: int,
        episode_index: int,
        columns: Sequence[Column],
        where: Any,
        end_reason: EndReason | None = None,
    ) -> None:
        """Log that an episode begins in `row`. Call it before the reset overwrites the final observation.

        Args:
            env_index: the env.
            row: the row of the episode's first observation.
            episode_index: which episode of the env it is.
            columns: one column per leaf of the observation space.
            where: the index of the final observation of the episode before, in each of these columns.
            end_reason: how the episode before ended, if the env neither terminated nor truncated it. An executor that
                replaces an env in the middle of a rollout passes `EndReason.CRASHED` or `EndReason.TIMED_OUT`.

        """
        for k, kept in enumerate(self._finals):
            kept += [columns[k][where]] if type(kept) is list else columns[k][where].tobytes()
        begun = self._begun  # appends are faster than to extend by a tuple; the last one makes the entry count
        begun.append(env_index)
        begun.append(row)
        begun.append(episode_index)
        begun.append(0 if end_reason is None else number_of(end_reason))

    def begin_many(self, table: NDArray[np.int64], finals: Sequence[Column]) -> None:
        """Log episodes by their table, `[n, 4]`, with the final observations before them, `[n, *shape]` per leaf."""
        for k, kept in enumerate(self._finals):
            kept += list(finals[k]) if type(kept) is list else finals[k].tobytes()
        self._begun.frombytes(table.astype(np.intc).tobytes())

    def table(self) -> NDArray[np.int64]:
        """Return the episodes that began, int64 `[n, 4]`: env index, first row, episode index, previous end reason.

        The last column says how the episode before ended, as a number for `reason_of`; 0 means that its flags say it.
        """
        return self._view().astype(np.int64)

    def _view(self) -> NDArray[np.intc]:
        """Return the table without a copy. The log cannot grow while this view exists."""
        return np.frombuffer(self._begun, np.intc, len(self) * _WIDTH).reshape(-1, _WIDTH)

    def last(self, before: int | None = None) -> list[tuple[int, int, int]]:
        """Return (env index, first row, episode index) of each env's last episode that began before row `before`."""
        if not self._begun:
            return []
        if len(self._begun) <= _FEW * _WIDTH:  # the usual case where someone waits for each episode
            numbers = self._begun.tolist()
            newest: dict[int, tuple[int, int, int]] = {}
            for i, row, which, _ in zip(*[iter(numbers)] * _WIDTH):  # noqa: B905  (the last entry may be half done)
                if before is None or row < before:
                    newest[i] = i, row, which
            return [newest[i] for i in sorted(newest)] if len(newest) > 1 else list(newest.values())
        view = self._view()
        view = view if before is None else view[view[:, 1] < before]
        view = view[::-1]
        _, where = np.unique(view[:, 0], return_index=True)
        return [(i, row, episode_index) for i, row, episode_index, _ in view[where].tolist()]

    def rows(self) -> list[tuple[int, int]]:
        """Return (env index, first row) of each episode that began."""
        numbers = self._begun.tolist()
        return list(zip(numbers[::_WIDTH], numbers[1::_WIDTH], strict=False))  # the last entry may be half done

    def find(self, env_index: int, row: int) -> int | None:
        """Return the first entry of an env with this row, or None."""
        view = self._view()
        found = np.flatnonzero((view[:, 0] == env_index) & (view[:, 1] == row))
        return int(found[0]) if len(found) else None

    def move_rows(self, moved: Callable[[int, int], int]) -> None:
        """Let the episodes begin in other rows: `moved(env index, row)`."""
        begun = self._begun
        for k in range(0, len(self) * _WIDTH, _WIDTH):
            begun[k + 1] = moved(begun[k], begun[k + 1])

    def finals(self, layout: Layout, entry: int | None = None) -> list[Column]:
        """Return copies of the final observations, in the order of the table: `[n, *shape]` per leaf.

        With `entry`, only those of this entry: `[1, *shape]`.
        """
        first, last = (0, len(self)) if entry is None else (entry, entry + 1)
        return [
            _objects(kept[first:last])
            if leaf.is_object
            else _array(kept[first * size : last * size], leaf.dtype).reshape(last - first, *leaf.shape)
            for leaf, kept, size in zip(layout.leaves, self._finals, self._sizes, strict=True)
        ]

    def extend(self, other: EpisodeLog) -> None:
        """Append another log, of another worker or a later step. Do not add to `other` after this."""
        if other._begun:
            other._drop_half_entry()
        if self._begun and other._begun:
            self._drop_half_entry()
            for kept, more in zip(self._finals, other._finals, strict=True):
                kept += more
            self._begun += other._begun
        elif other._begun:
            self._begun, self._finals = other._begun, other._finals
        self.infos += other.infos
        self.reset_infos += other.reset_infos
        self.unknown += other.unknown
        self.oddities = {**other.oddities, **self.oddities}
        self.timings += other.timings

    def _drop_half_entry(self) -> None:
        """Drop the incomplete entry of a `begin` that an exception of a signal handler interrupted."""
        n = len(self)
        del self._begun[n * _WIDTH :]
        for kept, size in zip(self._finals, self._sizes, strict=True):
            del kept[n * size :]

    def extend_by_arrays(self, table: NDArray[np.int32], finals: Sequence[Column]) -> None:
        """Append a log that comes as arrays, from a worker process; there are no object leaves."""
        self._drop_half_entry()
        for kept, more in zip(self._finals, finals, strict=True):
            kept += more.tobytes()
        self._begun.frombytes(table.astype(np.intc, copy=False).tobytes())

    def until(self, layout: Layout, row: int) -> EpisodeLog:
        """Return the log without the episodes that began after `row`."""
        if not self._begun or max(self._begun[1 : len(self) * _WIDTH : _WIDTH], default=row) <= row:
            return self
        return self._select(layout, np.flatnonzero(self._view()[:, 1] <= row))

    def by_env(self, layout: Layout) -> EpisodeLog:
        """Return the log sorted by env."""
        return self._select(layout, np.argsort(self.table()[:, 0], kind="stable"))

    def _select(self, layout: Layout, which: NDArray[np.int64]) -> EpisodeLog:
        return self.with_finals(layout, [column[which] for column in self.finals(layout)], self.table()[which])

    def with_finals(
        self, layout: Layout, finals: Sequence[Column], table: NDArray[np.int64] | None = None
    ) -> EpisodeLog:
        """Return this log with other final observations, and with other episodes if `table` is given."""
        log = EpisodeLog(layout)
        log.begin_many(self.table() if table is None else table, finals)
        log.infos, log.reset_infos, log.unknown = self.infos, self.reset_infos, self.unknown
        log.oddities = self.oddities
        return log


def _array(kept: bytearray, dtype: np.dtype[Any]) -> Column:
    return np.frombuffer(kept, dtype).copy()  # a bytearray with a view cannot grow


def _objects(values: list[Any]) -> Column:
    column = np.empty(len(values), object)
    for k, value in enumerate(values):
        column[k] = value
    return column
