"""The recorder: writes the parts of episodes that each rollout has."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runnerkit import EndReason
from runnerkit.errors import ArgumentError
from runnerkit.history import ArrayHistory, Block, EpisodeColumns
from runnerkit_arrow.columns import EXTRAS, PROCESSED, extra_columns, leaves_of
from runnerkit_arrow.history import ArrowHistory
from runnerkit_arrow.stream import StreamWriter

__all__ = ["ArrowRecorder"]

_Columns = EpisodeColumns[Any, Any, NDArray[np.float64], NDArray[np.bool_]]


class ArrowRecorder:
    """Writes the episodes of one runner into its stream, rollout by rollout, env by env."""

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer

    def finish(self, block: Block, /) -> list[ArrowHistory]:
        """Write the rows of this rollout; return one history per env."""
        histories: list[ArrayHistory[Any, Any]] = [ArrayHistory(block, i, n) for i, n in enumerate(block.lengths)]
        if not all(history.next_known.all() for history in histories):
            raise ArgumentError(
                "The vector env did not tell the final observation of each episode, which a stream needs. Use another "
                "auto-reset mode, or history='arrays', which marks what is unknown (next_known)."
            )
        self._writer.begin(extra_columns(histories[0].extras))
        for history in histories:
            for columns in history.split():
                self._write(columns)
        return [
            ArrowHistory(self._writer.path, i, len(history), tuple(history.episodes))
            for i, history in enumerate(histories)
        ]

    def close(self) -> None:
        """Mark the end of the stream."""
        self._writer.close()

    def _write(self, columns: _Columns) -> None:
        record = columns.record
        goes_on = record.end_reason is EndReason.CUT  # the next part begins with the last observation of this one
        rows = record.length + (not goes_on)
        values: dict[str, Any] = {
            "env_index": np.full(rows, record.env_index),
            "episode_index": np.full(rows, record.episode_index),
            "step": np.arange(record.steps_before, record.steps_before + rows),
            "reward": columns.rewards,
            PROCESSED: columns.processed_rewards,  # written if the run has reward processors
            "terminated": columns.terminated,
            "truncated": columns.truncated,
        }
        values |= {f"{EXTRAS}{name}": column for name, column in columns.extras.items()}
        given = {"observation": columns.observations, "action": columns.actions, "env_action": columns.env_actions}
        if columns.raw_observations is not None:
            given["raw_observation"] = columns.raw_observations
        for name, tree in given.items():
            at_each_state = name.endswith("observation")
            for column, leaf in zip(_names(name, tree), leaves_of(tree), strict=True):
                values[column] = leaf[:rows] if at_each_state else leaf
        self._writer.append(_as_json(record), values, closed=not goes_on)


def _names(name: str, tree: Any) -> list[str]:
    """Return the names of the columns of a batch, as `space_columns` has them."""
    if isinstance(tree, dict):
        return [found for key, sub in tree.items() for found in _names(f"{name}.{key}", sub)]
    if isinstance(tree, tuple):
        return [found for i, sub in enumerate(tree) for found in _names(f"{name}.{i}", sub)]
    return [name]


def _as_json(record: Any) -> dict[str, object]:
    """Return a record as JSON has it; reset options only where JSON has them, too."""
    found = dataclasses.asdict(record)
    found["end_reason"] = str(record.end_reason)
    found["options"] = None if record.options is None else repr(record.options)
    return found
