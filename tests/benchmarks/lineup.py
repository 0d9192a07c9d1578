"""All contestants by name, in the order of the tables."""

from __future__ import annotations

from collections.abc import Sequence

from cells import Cell
from contestants import BASELINES, GYMNASIUM, OWN, Contestant
from peers import PEERS

LINEUP: dict[str, Contestant] = {one.name: one for one in [*BASELINES, *OWN, *GYMNASIUM, *PEERS]}


def offered(cell: Cell, names: Sequence[str] = ()) -> list[Contestant]:
    """Return who can be measured here on such a cell, the baseline first; `names` are parts of names to choose by."""
    able = [one for one in LINEUP.values() if one.vector == cell.vector and one.is_offered()]
    chosen = [one for one in able[1:] if not names or any(name.lower() in one.name.lower() for name in names)]
    return [able[0], *chosen]
