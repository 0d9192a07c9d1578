"""The project that a marker is for: the text in `hookimpl = HookimplMarker("project")`, as it is written."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from mypy.nodes import AssignmentStmt, CallExpr, ImportFrom, MemberExpr, MypyFile, NameExpr, StrExpr
from mypy.util import correct_relative_import

from runnerkit_mypy.finding import Finder

_MARKERS = ("HookimplMarker", "HookspecMarker")


def projects_of(file: MypyFile, finder: Finder) -> set[str]:
    """Return the projects of the markers that a file makes, or imports by a name such as `hookimpl`.

    mypy has just parsed the file, and knows nothing of others yet.
    """
    projects = {
        argument.value
        for statement in file.defs
        if isinstance(statement, AssignmentStmt) and isinstance(statement.rvalue, CallExpr)
        if isinstance(statement.rvalue.callee, NameExpr | MemberExpr) and statement.rvalue.callee.name in _MARKERS
        for argument in statement.rvalue.args
        if isinstance(argument, StrExpr)
    }
    for node in file.imports:
        markers = [name for name, _ in node.names if "impl" in name] if isinstance(node, ImportFrom) else []
        if isinstance(node, ImportFrom) and markers:
            module, _ = correct_relative_import(file.fullname, node.relative, node.id, file.is_package_init_file())
            path = finder.path(module, file)
            projects |= {_project(path, name) for name in markers} if path else set()
    return projects - {""}


def project_of(marker: str, modules: Mapping[str, MypyFile]) -> str:
    """Return the project of a marker, given its full name; nothing if its module does not say it in plain text.

    The module is read, as mypy keeps no values of those in its cache.
    """
    module, _, name = marker.rpartition(".")
    file = modules.get(module)
    return _project(file.path, name) if file else ""


def _project(path: str, marker: str) -> str:
    try:
        changed = Path(path).stat().st_mtime_ns
    except OSError:  # code on the command line
        return ""
    return _projects(path, changed).get(marker, "")


@lru_cache(maxsize=256)
def _projects(path: str, changed: int) -> Mapping[str, str]:
    """Return {name of a marker: project} of a file as it was changed last."""
    del changed
    try:
        body = ast.parse(Path(path).read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # of a newer Python, say
        return MappingProxyType({})
    texts: dict[str, str] = {}
    projects: dict[str, str] = {}
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        for target in targets:
            if not isinstance(target, ast.Name):
                continue
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                texts[target.id] = value.value
            elif isinstance(value, ast.Call) and _called(value.func) in _MARKERS and value.args + value.keywords:
                argument = value.args[0] if value.args else value.keywords[0].value
                projects[target.id] = _text(argument, texts)
    return projects


def _text(argument: ast.expr, texts: Mapping[str, str]) -> str:
    if isinstance(argument, ast.Name):
        return texts.get(argument.id, "")
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else ""


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
