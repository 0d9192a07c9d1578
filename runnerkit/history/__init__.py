"""Histories: what a rollout returns per env, the block that they are made from, and the formats that make them.

A `HistoryFormat` opens a `Recorder` for a runner; the recorder turns the `Block` of each rollout into one history
per env. `ArrayHistory` is the default. `TorchHistory` and `TorchFormat` are in `runnerkit.history.torch`, which
imports torch.
"""

from __future__ import annotations

from runnerkit._core.spaces import Layout, Leaf, Rows
from runnerkit.history.arrays import ArrayFormat, ArrayHistory
from runnerkit.history.base import HistoryFormat, Recorder, SupportsAppend, SupportsBatch, SupportsWindows
from runnerkit.history.block import Block
from runnerkit.history.columns import ColumnHistory, EpisodeColumns
from runnerkit.history.ended import EndedEpisode
from runnerkit.history.feeding import TransitionBatch, transitions
from runnerkit.history.layout import BlockLayout, Mark
from runnerkit.history.log import EpisodeLog
from runnerkit.history.stacking import concatenate, stack
from runnerkit.history.transitions import TransitionFormat
from runnerkit.history.values import Targets, ValueFunction, discounted_returns, gae
from runnerkit.records import EndReason, EnvFault, Episode, EpisodeStart, RunSpec

__all__ = [
    "ArrayFormat",
    "ArrayHistory",
    "Block",
    "BlockLayout",
    "ColumnHistory",
    "EndReason",
    "EndedEpisode",
    "EnvFault",
    "Episode",
    "EpisodeColumns",
    "EpisodeLog",
    "EpisodeStart",
    "HistoryFormat",
    "Layout",
    "Leaf",
    "Mark",
    "Recorder",
    "Rows",
    "RunSpec",
    "SupportsAppend",
    "SupportsBatch",
    "SupportsWindows",
    "Targets",
    "TransitionBatch",
    "TransitionFormat",
    "ValueFunction",
    "concatenate",
    "discounted_returns",
    "gae",
    "stack",
    "transitions",
]
