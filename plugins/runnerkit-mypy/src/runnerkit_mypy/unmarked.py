"""Functions that are hooks by their name alone: pytest takes every `pytest_...` of a plugin, marked or not.

mypy shows a plugin the calls of a file and its decorators, but no function that has neither. So a file that has such
functions gets a statement that nobody wrote, as its first: a call whose value is thrown away and which no program
makes, `0j.__ne__(TAG)`. When mypy comes to it, all functions of the file are known.

mypy parses a file from its cache again, when only what it imports has changed, without a word to plugins. So files
with such functions are never taken from the cache. With several workers (`mypy -n`), each parses for itself: there,
such functions are not checked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from mypy.nodes import (
    ARG_POS,
    Block,
    CallExpr,
    ClassDef,
    ComplexExpr,
    Context,
    Decorator,
    ExpressionStmt,
    FuncDef,
    IfStmt,
    MemberExpr,
    MypyFile,
    Statement,
    StrExpr,
    TryStmt,
    WithStmt,
)

CALLED: Final = "builtins.complex.__ne__"
"""The method that the statement calls."""

_TAG: Final = "functions that are hooks by their names"
_UNMARKED: Final = r"(?:\A|^(?![ \t]*@(?!staticmethod|classmethod)).*\n)[ \t]*(?:async +)?def +(?:{})"


def announce(file: MypyFile, prefixes: Collection[str]) -> None:
    """Give a file the statement, once, if it has functions whose names begin so."""
    if not is_announced(file) and next(_named(file.defs, tuple(prefixes)), None):
        call = CallExpr(MemberExpr(ComplexExpr(0j), "__ne__"), [StrExpr(_TAG)], [ARG_POS], [None])
        statement = ExpressionStmt(call)
        for node in (statement, call, call.callee, *call.args):
            node.set_line(1, 0)
        file.defs.insert(0, statement)


def is_announced(file: MypyFile) -> bool:
    """Whether a file has the statement."""
    first = file.defs[0] if file.defs else None
    return isinstance(first, ExpressionStmt) and is_announcement(first.expr)


def is_announcement(node: Context) -> bool:
    """Whether it is the call that was put into a file."""
    if not isinstance(node, CallExpr) or len(node.args) != 1:
        return False
    (argument,) = node.args
    return isinstance(argument, StrExpr) and argument.value == _TAG


def unmarked(file: MypyFile, prefixes: Collection[str]) -> Iterator[FuncDef]:
    """Yield the undecorated functions and methods of a file whose names begin so, static and class methods too."""
    for function in _named(file.defs, tuple(prefixes)):
        if isinstance(function, FuncDef):
            yield function
        elif not function.decorators and (function.func.is_static or function.func.is_class):
            yield function.func  # mypy takes those decorators away once it has understood them


def is_only_used(path: str, fullname: str) -> bool:
    """Tell whether a file is of an installed package, which is not checked, or of RunnerKit, which knows its hooks."""
    return "site-packages" in path or "dist-packages" in path or fullname.partition(".")[0] == "runnerkit"


def may_have_unmarked(path: str, prefixes: Collection[str]) -> bool:
    """Tell from its text whether a file may have such functions."""
    if not prefixes:
        return False
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # no file, but code on the command line
        return False
    return re.search(_UNMARKED.format("|".join(map(re.escape, prefixes))), text, re.MULTILINE) is not None


def _named(statements: Iterable[Statement], prefixes: tuple[str, ...]) -> Iterator[FuncDef | Decorator]:
    for statement in statements:
        if isinstance(statement, FuncDef | Decorator) and statement.name.startswith(prefixes):
            yield statement
        for block in _blocks(statement):
            if not block.is_unreachable:
                yield from _named(block.body, prefixes)


def _blocks(statement: Statement) -> list[Block]:
    """Return what of a statement belongs to the module or class around it, and the bodies of classes."""
    if isinstance(statement, ClassDef):
        return [statement.defs]
    if isinstance(statement, IfStmt):
        return [*statement.body, *([statement.else_body] if statement.else_body else [])]
    if isinstance(statement, TryStmt):
        others = (statement.else_body, statement.finally_body)
        return [statement.body, *statement.handlers, *(block for block in others if block)]
    return [statement.body] if isinstance(statement, WithStmt) else []
