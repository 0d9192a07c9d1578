"""Where hooks are specified, as mypy knows it: modules, or classes in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mypy.nodes import ARG_POS, Decorator, FuncDef, MypyFile, SymbolNode, TypeInfo, Var
from mypy.types import AnyType, CallableType, Instance, Type, TypeOfAny, get_proper_type


class Spec(NamedTuple):
    """The specification of one hook: `passed` are the arguments that pluggy passes, None if that is not known."""

    name: str
    passed: Mapping[str, Type] | None
    result: Type


class Place(NamedTuple):
    """A module with specifications, or a class in it; `written` is how it is configured."""

    written: str

    @property
    def module(self) -> str:
        """The full name of the module."""
        return self.written.partition(":")[0]

    @property
    def fullname(self) -> str:
        """The full name of what has the specifications as its attributes."""
        return self.written.replace(":", ".")

    def lacks(self, modules: Mapping[str, MypyFile]) -> str:
        """Return what is not there, as a clause, or nothing."""
        if self.module not in modules:
            return f"mypy reads no module {self.module!r}: is it installed, and typed?"
        if not list(self._spaces(modules)):
            return f"module {self.module!r} has no class {self.written.partition(':')[2]!r}."
        return ""

    def names(self, modules: Mapping[str, MypyFile]) -> Iterator[str]:
        """Return the names of the hooks that are specified here."""
        for space in self._spaces(modules):
            for name, symbol in space.names.items():
                if not name.startswith("_") and _function(symbol.node, space):
                    yield name

    def find(self, name: str, modules: Mapping[str, MypyFile]) -> Spec | None:
        """Return the specification of a hook, or None if it is not specified here."""
        for space in self._spaces(modules):
            symbol = space.names.get(name)
            if symbol:
                function = _function(symbol.node, space)
                return _spec(function) if function else Spec(name, None, AnyType(TypeOfAny.unannotated))
        return None

    def markers(self, modules: Mapping[str, MypyFile]) -> Iterator[str]:
        """Return the full names of the markers that the module of these specifications makes or imports."""
        file = modules.get(self.module)
        for symbol in file.names.values() if file else ():
            typ = get_proper_type(symbol.node.type) if isinstance(symbol.node, Var) else None
            if isinstance(typ, Instance) and typ.type.name == "HookspecMarker" and symbol.node:
                yield symbol.node.fullname

    def _spaces(self, modules: Mapping[str, MypyFile]) -> Iterator[MypyFile | TypeInfo]:
        """Return the module, or the class and its bases; nothing if there is no such class."""
        space: MypyFile | TypeInfo = modules[self.module]
        _, _, path = self.written.partition(":")
        for part in path.split(".") if path else ():
            symbol = space.names.get(part)
            if symbol is None or not isinstance(symbol.node, TypeInfo):
                return
            space = symbol.node
        if isinstance(space, TypeInfo):
            yield from (base for base in space.mro if base.fullname != "builtins.object")
        else:
            yield space


def root(fullname: str) -> str:
    """Return the top-level package, without the underscore by which `_pytest` is known to be the inside of `pytest`."""
    return fullname.partition(".")[0].partition(":")[0].lstrip("_")


def _function(node: SymbolNode | None, space: MypyFile | TypeInfo) -> FuncDef | None:
    """Return the function of a specification; what is imported must be decorated to be one."""
    if isinstance(node, Decorator):
        return node.func
    if isinstance(node, FuncDef) and node.fullname == f"{space.fullname}.{node.name}":
        return node
    return None


def _spec(function: FuncDef) -> Spec:
    typ = get_proper_type(function.type) if function.type else None
    unknown = AnyType(TypeOfAny.unannotated)
    types: Sequence[Type] = typ.arg_types if isinstance(typ, CallableType) else [unknown] * len(function.arg_names)
    result = typ.ret_type if isinstance(typ, CallableType) else unknown
    arguments = list(zip(function.arg_names, function.arg_kinds, types, strict=False))
    if function.is_class or (function.info and function.arg_names[:1] == ["self"]):
        del arguments[:1]  # a class with specifications may be registered itself: then pluggy goes by the name, too
    passed: dict[str, Type] = {}
    for name, kind, passed_type in arguments:
        if name is None:
            return Spec(function.name, None, result)
        if kind == ARG_POS:  # what has a default, pluggy never passes
            passed[name] = passed_type
    return Spec(function.name, passed, result)
