"""Check the implementation of a hook before it is called. The messages are those of `runnerkit._sentences`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runnerkit import _sentences as sentences
from runnerkit import hooks
from runnerkit._checks.signatures import is_async, required_names

__all__ = ["fault", "wrong_result"]


def fault(hook: str, function: Callable[..., object], arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    """Return what is wrong with an implementation of a hook of RunnerKit. No such hook passes arguments.

    `arguments` are what pluggy would pass, `options` those of the marker.
    """
    if options.get("wrapper") or options.get("hookwrapper"):
        return sentences.no_wrapper(hook)
    if is_async(function):
        return sentences.async_hook(hook)
    for argument in (*arguments, *required_names(function)):
        return sentences.unknown_argument(hook, argument, ())
    return ""


def wrong_result(hook: str, given: str) -> str:
    """Return the message for a hook whose result is not an iterable of contributions."""
    wanted: str = getattr(hooks, hook).__annotations__["return"]  # as it is written
    return sentences.wrong_result(hook, given, wanted)
