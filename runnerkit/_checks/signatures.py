"""How a function may be called, as far as `inspect` can tell; what it cannot look into may be called in any way.

A call is given as it is said in errors: `act(observations)`, `make(env_id, *, seed, **options)`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

__all__ = ["called_otherwise", "first_parameter", "is_async", "name_of", "required_names"]


def name_of(call: str) -> str:
    """Return what is called: `act`."""
    return call.partition("(")[0]


def is_async(function: object) -> bool:
    """Whether calling a function does nothing until someone awaits what it returns."""
    while isinstance(function, (functools.partial, MethodType)):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    # nothing else is asked: a mock of a function says yes to all, and that it is one
    is_late = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    return type(function) is FunctionType and is_late


def called_otherwise(function: Callable[..., object], call: str) -> str:
    """Return how a function is to be called, `act(observations, state)`, if that call does not do; else nothing."""
    signature = _signature(function)
    if signature is None:
        return f"{name_of(call)}()" if _lacks_self(function) else ""
    positional, keywords = _arguments(call)
    bind = signature.bind_partial if keywords else signature.bind  # options may bring what is missing
    try:
        bind(*positional, **dict.fromkeys(keywords))
    except TypeError:
        return f"{name_of(call)}({', '.join(_written(signature))})"
    return ""


def first_parameter(function: Callable[..., object]) -> str:
    """Return the name of what gets the first argument; nothing where that is one of many, or unknown."""
    signature = _signature(function)
    first = next(iter(signature.parameters.values()), None) if signature else None
    return "" if first is None or first.kind is first.VAR_POSITIONAL else first.name


def required_names(function: Callable[..., object]) -> list[str]:
    """Return the keyword-only parameters without which it cannot be called."""
    signature = _signature(function)
    parameters = signature.parameters.values() if signature else ()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        if hasattr(function, "__signature__"):  # says how it wants to be seen, as decorators copy it
            return None
        return inspect.signature(function, follow_wrapped=False)  # a decorator may pass on more than it gets
    except Exception:  # objects have many ways of not having one
        return None


def _lacks_self(method: Callable[..., Any]) -> bool:
    """Whether it is a method without any parameter, for which `inspect` has no signature."""
    inner = _signature(method.__func__) if isinstance(method, MethodType) else None
    return inner is not None and not inner.parameters


def _arguments(call: str) -> tuple[list[str], list[str]]:
    """Return what is passed by position, and what by name: ["env_id"] and ["seed"] of the example above."""
    positional, _, named = call.partition("(")[2].rstrip(")").partition("*, ")
    keywords = [name for name in named.split(", ") if name and not name.startswith("**")]
    return [name for name in positional.split(", ") if name], keywords


def _written(signature: inspect.Signature) -> list[str]:
    words: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not any(word.startswith("*") for word in words):
            words.append("*")
        words.append(str(parameter.replace(annotation=parameter.empty, default=parameter.empty)))
    return words
