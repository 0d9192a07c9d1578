"""How many cores there are to work with."""

from __future__ import annotations

import os

__all__ = ["available_cores"]

_QUOTA = "/sys/fs/cgroup/cpu.max"


def available_cores() -> int:
    """Return how many cores this process may use: those it is bound to, or fewer where a container has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else max(1, min(cores, quota))


def _quota() -> int | None:
    """Return the whole cores that a container may use at the same time, None if there is no limit."""
    try:
        with open(_QUOTA) as file:
            quota, period = file.read().split()
        return None if quota == "max" else int(quota) // int(period)
    except (OSError, ValueError):  # no such file, or none of this form: not in a container
        return None
