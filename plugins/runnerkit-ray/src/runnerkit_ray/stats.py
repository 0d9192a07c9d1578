"""What a runner on a cluster tells about itself."""

from __future__ import annotations

from dataclasses import dataclass

from runnerkit_ray.units import Poisoned

__all__ = ["ActorStats", "RayStats"]


@dataclass(frozen=True, slots=True)
class ActorStats:
    """What one actor did, and those before it in its place.

    Attributes:
        rank: which place it is in, from 0 on.
        is_ready: whether it has made its env, and can work.
        pid: its process; None while it starts.
        node: the machine that it is on; None while it starts.
        units: the units that it made.
        restarts: how often an actor in this place was replaced.

    """

    rank: int
    is_ready: bool
    pid: int | None
    node: str | None
    units: int
    restarts: int


@dataclass(frozen=True, slots=True)
class RayStats:
    """Where a runner on a cluster stands, as `RayRunner.stats` returns it.

    Attributes:
        units: the units that were handed out.
        episodes: the episodes in them.
        steps: the steps in them.
        version: the version of the weights that new units get; 0 as long as none were set.
        in_flight: the units that are with actors.
        waiting: the units that were made, but not handed out.
        retries: how many units were begun once more, as their actor was lost.
        restarts: how many actors took the place of lost ones.
        timeouts: how many actors were ended because they took too long.
        poisoned: the units that were given up.
        actors: each actor.

    """

    units: int
    episodes: int
    steps: int
    version: int
    in_flight: int
    waiting: int
    retries: int
    restarts: int
    timeouts: int
    poisoned: tuple[Poisoned, ...]
    actors: tuple[ActorStats, ...]
