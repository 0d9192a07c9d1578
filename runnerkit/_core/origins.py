"""Where a part comes from: its module and its installed distribution."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import gymnasium
import numpy as np

__all__ = ["distribution_of", "module_of", "own_name", "packages", "plain", "qualified_name"]

_NONE = "", ""


def qualified_name(thing: object) -> str:
    """Return `module:Class` of an object or a class, `module:function` of a function."""
    name: object = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)  # ufuncs of NumPy 1: a name
    return f"{module_of(thing)}:{name if isinstance(name, str) else type(thing).__qualname__}"


def own_name(thing: object) -> str:
    """Return the name of a class or function, or that of the class of any other object."""
    name: str = getattr(thing, "__name__", type(thing).__name__)
    return name


def module_of(thing: object) -> str:
    """Return the name of the module that defines an object or its class."""
    module: object = getattr(thing, "__module__", None) or type(thing).__module__
    return str(module)


def distribution_of(module: str) -> tuple[str, str]:
    """Return name and version of a module's distribution; both are empty if unknown.

    Only a distribution with the name of the module's top package is found; a search for others would take long.
    """
    top = module.partition(".")[0]
    if top == gymnasium.__name__:  # most envs are its own, and reading metadata takes a millisecond
        return top, gymnasium.__version__
    return _NONE if top in ("", "__main__", "builtins") else _look_up(top)


@functools.cache
def packages() -> Mapping[str, str]:
    """Return the versions of what every run depends on."""
    return {
        "python": platform.python_version(),
        "runnerkit": importlib.metadata.version("runnerkit"),
        "gymnasium": gymnasium.__version__,
        "numpy": np.__version__,
    }


@functools.cache
def _look_up(package: str) -> tuple[str, str]:
    try:
        file, distribution = _file_of(package), importlib.metadata.distribution(package)
        return (distribution.name, distribution.version) if file and _holds(distribution, Path(file)) else _NONE
    except Exception:  # not installed, or with metadata that cannot be read: it stays unknown
        return _NONE


def _file_of(package: str) -> str | None:
    """Return the file of a package, which may be imported in helpers only."""
    if package in sys.modules:
        return getattr(sys.modules[package], "__file__", None)
    spec = importlib.util.find_spec(package)
    return None if spec is None else spec.origin


def _holds(distribution: Distribution, file: Path) -> bool:
    """Whether a file belongs to a distribution, and not to a folder of the same name."""
    folder = Path(str(distribution.locate_file("")))
    if file.is_relative_to(folder):
        return True
    url = json.loads(distribution.read_text("direct_url.json") or "{}")  # where an editable one lies
    return bool(url) and file.resolve().is_relative_to(Path(url2pathname(urlsplit(url["url"]).path)).resolve())


def plain(value: object) -> object:
    """Return a value as JSON can hold it: numbers, strings, lists and dicts; anything else becomes a string."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if hasattr(value, "__qualname__"):
        return qualified_name(value)
    text = repr(value)
    return qualified_name(value) if " at 0x" in text else text  # an address would be another one each time
