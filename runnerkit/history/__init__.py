"""Histories: what a rollout returns per env, and the block of arrays they are made from.

`TorchHistory` and `TorchFormat` are in `runnerkit.history.torch`, which imports torch.
"""

from __future__ import annotations

from runnerkit.history.arrays import ArrayFormat, ArrayHistory
from runnerkit.history.block import Block
from runnerkit.history.columns import ColumnHistory, EpisodeColumns, stack
from runnerkit.history.transitions import TransitionFormat

__all__ = [
    "ArrayFormat",
    "ArrayHistory",
    "Block",
    "ColumnHistory",
    "EpisodeColumns",
    "TransitionFormat",
    "stack",
]
