"""A call as it is written: which argument is which, and what is known of its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mypy.errorcodes import ErrorCode
from mypy.nodes import ARG_NAMED, ARG_POS, ARG_STAR, ARG_STAR2, CallExpr, Expression, ListExpr, StarExpr, TupleExpr
from mypy.plugin import CheckerPluginInterface
from mypy.types import CallableType, Instance, LiteralType, NoneType, TupleType, Type, UnpackType, get_proper_type

from runnerkit.mypy.codes import CONTRACT
from runnerkit.mypy.shapes import ANY


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where; `note` is said on the same line."""

    where: Expression
    message: str
    code: ErrorCode = CONTRACT
    note: str = ""

    def report(self, api: CheckerPluginInterface) -> None:
        """Say it. mypy says the same of a line once, however often it checks it."""
        if api.fail(self.message, self.where, code=self.code) is not None and self.note:
            api.msg.note(self.note, self.where, code=self.code)


@dataclass(frozen=True, slots=True)
class Value:
    """An expression and its type."""

    where: Expression
    type: Type

    @property
    def literal(self) -> str | None:
        """The string that it is, if that is certain: a literal, or a Final name of one."""
        proper = get_proper_type(self.type)
        if isinstance(proper, Instance) and proper.last_known_value is not None:
            proper = proper.last_known_value
        return proper.value if isinstance(proper, LiteralType) and isinstance(proper.value, str) else None

    @property
    def is_string(self) -> bool:
        """Whether it is a string, of whatever text."""
        proper = get_proper_type(self.type)
        proper = proper.fallback if isinstance(proper, LiteralType) else proper
        return isinstance(proper, Instance) and proper.type.has_base("builtins.str")

    @property
    def is_none(self) -> bool:
        """Whether it is None for certain."""
        return isinstance(get_proper_type(self.type), NoneType)


class Call:
    """The arguments of a call; those by position have the names in `positional`."""

    def __init__(self, call: CallExpr, positional: Sequence[str], api: CheckerPluginInterface) -> None:
        self._api = api
        self._arguments: dict[str, Expression] = {}
        by_position = iter(positional)
        for argument, kind, name in zip(call.args, call.arg_kinds, call.arg_names, strict=True):
            key = next(by_position, None) if kind == ARG_POS else name if kind == ARG_NAMED else None
            if key is not None:
                self._arguments[key] = argument
        self.is_whole: bool = not {ARG_STAR, ARG_STAR2}.intersection(call.arg_kinds)
        """Whether all arguments are written out."""

    @property
    def names(self) -> list[str]:
        """The names of the arguments that are written out."""
        return list(self._arguments)

    def value(self, name: str) -> Value | None:
        """Return an argument, or None if it is not given."""
        argument = self._arguments.get(name)
        return None if argument is None else self._value(argument)

    def items(self, name: str) -> list[Value] | None:
        """Return the elements of a list or tuple that is written out, or of a tuple; None where they are not known."""
        argument = self._arguments.get(name)
        if argument is None:
            return []
        if isinstance(argument, ListExpr | TupleExpr):
            starred = any(isinstance(item, StarExpr) for item in argument.items)
            return None if starred else [self._value(item) for item in argument.items]
        typ = get_proper_type(self._api.get_expression_type(argument))
        if not isinstance(typ, TupleType) or any(isinstance(item, UnpackType) for item in typ.items):
            return None
        return [Value(argument, item) for item in typ.items]

    def _value(self, argument: Expression) -> Value:
        return Value(argument, self._api.get_expression_type(argument))


def permissive(signature: CallableType, returns: Type) -> CallableType:
    """Return a signature that takes anything, for a call of which all is said."""
    return signature.copy_modified(
        arg_types=[ANY, ANY],
        arg_kinds=[ARG_STAR, ARG_STAR2],
        arg_names=[None, None],
        ret_type=returns,
        variables=(),
        unpack_kwargs=False,
    )
