"""Views of a run while it runs: `rollout --live` and `watch`, in terminals of all kinds and in pipes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import pytest
from click.testing import CliRunner, Result
from programs import started
from typing_extensions import override

import runnerkit
from runnerkit._cli import terminal
from runnerkit._cli.followed import FollowedRun
from runnerkit._cli.live import LiveRun
from runnerkit._cli.main import main
from runnerkit._cli.run_view import RunView
from runnerkit._cli.sparkline import ASCII, BLOCKS, Trace, sparkline
from runnerkit.history.npz.following import Following
from runnerkit.history.npz.manifest import Manifest
from runnerkit.records import EndReason, Episode

posix = pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals and locks")


class Brittle(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Fails once in its 12th step."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))
        self.steps = 0

    @override
    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == 12:
            raise OSError("gone")
        return self.env.step(action)


def episodes(*returns: float, end_reason: EndReason = EndReason.TERMINATED) -> list[Episode]:
    return [
        Episode(
            env_index=0, episode_index=k, seed=k, options=None, start=0, length=10, return_=value, end_reason=end_reason
        )
        for k, value in enumerate(returns)
    ]


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result


# ---- what is shown


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([], 5, ""),
        ([1.0], 5, "▅"),
        ([2.0, 2.0, 2.0], 5, "▅▅▅"),
        ([0.0, 7.0, 3.0], 5, "▁█▄"),
        ([0.0, 0.0, 7.0, 7.0], 2, "▁█"),
        ([1e308, -1e308, 0.0], 5, "█▁▅"),
        ([float("inf"), 0.0, float("nan"), 1.0], 5, "▁█"),
        ([0.0, 1.0], 0, ""),
    ],
)
def test_a_sparkline_goes_from_the_lowest_to_the_highest_and_fits(values: list[float], width: int, drawn: str) -> None:
    assert sparkline(values, width) == drawn
    assert sparkline(values, width, ASCII) == drawn.translate(str.maketrans(BLOCKS, ASCII))


def test_a_trace_of_any_length_stays_small_and_keeps_its_shape() -> None:
    trace = Trace(most=8)
    for k in range(1000):
        trace.add(float(k))
    trace.add(float("nan"))
    values = trace.values()
    assert len(values) <= 9
    assert list(values) == sorted(values)
    assert values[0] < 100
    assert values[-1] > 900


@pytest.mark.parametrize("width", [1, 12, 30, 80, 400])
@pytest.mark.parametrize("height", [1, 3, 10, 100])
def test_a_view_fits_into_a_terminal_of_any_size(width: int, height: int) -> None:
    view = RunView(["CartPole-v1", "my_agents:Agent", "seed 12345"])
    view.add(episodes(*map(float, range(300))))
    view.shares = [[k] for k in range(40)]
    view.total_steps, view.left, view.restarts = 10_000, 12.0, 2
    view.reach(1.0, 1000)
    view.reach(2.0, 3000)
    lines = view.lines(width, height)
    assert len(lines) <= max(height - 1, 1)
    sparklines = [line.text for line in lines if line.name == "returns"]
    assert all(len(text) == max(1, min(width - 10, 100)) for text in sparklines)
    if (width, height) == (80, 100):
        texts = {line.name: line.text for line in lines}
        assert texts["steps"] == "3,000/10,000  2,000 steps/s"
        assert texts["worker 0"] == "50 steps/s  env 0"
        assert texts["time"].startswith("12 s left  2 s so far  30%")
        assert texts["episodes"] == "300  300 terminated"
        assert lines[-1].text == "and 32 more workers"


def test_parts_of_episodes_that_go_on_are_no_episodes() -> None:
    view = RunView(["x"])
    view.add(episodes(1.0, end_reason=EndReason.CUT))
    view.add(episodes(3.0))
    assert view.episodes == 1
    assert "mean return 3" in view.line()


# ---- terminals


def all_of(terminal: int) -> bytes:
    """Return what a pseudo-terminal got, once nobody writes to it any more, and close it."""
    got = b""
    with contextlib.suppress(OSError):  # how Linux says that nobody holds the other end
        while chunk := os.read(terminal, 4096):
            got += chunk
    os.close(terminal)
    return got


@contextlib.contextmanager
def pseudo_terminal(encoding: str) -> Iterator[tuple[Any, list[bytes]]]:
    """Give a file that is a terminal, and a list that has what the terminal got when the context is over."""
    import pty

    ours, theirs = pty.openpty()
    got: list[bytes] = []
    with open(theirs, "w", encoding=encoding) as file:
        yield file, got
    got.append(all_of(ours))


@posix
@pytest.mark.parametrize(
    ("encoding", "settings", "has", "has_not"),
    [
        ("utf-8", {"TERM": "xterm-256color"}, ["▁█", "\x1b[1m", "\x1b[36m", "\x1b[?25h", "\x1b[2K"], []),
        ("utf-8", {"TERM": "xterm-256color", "NO_COLOR": "1"}, ["▁█"], ["\x1b[36m"]),
        ("ascii", {"TERM": "xterm-256color"}, ["_#", "[########"], ["\\u", "?."]),
        ("utf-8", {"TERM": "dumb"}, ["2 s  40/100 steps  20 steps/s  2 episodes  mean return 4\r\n"], ["\x1b", "▁"]),
    ],
)
def test_each_kind_of_terminal_gets_what_it_can_show(
    monkeypatch: pytest.MonkeyPatch, encoding: str, settings: dict[str, str], has: list[str], has_not: list[str]
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": "60", "LINES": "20", **settings}.items():
        monkeypatch.setenv(name, value)
    view = RunView(["CartPole-v1"])
    view.add(episodes(1.0, 7.0))
    view.total_steps = 100
    view.reach(2.0, 40)
    with pseudo_terminal(encoding) as (file, got), terminal.canvas(file) as drawn:
        drawn.show(view)
    text = got[0].decode()
    assert [part for part in has if part not in text] == []
    assert [part for part in has_not if part in text] == []


@posix
def test_a_terminal_that_is_closed_ends_the_view_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal, "_FRAME_S", 0.0)
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as file:
        with runnerkit.make("CartPole-v1", n_envs=2, seed=0) as runner, terminal.canvas(file) as drawn:
            live = LiveRun(runner, ["CartPole-v1"], drawn, times=False)
            os.close(ours)
            agent = runnerkit.RandomAgent(runner.action_space, seed=0)
            histories = runner.rollout(agent, 50, progress=live.progress, on_episode=live.on_episode)
        assert [len(history) for history in histories] == [50, 50]
        with contextlib.suppress(OSError):
            file.close()


@posix
def test_ctrl_c_restores_the_terminal_and_prints_what_was_collected(tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "runnerkit", "rollout", "CartPole-v1", "--steps", "1000000", "--live"]
    command += [
        "--n-envs",
        "2",
        "--executor",
        "threads",
        "--workers",
        "2",
        "--history",
        f"npz:path={tmp_path / 'runs'}",
    ]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    with started(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as running:
        os.close(theirs)
        seen = b""
        while b"worker 1" not in seen:
            seen += os.read(ours, 4096)
        running.send_signal(signal.SIGINT)
        stdout, _ = running.communicate(timeout=60)
        seen += all_of(ours)
    assert running.returncode == 130
    assert stdout.endswith("Interrupted by Ctrl-C: this is what was collected until then.\n")
    assert "\x1b" not in stdout
    shown = seen.decode()
    assert re.search(r"worker 0.*steps/s  env 0", shown)
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")  # the cursor is back
    assert shown.rstrip().endswith("\x1b[2K")  # and the view is erased


# ---- rollout --live without a terminal


def test_without_a_terminal_there_are_lines_on_stderr_and_the_data_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(terminal, "_LINE_S", 0.0)
    asked = ["rollout", "CartPole-v1", "--steps", "40", "--n-envs", "2", "--seed", "0", "--json"]
    live = run(*asked, "--live", "--timings")
    last = live.stderr.splitlines()[-1]
    assert re.fullmatch(r"0 s  80/80 steps  [\d,]+ steps/s  \d+ episodes  mean return [\d.]+  0 s left", last), last
    assert json.loads(live.stdout)["episodes"] == json.loads(run(*asked).stdout)["episodes"]


def test_a_view_and_no_progress_contradict_each_other() -> None:
    assert "Give --live or --no-progress" in run("rollout", "x", "--live", "--no-progress", code=2).stderr


def test_a_live_view_tells_of_faults_and_how_long_the_agent_takes() -> None:
    class Kept(terminal.Canvas):
        def __init__(self) -> None:
            self.every = 0.0
            self.seen: dict[str, str] = {}

        @override
        def show(self, view: RunView) -> None:
            self.seen = {line.name: line.text for line in view.lines(100, 40)}

    kept = Kept()
    options: dict[str, Any] = {"on_env_error": "restart", "timings": True, "executor": "serial"}
    with runnerkit.make(lambda seed: Brittle(), n_envs=1, seed=0, **options) as runner:
        live = LiveRun(runner, ["brittle"], kept, times=True)
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, 30, progress=live.progress, on_episode=live.on_episode)
    assert re.fullmatch(r"env 0 crashed after \d+ steps?: episode \d, seed \d+", kept.seen["fault"])
    assert re.fullmatch(r"\d+% of the time", kept.seen["agent"])
    assert kept.seen["restarts"] == "2"


# ---- watch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def rolled(folder: Path, **options: Any) -> runnerkit.GymRunner[Any, Any, Any]:
    runner = runnerkit.make("CartPole-v1", n_envs=2, seed=0, history=("npz", {"path": folder}), **options)
    runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), episodes=4)
    return runner


def test_a_folder_is_followed_while_it_grows_and_until_its_runner_closes(folder: Path) -> None:
    runner = rolled(folder)
    following = Following(folder)
    listed = [(row.episode.seed, row.episode.total_return) for row in following.poll()]
    assert sorted(listed) == sorted((record.seed, record.total_return) for record in runnerkit.load(folder).episodes)
    assert following.poll() == []
    assert following.is_written() or os.name != "posix"
    runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=1), episodes=3)
    manifest = folder / "manifest.jsonl"
    text = manifest.read_bytes()
    manifest.write_bytes(text[:-5])  # a line that is being written
    found = len(following.poll())
    manifest.write_bytes(text)
    assert found + len(following.poll()) == 3
    runner.close()
    assert not following.is_written() or os.name != "posix"


@posix
def test_who_watches_keeps_no_runner_from_beginning(folder: Path) -> None:
    rolled(folder).close()
    stop = threading.Event()
    following = Following(folder)

    def ask() -> None:
        while not stop.is_set():
            following.is_written()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(30):
            Manifest(folder).close()
    finally:
        stop.set()
        asking.join()


def test_a_run_is_watched_until_it_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_LINE_S", 0.0)
    runner = rolled(folder)
    monkeypatch.setattr("runnerkit._cli.watch.time", SimpleNamespace(sleep=lambda seconds: runner.close()))
    result = run("watch", str(folder), "--episodes", "10")
    lines = result.stdout.splitlines()
    assert re.match(r"0 s  \d+ steps  .*4/10 episodes  mean return [\d.]+", lines[0])
    assert f"{folder}  CartPole-v1  seed 0  2 envs" in lines
    assert re.fullmatch(r"run       over, last written \d+ s ago", lines[-1])


def test_steps_from_before_the_view_began_are_no_steps_per_second(folder: Path) -> None:
    runner = rolled(folder)
    run = FollowedRun(str(folder))
    assert run.take()
    assert run.view.steps > 0
    assert run.view.rate is None
    before = run.view.steps
    runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=1), episodes=3)
    assert run.take()
    assert run.view.rate == pytest.approx((run.view.steps - before) / run.seconds)
    runner.close()
    over = FollowedRun(str(folder))
    assert not over.take() or os.name != "posix"
    assert over.view.rate is None
    assert ("watched", "0 s", "") in over.view.lines(80, 24)


def test_the_time_left_is_that_at_the_speed_since_the_view_began(folder: Path) -> None:
    runner = rolled(folder)
    run = FollowedRun(str(folder), episodes=10)
    assert run.take()
    assert run.view.left is None
    runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=1), episodes=3)
    assert run.take()
    assert run.view.left == pytest.approx(run.seconds)  # for 3 episodes, as for those before
    runner.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["watch", "nowhere"], "There is no folder "),
        (["watch", "x", "--steps", "1", "--episodes", "1"], "Give --episodes or --steps, not both."),
    ],
)
def test_what_cannot_be_watched_is_refused(arguments: list[str], said: str) -> None:
    assert said in run(*arguments, code=2).stderr
