"""The first line of the docstring of an entry point's object, read from its source without an import."""

from __future__ import annotations

import ast
import importlib.util
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

__all__ = ["first_line", "summary_of"]

_FOLLOWED = 5  # imports from module to module


def first_line(docstring: str | None) -> str:
    """Return the first line of a docstring, without the full stop or colon at its end."""
    return (docstring or "").strip().partition("\n")[0].strip().rstrip(".:")


def summary_of(value: str) -> str:
    """Return the summary of `module:attribute`; empty if the source has none."""
    module, _, attribute = value.partition(":")
    for _ in range(_FOLLOWED):
        path = _source(module)
        if path is None:
            return ""
        node = _defined(path, attribute)
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            return first_line(ast.get_docstring(node))
        if not isinstance(node, ast.ImportFrom):
            return ""
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        attribute = next(alias.name for alias in node.names if (alias.asname or alias.name) == attribute)
        module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    return ""


def _defined(path: Path, name: str) -> ast.stmt | None:
    """Return the last statement at the top of a module that defines a name."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in reversed(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            return node
    return None


def _source(module: str) -> Path | None:
    """Return where a module's source is, without importing its packages, which `importlib.util.find_spec` would do."""
    first, *rest = module.split(".")
    try:
        spec: ModuleSpec | None = importlib.util.find_spec(first)
        name = first
        for part in rest:
            name = f"{name}.{part}"
            if spec is None:
                return None
            spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    except (ImportError, ValueError):  # of what is in sys.modules without a spec
        return None
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin and origin.endswith(".py") else None
