"""Videos by replay: one frame per observation, of the episodes that were chosen, and never of another course."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import av
import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from runnerkit_video import ReplayError, best, every, film_strip, frames, record_episode, record_episodes, worst
from typing_extensions import override

import runnerkit
from runnerkit._cli.main import main
from runnerkit.errors import ArgumentError, RenderError
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
    with pytest.raises(RenderError, match=r"not an image of shape \[height, width, 3\]"):
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


# ---- videos of stored episodes


class Drawn(gymnasium.Env[Any, Any]):
    """Draws in one colour, if it was made for it; its episodes have 3 steps, or 2 of `length` 2."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, length: int = 3) -> None:
        self.observation_space = gymnasium.spaces.Discrete(9)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.render_mode, self.length, self.drawn = render_mode, length, 0

    @override
    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.t = 0
        return np.int64(0), {}

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return np.int64(self.t), float(action), self.t == self.length, False, {}

    @override
    def render(self) -> Any:
        if self.render_mode != "rgb_array":
            return None
        self.drawn += 1
        return np.full((40, 60, 3), 20 * self.t, np.uint8)


def make(seed: int | None, render_mode: str | None = None, length: int = 3) -> Drawn:
    return Drawn(render_mode, length)


def make_blind(seed: int | None) -> Drawn:
    return Drawn()


def make_shorter(seed: int | None, render_mode: str | None = None) -> Drawn:
    return Drawn(render_mode, length=2)


def make_broken(seed: int | None, render_mode: str | None = None) -> Drawn:
    env = Drawn(render_mode)
    env.render = lambda: 1 / 0  # type: ignore[method-assign]
    return env


