"""Check observations against the bounds of their space: which entries are outside, and how far."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from runnerkit._core.faults import describe
from runnerkit._core.spaces import Leaf
from runnerkit._core.wording import short_repr

__all__ = ["outside"]

_MOST_ENTRIES = 3
_Bounds: TypeAlias = tuple[NDArray[Any], NDArray[Any]]


def outside(leaf: Leaf, value: Any) -> str:
    """Return what is wrong with a sample whose dtype and shape fit; empty if it lies in its space."""
    try:
        if leaf.space.contains(value):
            return ""
    except Exception as error:  # a space of the user's own, which may not even have the method
        return f"{leaf.path} cannot be checked, as contains() of {short_repr(leaf.space)} raised {describe(error)}"
    bounds = None if leaf.is_object else _bounds(leaf.space)
    out = "" if bounds is None else _entries_out(np.asarray(value), *bounds)
    if out:
        return f"{leaf.path} lies outside of its declared bounds in {out}"
    return f"{leaf.path} does not lie in {short_repr(leaf.space)}, which does not contain {short_repr(value)}"


def _bounds(space: spaces.Space[Any]) -> _Bounds | None:
    """Return the lower and upper bound of each entry."""
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.Discrete):
        return np.asarray(space.start), np.asarray(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return (np.zeros(space.shape), np.ones(space.shape)) if isinstance(space, spaces.MultiBinary) else None


def _entries_out(value: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> str:
    low, high = np.broadcast_to(low, value.shape), np.broadcast_to(high, value.shape)
    where = np.argwhere(~((value >= low) & (value <= high)))  # so that NaN is out, too
    if not len(where):
        return ""
    named = [_entry(tuple(index), value, low, high) for index in where[:_MOST_ENTRIES].tolist()]
    more = f"; and {len(where) - _MOST_ENTRIES:,} more" if len(where) > _MOST_ENTRIES else ""
    return f"{len(where):,} of {value.size:,} entries: {'; '.join(named)}{more}"


def _entry(index: tuple[int, ...], value: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> str:
    item, least, most = value[index].item(), low[index].item(), high[index].item()
    place = f"[{', '.join(map(str, index))}] is " if index else ""
    if item != item:
        return f"{place}NaN"
    bound, far, word = (least, least - item, "below") if item < least else (most, item - most, "above")
    return f"{place}{item:.6g}, {far:.3g} {word} {bound:.6g}"
