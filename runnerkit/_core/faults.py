"""What is done with an exception besides raising it: putting it into words, and closing what it leaves open."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["close_after", "describe"]


def describe(error: BaseException) -> str:
    """Return the type of an error and its message, if it has one."""
    try:
        message = str(error)
    except Exception as fault:
        message = f"<its __str__ raised {type(fault).__name__}>"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def close_after(error: BaseException, close: Callable[[], None]) -> None:
    """Close what an error leaves open; should that fail, too, the error is the one to tell, with a note."""
    try:
        close()
    except Exception as fault:
        error.add_note(f"Besides, closing failed: {describe(fault)}")
