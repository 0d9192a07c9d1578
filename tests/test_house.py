"""The house: imports run one way, from what users see down to what all stand on. CONTRIBUTING.md is the map."""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = "runnerkit"

# From the bottom to the top: a wing imports from itself and from those before it.
WINGS = (
    *("_sentences", "records", "errors", "_core", "statistics", "history", "keys", "_checks", "agents", "processors"),
    *("executors", "hooks", "typing", "_plugins", "_envs", "_rollout", "registry", "replaying", "evaluation"),
    *("testing", "tuning", "reporting", "_cli", "__main__"),
)


@functools.cache
def modules(package: Path) -> dict[str, ast.Module]:
    """Return the trees of all modules of a package, by dotted name; they are read once, and not to be changed."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def imports(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Return which modules of the package each imports: at its top, in functions, and for types only."""

    return {name: imports_of(name, tree, trees) for name, tree in trees.items()}


def imports_of(module: str, tree: ast.AST, trees: dict[str, ast.Module]) -> set[str]:
    """Return which other modules of the package one imports."""

    def named() -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    yield submodule if submodule in trees else node.module

    return {found for found in named() if found in trees and found != module}


def wing(module: str) -> int:
    """Return how high the wing of a module lies."""
    name = module.removeprefix(f"{CORE}.").split(".")[0]
    return WINGS.index(name)


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Return the imports that run back up, or into the mypy plugin, which stands beside the house."""
    wrong = []
    for module, others in graph.items():
        for other in others - {CORE}:
            beside = [name.split(".")[1:2] == ["mypy"] for name in (module, other)]
            if any(beside):
                if not all(beside) and other != f"{CORE}._sentences":
                    wrong.append(f"{module} -> {other}")
            elif module != CORE and wing(other) > wing(module):
                wrong.append(f"{module} -> {other}")
    return wrong


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return imports(modules(ROOT / CORE))


def test_no_import_runs_back_up(graph: dict[str, set[str]]) -> None:
    assert upward(graph) == []


def test_every_wing_is_listed_once_and_there(graph: dict[str, set[str]]) -> None:
    there = {module.split(".")[1] for module in graph if module != CORE}
    assert there == {*WINGS, "mypy"}
    assert len(set(WINGS)) == len(WINGS)


@pytest.mark.parametrize(
    "package",
    [ROOT / CORE, *sorted(path.parent for path in ROOT.glob("plugins/*/src/*/__init__.py"))],
    ids=lambda path: path.name,
)
def test_no_modules_import_each_other_in_a_circle(package: Path) -> None:
    graph = imports(modules(package))
    # A package's __init__ hands out what its modules define; what they import of each other is the circle to look for.
    facades = {module for module in graph if any(other.startswith(f"{module}.") for other in graph)}
    graphlib.TopologicalSorter({module: others - facades for module, others in graph.items()}).prepare()


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("runnerkit.history.block", "from runnerkit._rollout.loop import Rollout"),
        ("runnerkit._core.spaces", "def late():\n    import runnerkit.registry"),
        ("runnerkit.errors", "if TYPE_CHECKING:\n    from runnerkit.executors import Share"),
        ("runnerkit.tuning", "from runnerkit.mypy import plugin"),
        ("runnerkit.mypy.calls", "from runnerkit.errors import PluginError"),
    ],
)
def test_an_upward_import_is_found(graph: dict[str, set[str]], module: str, statement: str) -> None:
    (target,) = imports_of(module, ast.parse(statement), modules(ROOT / CORE))
    assert target not in graph[module]
    assert upward({**graph, module: graph[module] | {target}}) == [f"{module} -> {target}"]


HOMES = {"history", "executors", "hooks", "typing", "errors", "processors", "replaying", "testing"}


def private_imports(tree: ast.Module) -> list[str]:
    """Return what a module imports of RunnerKit, but not from `runnerkit` or from a public home of its subject."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.split(".")[0] == CORE]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == CORE:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names if alias.name[0] == "_")]
    apart = {f"{CORE}.history.torch", f"{CORE}.executors.messages"}  # homes whose imports not everyone wants
    public = {CORE, *(f"{CORE}.{home}" for home in HOMES), *apart}
    return [name for name in names if name not in public]


@pytest.mark.parametrize("package", sorted(ROOT.glob("plugins/*/src/*/")), ids=lambda path: path.name)
def test_packages_in_plugins_import_from_public_homes_only(package: Path) -> None:
    found = {name: private_imports(tree) for name, tree in modules(package).items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "from runnerkit._core.spaces import Rows",
        "from runnerkit.history.block import Block",
        "import runnerkit.executors.share",
        "from runnerkit import _sentences",
    ],
)
def test_an_import_from_a_private_module_is_found(statement: str) -> None:
    assert private_imports(ast.parse(statement))
    assert not private_imports(ast.parse("from runnerkit.history import Block, Rows"))


def functions(path: Path) -> dict[str, str]:
    """Return the functions of a module as they are written."""
    text = path.read_text("utf-8")
    found = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.get_source_segment(text, node) or "" for node in found}


def test_the_mypy_plugin_says_what_the_run_time_says_in_the_same_words() -> None:
    run_time = functions(ROOT / CORE / "_sentences.py")
    plugin = functions(ROOT / "plugins" / "runnerkit-mypy" / "src" / "runnerkit_mypy" / "sentences.py")
    assert len(plugin) > 10
    assert plugin == {name: run_time[name] for name in plugin}


def test_only_hooks_and_plugins_know_pluggy() -> None:
    knowing = {
        name.split(".")[1]
        for name, tree in modules(ROOT / CORE).items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name == "pluggy" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "pluggy")
    }
    assert knowing == {"hooks", "_plugins"}
