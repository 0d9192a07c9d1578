"""The mypy plugin: what Python's types alone cannot say about plugins, agents and names::

    # pyproject.toml
    [tool.mypy]
    plugins = ["runnerkit.mypy"]

It checks every `@hookimpl` against the specification of its hook, RunnerKit's own and those of any pluggy project
that is configured (see `runnerkit.mypy.config`); it gives names such as `history="arrow"` the types of what is
installed; and it checks agents and processors against the env that they are for, in the words of the run time.

Of RunnerKit it imports only the module `sentences`, which imports nothing; nothing of what is checked is imported.
"""

from __future__ import annotations

from mypy.plugin import Plugin

from runnerkit.mypy.plugin import RunnerKitPlugin

__all__ = ["plugin"]

__version__: str = ""
"""What mypy's daemon and its cache know this plugin by; it contains what is configured."""


def plugin(version: str) -> type[Plugin]:
    """Return the plugin, as mypy asks for it; `version` is mypy's."""
    del version
    return RunnerKitPlugin
