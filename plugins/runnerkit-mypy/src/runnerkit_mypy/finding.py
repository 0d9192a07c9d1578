"""Whether mypy finds a module, before it has read it."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from mypy.build import default_data_dir
from mypy.modulefinder import FindModuleCache, ModuleNotFoundReason, SearchPaths, compute_search_paths
from mypy.nodes import MypyFile
from mypy.options import Options


class Finder:
    """Looks for modules as mypy does, from a file and in what is installed."""

    def __init__(self, options: Options) -> None:
        self.paths: SearchPaths = compute_search_paths([], options, default_data_dir())
        self._options = options
        self._finders: dict[str, FindModuleCache] = {}

    def is_module(self, name: str, file: MypyFile) -> bool:
        """Whether mypy finds a module with types, from that file as well; otherwise it would complain of it."""
        return bool(self.path(name, file))

    def path(self, name: str, file: MypyFile) -> str:
        """Return where the source of a module with types is, or nothing."""
        found = self._look_for(name, file)
        return found if isinstance(found, str) else ""

    def installed(self, names: Collection[str]) -> list[tuple[str, bool]]:
        """Return those modules whose packages are installed, and whether mypy is to read them without `py.typed`."""
        folders = [*self.paths.mypy_path, *self.paths.package_path]
        there = {top for top in {name.partition(".")[0] for name in names} if _is_in(top, folders)}
        named = [name for name in names if name.partition(".")[0] in there]
        return [(name, self._options.clone_for_module(name).follow_untyped_imports) for name in named]

    def is_there(self, name: str, file: MypyFile) -> bool:
        """Whether there is a module, with types or without."""
        return self._look_for(name, file) is not ModuleNotFoundReason.NOT_FOUND

    def _look_for(self, name: str, file: MypyFile) -> str | ModuleNotFoundReason:
        root = _root(file)
        if root not in self._finders:
            paths = self.paths
            paths = SearchPaths((*paths.python_path, root), paths.mypy_path, paths.package_path, paths.typeshed_path)
            self._finders[root] = FindModuleCache(paths, None, self._options)
        return self._finders[root].find_module(name)


def _is_in(package: str, folders: Collection[str]) -> bool:
    return any(os.path.isdir(os.path.join(folder, package)) for folder in folders)


def _root(file: MypyFile) -> str:
    """Return the folder from which the modules of a file's project are imported."""
    path = Path(file.path).absolute()
    up = file.fullname.count(".") + path.name.startswith("__init__.")
    return str(path.parents[min(up, len(path.parents) - 1)])
