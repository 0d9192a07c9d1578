"""The `arrays` format, the default: one NumPy array per quantity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar, override

from runnerkit._core.spaces import Column
from runnerkit._core.types import ActT, ObsT
from runnerkit.history.block import Block
from runnerkit.history.columns import ColumnHistory
from runnerkit.records import RunSpec

__all__ = ["ArrayFormat", "ArrayHistory"]


class ArrayHistory(ColumnHistory[ObsT, ActT, NDArray[np.float64], NDArray[np.bool_]]):
    """A history of NumPy arrays, see `ColumnHistory` for what they are::

        history, *others = runner.rollout(agent, steps=1000)
        history.rewards.sum()
        for episode in history.split():
            episode.observations, episode.record.end_reason

    The arrays of all envs of a rollout are views of the same block; they belong to the caller.
    """

    @override
    def _array(self, array: Column) -> Column:
        return array


class ArrayFormat:
    """Makes `ArrayHistory`; holds any space."""

    def open(self, spec: RunSpec, /) -> ArrayRecorder:
        """Return a recorder."""
        return ArrayRecorder()


class ArrayRecorder:
    """Hands out the columns of a block as they are."""

    def finish(self, block: Block, /) -> list[ArrayHistory[Any, Any]]:
        """Return one history per env."""
        return [ArrayHistory(block, i, length) for i, length in enumerate(block.lengths)]

    def close(self) -> None:
        """Do nothing: the arrays belong to the caller."""


HistoryT = TypeVar("HistoryT", default=ArrayHistory[ObsT, ActT])
"""What a rollout returns per env; `ArrayHistory` unless something else is said."""
