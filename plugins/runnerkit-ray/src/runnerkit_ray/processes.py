"""The processes of a cluster, by the folder that they were started with; a process is its number and its beginning."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["alive", "processes_of"]


def processes_of(folder: str) -> set[tuple[int, str]]:
    """Return the processes that were started with that folder, and all that these have started."""
    processes = _table()
    found = {pid for pid in processes if folder.encode() in _command(pid)}
    more = found
    while more:
        more = {pid for pid, (parent, _) in processes.items() if parent in more and pid not in found}
        found = found | more
    return {(pid, processes[pid][1]) for pid in found - {os.getpid()}}


def alive() -> set[tuple[int, str]]:
    """Return all processes that have not ended."""
    return {(pid, began) for pid, (_, began) in _table().items()}


def _table() -> dict[int, tuple[int, str]]:
    """Return all processes but zombies, on Linux: their parents, and when they began."""
    found: dict[int, tuple[int, str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = path.read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                found[int(path.parent.name)] = int(fields[1]), fields[19]
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return b""
