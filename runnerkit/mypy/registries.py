"""Whether a registry has other plugins than those installed, as far as one file tells."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from mypy.nodes import LDEF, CallExpr, Expression, MypyFile, NameExpr, RefExpr
from typing_extensions import override

_REGISTRY: Final = "runnerkit.registry.Registry"
_DEFAULT: Final = "runnerkit.registry.default_registry"
_DEFAULT_NAME: Final = "default_registry"


class _Uses(ast.NodeVisitor):
    """What a file does with registries. By names, whatever their scope: what is unclear counts as handed on."""

    def __init__(self) -> None:
        self.registers: bool = False
        self.made: set[str] = set()
        self.handed_on: set[str] = set()
        self.has_default: bool = False
        self._modules: set[str] = set()

    @property
    def fills_default(self) -> bool:
        """Whether anything is registered with the default registry, or may be by whom it is handed to."""
        return _DEFAULT_NAME in self.handed_on or (self.has_default and self.registers)

    @override
    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == _DEFAULT_NAME:
                self.has_default = True

    @override
    def visit_Import(self, node: ast.Import) -> None:
        self._modules |= {alias.asname or alias.name for alias in node.names}

    @override
    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name) and _makes_registry(node.value):
                self.made.add(target.id)
            else:
                self.visit(target)
        self.visit(node.value)

    @override
    def visit_Attribute(self, node: ast.Attribute) -> None:
        of_a_module = isinstance(node.value, ast.Name) and node.value.id in self._modules  # gymnasium.register, say
        self.registers |= node.attr == "register" and not of_a_module
        if node.attr == _DEFAULT_NAME:
            self.handed_on.add(_DEFAULT_NAME)
        elif _name(node.value) == _DEFAULT_NAME:
            self.has_default = True  # and only asked for something
        elif not isinstance(node.value, ast.Name):
            self.visit(node.value)

    @override
    def visit_Name(self, node: ast.Name) -> None:
        self.handed_on.add(node.id)

    @override
    def visit_arg(self, node: ast.arg) -> None:
        self.handed_on.add(node.arg)


def _makes_registry(value: ast.expr) -> bool:
    if not isinstance(value, ast.Call) or value.args or value.keywords:
        return False
    return _name(value.func) == "Registry"


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_default(registry: Expression) -> bool:
    """Whether it is `runnerkit.default_registry`."""
    return isinstance(registry, RefExpr) and registry.fullname == _DEFAULT


class Registries:
    """Tells of the registries in files; each file is read once."""

    def __init__(self) -> None:
        self._file: MypyFile | None = None
        self._uses: _Uses | None = None

    def registers(self, file: MypyFile) -> bool:
        """Whether anything is registered by hand in that file, or may be."""
        uses = self._of(file)
        return uses is None or uses.registers

    def fills_default(self, file: MypyFile) -> bool:
        """Whether that file registers anything by hand with the default registry, or may do so."""
        uses = self._of(file)
        return uses is None or uses.fills_default

    def has_only_installed(self, registry: Expression, file: MypyFile) -> bool:
        """Whether a registry is made in a function of that file, and nobody else gets hold of it.

        Other modules may import one that is global, to register their plugins.
        """
        if isinstance(registry, CallExpr):
            callee = registry.callee
            return isinstance(callee, RefExpr) and callee.fullname == _REGISTRY and not registry.args
        uses = self._of(file)
        name = registry.name if isinstance(registry, NameExpr) and registry.kind == LDEF else ""
        return uses is not None and name in uses.made and name not in uses.handed_on

    def _of(self, file: MypyFile) -> _Uses | None:
        if self._file is not file:
            self._file, self._uses = file, _read(file)
        return self._uses


def _read(file: MypyFile) -> _Uses | None:
    try:
        tree = ast.parse(Path(file.path).read_bytes())
    except (OSError, SyntaxError, ValueError):  # code on the command line, or of a newer Python
        return None
    uses = _Uses()
    uses.visit(tree)
    return uses
