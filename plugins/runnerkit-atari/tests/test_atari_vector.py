"""The factory atari-vector: what a plain loop over ALE's vector env would record, with each final observation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

import runnerkit
from runnerkit import EndReason, RandomAgent
from runnerkit.errors import ArgumentError, UnknownNameError
from runnerkit.history import ArrayHistory
from runnerkit.records import Seeded

N, STEPS, FRAMES = 3, 90, 160  # so that each env has more than one episode


def rollout(seed: int = 0, n_envs: int = N, steps: int = STEPS, **options: Any) -> list[ArrayHistory[Any, Any]]:
    with runnerkit.make("atari-vector:Breakout", n_envs=n_envs, seed=seed, env_options=options) as runner:
        return runner.rollout(RandomAgent(runner.action_space, seed=1), steps=steps)


def by_hand(seeds: list[int], actions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the observations after each step, and the rewards, of a loop over an env that tells final ones."""
    env = AtariVectorEnv(
        "breakout",
        N,
        autoreset_mode=AutoresetMode.SAME_STEP,
        max_num_frames_per_episode=FRAMES,
        repeat_action_probability=0.25,
        reward_clipping=False,
        use_fire_reset=False,
    )
    env.reset(seed=np.array(seeds))
    observed, rewards = [], []
    for action in actions:
        observations, reward, terminated, truncated, info = env.step(action)
        after, over = observations.copy(), terminated | truncated
        if over.any():
            after[over] = np.stack(list(info["final_obs"]))[over]
        observed.append(after)
        rewards.append(reward.astype(np.float64))
    env.close()
    return np.stack(observed), np.stack(rewards)


def test_the_rows_are_those_of_a_plain_loop_and_final_observations_are_kept() -> None:
    histories = rollout(max_num_frames_per_episode=FRAMES)
    seeds = [history.episodes[0].seed for history in histories]
    actions = np.stack([history.actions for history in histories], axis=1)
    observed, rewards = by_hand([seed for seed in seeds if seed is not None], actions)
    for i, history in enumerate(histories):
        np.testing.assert_array_equal(history.next_observations, observed[:, i], strict=True)
        np.testing.assert_array_equal(history.rewards, rewards[:, i], strict=True)
        assert len(history.episodes) > 2
        assert {episode.end_reason for episode in history.episodes[:-1]} == {EndReason.TRUNCATED}
        assert history.seeding.seeded is Seeded.SOME
        assert [episode.seed is not None for episode in history.episodes] == [True] + [False] * (
            len(history.episodes) - 1
        )


def test_a_run_gives_the_same_data_again_whatever_the_number_of_threads() -> None:
    one, again = (rollout(num_threads=threads) for threads in (1, 3))
    for first, second in zip(one, again, strict=True):
        np.testing.assert_array_equal(first.observations, second.observations, strict=True)
    assert not np.array_equal(one[0].observations, rollout(seed=1)[0].observations)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (4, 84, 84)),
        ({"frame_stack": 1}, (1, 84, 84)),
        ({"screen_size": (60, 50)}, (4, 50, 60)),
        ({"grayscale_obs": False}, (4, 84, 84, 3)),
    ],
)
def test_options_shape_the_observations(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    (history,) = rollout(n_envs=1, steps=2, **options)
    assert history.observations.shape == (2, *shape)
    assert history.observations.dtype == np.uint8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": 1}, "no option 'mode'. Leave it out, or use the env factory 'atari'"),
        ({"scale_obs": True}, "no option 'scale_obs'"),
        ({"num_threads": -1}, "num_threads must be a whole number of at least 0, not -1"),
        ({"framestack": 2}, "Did you mean 'frame_stack'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        rollout(**options)


def test_an_unknown_game_names_the_closest_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'Pong'"):
        runnerkit.make("atari-vector:Pongg")
