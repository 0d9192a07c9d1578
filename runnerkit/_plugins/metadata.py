"""Read the metadata of a distribution: its name, version, and which RunnerKit it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["Head", "canonical", "newer_needed"]

_REQUIREMENT: Final = re.compile(r"runnerkit(?![\w.-])\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(;.*)?$", re.IGNORECASE)
_BOUND: Final = re.compile(r"(>=|>|~=|===?)\s*v?(\d+(?:\.\d+)*)")


class Head(NamedTuple):
    """The fields that we need. The email parser of the standard library would take a hundred times as long."""

    name: str
    version: str
    requires: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Head:
        """Return the head of a METADATA file; missing fields are empty."""
        fields: dict[str, list[str]] = {}
        for line in text.partition("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.lower(), []).append(value.strip())
        name, version = (fields.get(key, [""])[0] for key in ("name", "version"))
        return cls(name, version, tuple(fields.get("requires-dist", ())))


def canonical(distribution: str) -> str:
    """Return a distribution's name as package indexes compare it: `Runnerkit_Atari` is `runnerkit-atari`."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def newer_needed(requires: Iterable[str], installed: str) -> str:
    """Return the requirement that this RunnerKit is too old for, such as `runnerkit>=0.3`, or nothing."""
    for requirement in requires:
        match = _REQUIREMENT.match(requirement)
        if match is None or match[2]:  # of another package, or only sometimes
            continue
        for sign, bound in _BOUND.findall(match[1]):
            own, needed = _release(installed), _release(bound)
            if own < needed or (sign == ">" and own == needed):
                return f"runnerkit{match[1].strip()}"
    return ""


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version without trailing zeros: 1.2.0rc1 is (1, 2)."""
    numbers = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, re.sub(r"(\.0+)+$", "", numbers[1]).split("."))) if numbers else ()
