"""RunnerKit on a Ray cluster: whole episodes on actors, with the bytes of one process."""

from __future__ import annotations

from runnerkit_ray.agents import RowAgent, SupportsSetWeights
from runnerkit_ray.cluster import Cluster, join
from runnerkit_ray.collecting import Collected
from runnerkit_ray.errors import ActorsLostError, PoisonError
from runnerkit_ray.options import ActorOptions
from runnerkit_ray.runner import RayRunner
from runnerkit_ray.stats import ActorStats, RayStats
from runnerkit_ray.units import Poisoned, Unit

__all__ = [
    "ActorOptions",
    "ActorStats",
    "ActorsLostError",
    "Cluster",
    "Collected",
    "PoisonError",
    "Poisoned",
    "RayRunner",
    "RayStats",
    "RowAgent",
    "SupportsSetWeights",
    "Unit",
    "join",
]
