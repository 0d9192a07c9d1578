"""Agents that installed packages make by a prefix: `--agent sb3:model.zip`.

A package offers a family of agents with an entry point, whose name is the prefix:

    [project.entry-points."runnerkit.agents"]
    sb3 = "runnerkit_sb3.agent:SB3Agent.load"
"""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint

from runnerkit._plugins.choice import Choice
from runnerkit._plugins.discovery import AGENTS
from runnerkit.errors import ArgumentError

__all__ = ["families", "family"]


def families() -> list[str]:
    """Return the prefixes that installed packages offer, sorted."""
    return sorted({entry_point.name for entry_point in _offered()})


def family(prefix: str) -> EntryPoint | None:
    """Return what makes the agents of a family, or None if no package offers it. Imports nothing.

    Raises:
        ArgumentError: several packages offer it.

    """
    found = {_owner(entry): entry for entry in _offered() if entry.name == prefix}
    if len(found) > 1:
        raise ArgumentError(
            f"The agents {prefix!r} are offered by {' and '.join(sorted(found))}. Uninstall all but one of them."
        )
    return next(iter(found.values()), None)


def _offered() -> list[EntryPoint]:
    """Return the entry points of all distributions but those that environment variables turn off."""
    choice = Choice()
    return [entry for entry in importlib.metadata.entry_points(group=AGENTS) if choice.admits(_owner(entry))]


def _owner(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else entry_point.value
