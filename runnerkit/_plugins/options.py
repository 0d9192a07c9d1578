"""The options of parts, which are the keyword arguments of what makes a part: read from its signature, and checked.

For example::

    options = options_of(ParquetFormat)
    options.known                                   # (Option(name="compression", annotation=str, default="zstd"), ...)
    options.checked("history format 'parquet'", {"compresion": "zstd"})     # ArgumentError: did you mean compression?

Only what is surely wrong is refused: an unknown option, a missing one, and a value of another type where the annotation
is simple.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MethodType, NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import numpy as np

from runnerkit import _sentences as sentences
from runnerkit.errors import ArgumentError

__all__ = ["UNKNOWN", "Option", "Options", "Typed", "options_of", "read_literal"]

UNKNOWN: Final = inspect.Parameter.empty
"""Stands for a missing annotation, and for the default of an option that must be given."""

_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_TRUE: Final = ("true", "yes", "on")
_FALSE: Final = ("false", "no", "off")


class Typed(str):
    """The value of an option as typed in a terminal. It is read according to the option's annotation."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a part."""

    name: str
    annotation: Any = UNKNOWN
    default: object = UNKNOWN
    doc: str = ""

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is UNKNOWN

    @property
    def type(self) -> str:
        """Its annotation as source text; empty if there is none."""
        return "" if self.annotation is UNKNOWN else _written(self.annotation)

    def read(self, value: object) -> object:
        """Return the value, read first if it was typed; raises ValueError if its type is surely wrong."""
        if isinstance(value, Typed):
            value = _read(str(value), self.annotation)
        if not _may_be(value, self.annotation):
            raise ValueError
        return value


@dataclass(frozen=True, slots=True)
class Options:
    """All options of a part.

    Attributes:
        known: those that have a name in the signature.
        takes_others: whether it accepts other names, too, as `**options` does; also True if nobody can tell.
        told: what RunnerKit passes by itself, unless it is given.

    """

    known: tuple[Option, ...] = ()
    takes_others: bool = False
    told: Collection[str] = ()

    def checked(self, what: str, given: Mapping[str, object], *, complete: bool = True) -> dict[str, object]:
        """Return the options to pass on; `what` names the part. Raises ArgumentError if they are surely wrong.

        Unless `complete`, missing options may come from elsewhere.
        """
        by_name = {option.name: option for option in self.known}
        for name in given:
            if name not in by_name and not self.takes_others and name not in self.told:
                raise ArgumentError(sentences.unknown_part_option(what, name, sorted(by_name)))
        for option in self.known:
            if complete and option.is_required and option.name not in given:
                raise ArgumentError(sentences.missing_part_option(what, option.name, option.type))
        return {name: _value(what, by_name.get(name, Option(name)), value) for name, value in given.items()}


def options_of(
    make: object, *, positional: int = 0, passed: Collection[str] = (), told: Collection[str] = ()
) -> Options:
    """Return the options of what makes a part, or of a part that is itself called.

    RunnerKit itself passes the `positional` arguments, those named in `passed`, and those in `told` unless they are
    given.
    Parameters that begin with an underscore are no options.
    """
    signature = _signature(make)
    if signature is None:
        return Options(takes_others=True)
    docs, names = _docs(make), _namespace(make)
    parameters = list(signature.parameters.values())
    return Options(
        tuple(
            Option(p.name, _evaluated(p.annotation, names), p.default, docs.get(p.name, ""))
            for p in parameters[positional:]
            if p.kind in _BY_NAME and p.name not in {*passed, *told} and not p.name.startswith("_")
        ),
        any(p.kind is p.VAR_KEYWORD for p in parameters),
        told=frozenset(told),
    )


def _value(what: str, option: Option, value: object) -> object:
    try:
        return option.read(value)
    except ValueError:
        given = str(value) if isinstance(value, Typed) else value
        raise ArgumentError(sentences.wrong_part_option(what, option.name, option.type, repr(given))) from None


# ---- what a signature says


