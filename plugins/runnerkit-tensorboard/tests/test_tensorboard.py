"""Event files, read back: a point has what the records of its episodes have."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runnerkit_tensorboard import EpisodeBoard

import runnerkit
from runnerkit import Episode, GymRunner
from runnerkit.errors import ArgumentError
from runnerkit.history import EndedEpisode

Points = dict[str, list[tuple[int, float]]]


class Scalars:
    """A writer that keeps what it gets."""

    def __init__(self) -> None:
        self.points: Points = defaultdict(list)
        self.flushed = 0

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, /) -> None:
        self.points[tag].append((global_step, scalar_value))

    def flush(self) -> None:
        self.flushed += 1


def read(folder: Path) -> Points:
    """Return the points of the event files of a folder, by tag."""
    from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-untyped]

    points: Points = defaultdict(list)
    for path in folder.glob("events.out.tfevents.*"):
        data = path.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                points[value.tag].append((event.step, value.simple_value))
    return points


def rollouts(board: Any, n: int = 2, env: str = "CartPole-v1") -> list[Episode]:
    """Return the records of the episodes that ended, in the order of their ends."""
    records: list[Episode] = []

    def on_episode(ended: EndedEpisode[Any, Any]) -> None:
        records.append(ended.record)
        board(ended)

    with GymRunner(env, seed=0, n_envs=3) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        for _ in range(n):
            runner.rollout(agent, steps=80, on_episode=on_episode)
    return records


def test_an_event_file_has_the_episodes_over_the_steps_of_all_rollouts(tmp_path: Path) -> None:
    with EpisodeBoard(tmp_path / "run") as board:
        records = rollouts(board)
    points = read(tmp_path / "run")
    steps = [step for step, _ in points["episodes/return"]]
    assert steps == sorted(steps)
    assert 240 < steps[-1] <= 480  # those of the second rollout come after those of the first
    np.testing.assert_allclose([value for _, value in points["episodes/return"]], [r.total_return for r in records])
    np.testing.assert_allclose([value for _, value in points["episodes/length"]], [r.total_length for r in records])
    assert {value for _, value in points["end_reasons/terminated"]} == {1.0}


def test_a_point_is_the_mean_of_several_episodes_and_an_old_end_reason_falls_to_0() -> None:
    writer = Scalars()
    records = rollouts(EpisodeBoard(writer, every=4, prefix="train/"))
    found = [value for _, value in writer.points["train/episodes/return"]]
    whole = len(records) // 4 * 4
    expected = np.array([record.total_return for record in records[:whole]]).reshape(-1, 4).mean(axis=1)
    np.testing.assert_allclose(found, expected)
    board = EpisodeBoard(writer)
    with GymRunner("CartPole-v1", seed=0, n_envs=1, env_options={"max_episode_steps": 15}) as runner:
        runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=200, on_episode=board)
    shares = [dict(writer.points[f"end_reasons/{reason}"]) for reason in ("terminated", "truncated")]
    assert all(shares[0][step] + shares[1][step] == 1.0 for step in shares[0].keys() & shares[1].keys())
    assert {0.0, 1.0} == {*shares[1].values()}


def test_the_speed_is_that_of_the_steps_between_two_points(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 1000, 0.5).tolist())
    monkeypatch.setattr("runnerkit_tensorboard.board.time.monotonic", lambda: next(clock))
    writer = Scalars()
    rollouts(EpisodeBoard(writer))
    steps = [step for step, _ in writer.points["episodes/return"]]
    speeds = writer.points["speed/steps_per_second"]
    assert len(speeds) > 3
    last = 0
    for step, speed in speeds:
        assert step in steps
        assert 0 < speed <= (step - last) / 1.0
        last = step


def test_a_writer_of_ones_own_is_flushed_but_stays_open() -> None:
    writer = Scalars()
    with EpisodeBoard(writer):
        assert writer.flushed == 0
    assert writer.flushed == 1


def test_what_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="every must be a whole number of at least 1, not 0"):
        EpisodeBoard(tmp_path, every=0)
    with pytest.raises(ArgumentError, match="a folder or a SummaryWriter, not 5"):
        EpisodeBoard(5)  # type: ignore[arg-type]


def test_tensorboard_x_is_imported_for_a_folder_only() -> None:
    code = (
        "import sys, runnerkit_tensorboard; assert not {'tensorboardX', 'torch', 'google.protobuf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
