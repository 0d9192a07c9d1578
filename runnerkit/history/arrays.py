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


class ArrayHistory(ColumnHistory[ObsT, ActT, NDArray[np.float64], NDArray[np.bool_], NDArray[Any]]):
    """A history of NumPy arrays; `ColumnHistory` explains them::

        history, *others = runner.rollout(agent, steps=1000)
        history.rewards.sum()
        for episode in history.split():
            episode.observations, episode.record.end_reason

    The histories of a rollout share one block of memory, which belongs to the caller: it never changes later.
    """

    @override
    def _array(self, array: Column) -> Column:
        return array


class ArrayFormat:
    """The format `arrays`: it makes `ArrayHistory` and accepts any space."""

    def open(self, spec: RunSpec, /) -> ArrayRecorder:
        """Return a recorder."""
        return ArrayRecorder()


class ArrayRecorder:
    """Makes histories of the columns of a block, without a copy."""

    def finish(self, block: Block, /) -> list[ArrayHistory[Any, Any]]:
        """Return one history per env."""
        return [ArrayHistory(block, i, length) for i, length in enumerate(block.lengths)]

    def batch(self, block: Block, /) -> ArrayHistory[Any, Any]:
        """Return one history of all envs."""
        return ArrayHistory(block, slice(None), block.lengths[0])

    def close(self) -> None:
        """Do nothing: the arrays belong to the caller."""


HistoryT = TypeVar("HistoryT", default=ArrayHistory[ObsT, ActT])
"""The type of one history, that is, of what a rollout returns per env. The default is `ArrayHistory`."""
