"""Packages that an option needs, and that RunnerKit does not bring with it."""

from __future__ import annotations

import importlib
from typing import Any

from runnerkit.errors import MissingDependencyError

__all__ = ["required"]


def required(package: str, wanted_by: str) -> Any:
    """Return the module of a package::

        required("runnerkit-video", "--video").record_episodes(...)

    Raises MissingDependencyError, with the command that installs it, if it is not there. Call it before the work whose
    result the package is needed for.
    """
    try:
        return importlib.import_module(package.replace("-", "_"))
    except ImportError as error:
        raise MissingDependencyError(f"{wanted_by} needs another package: pip install {package} ({error}).") from error
