"""Lock files record what each name meant and which versions were installed, so that a later run uses the same.

For example::

    write_lock(plugins, Path("run.lock"))
    check_lock(runner.made_by, Path("run.lock"))     # raises LockError, which names what differs

A lock is a JSON file with one line per name and per distribution, so that `diff` shows what changed.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.metadata import canonical
from runnerkit._plugins.offers import KINDS
from runnerkit.errors import ArgumentError, LockError
from runnerkit.records import MadeBy, PartRecord

__all__ = ["check_lock", "write_lock"]

_VERSION: Final = 1
_BY_NAME: Final = frozenset(KINDS.values())


def write_lock(plugins: Plugins, path: Path) -> None:
    """Lock what is installed now; an existing file is replaced. Raises ArgumentError if it cannot be written."""
    plugins.discover()
    document = {
        "lock": _VERSION,
        "python": _python(platform.python_version()),
        "distributions": _installed(),
        "names": {
            name: {offer.name: canonical(offer.distribution) for offer in plugins.offers(kind).values()}
            for kind, name in KINDS.items()
        },
    }
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise ArgumentError(f"The lock {path} cannot be written: {error.strerror}. Choose another file.") from error


def check_lock(made_by: MadeBy, path: Path) -> None:
    """Raise LockError if a runner has other parts, or other versions, than the lock."""
    lock = _read(path)
    differences = list(_differences(made_by, lock["python"], lock["distributions"], lock["names"]))
    if differences:
        raise LockError(
            f"The runner does not match {path}: {'; '.join(differences)}. Install what is locked, or write a new lock: "
            f"runnerkit lock -o {path}",
            differences,
        )


def _differences(
    made_by: MadeBy, python: str, versions: Mapping[str, str], names: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    used = dict(made_by.packages)
    now = _python(used.pop("python"))
    if now != python:
        yield f"Python is {now}, but {python} is locked"
    for part in made_by.parts:
        yield from _another_meaning(part, names)
        if part.distribution:
            used[part.distribution] = part.version
    for distribution, version in used.items():
        locked = versions.get(canonical(distribution))
        if locked != version:
            yield f"{distribution} is {version}, but {f'{locked} is locked' if locked else 'it is not locked'}"


def _another_meaning(part: PartRecord, names: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Return the message for a name that now means another part. A part passed as an object has no name."""
    if part.kind not in _BY_NAME or ":" in part.name:
        return
    known, owner = names.get(part.kind, {}), canonical(part.distribution)
    if owner in (known.get(part.name), known.get(f"{owner}/{part.name}")):
        return
    what = f"{part.kind} {part.name!r}"
    now = f"comes from {part.distribution or 'a plugin that was registered by hand'}"
    locked = known.get(part.name)
    then = "it is not" if locked is None else f"that of {locked} is" if locked else "one that was registered by hand is"
    yield f"{what} {now}, but {then} locked"


def _installed() -> dict[str, str]:
    """Return the versions of all distributions. If several have one name, the one that Python imports counts."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        try:
            name, version = distribution.name, distribution.version
        except Exception:  # metadata that cannot be read: what does not say its version cannot be locked
            continue
        if name and version:
            found.setdefault(canonical(name), version)
    return dict(sorted(found.items()))


def _python(version: str) -> str:
    """Return the feature release, such as 3.12. Bug-fix releases are not locked."""
    return ".".join(version.split(".")[:2])


def _read(path: Path) -> Mapping[str, Any]:
    try:
        lock: object = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ArgumentError(
            f"{path} cannot be read: {error.strerror}. Write a lock: runnerkit lock -o {path}"
        ) from error
    except ValueError as error:
        raise ArgumentError(f"{path} is not a lock: {error}. Write one: runnerkit lock -o {path}") from error
    if not isinstance(lock, dict) or lock.get("lock") != _VERSION or not _is_whole(lock):
        raise ArgumentError(f"{path} is not a lock of this version of RunnerKit. Write one: runnerkit lock -o {path}")
    return lock


def _is_whole(lock: Mapping[str, object]) -> bool:
    names, versions = lock.get("names"), lock.get("distributions")
    return (
        isinstance(lock.get("python"), str)
        and isinstance(versions, dict)
        and isinstance(names, dict)
        and all(isinstance(found, dict) for found in names.values())
    )
