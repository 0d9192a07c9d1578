"""Which distributions may offer parts: environment variables and the arguments of a registry decide."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from runnerkit._plugins.metadata import canonical
from runnerkit.errors import ArgumentError

__all__ = ["ALLOWED", "DISABLED", "Choice"]

ALLOWED: Final = "RUNNERKIT_PLUGINS"
DISABLED: Final = "RUNNERKIT_DISABLE_PLUGINS"


@dataclass(frozen=True, slots=True)
class Choice:
    """The distributions that may take part: those in `allow`, or all if it is None, without those in `deny`."""

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    @classmethod
    def of(cls, allow: Iterable[str] | None, deny: Iterable[str]) -> Choice:
        """Return the choice of these distributions; raises ArgumentError if one is a string instead of a list."""
        return cls(None if allow is None else _names("allow", allow), _names("deny", deny))

    def without(self, distribution: str) -> Choice:
        """Return this choice without one distribution."""
        return Choice(self.allow, self.deny | {canonical(distribution)})

    def admits(self, distribution: str) -> bool:
        """Whether this choice and the environment variables let a distribution take part."""
        name = canonical(distribution)
        allowed, disabled = os.environ.get(ALLOWED), os.environ.get(DISABLED, "")
        return (
            (self.allow is None or name in self.allow)
            and name not in self.deny
            and (allowed is None or name in _listed(allowed))
            and name not in _listed(disabled)
        )


def _listed(text: str) -> set[str]:
    return set(map(canonical, text.replace(",", " ").split()))


def _names(what: str, given: object) -> frozenset[str]:
    if isinstance(given, str):
        raise ArgumentError(f"{what} must be a list of distributions, such as [{given!r}], not {given!r}.")
    names = [*given] if isinstance(given, Iterable) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"{what} must be a list of names of distributions, such as ['runnerkit-arrow'], not {names!r}."
        )
    return frozenset(canonical(str(name)) for name in names)
