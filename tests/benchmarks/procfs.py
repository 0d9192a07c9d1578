"""What Linux tells about the processes of a session: who they are, their CPU time and their memory."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def members(session: int) -> list[int]:
    """Return the ids of the processes of a session that are alive."""
    return [pid for pid, fields in _all_stats() if int(fields[3]) == session and fields[0] not in "ZX"]


def cpu_seconds() -> dict[int, float]:
    """Return by session the CPU time that its processes have used, and those that they have waited for."""
    seconds: dict[int, float] = {}
    for _, fields in _all_stats():
        session = int(fields[3])
        seconds[session] = seconds.get(session, 0.0) + sum(map(int, fields[11:15])) / _TICKS
    return seconds


def own_bytes(pid: int) -> int:
    """Return a process's memory: its own pages, and its part of those that it shares (PSS)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def end_session(session: int) -> None:
    """Kill the processes of a session, but let resource trackers do their work: they end by themselves, then."""
    deadline = time.monotonic() + 10
    while (left := members(session)) and time.monotonic() < deadline:
        trackers = [pid for pid in left if _is_tracker(pid)]
        for pid in set(left) - set(trackers):
            _kill(pid)
        time.sleep(0.01)
    for pid in members(session):
        _kill(pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _is_tracker(pid: int) -> bool:
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _all_stats() -> list[tuple[int, list[str]]]:
    """Return the fields of /proc/<pid>/stat of all processes, from the third on: state, parent, group, session, ..."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found.append((int(path.parent.name), path.read_text().rpartition(")")[2].split()))
        except OSError:
            continue
    return found
