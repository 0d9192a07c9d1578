"""What a part of the plugin may answer. Each has one concern; a part says nothing where it has none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from mypy.errorcodes import ErrorCode
from mypy.nodes import MypyFile, SymbolTableNode, TypeInfo
from mypy.plugin import FunctionContext, FunctionSigContext, MethodContext, MethodSigContext, Plugin
from mypy.types import AnyType, FunctionLike, Instance, Type, TypeOfAny

HOOKIMPL: Final = ErrorCode("hookimpl", "Check hook implementations against their specifications", "RunnerKit")


class Part:
    """One concern of the plugin."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin: Plugin = plugin
        self.modules: Mapping[str, MypyFile] = {}  # those that mypy has read

    def prepare(self, file: MypyFile) -> None:
        """Do what must be done to a file that was just parsed."""

    def modules_for(self, file: MypyFile) -> Collection[str]:
        """Return the modules that must be analysed for this file's sake, though it does not import them."""
        del file
        return ()

    def method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Return what is to see a call of that method, if anything."""
        del fullname
        return None

    def method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        """Return what is to see a call of that method before its arguments are checked, if anything."""
        del fullname
        return None

    def function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """Return what is to see a call of that function or class, if anything."""
        del fullname
        return None

    def function_signature_hook(self, fullname: str) -> Callable[[FunctionSigContext], FunctionLike] | None:
        """Return what is to see a call of that function or class before its arguments are checked, if anything."""
        del fullname
        return None

    def lookup(self, fullname: str) -> SymbolTableNode | None:
        """Return what a full name stands for, or None where its module is not part of this run of mypy."""
        try:
            return self.plugin.lookup_fully_qualified(fullname)
        except (AssertionError, KeyError):
            return None

    def instance(self, fullname: str, *args: Type) -> Instance | None:
        """Return the type of the objects of a class, or None where its module is not part of this run of mypy."""
        symbol = self.lookup(fullname)
        if symbol is None or not isinstance(symbol.node, TypeInfo):
            return None
        of_any = [AnyType(TypeOfAny.special_form)] * len(symbol.node.type_vars)
        return Instance(symbol.node, list(args) or of_any)

    def is_method(self, fullname: str, owner: str, name: str) -> bool:
        """Whether a full name is that of a method of a class, or of a derived one that leaves it as it is."""
        of, _, called = fullname.rpartition(".")
        if called != name or of == owner:
            return called == name
        symbol = self.lookup(of)
        return symbol is not None and isinstance(symbol.node, TypeInfo) and self.leaves(symbol.node, owner, name)

    def leaves(self, info: TypeInfo, owner: str, name: str) -> bool:
        """Whether a class is derived from another and leaves a method of that one as it is, wherever it is from."""
        symbol, method = self.lookup(owner), info.get_method(name)
        if method is None or symbol is None or not isinstance(symbol.node, TypeInfo) or not info.has_base(owner):
            return False
        own = symbol.node.get_method(name)
        return own is not None and own.info.fullname == method.info.fullname
