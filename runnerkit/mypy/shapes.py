"""The methods of a type: whether they are there, and can be called as RunnerKit calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mypy.erasetype import erase_typevars
from mypy.nodes import (
    ARG_NAMED,
    ARG_OPT,
    ARG_POS,
    ARG_STAR,
    ARG_STAR2,
    Argument,
    Decorator,
    FuncDef,
    OverloadedFuncDef,
    SymbolNode,
    TypeInfo,
)
from mypy.subtypes import find_member
from mypy.type_visitor import TypeTranslator
from mypy.types import (
    AnyType,
    CallableType,
    FunctionLike,
    Instance,
    NoneType,
    ProperType,
    Type,
    TypeAliasType,
    TypeOfAny,
    TypeType,
    TypeVarType,
    UninhabitedType,
    UnpackType,
    get_proper_type,
)
from typing_extensions import override

from runnerkit import _sentences as sentences

ANY: Final = AnyType(TypeOfAny.special_form)

_ASYNC: Final = frozenset({"typing.Coroutine", "typing.AsyncGenerator"})


class Method:
    """One way to call a method, or a function; `self` is bound already."""

    def __init__(self, typ: CallableType) -> None:
        self._type = typ

    def takes(self, call: str) -> bool:
        """Whether it can be called as `act(observations)`; with names, `make(env_id, *, seed, **options)`, in part."""
        n, by_name = _arguments(call)
        kinds, names = self._type.arg_kinds, self._type.arg_names
        most = sum(kind in (ARG_POS, ARG_OPT) for kind in kinds)
        if n > most and ARG_STAR not in kinds:
            return False
        if by_name:  # others may bring what is missing
            return ARG_STAR2 in kinds or by_name <= {name for name in names[n:] if name}
        return kinds.count(ARG_POS) <= n and ARG_NAMED not in kinds

    @property
    def first(self) -> Type:
        """The type of its first argument; Any where it is not known."""
        first = get_proper_type(self._type.arg_types[0]) if self._type.arg_types else ANY
        return ANY if isinstance(first, UnpackType) else erase_typevars(first)

    @property
    def result(self) -> ProperType:
        """What it returns; Any where that depends on what it is called with."""
        return get_proper_type(erase_typevars(self._type.ret_type))

    @property
    def awaited(self) -> ProperType:
        """What it returns, or what comes of that when it is awaited."""
        made = self.result
        is_coroutine = isinstance(made, Instance) and made.type.fullname == "typing.Coroutine"
        return get_proper_type(made.args[2]) if is_coroutine and isinstance(made, Instance) else made

    @property
    def is_async(self) -> bool:
        """Whether it is a coroutine function, or an async generator function."""
        made = get_proper_type(self._type.ret_type)
        return (isinstance(made, Instance) and made.type.fullname in _ASYNC) or _is_async(self._type.definition)

    @override
    def __str__(self) -> str:
        """Return its arguments: `observations, *, state`."""
        parts: list[str] = []
        only_by_name = False
        for kind, name in zip(self._type.arg_kinds, self._argument_names(), strict=True):
            if kind.is_named() and not only_by_name:
                parts.append("*")
            only_by_name |= kind == ARG_STAR or kind.is_named()
            parts.append({ARG_STAR: "*", ARG_STAR2: "**"}.get(kind, "") + name)
        return ", ".join(parts)

    def _argument_names(self) -> list[str]:
        """Return the names, those of positional-only arguments from the source, if mypy has just read that."""
        node = self._type.definition
        node = node.func if isinstance(node, Decorator) else node
        arguments: list[Argument] = getattr(node, "arguments", [])  # a function from mypy's cache has none
        written = [argument.variable.name for argument in arguments]
        n = len(self._type.arg_names)
        written = [*["_"] * n, *written][-n:] if n else []
        return [name or other for name, other in zip(self._type.arg_names, written, strict=True)]


class Thing:
    """Something that is given to RunnerKit: an agent, a processor, a format. `what` says which.

    `may_be_class` where it is only called, as factories are, so that a class or a function will do. What comes of the
    call `awaited` is awaited.
    """

    def __init__(self, what: str, typ: Type, *, may_be_class: bool = False, awaited: str = "") -> None:
        self.what = what
        self._type = _one(open_ended(typ))
        self._may_be_class, self._awaited = may_be_class, awaited

    @property
    def is_plain(self) -> bool:
        """Whether it is a number, a list, None: nothing that anyone would take for a processor or a format."""
        typ = self._type
        return isinstance(typ, NoneType) or (isinstance(typ, Instance) and typ.type.module_name == "builtins")

    @property
    def who(self) -> str:
        """The name of its class, or its own if it is a class."""
        typ = self._type
        if isinstance(typ, TypeType) and isinstance(typ.item, Instance):
            return typ.item.type.name
        if isinstance(typ, FunctionLike):
            return typ.type_object().name if typ.is_type_obj() else self._function(typ)
        if isinstance(typ, Instance) and typ.type.fullname == "types.ModuleType":
            return "module"  # as it calls itself
        return typ.type.name if isinstance(typ, Instance) else "NoneType"

    def is_function(self, call: str) -> bool:
        """Whether it is called itself, as it is no class and has no method that is called so."""
        is_class = isinstance(self._type, TypeType) or (
            isinstance(self._type, FunctionLike) and self._type.is_type_obj()
        )
        return not is_class and self._ways(call) is None and self._ways("__call__()") is not None

    def fault(self, *calls: str, optional: Sequence[str] = ()) -> str:
        """Say what is wrong with how its methods can be called, `act(observations)` for instance, or nothing."""
        typ = self._type
        if isinstance(typ, TypeType) or (isinstance(typ, FunctionLike) and typ.is_type_obj()):
            if self._may_be_class:
                return self._misshapen(calls)
            return "" if self._is_namespace(calls) else sentences.is_a_class(self.what, self.who)
        if not isinstance(typ, Instance | FunctionLike | NoneType):
            return ""
        return self._lacking(calls) or self._misshapen([*calls, *optional]) or self._nearly(optional)

    def methods(self, call: str) -> list[Method]:
        """Return the ways to call a method so; none where nothing is known of it."""
        return [way for way in self._ways(call) or () if way.takes(call)]

    def _lacking(self, calls: Sequence[str]) -> str:
        for call in calls:
            if self._ways(call) is None:
                return sentences.lacks_method(self.what, self.who, call, self._public_names())
        return ""

    def _misshapen(self, calls: Sequence[str]) -> str:
        for call in calls:
            if call != self._awaited and any(way.is_async for way in self._ways(call) or ()):
                return sentences.async_method(self.what, self.who, _name(self._said(call)))
        for call in calls:
            ways = self._ways(call) or ()
            if ways and not self.methods(call):
                own = self._said(call)
                return sentences.not_callable_so(self.what, self.who, own, f"{_name(own)}({ways[0]})")
        return ""

    def _said(self, call: str) -> str:
        """Return how a call is written: a function is called by its own name."""
        return call.replace("__call__", self.who) if isinstance(self._type, FunctionLike) else call

    def _nearly(self, optional: Sequence[str]) -> str:
        """Say which public method is named almost as an optional one that is not there."""
        missing = [call for call in optional if self._ways(call) is None]
        for name in sorted(self._public_names()) if missing else ():
            for call in missing:
                if sentences.nearly(name, _name(call)) and self._ways(f"{name}()"):
                    return sentences.near_miss(self.what, self.who, name, call)
        return ""

    def _ways(self, call: str) -> list[Method] | None:
        """Return all ways to call a method; None if it is not there, no way where nothing is known of it."""
        name = _name(call)
        if isinstance(self._type, FunctionLike):
            return [Method(way) for way in self._type.items] if name == "__call__" else None
        if isinstance(self._type, NoneType):
            return None
        if not isinstance(self._type, Instance):
            return []
        member = get_proper_type(find_member(name, self._type, self._type))
        if isinstance(member, Instance):
            member = get_proper_type(find_member("__call__", member, member))
        if member is None or isinstance(member, NoneType):
            return None
        return [Method(way) for way in member.items] if isinstance(member, FunctionLike) else []

    def _is_namespace(self, calls: Sequence[str]) -> bool:
        """Whether it is a class of static methods and class methods, which is as good as an object."""
        typ = get_proper_type(self._type.item) if isinstance(self._type, TypeType) else self._type
        info = typ.type_object() if isinstance(typ, FunctionLike) else typ.type if isinstance(typ, Instance) else None
        nodes = [info.get_method(_name(call)) for call in calls] if info else []
        functions = [node.func if isinstance(node, Decorator) else node for node in nodes]
        if any(_name(call) == "__call__" for call in calls):
            return False  # to call a class is to make an object
        return all(isinstance(node, FuncDef) and (node.is_static or node.is_class) for node in functions)

    def _public_names(self) -> set[str]:
        if not isinstance(self._type, Instance):
            return set()
        classes = [info for info in self._type.type.mro if info.fullname != "builtins.object"]
        return {
            name
            for info in classes
            for name, symbol in info.names.items()
            if not name.startswith("_") and not symbol.implicit  # set by a method
        }

    def _function(self, typ: FunctionLike) -> str:
        node = typ.items[0].definition
        if (self._may_be_class or self.what == "Agent") and isinstance(node, FuncDef | Decorator):
            return node.name
        return "method" if typ.items[0].is_bound else "function"


class _OpenEnded(TypeTranslator):
    """Takes what mypy has found no type for, the T of a Scale[T]() for instance, as Any."""

    @override
    def visit_uninhabited_type(self, t: UninhabitedType, /) -> Type:
        return ANY

    @override
    def visit_type_alias_type(self, t: TypeAliasType, /) -> Type:
        return t if t.is_recursive else get_proper_type(t).accept(self)


def open_ended(typ: Type) -> Type:
    """Return a type with Any for what is Never inside of it."""
    return get_proper_type(typ).accept(_OpenEnded())


def made_by(node: SymbolNode | None) -> Type:
    """Return what a class makes, or a function returns; Any where that is not known."""
    if isinstance(node, TypeInfo):
        return Instance(node, [ANY] * len(node.type_vars))
    node = node.func if isinstance(node, Decorator) else node
    if isinstance(node, FuncDef) and isinstance(node.type, CallableType):
        return erase_typevars(node.type.ret_type)
    return ANY


def _one(typ: Type) -> ProperType:
    proper = get_proper_type(typ)
    return get_proper_type(proper.upper_bound) if isinstance(proper, TypeVarType) else proper


def _name(call: str) -> str:
    return call.partition("(")[0]


def _arguments(call: str) -> tuple[int, set[str]]:
    """Return how many arguments a call has by position, and which by name."""
    positional, _, named = call.partition("(")[2].rstrip(")").partition("*, ")
    return len([name for name in positional.split(", ") if name]), {
        name for name in named.split(", ") if name and not name.startswith("**")
    }


def _is_async(node: SymbolNode | None) -> bool:
    if isinstance(node, OverloadedFuncDef):
        node = node.impl
    return isinstance(node, FuncDef) and (node.is_coroutine or node.is_async_generator)
