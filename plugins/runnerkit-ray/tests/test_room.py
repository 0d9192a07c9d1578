"""Actors that wait for room which others hold: said soon, and not taken for a fault of the env."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import ray
import runnerkit_ray.pool
import runnerkit_ray.room
from runnerkit_ray import ActorsLostError, RayRunner
from runnerkit_ray.actor import EpisodeActor, Recipe
from runnerkit_ray.jobs import Limits
from runnerkit_ray.pool import Pool
from runnerkit_ray.room import Room
from runnerkit_ray.sending import pickled
from unit_envs import Thresholds, walk

pytestmark = pytest.mark.usefixtures("cluster")


def test_a_runner_whose_cpus_another_one_holds_says_so_and_works_once_that_one_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RayRunner(walk, 7, actors=1, actor_options={"num_cpus": 2}):
        with warnings.catch_warnings(record=True) as warned, monkeypatch.context() as patch:
            warnings.simplefilter("always")
            patch.setattr(runnerkit_ray.room, "PATIENCE_S", 0.5)
            with pytest.raises(ActorsLostError, match=r"within start_timeout=2 s, as the cluster has no room: each"):
                RayRunner(walk, 7, actors=1, start_timeout=2)
        (said,) = warned
        assert "each asks for CPU=1, and free in the cluster are CPU=0 of 2. Others hold" in str(said.message)
        assert said.filename == __file__
    with RayRunner(walk, 7, actors=1) as made:
        assert len(made.rollout(Thresholds(), episodes=1)) == 1


def test_what_the_cluster_never_has_is_told_from_what_others_hold() -> None:
    room = Room({"num_cpus": 1, "num_gpus": 0.5, "resources": {"disk": 3}})
    assert room.is_lacking
    assert "GPU=0 of 0, disk=0 of 0. The cluster does not have it at all" in room.told()
    assert not Room({"num_cpus": 0, "memory": 10**6}).is_lacking


def test_an_actor_that_has_room_makes_the_first_env_if_the_first_actor_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runnerkit_ray.pool, "PATIENCE_S", 0.0)
    make: Any = ray.remote(num_cpus=0, max_restarts=0)(EpisodeActor)
    actors = iter([make.options(num_gpus=1), make])  # there is no GPU
    recipe = ray.put(pickled(Recipe(walk, 7, 2, {}), "it"))
    pool = Pool(
        lambda: next(actors).remote(recipe, [str(Path(__file__).parent)]),
        2,
        2,
        Limits(2, None, None, 1, 0),
        Room({"num_cpus": 1}),
    )
    try:
        assert pool.greet().spec.seed == 7
        assert [actor.is_ready for actor in pool.stats()] == [False, True]
    finally:
        pool.close()
