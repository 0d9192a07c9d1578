"""What actors are asked for, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from runnerkit_ray.data import UnitData
from runnerkit_ray.units import Unit

__all__ = ["Done", "Failed", "GivenUp", "Job", "Limits", "Outcome", "Policy", "Ref"]

Ref: TypeAlias = Any
"""A reference to what a task of Ray returns."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What chooses the actions: an agent, and weights if they are set; both lie in the object store."""

    version: int
    agent: Ref
    weights: Ref | None = None


@dataclass(slots=True)
class Job:
    """A unit that is to be made, and what became of those who tried."""

    unit: Unit
    policy: Policy
    deaths: list[str] = field(default_factory=list)
    doubt: str = ""
    """What became of an actor that may have been lost before it came to the unit, as it had nothing to do."""
    is_dropped: bool = False
    """Whether nobody waits for it any more."""

    def blame(self, reason: str) -> None:
        """Note that it ended an actor, and that it probably ended the one before, too."""
        self.deaths += [self.doubt, reason] if self.doubt else [reason]
        self.doubt = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A unit that was made. Its data lie in the object store as long as somebody has them."""

    job: Job
    data: UnitData


@dataclass(frozen=True, slots=True)
class Failed:
    """A unit that raised an exception."""

    job: Job
    error: BaseException


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A unit that ended or blocked too many actors."""

    job: Job


Outcome: TypeAlias = "Done | Failed | GivenUp"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long is waited, and how often is tried."""

    in_flight: int
    unit_timeout: float | None
    start_timeout: float | None
    max_attempts: int
    max_restarts: int
