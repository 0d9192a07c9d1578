"""Threads and helper processes work for the process that started them, not for a fork of it."""

from __future__ import annotations

import os

from runnerkit.errors import RunnerKitError

__all__ = ["is_fork", "require_process"]


def is_fork(pid: int) -> bool:
    """Return whether this is another process than `pid`."""
    return os.getpid() != pid


def require_process(pid: int) -> None:
    """Raise RunnerKitError in a fork of the process `pid`, which started the workers.

    A fork may begin in the middle of a rollout, if the agent makes one, so that each step must ask.
    """
    if is_fork(pid):
        raise RunnerKitError(
            f"The workers of this runner belong to process {pid}, not to its fork {os.getpid()}. "
            "Build a runner in each process."
        )
