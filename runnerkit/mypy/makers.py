"""What makes a part, and which options it takes: read from the object that a name stands for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mypy.erasetype import erase_typevars
from mypy.nodes import (
    ARG_NAMED,
    ARG_POS,
    ARG_STAR2,
    Decorator,
    FuncDef,
    OverloadedFuncDef,
    SymbolNode,
    TypeAlias,
    TypeInfo,
    Var,
)
from mypy.types import CallableType, FunctionLike, Instance, Type, get_proper_type

from runnerkit import _sentences as sentences
from runnerkit.mypy.shapes import Method

_CALLS: Final = {"env_factories": sentences.MAKE_ENV, "executors": sentences.MAKE_EXECUTOR}
"""The kinds that are called themselves, and how."""

_POSITIONAL: Final = {"env_factories": 1, "executors": 2}
_PASSED: Final = frozenset({"seed"})
TOLD: Final = frozenset({"n_envs", "env_index", "plugins"})
"""What a runner passes to env factories by name: always, and where they have such a parameter."""

_ORDINARY: Final = ("builtins.type", "abc.ABCMeta", "typing._ProtocolMeta")


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call what makes a part: the types of its options, those that must be given, and whether it takes
    others.
    """

    types: Mapping[str, Type]
    required: Collection[str]
    takes_others: bool


def signatures_of(kind: str, node: SymbolNode | None) -> Sequence[Signature]:
    """Return the options of what a name stands for, once for each of its overloads; none where they are not known."""
    ways = _ways(node)
    if kind not in _CALLS:
        return [_signature(way) for way in ways]
    if any(Method(way).takes(_CALLS[kind]) for way in ways):
        return signatures_of_called(kind, ways)
    own = [_signature(way) for way in ways]  # of a function that returns what is called
    return [signature for signature in own if signature.types or signature.takes_others]


def signatures_of_called(kind: str, ways: Iterable[CallableType]) -> Sequence[Signature]:
    """Return the options of a function that is called itself: those that a runner does not pass."""
    passed = _PASSED | TOLD if kind == "env_factories" else ()
    return [_signature(way, _POSITIONAL[kind], passed) for way in ways if _has_names(way)]


def _signature(way: CallableType, positional: int = 0, passed: Collection[str] = ()) -> Signature:
    way = way.with_unpacked_kwargs()
    arguments = list(zip(way.arg_names, way.arg_kinds, way.arg_types, strict=True))
    named = {
        name: (kind, erase_typevars(typ))
        for name, kind, typ in arguments[positional:]
        if name and not name.startswith("_") and name not in passed and not kind.is_star()
    }
    return Signature(
        {name: typ for name, (_, typ) in named.items()},
        [name for name, (kind, _) in named.items() if kind in (ARG_POS, ARG_NAMED)],
        any(kind == ARG_STAR2 for _, kind, _ in arguments),
    )


def _ways(node: SymbolNode | None) -> Sequence[CallableType]:
    """Return the ways to call what a name stands for, `self` left out; none where they are not known."""
    if isinstance(node, TypeAlias):
        target = get_proper_type(node.target)
        node = target.type if isinstance(target, Instance) else None
    if isinstance(node, TypeInfo):
        return _constructor(node)
    typ = node.var.type if isinstance(node, Decorator) else None
    if isinstance(node, FuncDef | OverloadedFuncDef | Var):
        typ = node.type
    proper = get_proper_type(typ) if typ is not None else None
    return proper.items if isinstance(proper, FunctionLike) and not proper.is_type_obj() else []


def _constructor(info: TypeInfo) -> Sequence[CallableType]:
    metaclass = info.metaclass_type
    if info.fallback_to_any or (metaclass is not None and metaclass.type.fullname not in _ORDINARY):
        return []
    methods = [method for method in map(info.get_method, ("__init__", "__new__")) if method is not None]
    if not methods:
        return []
    method = min(methods, key=lambda method: info.mro.index(method.info))
    typ = get_proper_type(method.var.type if isinstance(method, Decorator) else method.type)
    if not isinstance(typ, FunctionLike):
        return []
    return [_without_first(way) for way in typ.items]


def _has_names(way: CallableType) -> bool:
    """Whether its arguments are those of a function, and not of a `Callable[[int], Env]`, which hides their names."""
    return way.is_ellipsis_args or any(name is not None for name in way.arg_names)


def _without_first(way: CallableType) -> CallableType:
    if not way.arg_kinds or not way.arg_kinds[0].is_positional():
        return way
    return way.copy_modified(arg_types=way.arg_types[1:], arg_kinds=way.arg_kinds[1:], arg_names=way.arg_names[1:])
