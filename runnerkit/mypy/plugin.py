"""The plugin as mypy sees it: it asks each of its parts in turn."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

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
from typing_extensions import TypeVar, override

import runnerkit.mypy
from runnerkit.mypy.config import Config, ConfigError, read_config
from runnerkit.mypy.names import NamesPart
from runnerkit.mypy.part import Part

_LAST: Final = 29
"""How much of a dependency a module is that is not imported: less than all others, so that mypy's order stays as it is
where imports form a cycle by it."""

_HERE: Final = Path(__file__).parent
_SOURCES: Final = (*sorted(_HERE.glob("*.py")), _HERE.parent / "sentences.py")

H = TypeVar("H")


class RunnerKitPlugin(Plugin):
    """Hands what mypy asks to the parts, the first that answers wins."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._complaint: str = ""
        try:
            self.config: Config = read_config(options)
            self._names: NamesPart = NamesPart(self, self.config)
        except ConfigError as error:  # it is told by get_additional_deps, where mypy expects such errors
            self.config, self._complaint = Config(), str(error)
            self._names = NamesPart(self, self.config)
        self._modules_read: Mapping[str, MypyFile] = {}
        self._method_hooks = _Answers(lambda: [part.method_hook for part in self.parts])
        self._method_signature_hooks = _Answers(lambda: [part.method_signature_hook for part in self.parts])
        self._function_hooks = _Answers(lambda: [part.function_hook for part in self.parts])
        self._function_signature_hooks = _Answers(lambda: [part.function_signature_hook for part in self.parts])
        config = [list(self.config.specs), list(self.config.markers)]
        self._config_data: list[object] = [_version(), self._complaint, config, self._names.config_data()]
        # mypy's daemon compares this, to tell whether it must begin anew.
        runnerkit.mypy.__version__ = json.dumps(self._config_data)

    @functools.cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts. Where nothing has changed since the last run of mypy they are not needed, nor imported."""
        from runnerkit.mypy.agents import AgentsPart
        from runnerkit.mypy.assembly import AssemblyPart
        from runnerkit.mypy.hookimpls import Hookimpls
        from runnerkit.mypy.offers import OffersPart

        parts = (
            Hookimpls(self, self.config),
            self._names,
            AssemblyPart(self, self._names),
            AgentsPart(self),
            OffersPart(self, self._names),
        )
        for part in parts:
            part.modules = self._modules_read
        return parts

    @override
    def set_modules(self, modules: dict[str, MypyFile]) -> None:
        super().set_modules(modules)
        self._modules_read = modules
        if "parts" in vars(self):
            for part in self.parts:
                part.modules = modules

    @override
    def report_config_data(self, ctx: ReportConfigContext) -> Any:
        return self._config_data

    @override
    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        if self._complaint:
            raise CompileError([self._complaint])
        modules = {module for part in self.parts for module in part.modules_for(file)} - {file.fullname}
        return [(_LAST, module, -1) for module in sorted(modules)]

    @override
    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return self._method_hooks[fullname]

    @override
    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        return self._method_signature_hooks[fullname]

    @override
    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return self._function_hooks[fullname]

    @override
    def get_function_signature_hook(self, fullname: str) -> Callable[[FunctionSigContext], FunctionLike] | None:
        return self._function_signature_hooks[fullname]


def _version() -> str:
    """Return what changes with the code of the plugin, so that mypy's cache is not used from before."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()


class _Answers(dict[str, H | None]):
    """The first answer of several parts to a full name. mypy asks for each call that it checks, so it is kept."""

    def __init__(self, parts: Callable[[], Iterable[Callable[[str], H | None]]]) -> None:
        super().__init__()
        self._parts = parts

    def __missing__(self, fullname: str) -> H | None:
        self[fullname] = answer = next(filter(None, (part(fullname) for part in self._parts())), None)
        return answer
