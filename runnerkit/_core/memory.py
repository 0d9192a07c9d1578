"""How much memory there is, and whether a rollout fits into it."""

from __future__ import annotations

import os
import sys

from runnerkit.errors import MemoryBudgetError

__all__ = ["available_bytes", "fitting", "require_bytes", "total_bytes"]

_NEVER_MIND = 64 * 2**20  # bytes; for less, asking the system costs too much
_CGROUP = "/sys/fs/cgroup/"


def available_bytes() -> int | None:
    """Return the bytes that can still be allocated without swapping; None if unknown."""
    known = [found for found in (_meminfo(), _cgroup(), _addresses()) if found is not None]
    return min(known) if known else None


def require_bytes(needed: int, steps: int, n_envs: int) -> None:
    """Raise MemoryBudgetError if a rollout's arrays would not fit."""
    if needed < _NEVER_MIND:
        return
    available = available_bytes()
    if available is None or needed <= available:
        return
    fits = int(steps * available / needed * 0.8)
    again = f": call rollout(agent, steps={fits}) repeatedly, as each call continues the last one" if fits else ""
    raise MemoryBudgetError(
        f"A rollout of {steps:,} steps x {n_envs} envs needs arrays of {needed / 1e9:,.1f} GB; "
        f"{available / 1e9:,.1f} GB are available. Ask for fewer steps{again}; or use fewer envs, "
        "or override process_transition to keep less."
    )


def fitting(steps: int, bytes_per_step: int) -> int:
    """Return how many of these steps fit into half of the available memory; at least 1.

    For memory that is allocated before it is known how much will be needed.
    """
    if steps * bytes_per_step < _NEVER_MIND:
        return steps
    available = available_bytes()
    return steps if available is None else max(1, min(steps, available // 2 // bytes_per_step))


def _meminfo() -> int | None:
    try:
        for line in _read("/proc/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None
    except OSError:  # not Linux: all there is, as nobody says what is free
        return total_bytes()


def total_bytes() -> int | None:
    """Return the bytes of main memory, or of the container's share of it; None if unknown."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    known = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(known, int(_read(_CGROUP + "memory.max")))
    except (OSError, ValueError):  # no container, or one without a limit: "max"
        return known


def _cgroup() -> int | None:
    """Return how much the container may still allocate; caches count as free, as the kernel drops them first."""
    try:
        limit = _read(_CGROUP + "memory.max").strip()
        if limit == "max":
            return None
        used = int(_read(_CGROUP + "memory.current"))
        cached = dict(line.split() for line in _read(_CGROUP + "memory.stat").splitlines()).get("inactive_file", 0)
        return max(0, int(limit) - used + int(cached))
    except (OSError, ValueError):
        return None


def _addresses() -> int | None:
    """Return how much more this process may map, if `ulimit -v` says so."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        used = int(_read("/proc/self/statm").split()[0]) * resource.getpagesize()
    except OSError:  # not Linux: what is used is not known
        used = 0
    return max(0, limit - used)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
