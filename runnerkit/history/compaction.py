"""Closing the gaps that resting envs leave in the columns of a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column

if TYPE_CHECKING:
    from runnerkit.history.block import Block

__all__ = ["drop"]

_ITEMS = 2**13  # are moved at once, so that what is needed beside the block stays in the caches
_BYTES = 2**24  # at the most, unless a row has more


def drop(block: Block, columns: Sequence[Column], rows: NDArray[np.intp], envs: NDArray[np.intp]) -> None:
    """Drop the steps in which envs rested, as `Block.drop` says; `columns` are all of the block."""
    counts = np.bincount(envs, minlength=block.n_envs)
    before = np.empty_like(rows)  # how many rests of the same env come before each
    before[envs.argsort(kind="stable")] = np.arange(len(envs)) - np.repeat(counts.cumsum() - counts, counts)
    _log(block, rows, envs, before)
    _move_infos(block, rows, envs)
    _move(block, [_items(column) for column in columns], rows, envs)
    block.lengths = [length - count for length, count in zip(block.lengths, counts.tolist(), strict=True)]


def _log(block: Block, rows: NDArray[np.intp], envs: NDArray[np.intp], before: NDArray[np.intp]) -> None:
    """Note the episodes that began after rests, with the observations in which those before them ended."""
    late = set(envs[rows == 0].tolist())  # what begins after row 0 is the first episode of the env
    marks = block.first_marks
    first = np.array([marks[i].episode_index + (i not in late) if i in marks else 0 for i in range(block.n_envs)])
    which = rows > 0
    rows, envs, before = rows[which], envs[which], before[which]
    table = np.stack([envs, rows - before, first[envs] + before], axis=1)
    where = rows * block.n_envs + envs
    block.log.begin_many(table, [_items(column)[where] for column in block.observations])
    if block.raw_log is not None:
        block.raw_log.begin_many(table, [_items(column)[where] for column in block.raw])


def _move_infos(block: Block, rows: NDArray[np.intp], envs: NDArray[np.intp]) -> None:
    of_env = {i: rows[envs == i] for i in {i for i, _, _ in block.log.infos}}
    block.log.infos = [(i, row - int(of_env[i].searchsorted(row)), info) for i, row, info in block.log.infos]


def _items(column: Column) -> Column:
    """Return a column as one item per row and env, of whatever bytes it is made."""
    items = column.reshape(column.shape[0] * column.shape[1], *column.shape[2:])
    if column.dtype == object or not items[:1].nbytes:
        return items
    return items.reshape(len(items), -1).view((np.void, items[:1].nbytes))[:, 0]


def _move(block: Block, columns: Sequence[Column], rows: NDArray[np.intp], envs: NDArray[np.intp]) -> None:
    """Move all items up by the number of rests of their env before them, in their order.

    An item of a rest has the target of the one that follows it, and is overwritten by it.
    """
    n = block.n_envs
    widest = max([column.itemsize for column in columns], default=1)
    height = max(1, min(_ITEMS, _BYTES // widest) // n)
    shift = np.zeros((height, n), np.intp)
    for top in range(int(rows.min()), block.steps + 1, height):  # nothing moves before
        last = shift[-1].copy()
        shift[...] = 0
        some = slice(*rows.searchsorted([top - 1, top + height - 1]))
        shift[rows[some] - (top - 1), envs[some]] = n
        shift[0] += last
        shift.cumsum(axis=0, out=shift)
        targets = np.arange(top * n, (top + height) * n) - shift.ravel()
        for column in columns:
            items = column[top * n : (top + height) * n].copy()
            column[targets[: len(items)]] = items
