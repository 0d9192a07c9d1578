"""The plugin as mypy sees it: it asks each of its parts in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

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

from runnerkit.mypy.config import Config, read_config
from runnerkit.mypy.hookimpls import Hookimpls
from runnerkit.mypy.part import Part

VERSION: Final = 1
"""Changes whenever the plugin finds something else, so that mypy's cache is not used from before."""


class RunnerKitPlugin(Plugin):
    """Hands what mypy asks to the parts, the first that answers wins."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.config: Config = read_config(options)
        self.parts: tuple[Part, ...] = (Hookimpls(self, self.config),)

    @override
    def set_modules(self, modules: dict[str, MypyFile]) -> None:
        super().set_modules(modules)
        for part in self.parts:
            part.modules = modules

    @override
    def report_config_data(self, ctx: ReportConfigContext) -> Any:
        return [VERSION, *(part.config_data() for part in self.parts)]

    @override
    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        modules = {module for part in self.parts for module in part.modules_for(file)} - {file.fullname}
        return [(10, module, -1) for module in sorted(modules)]

    @override
    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return next(filter(None, (part.method_hook(fullname) for part in self.parts)), None)

    @override
    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        return next(filter(None, (part.method_signature_hook(fullname) for part in self.parts)), None)

    @override
    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return next(filter(None, (part.function_hook(fullname) for part in self.parts)), None)

    @override
    def get_function_signature_hook(self, fullname: str) -> Callable[[FunctionSigContext], FunctionLike] | None:
        return next(filter(None, (part.function_signature_hook(fullname) for part in self.parts)), None)
