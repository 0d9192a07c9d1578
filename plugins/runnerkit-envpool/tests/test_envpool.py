"""The factory envpool: what a plain loop over EnvPool's env would record, its reset steps left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import runnerkit
from runnerkit import RandomAgent
from runnerkit.errors import ArgumentError, UnknownNameError
from runnerkit.history import ArrayHistory
from runnerkit.records import Seeded

envpool = pytest.importorskip("envpool", reason="EnvPool has no wheel for this machine")


def rollout(env: str, seed: int = 3, n_envs: int = 4, **options: Any) -> list[ArrayHistory[Any, Any]]:
    with runnerkit.make(env, n_envs=n_envs, seed=seed, env_options=options) as runner:
        return runner.rollout(RandomAgent(runner.action_space, seed=0), steps=100)


@pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1", "Pendulum-v1", "Ant-v4", "Pong-v5"])
def test_a_run_gives_the_same_data_again(env: str) -> None:
    first, second = (rollout(f"envpool:{env}") for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(one.rewards, other.rewards)
        assert one.episodes == other.episodes
    assert first[0].seeding.seeded is Seeded.NONE


def test_the_rows_are_those_of_a_plain_loop_without_its_reset_steps() -> None:
    histories = rollout("envpool:CartPole-v1")
    from runnerkit_envpool.envs import make_envpool

    env: Any = make_envpool("CartPole-v1", seed=None, n_envs=4)
    assert env.num_envs == 4
    for history in histories:
        for episode in history.split():
            assert len(episode.observations) == episode.record.length + 1
            assert not episode.terminated[:-1].any()
            moved = np.abs(np.diff(episode.observations[:, 0]))
            assert moved.max() < 0.2, "a jump: a step of a reset was recorded"


def test_envs_and_runs_do_not_share_seeds() -> None:
    firsts = [history.observations[0].tolist() for seed in (0, 1) for history in rollout("envpool:CartPole-v1", seed)]
    assert len({tuple(first) for first in firsts}) == 8


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'CartPole-v1'"):
        rollout("envpool:CartPol-v1")
    with pytest.raises(ArgumentError, match=r"'num_envs'.*runner's n_envs"):
        rollout("envpool:CartPole-v1", num_envs=3)
    with pytest.raises(ArgumentError, match=r"foo"):
        rollout("envpool:CartPole-v1", foo=3)


def test_options_reach_envpool() -> None:
    (history,) = rollout("envpool:CartPole-v1", n_envs=1, max_episode_steps=5)
    assert max(episode.length for episode in history.episodes) == 5
    assert "CartPole-v1" in envpool.list_all_envs()
