"""Which function a marker such as `@hookimpl` is applied to, and how."""

from __future__ import annotations

from typing import NamedTuple

from mypy.nodes import (
    CallExpr,
    Context,
    Decorator,
    Expression,
    FuncDef,
    MemberExpr,
    NameExpr,
    RefExpr,
    StrExpr,
    TempNode,
)
from mypy.types import ProperType, get_proper_type

OPTIONS = frozenset({"hookwrapper", "optionalhook", "tryfirst", "trylast", "specname", "wrapper"})


class Marked(NamedTuple):
    """A function as a marker gets it: `typ` is what the decorators between the two, if any, have made of its type."""

    function: FuncDef
    typ: ProperType
    marker: str
    """The full name of the marker, where it is defined."""
    specname: str = ""
    optional: bool = False
    wrapper: bool = False

    @property
    def hook(self) -> str:
        """The name of the hook that is implemented."""
        return self.specname or self.function.name


def marked(context: Context, argument: Expression) -> Marked | None:
    """Return what a marker is applied to as a decorator, or None if that cannot be known.

    `argument` is what mypy makes up as the decorator's argument: it has the decorator's position.
    """
    decorator = _decorator(context, argument)
    if decorator is None or not isinstance(context, Decorator) or not isinstance(argument, TempNode):
        return None
    return _marked(context.func, get_proper_type(argument.type), decorator)


def marked_by_attribute(context: Context, argument: Expression) -> Marked | None:
    """Return the same for typed hooks, `@hookimpl.history_formats`, whose attribute is the name of the hook."""
    decorator = _decorator(context, argument)
    hook = decorator.callee if isinstance(decorator, CallExpr) else decorator
    if not isinstance(hook, MemberExpr) or not isinstance(context, Decorator) or not isinstance(argument, TempNode):
        return None
    return Marked(context.func, get_proper_type(argument.type), marker="", specname=hook.name)


def _decorator(context: Context, argument: Expression) -> Expression | None:
    if isinstance(context, Decorator):
        for decorator in context.decorators:
            if (decorator.line, decorator.column) == (argument.line, argument.column):
                return decorator
    return None


def _marked(function: FuncDef, typ: ProperType, decorator: Expression) -> Marked | None:
    if isinstance(decorator, RefExpr):
        return Marked(function, typ, decorator.fullname)
    if not isinstance(decorator, CallExpr) or not isinstance(decorator.callee, RefExpr):
        return None
    options: dict[str, str | bool] = {}
    for name, value in zip(decorator.arg_names, decorator.args, strict=True):
        literal = _literal(value)
        if name not in OPTIONS or literal is None:
            return None
        options[name] = literal
    return Marked(
        function,
        typ,
        decorator.callee.fullname,
        str(options.get("specname") or ""),
        bool(options.get("optionalhook")),
        bool(options.get("wrapper") or options.get("hookwrapper")),
    )


def _literal(value: Expression) -> str | bool | None:
    """Return the string or the truth value that an expression spells; None becomes False."""
    if isinstance(value, StrExpr):
        return value.value
    if isinstance(value, NameExpr):
        return {"builtins.True": True, "builtins.False": False, "builtins.None": False}.get(value.fullname)
    return None
