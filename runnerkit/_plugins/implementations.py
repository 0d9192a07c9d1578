"""What is wrong with the implementation of a hook, before it is called; in the sentences of `runnerkit._sentences`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

from typing_extensions import is_protocol

from runnerkit import _sentences as sentences
from runnerkit import hooks
from runnerkit._checks.annotations import annotation_of, contradicts, members, text
from runnerkit._checks.signatures import is_async, required_names
from runnerkit.hooks import Contribution
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor

__all__ = ["fault", "wrong_result"]

_ALIKE: Final = {ActionPreprocessor, ActionPostprocessor}  # the same, to a type checker


def fault(hook: str, function: Callable[..., object], arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    """Return what is wrong with an implementation of one of RunnerKit's hooks, none of which passes arguments.

    `arguments` are those that pluggy would pass, `options` those of the marker.
    """
    if options.get("wrapper") or options.get("hookwrapper"):
        return sentences.no_wrapper(hook)
    if is_async(function):
        return sentences.async_hook(hook)
    for argument in (*arguments, *required_names(function)):
        return sentences.unknown_argument(hook, argument, ())
    given = annotation_of(function, "return")
    return wrong_result(hook, text(given)) if _is_wrong(hook, given) else ""


def wrong_result(hook: str, given: str) -> str:
    """Say that a hook returns, or is to return, what is no iterable of its contributions."""
    return sentences.wrong_result(hook, given, text(_wanted(hook)))


@functools.cache
def _wanted(hook: str) -> Any:
    return get_type_hints(getattr(hooks, hook))["return"]


def _is_wrong(hook: str, given: Any) -> bool:
    return all(_is_no_result(member, _wanted(hook)) for member in members(given))


def _is_no_result(given: Any, wanted: Any) -> bool:
    """Whether an annotation is no iterable of contributions of the wanted kind."""
    kind = get_origin(given) or given
    if not isinstance(kind, type) or kind in (Any, object, NoneType) or is_protocol(kind):
        return False  # None is nothing to offer
    if issubclass(kind, (str, bytes)) or not issubclass(kind, Iterable):
        return True
    items = get_args(given)
    if not items or kind.__module__ not in ("builtins", "collections.abc"):  # whose arguments may be anything
        return False
    (contribution,) = get_args(wanted)
    return all(_is_no_contribution(item, contribution) for item in members(items[0]))


def _is_no_contribution(given: Any, wanted: Any) -> bool:
    kind = get_origin(given) or given
    if not isinstance(kind, type) or kind in (Any, object) or is_protocol(kind):
        return False
    if not issubclass(kind, Contribution):
        return True
    (made,) = get_args(wanted)
    return any(_is_no_kind(item, get_origin(made) or made) for item in get_args(given))


def _is_no_kind(given: Any, wanted: type) -> bool:
    return not {given, wanted} <= _ALIKE and contradicts(given, wanted)
