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

__all__ = ["AGENTS", "GROUP", "GYMNASIUM", "Found", "TooOld", "found", "where_packages_are"]

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


def found(admits: Callable[[str], bool], installed: str) -> Iterator[Found]:
    """Yield the entry points of our groups, distribution by distribution, sorted by name.

    `admits` says which distributions may take part; `installed` is RunnerKit's own version.
    """
    importlib.invalidate_caches()  # what was installed a moment ago can be imported, too
    candidates: dict[str, list[Found]] = {}
    for distribution in importlib.metadata.distributions():
        try:
            ours = [entry_point for entry_point in distribution.entry_points if _is_ours(entry_point.group)]
        except Exception as error:  # whatever a parser raises of a file that is none
            head = _head(distribution)
            if admits(head.name):
                candidates.setdefault(canonical(head.name), [Found(head.name, head.version, error)])
            continue
        if ours:
            head = _head(distribution)
            if admits(head.name) and _comes_first(distribution, head.name):
                candidates.setdefault(canonical(head.name), list(_of(head, ours, installed)))
    for name in sorted(candidates):
        yield from candidates[name]


def _is_ours(group: str) -> bool:
    return group in (GROUP, GYMNASIUM) or (group.startswith(f"{GROUP}.") and group != AGENTS)


def _of(head: Head, entries: list[EntryPoint], installed: str) -> Iterator[Found]:
    requirement = newer_needed(head.requires, installed)
    if requirement:
        yield Found(
            head.name,
            head.version,
            TooOld(f"it needs {requirement}, but {installed} is installed. Run: pip install -U '{requirement}'"),
        )
        return
    for entry in sorted(entries, key=lambda entry: (entry.group, entry.name)):
        yield Found(head.name, head.version, entry)


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
    folder = str(getattr(distribution, "_path", "")).rpartition(os.sep)[2]
    name, _, version = folder.rpartition(".")[0].partition("-")
    return Head(name or "a distribution without a name", version)


def _comes_first(distribution: Distribution, name: str) -> bool:
    """Whether Python would import this distribution, and not one of the same name earlier on the path."""
    try:
        first = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:  # there is no metadata: it is known by its folder only
        return True
    return str(first.locate_file("")) == str(distribution.locate_file(""))
