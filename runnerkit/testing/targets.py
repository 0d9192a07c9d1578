"""What is to be checked: an object, a module, an installed distribution, or a folder with a pyproject.toml."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from runnerkit._plugins.manager import ENTRY_POINT_GROUP
from runnerkit._plugins.offers import KINDS, Kind
from runnerkit.errors import ArgumentError

__all__ = ["Target", "resolve_target"]

_DECLARED: Final = f"{ENTRY_POINT_GROUP}."


@dataclass(frozen=True)
class Target:
    """A plugin, or all plugins of a distribution or folder."""

    title: str
    plugins: Mapping[str, object]
    """What to register, by a name: an object, or what to import as text, `package.module` or `package:attribute`."""
    declared: Mapping[Kind, Mapping[str, str]] | None = None
    """What its metadata declare, of each kind, by name, as `module:attribute`; None where there are no metadata."""
    paths: tuple[Path, ...] = field(default=())
    """Where it can be imported from, as long as it is not installed."""

    def load(self) -> dict[str, object]:
        """Import what is to be registered; raises whatever the import raises."""
        for path in self.paths:
            if str(path) not in sys.path:
                sys.path.insert(0, str(path))
        for _, _, value in self.declarations:
            loaded(value)
        return {name: loaded(plugin) for name, plugin in self.plugins.items()}

    @property
    def modules(self) -> list[str]:
        """The modules that are imported for a name that nobody declares."""
        return [plugin.partition(":")[0] for plugin in self.plugins.values() if isinstance(plugin, str)]

    @property
    def declarations(self) -> list[tuple[Kind, str, str]]:
        """Kind, name and `module:attribute` of each part that the metadata declare."""
        declared = self.declared or {}
        return [(kind, name, value) for kind, names in declared.items() for name, value in names.items()]

    def sources(self) -> list[Path]:
        """Return the files and packages that the modules are in."""
        found = []
        modules = [*self.modules, *(value for _, _, value in self.declarations)]
        for name in sorted({module.partition(":")[0].partition(".")[0] for module in modules}):
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin:
                origin = Path(spec.origin)
                found.append(origin.parent if origin.name == "__init__.py" else origin)
        return found


def loaded(plugin: object) -> object:
    """Return what a text names, imported; anything else is what it is."""
    if not isinstance(plugin, str):
        return plugin
    module, _, attribute = plugin.partition(":")
    loaded: object = importlib.import_module(module)
    for name in filter(None, attribute.split(".")):
        loaded = getattr(loaded, name)
    return loaded


def resolve_target(target: object) -> Target:
    """Return what a name, path, module or object stands for; raises ArgumentError if it stands for nothing."""
    if isinstance(target, ModuleType):
        return _of_module(target.__name__)
    if isinstance(target, Path):
        return _of_folder(target)
    if not isinstance(target, str):
        return Target(type(target).__name__, {type(target).__name__: target})
    folder = Path(target)
    if (folder / "pyproject.toml").is_file() or "/" in target or target in (".", ".."):
        return _of_folder(folder)
    try:
        return _of_distribution(distribution(target))
    except PackageNotFoundError:
        pass
    try:
        is_there = importlib.util.find_spec(target.partition(":")[0]) is not None
    except (ImportError, ValueError):  # of the package around it
        is_there = False
    if not is_there:
        raise ArgumentError(
            f"{target!r} is no installed distribution, no module that can be imported, and no folder with a "
            "pyproject.toml. Install it (pip install -e .), or give the path of its folder."
        )
    return _of_module(target)


def _of_module(name: str) -> Target:
    """Return the target of a module; its metadata are those of the distribution that has an entry point for it."""
    for found in distributions():
        entries = [(entry.group, entry.name, entry.value) for entry in found.entry_points]
        ours = [entry for entry in entries if entry[0].partition(".")[0] == ENTRY_POINT_GROUP]
        if any(value.partition(":")[0] == name or value.startswith(f"{name}.") for _, _, value in ours):
            return _of_entries(f"module {name} of {found.name} {found.version}", ours)
    return Target(f"module {name}", {name: name})


def _of_distribution(found: Distribution) -> Target:
    entries = [(entry.group, entry.name, entry.value) for entry in found.entry_points]
    return _of_entries(f"{found.name} {found.version}", entries)


def _of_folder(folder: Path) -> Target:
    try:
        with (folder / "pyproject.toml").open("rb") as file:
            project: Mapping[str, Any] = tomllib.load(file).get("project", {})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ArgumentError(f"{folder} has no pyproject.toml that can be read: {error}") from error
    groups: Mapping[str, Mapping[str, str]] = project.get("entry-points", {})
    entries = [(group, name, value) for group, names in groups.items() for name, value in names.items()]
    title = f"{project.get('name', folder.name)} {project.get('version', '')} in {folder}"
    paths = tuple(path.resolve() for path in (folder / "src", folder) if path.is_dir())
    return _of_entries(title, entries, paths)


def _of_entries(title: str, entries: list[tuple[str, str, str]], paths: tuple[Path, ...] = ()) -> Target:
    plugins = {name: value for group, name, value in entries if group == ENTRY_POINT_GROUP}
    return Target(title, plugins, _declared(entries), paths)


def _declared(entries: Iterable[tuple[str, str, str]]) -> dict[Kind, dict[str, str]]:
    found: dict[Kind, dict[str, str]] = {kind: {} for kind in KINDS}
    for group, name, value in entries:
        for kind in KINDS:
            if group == f"{_DECLARED}{kind}":
                found[kind][name] = value
    return found
