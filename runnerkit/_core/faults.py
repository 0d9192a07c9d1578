"""Describe errors, and close what they leave open."""

from __future__ import annotations

import signal
from collections.abc import Callable

__all__ = ["cause_of_death", "close_after", "describe"]


def describe(error: BaseException) -> str:
    """Return the type of an error and its message, if it has one."""
    try:
        message = str(error)
    except Exception as fault:
        message = f"<its __str__ raised {type(fault).__name__}>"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def close_after(error: BaseException, close: Callable[[], None]) -> None:
    """Close what an error leaves open. If closing fails, too, the error gets a note about it."""
    try:
        close()
    except Exception as fault:
        error.add_note(f"Closing failed, too: {describe(fault)}")


def cause_of_death(code: int) -> str:
    """Return how a process ended, by its exit code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-code}"
