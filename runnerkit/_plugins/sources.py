"""Where an offer comes from, and what went wrong with a plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from typing_extensions import override

from runnerkit._sentences import nearly

__all__ = ["Names", "PluginProblem", "Source"]

Names: TypeAlias = "tuple[tuple[str, str], ...] | None"
"""Pairs of kind and name; None if nobody knows."""


@dataclass(frozen=True, slots=True)
class Source:
    """A plugin and its distribution. A plugin registered by hand has no distribution."""

    plugin: str
    distribution: str = ""
    version: str = ""

    @override
    def __str__(self) -> str:
        return f"Plugin {self.plugin}" + (f" ({self.distribution} {self.version})" if self.distribution else "")

    def problem(self, stage: str, error: BaseException, names: Names = None) -> PluginProblem:
        """Return what went wrong with it; `names` is what it would have offered, as far as that is known."""
        return PluginProblem(self.plugin, self.distribution, self.version, stage, error, names)


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """A plugin, or one of its hooks or names, that did not work and was left out."""

    plugin: str
    distribution: str
    version: str
    stage: str
    error: BaseException
    names: Names = None
    """What it would have offered, as pairs of kind and name; None if nobody knows."""

    def may_offer(self, kind: str, name: str) -> bool:
        """Whether what is missing under a name, or a misspelt one, may be of this plugin; any kind if it is empty."""
        if self.names is None:
            return True
        return any(kind in ("", own) and (name == known or nearly(name, known)) for own, known in self.names)

    @override
    def __str__(self) -> str:
        source = f"{self.distribution} {self.version}".strip() or "registered by hand"
        return f"plugin {self.plugin} ({source}), {self.stage}: {type(self.error).__name__}: {self.error}"
