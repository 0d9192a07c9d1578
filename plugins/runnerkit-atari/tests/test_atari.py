"""The atari factory, as users meet it: by name, through a runner."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runnerkit_atari.options import AtariOptions

from runnerkit import EndReason, GymRunner, RandomAgent
from runnerkit._plugins.manager import Plugins
from runnerkit.errors import ArgumentError, UnknownNameError

SHORT = {"max_num_frames_per_episode": 160}


def rollout(env: str, steps: int, n_envs: int = 1, seed: int = 0, **options: Any) -> list[Any]:
    with GymRunner(env, seed=seed, n_envs=n_envs, env_options=options) as runner:
        return list(runner.rollout(RandomAgent(runner.action_space, seed=1), steps=steps))


def test_the_plugin_is_discovered_with_its_distribution_and_version() -> None:
    plugins = Plugins()
    plugins.discover()
    offer = plugins.offers("env_factories")["atari"]
    assert (offer.distribution, offer.version, offer.plugin) == ("runnerkit-atari", "0.1.0", "atari")
    assert not [problem for problem in plugins.problems if problem.plugin == "atari"]


def test_each_name_that_is_offered_is_declared_and_can_be_loaded() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["runnerkit.env_factories"]
    assert declared.keys() == {"atari", "atari-vector"}
    for name, target in declared.items():
        assert callable(EntryPoint(name, target, "runnerkit.env_factories").load())


def test_listing_plugins_imports_neither_ale_py_nor_opencv() -> None:
    code = (
        "import sys; from runnerkit._plugins.manager import Plugins; p = Plugins(); p.discover(); "
        "assert 'atari' in p.offers('env_factories'); assert not {'ale_py', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", ["atari:Pong", "atari:Pong-v5"])
def test_a_game_is_found_with_and_without_its_version(name: str) -> None:
    (history,) = rollout(name, 3)
    assert history.observations.shape == (3, 4, 84, 84)
    assert history.observations.dtype == np.uint8
    assert history.observations.max() > history.observations.min()


def test_an_unknown_game_names_the_closest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"No Atari game is called 'Pnog'\. Did you mean 'Pong'") as caught:
        GymRunner("atari:Pnog")
    assert "Breakout" in caught.value.known


def test_an_unknown_version_is_an_unknown_game() -> None:
    with pytest.raises(UnknownNameError, match="All games are of version v5"):
        GymRunner("atari:Pong-v4")


def test_an_unknown_option_names_the_closest_one() -> None:
    with pytest.raises(ArgumentError, match=r"no option 'frameskip'\. Did you mean 'frame_skip'"):
        GymRunner("atari:Pong", env_options={"frameskip": 4})


@pytest.mark.parametrize(
    "options",
    [{"frame_stack": 0}, {"frame_skip": 1.5}, {"noop_max": -1}, {"repeat_action_probability": 2.0}],
)
def test_an_option_that_cannot_be_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(options))):
        AtariOptions.read(options)


@pytest.mark.parametrize(
    ("options", "shape", "dtype"),
    [
        ({"frame_stack": 1}, (84, 84), np.uint8),
        ({"frame_stack": 2, "screen_size": (40, 60)}, (2, 60, 40), np.uint8),
        ({"frame_stack": 1, "grayscale_obs": False}, (84, 84, 3), np.uint8),
        ({"frame_stack": 1, "grayscale_newaxis": True, "scale_obs": True}, (84, 84, 1), np.float32),
    ],
)
def test_options_shape_the_observations(options: dict[str, Any], shape: tuple[int, ...], dtype: type) -> None:
    with GymRunner("atari:Pong", env_options=options) as runner:
        assert runner.observation_space.shape == shape
        assert runner.observation_space.dtype == dtype


def test_the_full_action_space_and_the_mode_reach_the_emulator() -> None:
    options = {"full_action_space": True, "mode": 1, "difficulty": 1}
    with GymRunner("atari:Pong", env_options=options) as runner:
        env = runner.make_env()
        assert env.action_space.n == 18  # type: ignore[attr-defined]
        assert env.unwrapped._game_mode == 1  # type: ignore[attr-defined]
        assert env.unwrapped._game_difficulty == 1  # type: ignore[attr-defined]
        env.close()


def test_a_lost_life_ends_the_episode_where_asked_for() -> None:
    (whole,) = rollout("atari:Breakout", 120, noop_max=0)
    (lives,) = rollout("atari:Breakout", 120, noop_max=0, terminal_on_life_loss=True)
    assert lives.terminated.sum() > whole.terminated.sum()


def test_the_first_frame_of_an_episode_fills_the_stack() -> None:
    (history,) = rollout("atari:Pong", 2)
    first = history.observations[0]
    assert all((frame == first[0]).all() for frame in first)


def test_an_episode_replayed_with_its_seed_in_a_fresh_env_gives_identical_frames() -> None:
    """Sticky actions and no-ops are on; the episodes to replay are those that others ran before."""
    with GymRunner("atari:Breakout", seed=7, n_envs=2, env_options=SHORT) as runner:
        histories = runner.rollout(RandomAgent(runner.action_space, seed=3), steps=120)
        episodes = [e for history in histories for e in history.split() if e.record.complete]
        assert len(episodes) >= 4
        for episode in reversed(episodes):  # in another order than they were run
            env = runner.make_env(seed=None)
            observation, _ = env.reset(seed=episode.record.seed)
            for t, action in enumerate(episode.actions):
                np.testing.assert_array_equal(observation, episode.observations[t])
                observation, reward, terminated, truncated, _ = env.step(action)
                assert (reward, terminated, truncated) == (
                    episode.rewards[t],
                    episode.terminated[t],
                    episode.truncated[t],
                )
            np.testing.assert_array_equal(observation, episode.observations[-1])
            env.close()


def test_an_episode_does_not_depend_on_what_its_env_ran_before() -> None:
    with GymRunner("atari:Pong", seed=0, env_options=SHORT) as runner:
        fresh, used = runner.make_env(), runner.make_env()
        for seed in (11, 12, 13):
            used.reset(seed=seed)
            for _ in range(15):
                used.step(2)
        frames = []
        for env in (fresh, used):
            observation, _ = env.reset(seed=5)
            frames.append([observation, *(env.step(t % 6)[0] for t in range(30))])
            env.close()
    np.testing.assert_array_equal(frames[0], frames[1])


def test_other_seeds_give_other_episodes() -> None:
    with GymRunner("atari:Pong") as runner:
        env = runner.make_env()
        last = []
        for seed in (1, 2):
            env.reset(seed=seed)
            last.append([env.step(t % 6)[0] for t in range(20)][-1])
        env.close()
    assert (last[0] != last[1]).any()


def test_a_frame_limit_truncates_and_does_not_terminate() -> None:
    (history,) = rollout("atari:Pong", 90, **SHORT)
    reasons = [episode.end_reason for episode in history.episodes]
    assert reasons[:-1] == [EndReason.TRUNCATED] * (len(reasons) - 1)
    assert len(reasons) >= 2


def test_threads_give_the_same_frames_as_one_thread() -> None:
    def frames(executor: str) -> Any:
        with GymRunner("atari:Pong", seed=2, n_envs=4, executor=executor, env_options=SHORT) as runner:
            histories = runner.rollout(RandomAgent(runner.action_space, seed=1), steps=30)
        return [history.observations for history in histories]

    np.testing.assert_array_equal(frames("serial"), frames("threads"))
