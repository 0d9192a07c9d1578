"""Where an offer comes from, and what went wrong with a plugin."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

__all__ = ["PluginProblem", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """A plugin and its distribution. A plugin registered by hand has no distribution."""

    plugin: str
    distribution: str = ""
    version: str = ""

    @override
    def __str__(self) -> str:
        return f"Plugin {self.plugin}" + (f" ({self.distribution} {self.version})" if self.distribution else "")

    def problem(self, stage: str, error: BaseException) -> PluginProblem:
        """Return what went wrong with it."""
        return PluginProblem(self.plugin, self.distribution, self.version, stage, error)


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """A plugin, or one of its hooks or names, that did not work and was left out."""

    plugin: str
    distribution: str
    version: str
    stage: str
    error: BaseException

    @override
    def __str__(self) -> str:
        source = f"{self.distribution} {self.version}".strip() or "registered by hand"
        return f"plugin {self.plugin} ({source}), {self.stage}: {type(self.error).__name__}: {self.error}"
