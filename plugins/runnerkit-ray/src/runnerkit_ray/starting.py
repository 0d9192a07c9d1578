"""The actors of a runner, and the cluster that they are in."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from runnerkit.errors import ArgumentError
from runnerkit_ray.actor import EpisodeActor, Recipe
from runnerkit_ray.cluster import Cluster, join
from runnerkit_ray.jobs import Limits
from runnerkit_ray.options import ActorOptions
from runnerkit_ray.sending import pickled

if TYPE_CHECKING:
    from runnerkit_ray.pool import Pool

__all__ = ["start"]


def start(
    undo: contextlib.ExitStack,
    address: str | None,
    recipe: Recipe,
    actors: int,
    options: ActorOptions,
    limits: Limits,
) -> tuple[Cluster, Pool]:
    """Join a cluster and start actors in it; `undo` ends and leaves them."""
    payload = pickled(recipe, "the env factory, with all processors and options,")
    asked: ActorOptions = {"num_cpus": 1.0, **options}
    cpus = math.ceil(asked["num_cpus"] * actors)
    cluster = join(address, num_cpus=max(cpus, os.cpu_count() or 1))
    undo.callback(cluster.leave)
    _check_room(cluster, actors, cpus)
    from runnerkit_ray.pool import Pool  # which imports Ray, and that reads what `join` has set
    from runnerkit_ray.room import Room

    pool = Pool(_starter(payload, asked), actors, recipe.n_envs, limits, Room(asked))
    undo.callback(pool.close)
    return cluster, pool


def _check_room(cluster: Cluster, actors: int, cpus: int) -> None:
    """Refuse actors that a cluster of this machine will never have room for; others may grow."""
    if cpus <= cluster.cpus:
        return
    what = (
        f"{actors} actors ask for {cpus} CPUs, but the cluster has {cluster.cpus:g}. Use fewer actors, or let each ask "
        "for less: actor_options={'num_cpus': 0.5}"
    )
    if cluster.is_local:
        raise ArgumentError(f"{what}.")
    warnings.warn(f"{what}. The others begin as soon as there is room.", RuntimeWarning, stacklevel=5)


def _starter(recipe: bytes, options: ActorOptions) -> Callable[[], Any]:
    """Return what starts an actor. Ray starts none anew by itself, so that each loss is seen and counted."""
    import ray

    make: Any = ray.remote(**cast(Any, options), max_restarts=0, max_task_retries=0)(EpisodeActor)
    sent = ray.put(recipe)
    return lambda: make.remote(sent, [os.path.abspath(path) for path in sys.path])
