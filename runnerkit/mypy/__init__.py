"""The mypy plugin: what Python's types alone cannot say about plugins, agents and names::

    # pyproject.toml
    [tool.mypy]
    plugins = ["runnerkit.mypy"]

It gives names such as `history="arrow"` the types of what is installed, and checks agents and processors against the
env that they are for, in the words of the run time. It builds on the plugin `runnerkit_mypy`, which is a package of
its own, and checks every `@hookimpl` against the specification of its hook: there is no need to list both.

Of RunnerKit it imports only the module `_sentences`, which imports nothing; nothing of what is checked is imported.
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
