"""Plugins that are not installed: `-p MODULE` and `--plugins-dir DIR`, for plugins of one file."""

from __future__ import annotations

import importlib
import importlib.util
import operator
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from typing_extensions import TypeVar

from runnerkit._core.faults import describe
from runnerkit.errors import ArgumentError, PluginError

__all__ = ["folder_option", "import_from_current_directory", "module_option", "register", "takes_plugins"]

F = TypeVar("F", bound=Callable[..., Any])

module_option = click.option(
    "-p",
    "--plugin",
    "modules",
    metavar="MODULE[:OBJECT]",
    multiple=True,
    help="A plugin that is not installed, a module with hooks; it may lie in the current directory. Repeat it.",
)
folder_option = click.option(
    "--plugins-dir",
    "plugin_folders",
    metavar="DIR",
    multiple=True,
    help="A folder of plugins of one file each: all NAME.py in it but those that begin with an underscore.",
)


def takes_plugins(command: F) -> F:
    """Give a command the two options, which it gets as `modules` and `plugin_folders`."""
    return module_option(folder_option(command))


def import_from_current_directory() -> None:
    """Let modules of the current directory be imported, as `python -m` does and an installed script does not."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)


def register(modules: Sequence[str], folders: Sequence[str]) -> None:
    """Register these plugins beside the installed ones, and let the current directory be imported from.

    Raises ArgumentError or PluginError, which names the plugin.
    """
    import_from_current_directory()
    if not modules and not folders:
        return
    from runnerkit._plugins.manager import installed_plugins

    for name in modules:
        installed_plugins().register(_imported(name), name)
    for folder in folders:
        for path in _files(folder):
            installed_plugins().register(_loaded(path), path.stem)


def _imported(name: str) -> object:
    module, _, attribute = name.partition(":")
    if not module:
        raise ArgumentError(f"-p {name!r}: write MODULE or MODULE:OBJECT, such as my_plugins.")
    try:
        loaded: object = importlib.import_module(module)
        return operator.attrgetter(attribute)(loaded) if attribute else loaded
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise PluginError(f"-p {name}: {describe(error)}") from error
        py = " Leave out the '.py'." if module.endswith(".py") else ""
        raise ArgumentError(
            f"-p {name}: there is no module {module}, neither in the current folder nor installed.{py}"
        ) from error
    except (Exception, SystemExit) as error:  # a plugin must not end the program
        raise PluginError(f"-p {name}: {describe(error)}") from error


def _files(folder: str) -> Iterator[Path]:
    path = Path(folder).resolve()
    if not folder or not path.is_dir():
        raise ArgumentError(f"--plugins-dir {folder!r}: there is no such folder.")
    if str(path) not in sys.path:
        sys.path.append(str(path))  # for other processes, and for what the plugins import of each other
    yield from sorted(file for file in path.glob("*.py") if not file.name.startswith("_"))


def _loaded(path: Path) -> ModuleType:
    """Import a file as the module of its name, unless that name is another module's."""
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    spec = importlib.util.find_spec(name) if loaded is None else None
    if spec is None or spec.origin != str(path):
        raise ArgumentError(f"--plugins-dir: {path} has the name of another module, {name}. Rename the file.")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise PluginError(f"--plugins-dir: {path} could not be imported: {describe(error)}") from error
