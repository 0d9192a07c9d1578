"""The plugin as mypy sees it: it asks each of its parts in turn."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
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

from runnerkit_mypy.config import Config, ConfigError, read_config
from runnerkit_mypy.finding import Finder
from runnerkit_mypy.hosts import HOST_MODULES
from runnerkit_mypy.part import Part

if TYPE_CHECKING:
    from runnerkit_mypy.parts import Parts

_LAST: Final = 29
"""How much of a dependency a module is that is not imported: less than all others, so that mypy's order stays as it is
where imports form a cycle by it."""

_NEVER_WRITTEN: Final = "checked anew"
"""What no module of the cache was written with, so that mypy parses it."""


class HooksPlugin(Plugin):
    """Hands what mypy asks to the parts, the first that answers wins.

    A plugin that is derived from this one, in a package of its own, may have more parts and read more configuration.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._complaint: str = ""
        self._modules_read: Mapping[str, MypyFile] = {}
        self.finder: Finder = Finder(options)
        try:
            self.config: Config = read_config(options)
            told = self.read()
        except ConfigError as error:  # it is told by get_additional_deps, where mypy expects such errors
            self.config, self._complaint = Config(), str(error)
            told = self.read()
        hosts = self.finder.installed(HOST_MODULES)
        self._config_data: str = self._digest([self._complaint, *map(list, self.config[1:4]), hosts, *told])
        # mypy's daemon compares this, to tell whether it must begin anew.
        package = type(self).__module__.rpartition(".")[0]
        vars(sys.modules[package])["__version__"] = self._config_data

    # ---- what a derived plugin may have more of

    def read(self) -> list[object]:
        """Read more of `config`; return, as JSON, what mypy's cache depends on. Raises ConfigError."""
        return []

    def make_parts(self) -> Sequence[Part]:
        """Return the parts, when mypy asks for the first time: none if it finds everything in its cache."""
        from runnerkit_mypy.hookimpls import Hookimpls

        return [Hookimpls(self, self.config, self.finder)]

    # ---- what mypy asks

    @cached_property
    def _parts(self) -> Parts:
        from runnerkit_mypy.parts import Parts

        parts = Parts(self.make_parts())
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
        if ctx.is_check:  # where a file has functions that are hooks by their names, see `unmarked`
            from runnerkit_mypy.unmarked import is_only_used, may_have_unmarked

            if not is_only_used(ctx.path, ctx.id) and may_have_unmarked(ctx.path, self.config.all_prefixes):
                return _NEVER_WRITTEN
        return self._config_data

    @override
    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        if self._complaint:
            raise CompileError([self._complaint])
        self._parts.forget()
        for part in self._parts.all:
            part.prepare(file)
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

    def _digest(self, told: Iterable[object]) -> str:
        """Return what changes with the code of the plugin and what it was told: when mypy is not to use its cache.

        mypy keeps it for each module, so that it had better be short.
        """
        modules = dict.fromkeys(cls.__module__ for cls in type(self).__mro__ if issubclass(cls, HooksPlugin))
        folders = [Path(str(sys.modules[module].__file__)).parent for module in modules]
        sources = b"".join(path.read_bytes() for folder in folders for path in sorted(folder.glob("*.py")))
        return hashlib.sha256(sources + json.dumps(list(told)).encode()).hexdigest()
