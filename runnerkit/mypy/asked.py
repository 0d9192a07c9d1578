"""Parts that a call asks for by name: `"npz"`, `("npz", {"path": "runs"})` and `use("npz", path="runs")`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mypy.nodes import (
    ARG_NAMED,
    CallExpr,
    DictExpr,
    Expression,
    IndexExpr,
    MypyFile,
    NameExpr,
    RefExpr,
    TupleExpr,
    Var,
)
from mypy.plugin import CheckerPluginInterface

from runnerkit.mypy.calls import Call, Value
from runnerkit.mypy.origin import bindings

USE: Final = "runnerkit.keys.use"
KEY: Final = "runnerkit.keys.HistoryKey"

KIND_OF: Final = {
    "history": "history_formats",
    "executor": "executors",
    "preprocessors": "action_preprocessors",
    "postprocessors": "action_postprocessors",
    "reward_processors": "reward_processors",
}
"""Which kind of part each option of a runner asks for."""


@dataclass(frozen=True, slots=True)
class Given:
    """An option as it is written; `where` is its name if that is an expression, else its value."""

    name: str
    value: Expression
    where: Expression


@dataclass(frozen=True, slots=True)
class Asked:
    """A part that is asked for: its name, and its options as far as they are written out."""

    value: Value
    name: str
    options: Sequence[Given] = ()
    is_whole: bool = True
    """Whether all its options are written out."""
    by_key: bool = False
    """Whether the name is that of a HistoryKey."""


def asked(value: Value, api: CheckerPluginInterface) -> Asked | None:
    """Return the name and the options that a value is; None where it is no name, or not known."""
    if value.literal is not None:
        return Asked(value, value.literal)
    node, by_key = value.where, False
    if isinstance(node, TupleExpr) and len(node.items) == 2:
        name = _literal(node.items[0], api)
        found = options_in(node.items[1], api)
    elif isinstance(node, CallExpr) and isinstance(node.callee, RefExpr) and node.callee.fullname == USE and node.args:
        name = _literal(node.args[0], api)
        by_key = name is None
        name = _name_of_key(node.args[0], api) if by_key else name
        found = _by_keyword(node.args[1:], node)
    else:
        return None
    return None if name is None else Asked(value, name, *found, by_key)


def parts_asked_for(call: Call, api: CheckerPluginInterface) -> Iterator[tuple[str, Asked]]:
    """Yield the kind and the name of all parts of a runner."""
    for option, kind in KIND_OF.items():
        values = call.items(option) if option.endswith("processors") else [call.value(option)]
        for value in values or ():
            found = asked(value, api) if value is not None else None
            if found is not None:
                yield kind, found


def options_in(node: Expression, api: CheckerPluginInterface) -> tuple[list[Given], bool]:
    """Return the options in a dict as far as it is written out, and whether they are all."""
    if isinstance(node, CallExpr) and isinstance(node.callee, RefExpr) and node.callee.fullname == "builtins.dict":
        return _by_keyword(node.args, node)
    if not isinstance(node, DictExpr):
        return [], False
    keys = [(None if key is None else _literal(key, api), key, value) for key, value in node.items]
    given = [Given(name, value, key) for name, key, value in keys if name is not None and key is not None]
    return given, len(given) == len(keys)


def _by_keyword(values: Sequence[Expression], call: CallExpr) -> tuple[list[Given], bool]:
    written = [
        Given(name, value, value)
        for value, kind, name in zip(call.args, call.arg_kinds, call.arg_names, strict=True)
        if kind == ARG_NAMED and name is not None
    ]
    return written, len(written) == len(values)


def _literal(node: Expression, api: CheckerPluginInterface) -> str | None:
    return Value(node, api.get_expression_type(node)).literal


def _name_of_key(node: Expression, api: CheckerPluginInterface) -> str | None:
    """Return the name that a HistoryKey has, if its file binds it once, and to a key that is written out."""
    file = getattr(api, "tree", None)
    if isinstance(node, NameExpr) and isinstance(node.node, Var) and isinstance(file, MypyFile):
        (node, *others) = [*bindings(node.node, file)] or [node]
        if others:
            return None
    if not isinstance(node, CallExpr) or not node.args:
        return None
    callee = node.callee.base if isinstance(node.callee, IndexExpr) else node.callee
    is_key = isinstance(callee, RefExpr) and callee.fullname == KEY
    return _literal(node.args[0], api) if is_key else None
