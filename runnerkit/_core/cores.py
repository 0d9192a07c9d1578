"""How many cores may be used, and which executor may spin on one while it waits."""

from __future__ import annotations

import itertools
import os
import threading
from typing import Final, Protocol

from runnerkit.errors import ArgumentError

__all__ = ["Spinner", "Spinners", "available_cores", "share_out", "spinners", "usual_workers"]

_QUOTA = "/sys/fs/cgroup/cpu.max"


def share_out(n_envs: int, workers: int | None) -> list[range]:
    """Distribute envs over workers (None: one per core). Returns the envs of each worker, the caller's first.

    Raises ArgumentError.
    """
    if workers is not None and workers < 1:
        raise ArgumentError(f"workers must be at least 1, not {workers}.")
    n = min(n_envs, workers or available_cores())
    bounds = [round(n_envs * w / n) for w in range(n + 1)]
    return [range(low, high) for low, high in itertools.pairwise(bounds)]


def usual_workers(n_envs: int) -> list[int]:
    """Return 2, 4, 8, ..., up to what the cores and the envs allow, and that number."""
    most = min(available_cores(), n_envs)
    return [w for w in (2**k for k in range(1, most.bit_length())) if w < most] + [most] * (most > 1)


def available_cores() -> int:
    """Return how many cores this process may use: its CPU affinity, or less if a container has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else max(1, min(cores, quota))


def _quota() -> int | None:
    """Return how many whole cores a container may use; None if there is no limit."""
    try:
        with open(_QUOTA) as file:
            quota, period = file.read().split()
        return None if quota == "max" else int(quota) // int(period)
    except (OSError, ValueError):  # no such file, or none of this form: not in a container
        return None


class Spinner(Protocol):
    """An executor whose workers may poll instead of sleeping while they wait for each other."""

    @property
    def workers(self) -> int:
        """The number of workers, including the calling thread."""
        ...

    def let_spin(self, may: bool) -> None:
        """Learn whether the workers may poll, whenever an executor starts or stops."""
        ...


class Spinners:
    """All executors of the process that are in a rollout: they may spin while there are cores for all of them."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start afresh after a fork: the threads that polled or held the lock do not exist here."""
        # Reentrant, as the garbage collector may close a dropped runner in the midst of what its thread does here.
        self._lock: threading.RLock = threading.RLock()
        self._running: set[Spinner] = set()

    def enter(self, executor: Spinner) -> None:
        """Count the workers of an executor."""
        with self._lock:
            self._running.add(executor)
            self._tell()

    def leave(self, executor: Spinner) -> None:
        """Stop counting the workers of an executor, if they were counted."""
        with self._lock:
            if executor in self._running:
                self._running.remove(executor)
                self._tell()

    def _tell(self) -> None:
        may = sum(executor.workers for executor in self._running) <= available_cores()
        for executor in tuple(self._running):
            executor.let_spin(may)


spinners: Final = Spinners()
"""Those of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=spinners.forget)
