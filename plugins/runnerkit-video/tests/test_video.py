"""Videos by replay: one frame per observation, of the episodes that were chosen, and never of another course."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import av
import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from runnerkit_video import ReplayError, best, every, frames, record_episodes, worst

import runnerkit
from runnerkit._cli.main import main
from runnerkit.errors import ArgumentError
from runnerkit.history import ArrayHistory


def rollout(env: Any = "CartPole-v1", episodes: int = 6, **options: Any) -> list[ArrayHistory[Any, Any]]:
    with runnerkit.make(env, n_envs=2, seed=0, **options) as runner:
        return runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), episodes=episodes)


def records(histories: list[ArrayHistory[Any, Any]]) -> list[runnerkit.Episode]:
    return [record for history in histories for record in history.episodes]


def test_a_video_has_one_frame_per_observation(tmp_path: Path) -> None:
    histories = rollout()
    videos = record_episodes("CartPole-v1", histories, tmp_path / "videos", which=best(2))
    highest = sorted((record.total_return for record in records(histories)), reverse=True)[:2]
    assert [video.episode.total_return for video in videos] == highest
    for video in videos:
        with av.open(str(video.path)) as container:
            shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(shown) == video.frames == video.episode.length + 1
        assert shown[0].shape == (400, 600, 3)
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == sorted(
        f"env{video.episode.env_index}-episode{video.episode.episode_index}.mp4" for video in videos
    )


def test_the_frames_are_those_of_the_episode() -> None:
    episode = rollout()[0].split()[0]
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=episode.record.seed)
    expected = [env.render()]
    for action in episode.actions:
        env.step(action)
        expected.append(env.render())
    env.close()
    for found, wanted in itertools.zip_longest(frames("CartPole-v1", episode), expected):
        np.testing.assert_array_equal(found, wanted)


def test_episodes_are_chosen() -> None:
    found = records(rollout())
    assert [record.total_return for record in worst()(found)] == [min(record.total_return for record in found)]
    assert {record.episode_index for record in every(2)(found)} <= {0, 2, 4}
    with pytest.raises(ArgumentError, match="at least 1, not 0"):
        best(0)


def test_another_course_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    histories = rollout("Pendulum-v1", episodes=2)
    with pytest.raises(ReplayError, match=r"differs in step 0: observation\[0\] was "):
        record_episodes("Pendulum-v1", histories, tmp_path, env_options={"g": 1.0})
    assert not list(tmp_path.iterdir())


def test_postprocessed_actions_are_replayed_as_the_env_got_them(tmp_path: Path) -> None:
    histories = rollout("Pendulum-v1", episodes=1, postprocessors=["rescale"], preprocessors=["normalize"])
    (video,) = record_episodes("Pendulum-v1", histories, tmp_path, fps=60)
    assert video.frames == 201


def test_a_stored_episode_is_drawn_on_the_command_line(tmp_path: Path) -> None:
    rollout("Pendulum-v1", episodes=2, env_options={"g": 3.0}, history=("npz", {"path": tmp_path / "runs"}))
    out = tmp_path / "episode.mp4"
    result = CliRunner().invoke(main, ["replay", str(tmp_path / "runs"), "1", "--video", str(out)])
    assert (result.exit_code, "all the same" in result.output) == (0, True), result.output
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 201


def test_what_cannot_be_replayed_is_refused() -> None:
    with runnerkit.make("CartPole-v1", n_envs=1, seed=0) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=3)
        (later,) = runner.rollout(agent, steps=3)
    with pytest.raises(ArgumentError, match="no episode that began in this rollout"):
        record_episodes("CartPole-v1", [later], "unused")
    with pytest.raises(ArgumentError, match="began before these histories"):
        next(frames("CartPole-v1", later.split()[0]))
    with pytest.raises(ArgumentError, match=r"not an image of shape \[height, width, 3\]"):
        next(frames(lambda: gymnasium.make("CartPole-v1", render_mode="rgb_array_list"), rollout()[0].split()[0]))


def test_the_command_line_films_the_best_episode_of_a_rollout_whatever_the_history_and_wrappers(
    tmp_path: Path,
) -> None:
    result = CliRunner().invoke(
        main,
        [
            *("rollout", "CartPole-v1", "--n-envs", "2", "--steps", "60", "--seed", "0", "--history", "transitions"),
            *("--wrapper", "gymnasium.wrappers:TimeAwareObservation", "--video", str(tmp_path), "--json"),
        ],
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    best_return = max(episode["return"] for episode in found["episodes"])
    (video,) = found["videos"]
    with av.open(video) as container:
        assert container.streams.video[0].frames == best_return + 1  # one per observation
