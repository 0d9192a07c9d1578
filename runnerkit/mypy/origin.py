"""Where a runner comes from: the call that built it, as far as its file tells. Asked only where something is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mypy.nodes import (
    AssignmentStmt,
    CallExpr,
    Expression,
    IndexExpr,
    MemberExpr,
    MypyFile,
    NameExpr,
    RefExpr,
    TypeInfo,
    Var,
    WithStmt,
)

MAKE: Final = "runnerkit.registry.make"

_PARTS: Final = ("body", "defs", "else_body", "handlers", "finally_body", "bodies", "func")
"""Where statements have others inside of them."""


def built_by(runner: Expression, file: MypyFile) -> CallExpr | None:
    """Return the call that built a runner: the expression itself, or what the only binding of a name has."""
    if isinstance(runner, NameExpr) and isinstance(runner.node, Var):
        values = list(bindings(runner.node, file))
        if len(values) != 1:
            return None
        (runner,) = values
    return runner if isinstance(runner, CallExpr) and _builds(runner.callee) else None


def _builds(callee: Expression) -> bool:
    if isinstance(callee, IndexExpr):  # GymRunner[Obs, Act](...)
        callee = callee.base
    if not isinstance(callee, RefExpr):
        return False
    if isinstance(callee, MemberExpr) and callee.name == "build":
        return True
    return callee.fullname == MAKE or isinstance(callee.node, TypeInfo)


def bindings(name: Var, file: MypyFile) -> Iterator[Expression]:
    """Yield what is assigned to a name, or entered under it."""
    for statement in _statements(file.defs):
        bound: list[tuple[Expression | None, Expression]] = []
        if isinstance(statement, AssignmentStmt):
            bound = [(target, statement.rvalue) for target in statement.lvalues]
        elif isinstance(statement, WithStmt):
            bound = list(zip(statement.target, statement.expr, strict=True))
        for target, value in bound:
            if isinstance(target, NameExpr) and target.node is name:
                yield value


def _statements(nodes: Iterable[object]) -> Iterator[object]:
    """Yield all statements, those inside of others too. (mypy's own visitors are compiled: none can be derived.)"""
    for node in nodes:
        yield node
        for part in _PARTS:
            inner = getattr(node, part, None)
            yield from _statements(inner if isinstance(inner, list) else [] if inner is None else [inner])
