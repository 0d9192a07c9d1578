"""Which distributions may offer parts: environment variables and the arguments of a registry decide."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from runnerkit._plugins.metadata import canonical
from runnerkit._sentences import did_you_mean
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

    def misspelt(self, known: Iterable[str]) -> Iterator[str]:
        """Yield a sentence about each name that nothing installed has, but that is close to a known distribution."""
        given: dict[str, Iterable[str]] = {"allow": self.allow or (), "deny": self.deny}
        given |= {name: _listed(os.environ.get(name, "")) for name in (ALLOWED, DISABLED)}
        known = [*known]
        for where, names in given.items():
            for name in sorted({*names}.difference(known)):
                hint = did_you_mean(name, known)
                if hint and not _is_installed(name):
                    yield f"{where} lists {name!r}, but no distribution of that name is installed.{hint}"

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


def _is_installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution  # slow to import, and seldom needed

    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


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
