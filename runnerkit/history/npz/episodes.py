"""Episodes on their way from the blocks of a rollout into files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout, Mark
from runnerkit.history.npz.codec import encode_or_describe, text_of
from runnerkit.history.npz.files import EXTRAS, packed, trees_of
from runnerkit.records import EndReason, Episode

__all__ = ["OpenEpisode"]

_PLAIN: Final = ("rewards", "terminated", "truncated")


class OpenEpisode:
    """The rows of an episode, or of its part in one rollout, that are not in a file yet.

    Attributes:
        mark: how it began; `row` is its first row in the history of the rollout.
        length: how many steps it has.
        nbytes: the bytes of the rows that it holds.

    """

    def __init__(self, layout: BlockLayout, env_index: int, mark: Mark) -> None:
        self._trees = trees_of(layout)
        self._names = (*_PLAIN, "processed_rewards") if layout.reward_processed else _PLAIN
        self.env_index: int = env_index
        self.mark: Mark = mark
        self.length: int = 0
        self.nbytes: int = 0
        self.columns: dict[str, list[Column]] = {}
        self._rewards: list[NDArray[np.float64]] = []
        self._infos: list[tuple[int, Mapping[str, Any]]] = []
        self._reset_info: Mapping[str, Any] | None = None
        self._unknown: list[int] = []

    @property
    def name(self) -> str:
        """What its file is called, within its run."""
        mark = self.mark
        return f"env{self.env_index}-episode{mark.episode_index}-step{mark.steps_before}"

    def add(self, block: Block, start: int, stop: int) -> None:
        """Take rows of a block, which may change later."""
        i, columns = self.env_index, self.columns
        for name in self._names:
            rows = getattr(block, name)[start:stop, i].copy()
            columns.setdefault(name, []).append(rows)
        self._rewards.append(columns["rewards"][-1])
        for name, layout in self._trees:
            leaves = getattr(block, name)
            for k in range(len(layout.leaves)):
                rows = leaves[k][start:stop, i].copy()
                columns.setdefault(f"{name}.{k}", []).append(rows)
                self.nbytes += rows.nbytes
        for name, column in block.extras.items():
            rows = column[start:stop, i].copy()
            columns.setdefault(f"{EXTRAS}{name}", []).append(rows)
            self.nbytes += rows.nbytes
        if block.log.infos:
            infos = [(self.length + row - start, info) for k, row, info in block.log.infos if k == i]
            self._infos += [(t, info) for t, info in infos if self.length <= t < self.length + stop - start]
        if block.log.reset_infos and not self.length and not self.mark.steps_before:
            which = (i, self.mark.episode_index)
            self._reset_info = next((info for k, n, info in block.log.reset_infos if (k, n) == which), None)
        if block.log.unknown and (i, stop) in block.log.unknown:
            self._unknown.append(self.length + stop - start - 1)
        self.length += stop - start

    def end(self, block: Block, stop: int, final: int | None) -> None:
        """Take the final observation: row `final` of those of the block, or its row `stop`."""
        for name, layout in self._trees:
            if name not in ("observations", "raw"):
                continue
            finals = block.final_columns if name == "observations" else block.raw_final_columns
            for k in range(len(layout.leaves)):
                rows = getattr(block, name)[k][stop : stop + 1, self.env_index]
                self.columns[f"{name}.{k}"].append(rows.copy() if final is None else finals[k][final : final + 1])

    def record(self, end_reason: EndReason) -> Episode:
        """Return the record of the episode."""
        rewards, mark = self._rewards, self.mark
        return Episode(
            env_index=self.env_index,
            episode_index=mark.episode_index,
            seed=mark.start.seed,
            options=mark.start.options,
            start=mark.row,
            length=self.length,
            return_=float((rewards[0] if len(rewards) == 1 else np.concatenate(rewards)).sum()),
            end_reason=end_reason,
            steps_before=mark.steps_before,
            return_before=mark.return_before,
        )

    def members(self) -> list[tuple[str, NDArray[Any]]]:
        """Return the members of its file. Raises TypeError if an object has no form without pickle."""
        members = [(name, packed(_whole(parts))) for name, parts in self.columns.items()]
        if self._infos or self._reset_info is not None:
            infos = {
                "reset": None if self._reset_info is None else encode_or_describe(dict(self._reset_info)),
                "steps": [[t, encode_or_describe(dict(info))] for t, info in self._infos],
            }
            members.append(("infos", np.frombuffer(text_of(infos).encode(), np.uint8)))
        if self._unknown:
            known = np.ones(self.length, np.bool_)
            known[self._unknown] = False
            members.append(("next_known", known))
        return members


def _whole(parts: list[Column]) -> Column:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