def _signature(make: object) -> inspect.Signature | None:
    try:
        if not callable(make) or (hasattr(make, "__signature__") and not isinstance(make, type)):
            return None  # it says how it wants to be seen, as decorators copy it
        return inspect.signature(make, follow_wrapped=False)
    except Exception:  # objects have many ways of not having one
        return None


def _function(make: object) -> Any:
    """Return the function that has the parameters of `make`."""
    while isinstance(make, (functools.partial, MethodType)):
        make = make.func if isinstance(make, functools.partial) else make.__func__
    if isinstance(make, type):
        return make.__init__ if make.__init__ is not object.__init__ else make.__new__  # type: ignore[misc]
    return make if inspect.isroutine(make) else vars(type(make)).get("__call__", make)


def _namespace(make: object) -> dict[str, Any]:
    return {**getattr(_function(make), "__globals__", {})}


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """Return what an annotation means, if that can be known: some names exist for type checkers only."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, names)  # as typing.get_type_hints does, which gives up if one of all has no meaning
    except Exception:
        return UNKNOWN


def _written(annotation: Any) -> str:
    if annotation is None or annotation is NoneType:
        return "None"
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(_written, get_args(annotation)))
    return re.sub(r"\b(typing|collections\.abc|pathlib|builtins)\.", "", str(annotation))


def _docs(make: object) -> dict[str, str]:
    """Return the text of each parameter in the section `Args:` of a docstring, as one line."""
    docs: dict[str, str] = {}
    for place in (_function(make), make):
        text = inspect.cleandoc(getattr(place, "__doc__", None) or "")
        section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
        for entry in re.finditer(r"^ {4}(\w+)(?: \([^)]*\))?: (.*(?:\n {5,}.*)*)", section[1] if section else "", re.M):
            docs[entry[1]] = " ".join(entry[2].split())
    return docs


# ---- values


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union; a single type counts as a union of one."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(member for part in get_args(annotation) for member in _members(part))
    return (NoneType if annotation is None else annotation,)


def _is_path(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "__fspath__")


def _may_be(value: object, annotation: Any) -> bool:
    """Whether a value may be of a type. For types that are not simple, this is True."""
    return any(_may_be_one(value, member) for member in _members(annotation))


def _may_be_one(value: object, annotation: Any) -> bool:
    simple: dict[Any, tuple[type, ...]] = {
        NoneType: (NoneType,),
        bool: (bool, np.bool_),
        int: (int, np.integer),
        float: (float, int, np.floating, np.integer),
        str: (str,),
    }
    if get_origin(annotation) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(annotation))
    if _is_path(annotation):
        return isinstance(value, os.PathLike)
    return isinstance(value, simple[annotation]) if _is_simple(annotation, simple) else True


def _is_simple(annotation: Any, simple: Collection[Any]) -> bool:
    return isinstance(annotation, type) and annotation in simple


def _read(text: str, annotation: Any) -> object:
    """Return a typed text as a value of a type; raises ValueError if it cannot be one."""
    members = _members(annotation)
    readers: dict[Any, Callable[[str], object]] = {
        NoneType: _read_none, bool: _read_bool, int: int, float: float
    }  # fmt: skip
    others = [member for member in members if not _is_simple(member, {**readers, str: str})]
    for member, reader in readers.items():
        if member in members:
            try:
                return reader(text)
            except ValueError:
                continue
    for member in others:
        if get_origin(member) is Literal:
            for choice in get_args(member):
                if text == str(choice) or (text.lower() == str(choice).lower() and isinstance(choice, bool | None)):
                    return choice
        elif _is_path(member):
            return Path(text)
        elif member is not UNKNOWN or len(members) == 1:
            return read_literal(text)
    if str in members:
        return text
    raise ValueError


def _read_none(text: str) -> None:
    if text.lower() not in ("none", "null"):
        raise ValueError


def _read_bool(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError
    return text.lower() in _TRUE


def read_literal(text: str) -> object:
    """Return a text of unknown type as JSON or Python would read it, else as a string."""
    words: dict[str, object] = {"none": None, "null": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text
