"""The reference: every public name with its first sentence, module by module.

`python tests/support/reference.py` writes `.docs/reference.md` anew; a test compares it with the code.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

__all__ = ["PAGE", "PUBLIC", "entry", "page", "sentence"]

PAGE = Path(__file__).parents[2] / ".docs" / "reference.md"

PUBLIC = {
    "runnerkit": "What users need",
    "runnerkit.typing": "Types to annotate with, Protocols to implement",
    "runnerkit.errors": "What can be raised",
    "runnerkit.hooks": "What a plugin offers",
    "runnerkit.history": "What a rollout returns, and how to write a format",
    "runnerkit.history.torch": "The same as torch tensors",
    "runnerkit.executors": "How envs are stepped, and how to write an executor",
    "runnerkit.executors.messages": "The same where workers share no memory",
    "runnerkit.processors": "What stands between the env and the agent",
    "runnerkit.agents": "Agents",
    "runnerkit.records": "The values of a rollout",
    "runnerkit.keys": "Names that carry types",
    "runnerkit.registry": "Contributions by name, and runners made of them",
    "runnerkit.replaying": "Recorded episodes once more",
    "runnerkit.evaluation": "How good an agent is",
    "runnerkit.reporting": "Pages about runs",
    "runnerkit.statistics": "How certain scores are, and whether they differ",
    "runnerkit.testing": "The conformance kit",
    "runnerkit.tuning": "Which executor is the fastest",
    "runnerkit.mypy": "The mypy plugin",
}
"""The public modules and their subjects."""


def sentence(module: ModuleType, name: str) -> str:
    """Return the first sentence that is said of a public name: of its docstring, or of the text below a value."""
    value = getattr(module, name)
    is_described = inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)
    text = (value.__doc__ if is_described else "") or _below(module, name)
    first = inspect.cleandoc(text).split("\n\n")[0].replace("\n", " ")
    head, stop, _ = first.partition(". ")
    return (head + stop.strip() if stop else first).removesuffix("::").rstrip(" :")


def _below(module: ModuleType, name: str, seen: frozenset[str] = frozenset()) -> str:
    """Return the string that stands below the assignment of a value, wherever it was imported from."""
    tree = ast.parse(inspect.getsource(module))
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                return str(after.value.value)
            return ""
    for source in _sources(tree, name):
        if source not in seen:
            return _below(importlib.import_module(source), name, seen | {source})
    return ""


def _sources(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            yield node.module


def entry(module: ModuleType, name: str) -> str:
    """Return the line of the reference about a name."""
    return f"- `{name}`: {sentence(module, name)}"


def page() -> str:
    """Return the whole reference."""
    lines = ["# Reference", "", "Every public name, by the module to import it from. `help(name)` says the rest.", ""]
    for path, subject in PUBLIC.items():
        module = importlib.import_module(path)
        lines += [f"## {path}", "", f"{subject}.", ""]
        lines += [entry(module, name) for name in sorted(module.__all__, key=str.lower)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")
