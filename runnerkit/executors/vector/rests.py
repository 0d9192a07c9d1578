"""Finding the steps in which envs of a vector env rested, as they are in the block: each follows an end.

All envs of a vector env are written at once, also those that the agent was not asked for. So nobody takes notes
in a step; when the rollout is over, the flags tell which rows are to be dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runnerkit.history.block import Block

__all__ = ["rests_in", "rests_twice"]


def rests_in(block: Block, t: int, rest_first: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return (rows, env indices) of the rests within the lengths of the envs and `t` steps, in the order of the rows.

    `rest_first` are the envs that rested in the first step.
    """
    rows, envs = _over(block, 0, t - 1).nonzero() if t > 1 else (np.empty(0, np.intp), np.empty(0, np.intp))
    rows = rows + 1
    inside = rows < np.array(block.lengths)[envs]  # an env that is left out goes on, but its rows do not count
    first = np.array(sorted(rest_first) if t else [], np.intp)
    return np.concatenate([np.zeros_like(first), rows[inside]]), np.concatenate([first, envs[inside]])


def rests_twice(block: Block, first: int, stop: int) -> int | None:
    """Return the first step after `first` in which an env ended that was to rest in it; None if there is none."""
    over = _over(block, first, stop)
    twice = np.flatnonzero((over[1:] & over[:-1]).any(axis=1))
    return first + 1 + int(twice[0]) if len(twice) else None


def _over(block: Block, first: int, stop: int) -> NDArray[np.bool_]:
    return block.terminated[first:stop] | block.truncated[first:stop]
