"""Annotations as text, and what they say for sure about a batch or a class.

Annotations bind nobody: what cannot be resolved, or may be anything, says nothing, as code that works must not be
refused for a guess::

    given = annotation_of(agent.act, "return")      # Any, if nothing is known
    text(given)                                     # "NDArray[int64]"
    forms(given)                                    # {"i", "u"}: the kinds of arrays that it may be
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from inspect import isabstract
from types import FunctionType, NoneType, SimpleNamespace, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin

import numpy as np
from typing_extensions import get_protocol_members, is_protocol

__all__ = ["ALL_KINDS", "MAPPING", "NO_BATCH", "SCALAR", "annotation_of", "contradicts", "forms", "members", "text"]

MAPPING: Final = "mapping"
SCALAR: Final = "scalar"
NO_BATCH: Final = "no batch"

_SCALARS: Final = (int, float, complex, np.generic)
_NO_BATCHES: Final = (str, bytes, NoneType)
_KINDS: Final[Mapping[type, str]] = {
    np.floating: "f",
    np.integer: "iu",  # of either sign, since a wrong one is a trifle
    np.bool_: "b",
    np.complexfloating: "c",
    np.str_: "U",
    np.bytes_: "S",
    np.object_: "O",
    np.datetime64: "M",
    np.timedelta64: "m",
    np.void: "V",
}
ALL_KINDS: Final = frozenset("".join(_KINDS.values()))
"""The kinds of all dtypes."""
_BARE: Final[Mapping[object, str]] = {  # what a type checker makes of them without arguments
    list: "[Any]",
    set: "[Any]",
    dict: "[Any, Any]",
    tuple: "[Any, ...]",
    Iterable: "[Any]",
    Iterator: "[Any]",
    Sequence: "[Any]",
    Mapping: "[Any, Any]",
}


def annotation_of(function: object, name: str) -> Any:
    """Return the annotation of an argument, or of "return", with its names resolved; Any where nothing is known.

    Of what was decorated nothing is known: the annotations that it shows may be those of the function inside. Nor is
    anything of other objects that can be called: those that they show are of their class's variables.
    """
    function = getattr(function, "__func__", function)
    if type(function) is not FunctionType or hasattr(function, "__wrapped__"):
        return Any
    try:
        raw: object = function.__annotations__[name]
        holder = SimpleNamespace(__annotations__={name: raw})
        return typing.get_type_hints(holder, function.__globals__)[name]
    except Exception:  # names of TYPE_CHECKING imports, of functions that are over, and whatever else they may be
        return Any


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation itself."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def contradicts(annotation: Any, wanted: type) -> bool:
    """Whether nothing of that annotation can be of a class, or have the methods of a Protocol."""
    return all(_is_no(member, wanted) for member in members(annotation))


def forms(annotation: Any) -> frozenset[str]:
    """Return what a batch of that annotation may be: kinds of NumPy's dtypes, `MAPPING`, `SCALAR`, `NO_BATCH`.

    Empty where it does not say, or where it says something else: any array, a list, a tensor, a type of your own.
    """
    found = [_forms(member) for member in members(annotation)]
    return frozenset().union(*found) if all(found) else frozenset()


def text(annotation: Any) -> str:
    """Return an annotation as a person would write it: class names without their module, `NDArray[float32]`."""
    if annotation in (None, NoneType):
        return "None"
    if annotation is ...:
        return "..."
    if isinstance(annotation, list):  # of the arguments of a Callable
        return f"[{_listed(annotation)}]"
    if len(members(annotation)) > 1:
        return " | ".join(text(member) for member in members(annotation))
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, np.ndarray):
        return f"{'NDArray' if origin is np.ndarray else origin.__name__}[{_text_of_dtype(annotation)}]"
    name = getattr(origin, "__name__", None) or str(annotation)
    if not get_args(annotation):
        return name + _bare(annotation)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    return f"{name}[{_listed(get_args(annotation))}]"


def _listed(annotations: Iterable[Any]) -> str:
    return ", ".join(text(annotation) for annotation in annotations)


def _bare(annotation: Any) -> str:
    if annotation in _BARE:
        return _BARE[annotation]
    parameters = getattr(annotation, "__parameters__", ()) if isinstance(annotation, type) else ()
    return f"[{', '.join('Any' for _ in parameters)}]" if parameters else ""


def _text_of_dtype(annotation: Any) -> str:
    scalar = _scalar(annotation)
    return "Any" if isinstance(scalar, TypeVar) else text(scalar)


def _scalar(annotation: Any) -> Any:
    """Return the type of the items of an ndarray: float32 of NDArray[float32]."""
    arguments = get_args(annotation)
    return (*get_args(arguments[1]), Any)[0] if len(arguments) == 2 else Any


def _forms(annotation: Any) -> frozenset[str]:
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return frozenset()
    if issubclass(kind, np.ndarray):
        found = [_array_kinds(scalar) for scalar in members(_scalar(annotation))]
        return frozenset().union(*found) if all(found) else frozenset()
    if issubclass(kind, Mapping):
        return frozenset({MAPPING})
    if issubclass(kind, _NO_BATCHES):
        return frozenset({NO_BATCH})
    return frozenset({SCALAR}) if issubclass(kind, _SCALARS) else frozenset()


def _array_kinds(scalar: Any) -> Collection[str]:
    kind = get_origin(scalar) or scalar
    if kind is Any or not isinstance(kind, type):
        return ""
    found = [kinds for base, kinds in _KINDS.items() if issubclass(kind, base) or issubclass(base, kind)]
    return "".join(found)


def _is_no(annotation: Any, wanted: type) -> bool:
    kind = get_origin(annotation) or annotation
    if kind is NoneType:
        return True
    if kind in (Any, object) or not isinstance(kind, type):
        return False
    if is_protocol(kind):  # which is no class of its own, so that only ours are known for what they are
        return is_protocol(wanted) and _is_ours(kind) and wanted not in kind.__mro__
    if is_protocol(wanted):
        if isabstract(kind) and issubclass(list, kind):  # Iterable, Collection: which a list is, too
            return False
        return not all(_has(kind, name) for name in get_protocol_members(wanted))
    return not (issubclass(kind, wanted) or issubclass(wanted, kind))


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "runnerkit"


def _has(kind: type, name: str) -> bool:
    """Whether objects of a class have something of that name; what their metaclass has does not count."""
    return any(name in vars(base) or "__getattr__" in vars(base) for base in kind.__mro__)
