"""Closes gaps in columns: it drops the steps in which an env rested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column

__all__ = ["as_items", "drop", "rank"]

_ITEMS = 2**13  # moved at once, so that temporary arrays stay in the caches
_BYTES = 2**24  # at the most, unless a row has more


def rank(envs: NDArray[np.intp], n_envs: int) -> NDArray[np.intp]:
    """Return, for each entry, how many entries of the same env come before it."""
    counts = np.bincount(envs, minlength=n_envs)
    before = np.empty_like(envs)
    before[envs.argsort(kind="stable")] = np.arange(len(envs)) - np.repeat(counts.cumsum() - counts, counts)
    return before


def as_items(column: Column) -> Column:
    """Return a column as a flat array with one item per (row, env); an item is a whole sample."""
    items = column.reshape(column.shape[0] * column.shape[1], *column.shape[2:])
    if column.dtype == object or not items[:1].nbytes:
        return items
    return items.reshape(len(items), -1).view((np.void, items[:1].nbytes))[:, 0]


def drop(columns: Sequence[Column], rows: NDArray[np.intp], envs: NDArray[np.intp]) -> None:
    """Drop the items `(rows[k], envs[k])` from columns `[row, env, *shape]`, in place. `rows` is sorted.

    Each later item of the same env moves up. A dropped item moves to the same place as the item after it, which
    overwrites it.
    """
    items, n = [as_items(column) for column in columns], columns[0].shape[1]
    most_rows = max(column.shape[0] for column in columns)
    widest = max(column.itemsize for column in items)
    height = max(1, min(_ITEMS, _BYTES // max(1, widest)) // n)
    shift = np.zeros((height, n), np.intp)
    for top in range(int(rows.min()), most_rows, height):  # nothing moves before
        last = shift[-1].copy()
        shift[...] = 0
        some = slice(*rows.searchsorted([top - 1, top + height - 1]))
        shift[rows[some] - (top - 1), envs[some]] = n
        shift[0] += last
        shift.cumsum(axis=0, out=shift)
        targets = np.arange(top * n, (top + height) * n) - shift.ravel()
        for column in items:
            moved = column[top * n : (top + height) * n].copy()
            column[targets[: len(moved)]] = moved
