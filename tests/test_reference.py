"""What is public: each name has a home, a docstring and a place in the reference."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest
from reference import PAGE, PUBLIC, sentence

import runnerkit

ROOT = Path(__file__).parent.parent

NAMES = [(path, name) for path in PUBLIC for name in importlib.import_module(path).__all__]


@pytest.mark.parametrize(("path", "name"), NAMES, ids=lambda part: str(part))
def test_every_public_name_is_there_and_explained(path: str, name: str) -> None:
    assert sentence(importlib.import_module(path), name), f"{path}.{name} has no docstring"


def test_every_public_name_has_a_place_in_the_reference() -> None:
    written = PAGE.read_text("utf-8")
    missing = [
        (path, name)
        for path, name in NAMES
        if f"- `{name}`: " not in written.split(f"## {path}\n")[1].split("\n## ")[0]
    ]
    assert not missing, "write it anew: python tests/support/reference.py"


def test_every_module_without_an_underscore_is_in_the_reference() -> None:
    top = {f"runnerkit.{module.name}" for module in pkgutil.iter_modules(runnerkit.__path__)}
    assert {name for name in top if "._" not in name} == {name for name in PUBLIC if name.count(".") == 1}


def _docstrings() -> list[tuple[str, str]]:
    """Return all docstrings of the project, with the place of each."""
    found = []
    for path in sorted([*ROOT.glob("runnerkit/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                found += [(f"{path.relative_to(ROOT)}: {getattr(node, 'name', 'module')}", text)] if text else []
    return found


def _misplaced_blocks(text: str) -> list[str]:
    """Return the lines that end in `::` though what follows is not indented more."""
    lines = text.splitlines()
    wrong = []
    for k, line in enumerate(lines):
        block = next((later for later in lines[k + 1 :] if later.strip()), "")
        if line.rstrip().endswith("::") and _indent(block) <= _indent(line):
            wrong.append(line)
    return wrong


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def test_the_code_in_docstrings_is_indented() -> None:
    assert _misplaced_blocks("Do::\n\nit()") == ["Do::"]
    assert [(place, wrong) for place, text in _docstrings() if (wrong := _misplaced_blocks(text))] == []