def make_modeless(seed: int | None, render_mode: str | None = None) -> Drawn:
    env = make_broken(seed, render_mode)
    env.metadata = {"render_modes": []}
    return env


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs of the same seed in one folder, of 4 episodes each and one that was cut."""
    monkeypatch.setitem(sys.modules, "drawing", sys.modules[__name__])
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with runnerkit.make(make, n_envs=1, seed=0, history=("npz", {"path": tmp_path / "runs"})) as runner:
            runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=13)
    return tmp_path / "runs"


def command(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_chosen_episodes_of_a_folder_become_files(folder: Path) -> None:
    asked = ["video", "runs", "--env", "drawing:make", "--best", "2", "--worst", "1", "--last", "1", "--episode", "4"]
    videos = json.loads(command(*asked, "--json").stdout)["videos"]
    returns = [episode.return_ for episode in runnerkit.load(folder).episodes if episode.complete]
    by_reason = {reason: video for video in videos for reason in video["chosen"].split(", ")}
    assert by_reason["best"]["return"] in sorted(returns)[-2:]
    assert by_reason["worst"]["return"] == min(returns)
    assert (by_reason["last"]["episode"], by_reason["chosen"]["episode"]) == (8, 4)
    assert {video["file"] for video in videos} == {str(path) for path in Path("videos").iterdir()}
    for video in videos:
        with av.open(str(video["file"]), "r") as container:
            frames_found = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames_found) == video["frames"] == (2 if video["episode"] == 4 else 4)
        assert frames_found[0].shape == (40, 60, 3)


def test_episodes_of_two_runs_of_one_seed_are_not_parts_of_one(folder: Path) -> None:
    assert "1 episode, 3 steps: all the same" in command("replay", "runs", "6", "--env", "drawing:make").output
    lines = command("video", "runs", "--env", "drawing:make", "--episode", "6").output.splitlines()
    assert len(lines) == 2
    assert lines[1].split()[0] == "6"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--env", "drawing:make_blind"], 1, "The env renders NoneType, not an image of shape [height, width, 3]"),
        (["--env", "drawing:make_broken"], 1, "The env cannot be drawn: render() raised ZeroDivisionError"),
        (["--env", "CartPole-v1", "--episode", "0"], 1, "has other spaces than the history"),
        (["--env", "drawing:make_shorter", "--worst", "1"], 1, "Episode 1 cannot be drawn. Episode 1 of env 0"),
        (
            ["--env", "drawing:make_modeless"],
            1,
            "It draws no images: its metadata have no render modes",
        ),
        (["--env", "drawing:make", "-o", "drawing.txt/sub"], 2, "nothing can be written to 'drawing.txt/sub'"),
        (["--episode", "99"], 2, "has no episode 99: it has 10 episodes, 0 to 9"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence_and_leaves_no_file(
    folder: Path, arguments: list[str], code: int, said: str
) -> None:
    Path("drawing.txt").touch()
    assert said in command("video", "runs", *arguments, code=code).output
    assert list(Path().glob("videos/*")) == []


def test_a_video_makes_its_folder_and_says_where_it_cannot(folder: Path) -> None:
    history = runnerkit.load(folder)[0]
    Path("file").touch()
    with pytest.raises(ArgumentError, match=r"A video cannot be written to file: .*Choose another folder"):
        record_episode([history], "file/one.mp4", env=lambda: make(None, "rgb_array"))
    assert record_episode([history], "new/one.mp4", env=lambda: make(None, "rgb_array")).path.is_file()
    assert [path.name for path in Path("new").iterdir()] == ["one.mp4"]


def test_sdl_looks_for_no_display_where_there_is_none_and_only_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    seen: list[str | None] = []

    class Asked(Drawn):
        @override
        def render(self) -> Any:
            seen.append(os.environ.get("SDL_VIDEODRIVER"))
            return super().render()

    film_strip([runnerkit.load(folder)[0]], env=lambda: Asked("rgb_array"), pictures=2)
    assert seen == ["dummy" if sys.platform == "linux" else None] * 2
    assert "SDL_VIDEODRIVER" not in os.environ


def test_without_its_package_and_without_whole_episodes_there_is_no_video(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runnerkit.make(make, n_envs=1, seed=0, history=("npz", {"path": "short"})) as runner:
        runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=2)
    assert "no whole episode that terminated or was truncated" in command("video", "short", code=2).output
    monkeypatch.setitem(sys.modules, "runnerkit_video", None)
    assert "pip install runnerkit-video" in command("video", "runs", code=1).output


def test_a_film_strip_has_pictures_from_the_first_to_the_last_observation_and_draws_no_others(folder: Path) -> None:
    env = Drawn("rgb_array")
    strip = film_strip([runnerkit.load(folder)[0]], env=lambda: env, pictures=2, height=20)
    assert strip.startswith(b"\xff\xd8\xff")
    assert env.drawn == 2
    with av.open(io.BytesIO(strip), "r") as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (20, 30 + 2 + 30, 3)
    assert abs(int(picture[10, 10, 0]) - 0) < 12
    assert abs(int(picture[10, 50, 0]) - 60) < 12
    assert len(film_strip([runnerkit.load(folder)[0]], env=lambda: Drawn("rgb_array"), pictures=50)) < 20_000


def test_a_report_shows_the_best_the_worst_and_the_last_episode(folder: Path) -> None:
    for name, made in (("seen", make), ("blind", make_blind)):
        with runnerkit.make(made, n_envs=1, seed=0, history=("npz", {"path": name})) as runner:
            runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), episodes=4)
    done = command("report", "seen", "dark=blind", "runs", "--thumbnails", "-o", "page.html")
    assert "No pictures of blind. The env renders NoneType" in done.stderr
    assert "episodes of runs: another run in the same folder has episodes of the same numbers" in done.stderr
    page = Path("page.html").read_text()
    assert 2 <= page.count('class="picture"') <= 3  # the last one may be the best, or the worst
    assert "data:image/jpeg;base64," in page


def test_a_report_of_a_folder_with_two_envs_shows_pictures_of_each(folder: Path) -> None:
    agent = runnerkit.RandomAgent(gymnasium.spaces.Discrete(2), seed=0)
    for length in (2, 5):
        with runnerkit.make(make, seed=0, env_options={"length": length}, history=("npz", {"path": "mixed"})) as runner:
            runner.rollout(agent, episodes=2)
    assert "No pictures" not in command("report", "mixed", "--thumbnails", "-o", "mixed.html").stderr
    assert 2 <= Path("mixed.html").read_text().count('class="picture"') <= 3
