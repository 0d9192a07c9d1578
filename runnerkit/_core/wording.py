"""Format numbers, values and errors for messages.

For example::

    count(1, "worker")     # "1 worker"
    result_kind((1, 2))    # "a tuple of 2"
    where(error)           # "my_agents.py:7, in act"
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
import warnings

__all__ = ["FIX_ENV", "count", "result_kind", "short_repr", "warn", "where", "with_fix"]

FIX_ENV = "Fix the env, or wrap it so that it matches its declared spaces"
"""The advice when an env breaks its contract. The name of a suitable wrapper may follow."""

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
_MOST_CHARACTERS = 80


def count(n: int, what: str) -> str:
    """Return a number with its noun, given in the singular; the plural gets an s."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def result_kind(result: object) -> str:
    """Describe what a function returned: the length of a tuple, else only the type."""
    if inspect.iscoroutine(result):
        result.close()  # nobody will await it, which Python would warn of
        return "a coroutine (use executor='asyncio', which awaits it)"
    return f"a tuple of {len(result)}" if isinstance(result, tuple) else f"a {type(result).__name__}"


def short_repr(value: object) -> str:
    """Return the repr of a value, shortened to 80 characters."""
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."


def where(error: BaseException | None) -> str:
    """Return the file and line in which user code raised the root cause of an error.

    Return "" if there is no error, or if RunnerKit itself raised it.
    """
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [] if error is None else traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].filename.startswith(("<", _OURS)):
        return ""
    return f"{frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name}"


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the user's line that called RunnerKit."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def with_fix(what: str, wrappers: str = "") -> str:
    """Say what to do about an env; lines of code at the end of `what` say it already."""
    return what.rstrip() if what.endswith("\n") else f"{what}. {FIX_ENV}{wrappers}."
