"""The plugin as mypy sees it: it asks each of its parts in turn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mypy.errors import CompileError
from mypy.nodes import MypyFile
from mypy.options import Options
from mypy.plugin import (
    FunctionContext,
    FunctionSigContext,
    MethodContext,
    MethodSigContext,
    Plugin,
    ReportConfigContext,
)
from mypy.types import FunctionLike, Type
from typing_extensions import override

import runnerkit.mypy
from runnerkit.mypy.config import Config, ConfigError, read_config
from runnerkit.mypy.names import NamesPart

if TYPE_CHECKING:
    from runnerkit.mypy.parts import Parts

_LAST: Final = 29
"""How much of a dependency a module is that is not imported: less than all others, so that mypy's order stays as it is
where imports form a cycle by it."""

_HERE: Final = Path(__file__).parent
_SOURCES: Final = (*sorted(_HERE.glob("*.py")), _HERE.parent / "_sentences.py")


class RunnerKitPlugin(Plugin):
    """Hands what mypy asks to the parts, the first that answers wins."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._complaint: str = ""
        self._modules_read: Mapping[str, MypyFile] = {}
        try:
            self.config: Config = read_config(options)
            self.names: NamesPart = NamesPart(self, self.config)
        except ConfigError as error:  # it is told by get_additional_deps, where mypy expects such errors
            self.config, self._complaint = Config(), str(error)
            self.names = NamesPart(self, self.config)
        told = [list(self.config.specs), list(self.config.markers), self.names.config_data()]
        self._config_data: str = _digest([self._complaint, *told])
        # mypy's daemon compares this, to tell whether it must begin anew.
        runnerkit.mypy.__version__ = self._config_data

    @cached_property
    def _parts(self) -> Parts:
        """All parts, when the first is asked for: a run of mypy that finds everything in its cache needs none."""
        from runnerkit.mypy.parts import Parts

        parts = Parts(self, self.config, self.names)
        parts.set_modules(self._modules_read)
        return parts

    @override
    def set_modules(self, modules: dict[str, MypyFile]) -> None:
        super().set_modules(modules)
        self._modules_read = modules
        if "_parts" in self.__dict__:
            self._parts.set_modules(modules)

    @override
    def report_config_data(self, ctx: ReportConfigContext) -> Any:
        return self._config_data

    @override
    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        if self._complaint:
            raise CompileError([self._complaint])
        self._parts.forget()
        modules = {module for part in self._parts.all for module in part.modules_for(file)} - {file.fullname}
        return [(_LAST, module, -1) for module in sorted(modules)]

    @override
    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return self._parts.method_hooks[fullname]

    @override
    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        return self._parts.method_signature_hooks[fullname]

    @override
    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return self._parts.function_hooks[fullname]

    @override
    def get_function_signature_hook(self, fullname: str) -> Callable[[FunctionSigContext], FunctionLike] | None:
        return self._parts.function_signature_hooks[fullname]


def _digest(told: list[object]) -> str:
    """Return what changes with the code of the plugin and what it was told: when mypy is not to use its cache.

    mypy keeps it for each module, so that it had better be short.
    """
    sources = b"".join(path.read_bytes() for path in _SOURCES)
    return hashlib.sha256(sources + json.dumps(told).encode()).hexdigest()
