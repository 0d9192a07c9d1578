"""Drawing: several envs in one window, at a pace, or an error that says why not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_envs import EXECUTORS, Constant, Faults, Fleet, ScriptedEnv, build
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import EndReason
from runnerkit._rollout.rendering import Screen, tile
from runnerkit.errors import ArgumentError, RenderError, RolloutError, RolloutInterrupted

both_executors = pytest.mark.parametrize("executor", EXECUTORS, ids=[options["executor"] for options in EXECUTORS])


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.uint8]]:
    """What was shown, as [height, width, 3]; read from the window itself."""
    pygame = pytest.importorskip("pygame")
    shown: list[NDArray[np.uint8]] = []

    def flip() -> None:
        shown.append(pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1))

    monkeypatch.setattr(pygame.display, "flip", flip)
    return shown


class FakeTime:
    """A clock that only sleeping moves, and `work` seconds at every look at it."""

    def __init__(self, work: float = 0.0) -> None:
        self.now = 100.0
        self.work = work
        self.naps: list[float] = []

    def monotonic(self) -> float:
        self.now += self.work
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.naps.append(seconds)
        self.now += seconds


# ---- tiles


def frame(value: int, height: int = 2, width: int = 3) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def test_one_frame_is_the_whole_picture() -> None:
    assert tile([frame(7)]).tolist() == frame(7).tolist()


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (2, 3)), (2, (2, 6)), (3, (4, 6)), (4, (4, 6)), (5, (4, 9)), (9, (6, 9)), (10, (6, 12))]
)
def test_tiles_are_as_square_as_it_gets(count: int, shape: tuple[int, int]) -> None:
    picture = tile([frame(k + 1) for k in range(count)])
    assert picture.shape == (*shape, 3)
    assert picture.dtype == np.uint8
    assert np.unique(picture[picture > 0]).tolist() == list(range(1, count + 1))
    assert (picture == 0).sum() == picture.size - count * frame(1).size


def test_tiles_are_in_reading_order_and_the_rest_is_black() -> None:
    picture = tile([frame(1), frame(2), frame(3)])
    assert [picture[0, 0, 0], picture[0, 3, 0], picture[2, 0, 0], picture[2, 3, 0]] == [1, 2, 3, 0]


def test_smaller_frames_are_padded_with_black() -> None:
    picture = tile([frame(1, 2, 3), frame(2, 4, 2)])
    assert picture.shape == (4, 6, 3)
    assert picture[:2, :3].min() == 1
    assert picture[2:, :3].max() == 0
    assert picture[:, 3:5].min() == 2
    assert picture[:, 5:].max() == 0


@pytest.mark.parametrize("shape", [(), (4,), (4, 6), (4, 6, 4), (4, 6, 1), (1, 4, 6, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RenderError, match=r"Frames must be .*\[height, width, 3\], not of shape") as caught:
        tile([np.zeros(shape, np.uint8)])
    assert str(shape) in str(caught.value)


def test_frames_of_floats_are_refused_rather_than_shown_black() -> None:
    with pytest.raises(RenderError, match="float"):
        tile([np.full((2, 3, 3), 0.9)])


# ---- rollouts


@both_executors
@pytest.mark.parametrize("n_envs", [1, 3])
def test_frames_of_all_envs_are_tiled_into_one_window(
    executor: dict[str, Any], n_envs: int, pictures: list[NDArray[np.uint8]]
) -> None:
    fleet = Fleet(length=50)
    with build(fleet, n_envs=n_envs, render_mode="rgb_array", **executor) as runner:
        histories = runner.rollout(Constant(), steps=4, render=True, fps=10_000)
    assert [len(history) for history in histories] == [4] * n_envs
    assert all(env.calls("render") == 4 for env in fleet.envs)
    assert len(pictures) == 4
    for t, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture, tile([np.full((4, 6, 3), t + 1, np.uint8)] * n_envs))


def test_a_real_env_is_drawn(pictures: list[NDArray[np.uint8]]) -> None:
    with build("CartPole-v1", n_envs=2, seed=0, render_mode="rgb_array") as runner:
        runner.rollout(Constant(), steps=3, render=True, fps=10_000)
    height, width, _ = pictures[0].shape
    assert 2.95 < width / height < 3.05  # two of 600 x 400, side by side
    assert (pictures[0] != pictures[2]).any()


def test_the_window_fits_the_display_and_keeps_the_aspect(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    monkeypatch.setattr(pygame.display, "get_desktop_sizes", lambda: [(1400, 1000)])
    sizes = []
    monkeypatch.setattr(pygame.display, "flip", lambda: sizes.append(pygame.display.get_surface().get_size()))
    with build("CartPole-v1", n_envs=5, seed=0, render_mode="rgb_array") as runner:
        runner.rollout(Constant(), steps=1, render=True, fps=10_000)
    assert sizes == [(1260, 560)]  # 1800 x 800, were the display larger


def test_a_resized_window_shows_the_whole_picture_in_its_middle(pictures: list[NDArray[np.uint8]]) -> None:
    pygame = pytest.importorskip("pygame")

    class Resizing(Constant):
        @override
        def act(self, observations: Any, /) -> NDArray[Any]:
            if pictures:
                pygame.display.set_mode((18, 24), pygame.RESIZABLE)
            return super().act(observations)

    with build(Fleet(length=50), n_envs=1, render_mode="rgb_array") as runner:
        runner.rollout(Resizing(), steps=2, render=True, fps=10_000)
    assert [picture.shape for picture in pictures] == [(4, 6, 3), (24, 18, 3)]
    assert (pictures[1][6:18] == 2).all()  # three times as large
    assert pictures[1][:6].max() == pictures[1][18:].max() == 0


def test_a_closed_window_ends_drawing_and_not_the_rollout(pictures: list[NDArray[np.uint8]]) -> None:
    pygame = pytest.importorskip("pygame")

    class Closing(Constant):
        @override
        def act(self, observations: Any, /) -> NDArray[Any]:
            if len(pictures) == 2 and pygame.display.get_init():
                pygame.event.post(pygame.event.Event(pygame.QUIT))
            return super().act(observations)

    with build("CartPole-v1", n_envs=2, seed=0, render_mode="rgb_array") as runner:
        histories = runner.rollout(Closing(), steps=9, render=True, fps=10_000)
        assert [len(history) for history in histories] == [9, 9]
        assert len(pictures) == 2
        assert not pygame.display.get_init()
        runner.rollout(Constant(), steps=3, render=True, fps=10_000)  # which opens another one
    assert len(pictures) == 5


def test_each_tile_names_its_env_and_the_return_of_the_running_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    texts: list[str] = []
    font_of = pygame.font.Font

    class Font:
        def __init__(self, name: str | None, size: int) -> None:
            self.font = font_of(name, size)

        def render(self, text: str, *how: Any) -> Any:
            texts.append(text)
            return self.font.render(text, *how)

    monkeypatch.setattr(pygame.font, "Font", Font)
    with build("CartPole-v1", n_envs=2, seed=0, render_mode="rgb_array") as runner:
        runner.rollout(Constant(), steps=2)
        (history, _) = runner.rollout(Constant(), steps=30, render=True, fps=10_000)
    returns = [float(text.removeprefix("env 0  return ")) for text in texts if text.startswith("env 0")]
    first = history.episodes[0]
    assert returns[: first.length - 1] == [2.0 + t for t in range(1, first.length)]  # two steps went before
    assert returns[first.length - 1 : first.length + 2] == [0.0, 1.0, 2.0]
    assert len([text for text in texts if text.startswith("env 1  return ")]) == 30


@both_executors
def test_rendering_changes_nothing_in_the_data(executor: dict[str, Any]) -> None:
    pytest.importorskip("pygame")
    runs = []
    for render in (False, True):
        with build("CartPole-v1", n_envs=3, seed=3, render_mode="rgb_array", **executor) as runner:
            runs.append(runner.rollout(Constant(), steps=25, render=render, fps=100_000))
    for plain, drawn in zip(*runs, strict=True):
        np.testing.assert_array_equal(plain.observations, drawn.observations)
        np.testing.assert_array_equal(plain.next_observations, drawn.next_observations)
        assert plain.episodes == drawn.episodes


def test_without_render_nothing_is_drawn() -> None:
    fleet = Fleet()
    with build(fleet, render_mode="rgb_array") as runner:
        runner.rollout(Constant(), steps=4)
    assert fleet.envs[0].calls("render") == 0


def test_the_window_has_the_name_of_the_env_and_is_closed_after_the_rollout() -> None:
    pygame = pytest.importorskip("pygame")
    captions: list[str] = []

    class Looking(Constant):
        @override
        def act(self, observations: Any, /) -> NDArray[Any]:
            if pygame.display.get_init() and pygame.display.get_surface():
                captions.append(pygame.display.get_caption()[0])
            return super().act(observations)

    with build("CartPole-v1", render_mode="rgb_array") as runner:
        for _ in range(2):
            captions.clear()
            runner.rollout(Looking(), steps=3, render=True, fps=10_000)
            assert captions == ["CartPole-v1"] * 2
            assert not pygame.display.get_init()


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_the_window_is_closed_after_a_fault(error: type[BaseException]) -> None:
    pygame = pytest.importorskip("pygame")

    def fail(env: ScriptedEnv) -> object:
        if env.steps == 3:
            raise error
        return env.look(), 0.0, False, False, {}

    with build(Fleet({0: Faults(step=fail)}), render_mode="rgb_array") as runner:
        with pytest.raises((RolloutError, RolloutInterrupted)) as raised:
            runner.rollout(Constant(), steps=9, render=True, fps=10_000)
        fault: Any = raised.value
        (history,) = fault.histories
        assert len(history) == 2
        assert not pygame.display.get_init()


def test_envs_that_are_done_leave_the_window(pictures: list[NDArray[np.uint8]]) -> None:
    lengths = iter([2, 3])
    with build(
        lambda seed, render_mode: ScriptedEnv(next(lengths), render_mode=render_mode),
        n_envs=2,
        auto_reset=False,
        render_mode="rgb_array",
    ) as runner:
        runner.rollout(Constant(), steps=9, render=True, fps=10_000)
    assert [picture.shape for picture in pictures] == [(4, 12, 3), (4, 12, 3), (4, 6, 3)]


def test_frames_of_different_sizes_share_a_window(pictures: list[NDArray[np.uint8]]) -> None:
    fleet = Fleet({1: Faults(render=lambda env: frame(9, 8, 2))})
    with build(fleet, n_envs=2, render_mode="rgb_array") as runner:
        runner.rollout(Constant(), steps=1, render=True, fps=10_000)
    assert pictures[0].shape == (8, 12, 3)
    assert pictures[0][:4, :6].min() == 1
    assert pictures[0][:, 6:8].min() == 9


@both_executors
def test_envs_in_human_mode_draw_themselves(
    executor: dict[str, Any], pictures: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeTime()
    monkeypatch.setattr("runnerkit._rollout.rendering.time", clock)
    fleet = Fleet()
    with build(fleet, n_envs=3, render_mode="human", **executor) as runner:
        assert [len(history) for history in runner.rollout(Constant(), steps=4, render=True, fps=20)] == [4] * 3
    assert pictures == []
    assert clock.naps == pytest.approx([0.05] * 3)


def test_a_real_env_in_human_mode_draws_itself() -> None:
    pytest.importorskip("pygame")
    with build("CartPole-v1", render_mode="human") as runner:
        assert len(runner.rollout(Constant(), steps=2, render=True)[0]) == 2


def test_rendering_goes_with_own_histories_and_with_episodes(pictures: list[NDArray[np.uint8]]) -> None:
    from runnerkit import GymRunner

    class Counting(GymRunner[Any, Any, int]):
        @override
        def process_transition(self, history: int | None, transition: Any) -> int:
            return (history or 0) + 1

    with Counting(Fleet(length=3), history="transitions", render_mode="rgb_array") as runner:
        assert runner.rollout(Constant(), episodes=2, render=True, fps=10_000) == [6]
    assert len(pictures) == 6


# ---- pace


def test_no_more_than_fps_frames_are_drawn_a_second(
    monkeypatch: pytest.MonkeyPatch, pictures: list[NDArray[np.uint8]]
) -> None:
    clock = FakeTime()
    monkeypatch.setattr("runnerkit._rollout.rendering.time", clock)
    with build(Fleet(), render_mode="rgb_array") as runner:
        runner.rollout(Constant(), steps=11, render=True, fps=10)
    assert len(pictures) == 11
    assert clock.naps == pytest.approx([0.1] * 10)


def test_the_default_is_30_frames_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeTime()
    monkeypatch.setattr("runnerkit._rollout.rendering.time", clock)
    with build(Fleet(), render_mode="human") as runner:
        runner.rollout(Constant(), steps=4, render=True)
    assert clock.naps == pytest.approx([1 / 30] * 3)


def test_the_time_that_the_envs_take_is_no_longer_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeTime(work=0.04)
    monkeypatch.setattr("runnerkit._rollout.rendering.time", clock)
    screen = Screen("human", 10, "title")
    for _ in range(4):
        screen.wait()
    assert clock.naps == pytest.approx([0.06] * 3)


def test_slow_envs_are_not_slowed_further_nor_caught_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeTime(work=0.5)
    monkeypatch.setattr("runnerkit._rollout.rendering.time", clock)
    screen = Screen("human", 10, "title")
    for _ in range(4):
        screen.wait()
    assert clock.naps == []
    clock.work = 0.0
    screen.wait()
    assert clock.naps == pytest.approx([0.1])


@pytest.mark.parametrize("fps", [0, -1, float("nan"), True, "3", None])
def test_a_wrong_fps_is_refused(fps: Any) -> None:
    with pytest.raises(ArgumentError, match="fps must be") as caught:
        Screen("human", fps, "title")
    assert repr(fps) in str(caught.value)


def test_fps_need_not_be_whole() -> None:
    Screen("human", 0.5, "title").close()


# ---- what cannot be drawn


@pytest.mark.parametrize("mode", [None, "ansi"])
def test_render_without_a_mode_for_it_says_how_to_build_the_runner(mode: str | None) -> None:
    fleet = Fleet()
    with build(fleet, render_mode=mode) as runner:
        with pytest.raises(RenderError) as caught:
            runner.rollout(Constant(), steps=3, render=True)
        text = str(caught.value)
        assert f"render_mode={mode!r}" in text
        assert "render_mode='rgb_array'" in text
        assert "render_mode='human'" in text
        assert fleet.envs[0].calls("reset") == 0
        assert len(runner.rollout(Constant(), steps=3)[0]) == 3


@pytest.mark.parametrize("drawn", [None, [1, 2], "ascii"])
def test_a_frame_that_is_no_picture_is_an_error_and_the_runner_goes_on(drawn: object) -> None:
    fleet = Fleet({0: Faults(render=lambda env: drawn)})
    with build(fleet, render_mode="rgb_array") as runner:
        with pytest.raises(RenderError, match="Frames must be"):
            runner.rollout(Constant(), steps=3, render=True, fps=10_000)
        (history,) = runner.rollout(Constant(), steps=7)
        assert [episode.end_reason for episode in history.episodes] == [EndReason.TERMINATED, EndReason.CUT]
        assert history.episodes[0].episode_index == 1


DISPLAYS = {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"}


def _in_a_process(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in DISPLAYS}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "PYTHONPATH": str(Path(__file__).parent / "support"), **environment},
    )


RENDER = """
    import sys
    {before}
    from faulty_envs import Constant, Fleet, build
    from runnerkit.errors import RunnerKitError
    fleet = Fleet()
    with build(fleet, n_envs=2, render_mode="rgb_array") as runner:
        try:
            runner.rollout(Constant(), steps=3, render=True)
        except RunnerKitError as error:
            print(type(error).__name__, error, type(error.__cause__).__name__)
        print(len(runner.rollout(Constant(), steps=3)[0]))
"""


@pytest.mark.parametrize("environment", [{"SDL_VIDEODRIVER": "x11"}, {}], ids=["x11", "SDL's own choice"])
def test_without_a_display_the_way_out_is_named(environment: dict[str, str]) -> None:
    pytest.importorskip("pygame")
    done = _in_a_process(RENDER.format(before=""), **environment)
    assert done.returncode == 0, done.stderr
    said, steps = done.stdout.splitlines()
    assert said.startswith("RenderError There is no display to draw on (")
    assert "SDL_VIDEODRIVER=dummy" in said
    assert said.endswith("leave render out. error")
    assert steps == "3"


def test_without_pygame_the_line_that_installs_it_is_named() -> None:
    done = _in_a_process(RENDER.format(before="sys.modules['pygame'] = None"))
    assert done.returncode == 0, done.stderr
    said, steps = done.stdout.splitlines()
    assert said.startswith("RenderError Drawing rgb_array frames needs pygame")
    assert "pip install 'runnerkit[render]'" in said
    assert steps == "3"


def test_pygame_says_nothing_on_import() -> None:
    pytest.importorskip("pygame")
    done = _in_a_process(RENDER.format(before=""), SDL_VIDEODRIVER="dummy")
    assert done.stdout == "3\n", done.stderr
