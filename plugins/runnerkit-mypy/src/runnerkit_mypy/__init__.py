"""A mypy plugin that checks hook implementations of any project that uses pluggy::

    # pyproject.toml
    [tool.mypy]
    plugins = ["runnerkit_mypy"]

The hooks of pytest, tox, llm, datasette, hatch, kedro, devpi and RunnerKit are known; those of other projects are once
`[tool.runnerkit.mypy]` says where they are specified (see `runnerkit_mypy.config`). Nothing of what is checked is
imported, and nothing but mypy is needed.
"""

from __future__ import annotations

from mypy.plugin import Plugin

from runnerkit_mypy.plugin import HooksPlugin

__all__ = ["plugin"]

__version__: str = ""
"""What mypy's daemon and its cache know this plugin by; it contains what is configured."""


def plugin(version: str) -> type[Plugin]:
    """Return the plugin, as mypy asks for it; `version` is mypy's."""
    del version
    return HooksPlugin
