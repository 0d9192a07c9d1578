"""The recorder: cuts blocks into episodes, and puts cut episodes together again."""

from __future__ import annotations

from typing import Any

from runnerkit import EndReason
from runnerkit.errors import ArgumentError
from runnerkit.history import ArrayHistory, Block
from runnerkit_minari.dataset import DatasetWriter
from runnerkit_minari.history import MinariHistory
from runnerkit_minari.parts import Part, View, joined

__all__ = ["MinariRecorder"]


class MinariRecorder:
    """Writes the episodes of one runner into its dataset, rollout by rollout, env by env."""

    def __init__(self, writer: DatasetWriter, view: View, *, keep_incomplete: bool, processed: bool) -> None:
        self._writer = writer
        self._view: View = view
        self._keep_incomplete, self._processed = keep_incomplete, processed
        self._held: dict[int, list[Part]] = {}
        """By env index, the parts of the episode that goes on in the next rollout."""
        self._refused = False

    def finish(self, block: Block, /) -> list[MinariHistory]:
        """Write the episodes that ended in this rollout; return one history per env."""
        histories: list[ArrayHistory[Any, Any]] = [ArrayHistory(block, i, n) for i, n in enumerate(block.lengths)]
        # once refused, always: what goes on after a rollout that is missing would be joined to what came before it
        self._refused = self._refused or not all(history.next_known.all() for history in histories)
        if self._refused:
            raise ArgumentError(
                "The vector env did not tell in which observations all its episodes ended, which a dataset must have. "
                "Use another of its auto-reset modes, or history='arrays', which marks what is unknown (next_known)."
            )
        self._write([whole for i, history in enumerate(histories) for whole in self._whole(i, history)])
        return [
            MinariHistory(self._writer.dataset_id, i, len(history), tuple(history.episodes), self._writer.episodes)
            for i, history in enumerate(histories)
        ]

    def close(self) -> None:
        """Write what did not end, and leave no empty dataset behind."""
        held, self._held = self._held, {}
        try:
            self._write([joined(parts) for parts in held.values()])
        finally:
            self._writer.close()

    def _whole(self, env_index: int, history: ArrayHistory[Any, Any]) -> list[Part]:
        """Return the episodes of an env that are over by now, and hold back the one that is not."""
        whole = []
        for columns in history.split():
            part = Part.of(columns, self._view, processed=self._processed)
            before = self._held.pop(env_index, [])
            if before and before[-1].record.episode_index != part.record.episode_index:
                whole.append(joined(before))  # was given up, as `rollout(episodes=...)` does
                before = []
            if part.record.end_reason is EndReason.CUT:
                self._held[env_index] = [*before, part.owned()]
            else:
                whole.append(joined([*before, part]) if before else part)
        return whole

    def _write(self, episodes: list[Part]) -> None:
        self._writer.append([part for part in episodes if self._keep_incomplete or part.record.complete])
