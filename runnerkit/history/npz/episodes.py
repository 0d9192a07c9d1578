"""Episodes on their way from the blocks of a rollout into files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout, Mark
from runnerkit.history.npz.codec import encode_or_describe, text_of
from runnerkit.history.npz.files import EXTRAS, objects_of, packed, trees_of
from runnerkit.records import EndReason, Episode

__all__ = ["Names", "OpenEpisode"]

_PLAIN: Final = ("rewards", "terminated", "truncated")


class Names:
    """What the columns of a layout are called in a file. They are the same for all episodes of a runner.

    Attributes:
        plain: one number or flag per step.
        leaves: of columns that are arranged as a space is: (name in the block, leaf, name in the file).
        finals: those of them that have a final observation, too.

    """

    def __init__(self, layout: BlockLayout) -> None:
        self.layout: BlockLayout = layout
        self.plain: tuple[str, ...] = (*_PLAIN, "processed_rewards") if layout.reward_processed else _PLAIN
        self.leaves: list[tuple[str, int, str]] = [
            (name, k, f"{name}.{k}") for name, tree in trees_of(layout) for k in range(len(tree.leaves))
        ]
        self.finals: list[tuple[str, int, str]] = [leaf for leaf in self.leaves if leaf[0] in ("observations", "raw")]


class OpenEpisode:
    """The rows of an episode, or of its part in one rollout, that are not in a file yet.

    Attributes:
        mark: how it began; `row` is its first row in the history of the rollout.
        length: how many steps it has.
        nbytes: the bytes of the rows that it holds.
        parts: how many parts of its rows are in a file already.

    """

    def __init__(self, names: Names, env_index: int, mark: Mark) -> None:
        self._names = names
        self.env_index: int = env_index
        self.mark: Mark = mark
        self.length: int = 0
        self.nbytes: int = 0
        self.parts: int = 0
        self.columns: defaultdict[str, list[Column]] = defaultdict(list)
        self._extras: list[str] = []
        self._rewards: list[NDArray[np.float64]] = []
        self._infos: list[tuple[int, Mapping[str, Any]]] = []
        self._reset_info: Mapping[str, Any] | None = None
        self._unknown: list[int] = []

    @property
    def name(self) -> str:
        """What its file is called, within its rollout."""
        mark = self.mark
        return f"env{self.env_index}-episode{mark.episode_index}-step{mark.steps_before}"

    def add(self, block: Block, start: int, stop: int) -> None:
        """Take rows of a block, which may change later."""
        i, columns, names = self.env_index, self.columns, self._names
        for name in names.plain:
            columns[name].append(getattr(block, name)[start:stop, i].copy())
        self._rewards.append(columns["rewards"][-1])
        for name, k, column in names.leaves:
            rows = getattr(block, name)[k][start:stop, i].copy()
            columns[column].append(rows)
            self.nbytes += rows.nbytes
        if block.extras:
            self._add_extras(block, start, stop)
        if block.log.infos:
            infos = [(self.length + row - start, info) for k, row, info in block.log.infos if k == i]
            self._infos += [(t, info) for t, info in infos if self.length <= t < self.length + stop - start]
        if block.log.reset_infos and not self.length and not self.mark.steps_before:
            which = (i, self.mark.episode_index)
            self._reset_info = next((info for k, n, info in block.log.reset_infos if (k, n) == which), None)
        if block.log.unknown and (i, stop) in block.log.unknown:
            self._unknown.append(self.length + stop - start - 1)
        self.length += stop - start

    def _add_extras(self, block: Block, start: int, stop: int) -> None:
        self._extras = [*block.extras]
        for name, column in block.extras.items():
            rows = column[start:stop, self.env_index].copy()
            self.columns[f"{EXTRAS}{name}"].append(rows)
            self.nbytes += rows.nbytes

    def end(self, block: Block, stop: int, final: int | None) -> None:
        """Take the final observation: row `final` of those of the block, or its row `stop`."""
        for name, k, column in self._names.finals:
            if final is None:
                rows = getattr(block, name)[k][stop : stop + 1, self.env_index].copy()
            else:
                finals = block.final_columns if name == "observations" else block.raw_final_columns
                rows = finals[k][final : final + 1]
            self.columns[column].append(rows)

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
        """Return the members of its file that are not in it yet. Raises TypeError if an object needs pickle."""
        members = [(name, packed(_whole(parts))) for name, parts in self.columns.items() if parts]
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

    def take_part(self) -> list[tuple[str, NDArray[Any]]]:
        """Return the rows of observations and actions so far, to be written as a part, and hold them no longer."""
        self.parts += 1
        self.nbytes = 0
        return [(name, packed(_whole(self.columns.pop(name)))) for name in self.large_names if name in self.columns]

    @property
    def large_names(self) -> list[str]:
        """The names of the columns whose rows may be large: observations, actions and extra columns."""
        return [column for _, _, column in self._names.leaves] + [f"{EXTRAS}{name}" for name in self._extras]

    def block(self, written: Mapping[str, Sequence[NDArray[Any]]]) -> Block:
        """Return all rows as a block of one env; `written` has the parts that are in a file already."""
        block = Block(self._names.layout, self.length)
        for name in self._names.plain:
            getattr(block, name)[:, 0] = _whole(self.columns[name])
        for name, k, column in self._names.leaves:
            leaf = getattr(block, name)[k]
            parts = [objects_of(part) if leaf.dtype == object else part for part in written.get(column, ())]
            leaf[: self.length, 0] = _whole([*parts, *self.columns.get(column, ())])
        for name in self._extras:
            column = f"{EXTRAS}{name}"
            block.extras[name] = _whole([*written.get(column, ()), *self.columns.get(column, ())])[:, None]
        block.log.infos = [(0, t, dict(info)) for t, info in self._infos]
        if self._reset_info is not None:
            block.log.reset_infos = [(0, self.mark.episode_index, dict(self._reset_info))]
        return block


def _whole(parts: Sequence[Column]) -> Column:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
