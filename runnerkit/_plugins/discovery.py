"""The entry points of the installed distributions, read one distribution at a time: a broken one hides no other."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint
from typing import Final, NamedTuple

__all__ = ["GROUP", "Found", "canonical", "found", "where_packages_are"]

GROUP: Final = "runnerkit"


class Found(NamedTuple):
    """An entry point of ours, or what went wrong as those of a distribution were read."""

    distribution: str
    version: str
    what: EntryPoint | Exception


def canonical(distribution: str) -> str:
    """Return the name of a distribution as indexes compare it: `Runnerkit_Atari` is `runnerkit-atari`."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def found() -> Iterator[Found]:
    """Yield the entry points of our group, distribution by distribution, in the order of their names."""
    importlib.invalidate_caches()  # what was installed a moment ago can be imported, too
    candidates: dict[str, list[Found]] = {}
    for distribution in importlib.metadata.distributions():
        try:
            ours = [entry_point for entry_point in distribution.entry_points if entry_point.group == GROUP]
        except Exception as error:  # whatever a parser raises of a file that is none
            name, version = _title(distribution)
            candidates.setdefault(canonical(name), [Found(name, version, error)])
            continue
        if ours:
            name, version = _title(distribution)  # reading it is slow, so that it is read of few
            entries = sorted(ours, key=lambda entry_point: entry_point.name)
            if _comes_first(distribution, name):
                candidates.setdefault(canonical(name), [Found(name, version, entry) for entry in entries])
    for name in sorted(candidates):
        yield from candidates[name]


def where_packages_are() -> tuple[tuple[str, int], ...]:
    """Return what changes when a package is installed: the folders of `sys.path`, and when each changed last."""
    changed: list[tuple[str, int]] = []
    for folder in sys.path:
        with contextlib.suppress(OSError):
            changed.append((folder, os.stat(folder or ".").st_mtime_ns))
    return tuple(changed)


def _title(distribution: Distribution) -> tuple[str, str]:
    """Return name and version; of one without metadata, as its folder is called."""
    with contextlib.suppress(Exception):  # metadata that cannot be read, or that lacks one of them
        name, version = distribution.name, distribution.version
        if name and version:
            return name, version
    folder = str(getattr(distribution, "_path", "")).rpartition(os.sep)[2]
    name, _, version = folder.rpartition(".")[0].partition("-")
    return name or "a distribution without a name", version


def _comes_first(distribution: Distribution, name: str) -> bool:
    """Whether it is the one of its name that Python imports, and not an older one further down the path."""
    try:
        first = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:  # there is no metadata: it is known by its folder only
        return True
    return str(first.locate_file("")) == str(distribution.locate_file(""))
