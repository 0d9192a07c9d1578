"""What actions and observations were, leaf by leaf of their spaces, from a bounded number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from runnerkit._core.spaces import Leaf
from runnerkit.reporting.curves import evenly
from runnerkit.reporting.runs import Run

__all__ = ["Sample", "sampled"]

_MOST_FILES: Final = 200  # that are opened
_MOST_ROWS: Final = 20_000
_MOST_NUMBERS: Final = 2_000_000

Kind = Literal["observation", "action"]


@dataclass(frozen=True)
class Sample:
    """Rows of one leaf.

    Attributes:
        path: where the leaf stands, such as `observation['position']`.
        leaf: its space, as the agent sees it.
        rows: `[rows, *shape]`; empty for leaves without numbers.
        total: how many rows the run has.

    """

    path: str
    leaf: Leaf
    rows: NDArray[Any]
    total: int

    @property
    def is_discrete(self) -> bool:
        """Whether its numbers are choices, and not quantities."""
        return isinstance(self.leaf.space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


def sampled(run: Run, kind: Kind) -> list[Sample]:
    """Return rows of each leaf of a run's observations or actions, evenly spread over the run."""
    lengths = run.history_lengths
    if not lengths:
        return []
    chosen = _spread(len(lengths), _MOST_FILES if run.folder else _MOST_ROWS)
    every = max(1, -(-sum(lengths[k] for k in chosen) // _MOST_ROWS))
    rows: dict[str, list[NDArray[Any]]] = {}
    leaves: dict[str, Leaf] = {}
    for k in chosen:
        for leaf, column in _columns(run.histories[k], kind):
            kept = column[:: _every(leaf, every)]
            leaves.setdefault(leaf.path, leaf)
            if _fits(kept, rows.get(leaf.path)):
                rows.setdefault(leaf.path, []).append(kept)
    return [_sample(path, leaf, rows.get(path, []), sum(lengths)) for path, leaf in leaves.items()]


def _sample(path: str, leaf: Leaf, rows: Sequence[NDArray[Any]], total: int) -> Sample:
    return Sample(path, leaf, np.concatenate(rows) if rows else np.zeros((0, *leaf.shape), leaf.dtype), total)


def _spread(n: int, most: int) -> list[int]:
    """Return at most so many of the numbers below n, evenly."""
    return [int(k) for k in evenly(n, most)]


def _every(leaf: Leaf, every: int) -> int:
    """Return which rows to keep, so that images do not fill the memory."""
    size = int(np.prod(leaf.shape))
    return max(every, every * size * _MOST_ROWS // _MOST_NUMBERS)


def _fits(rows: NDArray[Any], others: Sequence[NDArray[Any]] | None) -> bool:
    """Return whether rows go with earlier ones: runs of other runners may have other spaces."""
    return not others or (rows.shape[1:], rows.dtype) == (others[0].shape[1:], others[0].dtype)


def _columns(history: Any, kind: Kind) -> Iterator[tuple[Leaf, NDArray[Any]]]:
    """Yield the leaves of a history, each with its rows; those without numbers have none."""
    for block, i in history.parts():
        layout = block.layout.observation if kind == "observation" else block.layout.action
        if all(leaf.is_object for leaf in layout.leaves):
            yield from ((leaf, np.zeros((0,), leaf.dtype)) for leaf in layout.leaves)
            continue
        columns = block.observations if kind == "observation" else block.actions
        for leaf, column in zip(layout.leaves, columns, strict=True):
            yield leaf, np.zeros((0,), leaf.dtype) if leaf.is_object else column[: block.lengths[i], i]
