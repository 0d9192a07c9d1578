"""The options of a part that was passed as an object, as far as it keeps what it was made with."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from runnerkit._core.origins import plain

__all__ = ["function_of", "known_options"]


def known_options(part: object) -> dict[str, object]:
    """Return the options of a part, by name::

        known_options(functools.partial(Clip, low=-2))      # {"low": -2}
        known_options(Normalize(clip=5))                    # {"clip": 5}, as it keeps it as part.clip

    They are the keywords of a partial; its attribute `options`, if that is a mapping; or those arguments of its
    constructor that it keeps as attributes of the same name. What equals the default is left out.
    """
    if isinstance(part, functools.partial):
        return {**known_options(part.func), **part.keywords}
    own = getattr(part, "__dict__", {})
    options = own.get("options")
    if isinstance(options, Mapping):
        return {str(name): value for name, value in options.items()}
    return {} if isinstance(part, type) or inspect.isroutine(part) else dict(_kept(part))


def function_of(part: object) -> Any:
    """Return what a partial calls in the end; anything else is returned as it is."""
    while isinstance(part, functools.partial):
        part = part.func
    return part


def _kept(part: object) -> Iterator[tuple[str, object]]:
    try:
        parameters = inspect.signature(type(part)).parameters.values()
    except (TypeError, ValueError):  # of a class that is not written in Python
        return
    slots = {field.name for field in dataclasses.fields(part)} if dataclasses.is_dataclass(part) else set()
    own = getattr(part, "__dict__", {}).keys() | slots
    for parameter in parameters:
        if parameter.name in own and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            value = getattr(part, parameter.name)
            if plain(value) != plain(parameter.default):
                yield parameter.name, value
