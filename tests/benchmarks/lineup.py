"""All contestants by name, in the order of the tables."""

from __future__ import annotations

from collections.abc import Sequence

from cells import Cell
from contestants import BASELINES, GYMNASIUM, LIMIT, OWN, Contestant
from peers import PEERS

LINEUP: dict[str, Contestant] = {one.name: one for one in [*BASELINES, LIMIT, *OWN, *GYMNASIUM, *PEERS]}


def offered(cell: Cell, names: Sequence[str] = ()) -> list[Contestant]:
    """Return who can be measured here on such a cell, the baseline first, the limit next.

    `names` are parts of names to choose the others by.
    """
    able = [one for one in LINEUP.values() if one.kind == cell.kind and one.is_offered()]
    able = [one for one in able if one.env_id in (None, cell.env_id)]
    wanted = [LIMIT.name, *names] if names else [""]
    chosen = [one for one in able[1:] if any(name.lower() in one.name.lower() for name in wanted)]
    return [able[0], *chosen]
