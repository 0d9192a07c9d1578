"""The entry points of installed distributions. Each distribution is read alone, so that a broken one hides no other.

Nothing is imported for this. Of a distribution without our entry points, nothing else is read.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, EntryPoint
from typing import Final, NamedTuple

from runnerkit._plugins.metadata import Head, canonical, newer_needed
from runnerkit._plugins.sources import Names

__all__ = ["AGENTS", "GROUP", "GYMNASIUM", "Found", "TooOld", "found", "names_of", "where_packages_are"]

GROUP: Final = "runnerkit"
"""The group of plugin modules with hooks. Groups such as `runnerkit.history_formats` name one part per entry point."""
GYMNASIUM: Final = "gymnasium.envs"
"""The group of packages with envs. Gymnasium itself read it up to version 1.0."""

AGENTS: Final = "runnerkit.agents"
"""The group of packages that make agents for the command line, which alone reads it."""


class TooOld(Exception):
    """Why a distribution that needs a newer RunnerKit is left out."""


class Found(NamedTuple):
    """An entry point of ours, or the error while a distribution was read."""

    distribution: str
    version: str
    what: EntryPoint | Exception
    names: Names = None
    """What it would have offered, if something went wrong."""


def found(admits: Callable[[str], bool], installed: str) -> Iterator[Found]:
    """Yield the entry points of our groups, distribution by distribution, sorted by name.

    `admits` says which distributions may take part; `installed` is RunnerKit's own version.
    """
    importlib.invalidate_caches()  # what was installed a moment ago can be imported, too
    candidates: dict[str, list[Found]] = {}
    folders: set[str] = set()
    for distribution in importlib.metadata.distributions():
        folder = _folder_of(distribution)
        if folder in folders:
            continue  # Python imports the one that it finds first, and not an older one further down the path
        folders.add(folder)
        try:
            ours = list(_ours(distribution.read_text("entry_points.txt") or ""))
        except Exception as error:  # whatever is raised as a file is read
            head = _head(distribution)
            if admits(head.name):
                candidates.setdefault(canonical(head.name), [Found(head.name, head.version, error)])
            continue
        if ours:
            head = _head(distribution)
            if admits(head.name):
                candidates.setdefault(canonical(head.name), list(_of(head, ours, installed)))
    for name in sorted(candidates):
        yield from candidates[name]


def _ours(text: str) -> Iterator[EntryPoint]:
    """Yield the entry points of our groups in a file; what is wrong with other groups is none of our business.

    `importlib.metadata` would parse all groups of all distributions, which takes twice as long as to read them.
    """
    if GROUP not in text and GYMNASIUM not in text:
        return
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and line[0] not in "#;" and _is_ours(group):
            name, equals, value = line.partition("=")
            if not equals:
                raise ValueError(f"[{group}] has the line {line!r}, which is not 'name = module:attribute'")
            yield EntryPoint(name.strip(), value.strip(), group)


def _is_ours(group: str) -> bool:
    return group in (GROUP, GYMNASIUM) or (group.startswith(f"{GROUP}.") and group != AGENTS)


def _of(head: Head, entries: list[EntryPoint], installed: str) -> Iterator[Found]:
    requirement = newer_needed(head.requires, installed)
    if requirement:
        yield Found(
            head.name,
            head.version,
            TooOld(f"it needs {requirement}, but {installed} is installed. Run: pip install -U '{requirement}'"),
            names_of(entries),
        )
        return
    for entry in sorted(entries, key=lambda entry: (entry.group, entry.name)):
        yield Found(head.name, head.version, entry)


def names_of(entries: list[EntryPoint]) -> Names:
    """Return what entry points offer; None if one is a plugin with hooks, or registers envs of any name."""
    if any(entry.group == GROUP or entry.name == "__root__" for entry in entries):
        return None
    kinds = {GYMNASIUM: "env_factories"}
    return tuple((kinds.get(entry.group, entry.group.removeprefix(f"{GROUP}.")), entry.name) for entry in entries)


def where_packages_are() -> tuple[tuple[str, int], ...]:
    """Return the folders of `sys.path` and when each last changed: this changes when a package is installed."""
    changed: list[tuple[str, int]] = []
    for folder in sys.path:
        with contextlib.suppress(OSError):
            changed.append((folder, os.stat(folder or ".").st_mtime_ns))
    return tuple(changed)


def _head(distribution: Distribution) -> Head:
    """Return name, version and requirements. Without metadata, the name is that of the folder."""
    with contextlib.suppress(Exception):  # metadata that cannot be read
        for file in ("METADATA", "PKG-INFO", ""):
            text = distribution.read_text(file)
            if text:
                head = Head.of(text)
                if head.name and head.version:
                    return head
    name, _, version = _folder(distribution).rpartition(".")[0].partition("-")
    return Head(name or "a distribution without a name", version)


def _folder_of(distribution: Distribution) -> str:
    """Return the name of a distribution as its folder has it, by which Python finds it; else one of its own."""
    return canonical(_folder(distribution).removesuffix(".egg-info").partition("-")[0]) or str(id(distribution))


def _folder(distribution: Distribution) -> str:
    """Return how the folder of its metadata is called: `runnerkit_atari-0.1.0.dist-info`; empty if there is none."""
    return str(getattr(distribution, "_path", "")).rpartition(os.sep)[2]
