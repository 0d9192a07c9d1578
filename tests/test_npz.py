"""The format npz: what was written is read again exactly, whatever became of the program that wrote it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from faulty_envs import Constant, Faults, Fleet, build, raising
from gymnasium import spaces

import runnerkit
from runnerkit import RandomAgent
from runnerkit._cli.main import main
from runnerkit._core.space_json import space_from_json, space_to_json
from runnerkit.errors import ArgumentError, RolloutError, SpaceError
from runnerkit.history import ArrayHistory
from runnerkit.history.npz import NpzFormat
from runnerkit.records import EndReason
from runnerkit.testing import SampleEnv


def record(path: Path | None, *, env: Any = "CartPole-v1", rollouts: int = 2, **options: Any) -> list[Any]:
    """Return the parts of episodes of a run that is written to a folder, or not."""
    history: Any = "arrays" if path is None else ("npz", {"path": path})
    with runnerkit.make(env, seed=3, n_envs=2, history=history, **options) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        found: list[ArrayHistory[Any, Any]] = []
        for _ in range(rollouts):
            found += runner.rollout(agent, steps=60)
    return [part for history in found for part in history.split()]


def assert_equal(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        for key in expected:
            assert_equal(found[key], expected[key])
    elif isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    elif expected is not None:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


COLUMNS = (
    "observations",
    "actions",
    "env_actions",
    "rewards",
    "processed_rewards",
    "terminated",
    "truncated",
    "raw_observations",
)


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
@pytest.mark.parametrize(
    ("env", "options"),
    [
        ("CartPole-v1", {}),
        (
            "Pendulum-v1",
            {
                "preprocessors": ["normalize"],
                "postprocessors": ["clip"],
                "keep_raw": True,
                "reward_processors": ["sign"],
            },
        ),
        ("Blackjack-v1", {}),
    ],
    ids=["plain", "processed", "tuple"],
)
def test_what_is_loaded_equals_arrays(tmp_path: Path, executor: str, env: str, options: dict[str, Any]) -> None:
    expected = record(None, env=env, executor="serial", **options)
    record(tmp_path / "runs", env=env, executor=executor, **options)
    runs = runnerkit.load(tmp_path / "runs")
    assert len(runs) == len(expected) > 2
    for history, episode, part in zip(runs, runs.episodes, expected, strict=True):
        (found,) = history.split()
        assert found.record == episode
        assert (episode.seed, episode.return_, episode.end_reason, episode.steps_before) == (
            part.record.seed, part.record.return_, part.record.end_reason, part.record.steps_before
        )  # fmt: skip
        for name in COLUMNS:
            assert_equal(getattr(found, name), getattr(part, name))
    assert runs[-1].made_by == runs.made_by[-1]
    assert runs.made_by[0].parts[-1].name == "npz"
    assert list(runs.faults()) == []


SPACES: list[spaces.Space[Any]] = [
    spaces.Box(-np.inf, np.array([1, np.inf], np.float32), dtype=np.float32),
    spaces.Box(0, 255, (2, 3), np.uint8),
    spaces.Box(-1.5, 0.1, (), np.float64),
    spaces.Discrete(4, start=-2),
    spaces.MultiBinary([2, 2]),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(2)]))]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces_are_the_same_after_json(space: spaces.Space[Any]) -> None:
    again = space_from_json(json.loads(json.dumps(space_to_json(space, "observation"), allow_nan=False)))
    assert again == space
    assert repr(again) == repr(space)
    assert again.dtype == space.dtype


def test_a_reopened_folder_is_appended_to_and_that_of_another_env_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    first = len(record(path, rollouts=1))
    record(path, rollouts=1)
    runs = runnerkit.load(path)
    assert len(runs) == 2 * first
    assert_equal(runs[first].observations, runs[0].observations)
    with pytest.raises(ArgumentError, match="has episodes of another runner: its env_id is CartPole-v1"):
        record(path, env="Acrobot-v1")
    with (
        runnerkit.make("CartPole-v1", history=("npz", {"path": path})),
        pytest.raises(ArgumentError, match="Another runner writes to"),
    ):
        record(path)


def test_a_torn_line_is_told_left_out_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    count = len(record(path))
    manifest = path / "manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-20])
    with pytest.warns(RuntimeWarning, match="of a torn line, as its program was killed"):
        assert len(runnerkit.load(path)) == count - 1
    with pytest.warns(RuntimeWarning, match="of a torn line"):
        record(path, rollouts=1)
    assert len(runnerkit.load(path)) > count - 1


KILLED = """
import sys, runnerkit
history = ("npz", {"path": sys.argv[1]})
with runnerkit.make("CartPole-v1", seed=0, n_envs=2, executor="serial", history=history) as runner:
    agent = runnerkit.RandomAgent(runner.action_space, seed=0)
    runner.rollout(agent, steps=20)
    print("ready", flush=True)
    while True:
        runner.rollout(agent, steps=20)
"""


@pytest.mark.filterwarnings("ignore:.*of a torn line.*:RuntimeWarning")
def test_every_listed_episode_is_exact_after_a_kill(tmp_path: Path) -> None:
    for k in range(3):
        path = tmp_path / f"runs{k}"
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.2 + 0.11 * k)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        runs = runnerkit.load(path)
        assert list(runs.faults()) == []
        assert len(runs) > 0
        env = gymnasium.make("CartPole-v1")
        for history, record_ in zip(runs, runs.episodes, strict=True):
            if record_.steps_before == 0:  # begun here: the env itself says whether it is exact
                observation, _ = env.reset(seed=record_.seed)
                assert_equal(history.observations[0], observation)
                for action, following in zip(history.actions, history.next_observations, strict=True):
                    assert_equal(following, env.step(action)[0])


def test_what_is_changed_missing_or_elsewhere_is_told(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    record(path)
    listed = CliRunner().invoke(main, ["ls", str(path)])
    assert (listed.exit_code, "run0-env0-episode0-step0.npz" in listed.stdout) == (0, True)
    assert CliRunner().invoke(main, ["verify", str(path)]).exit_code == 0
    runs = runnerkit.load(path)
    told = json.loads(CliRunner().invoke(main, ["ls", str(path), "--json"]).stdout)["episodes"]
    assert [(row["seed"], row["length"], row["return"]) for row in told] == [
        (record_.seed, record_.length, record_.return_) for record_ in runs.episodes
    ]
    changed, missing = (path / name for name in runs.files[:2])
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    missing.unlink()
    result = CliRunner().invoke(main, ["verify", str(path)])
    assert result.exit_code == 1
    assert f"{changed.name} was changed since it was written" in result.stdout
    assert f"{missing.name} is missing" in result.stdout
    with pytest.raises(ArgumentError, match="cannot be read"):
        runs[1].rewards.sum()
    manifest = path / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace(changed.name, "../secret.npz"))
    with pytest.raises(ArgumentError, match=r"line 2, is not what .* no episode has the file '../secret.npz'"):
        runnerkit.load(path)
    with pytest.raises(ArgumentError, match=r"is no folder of history='npz'"):
        runnerkit.load(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: whole[:200] + b"!" + whole[201:]],
    ids=["empty", "torn", "another byte"],
)
def test_a_damaged_file_is_named_however_it_is_damaged(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "runs"
    record(path, rollouts=1)
    runs = runnerkit.load(path)
    file = path / runs.files[0]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ArgumentError, match=f"{runs.files[0]} cannot be read"):
        runs[0].rewards.sum()


@pytest.mark.parametrize(
    ("line", "old", "new", "words"),
    [
        (1, b'"made_by"', b'"by"', "line 1, is not what"),
        (1, b'"Discrete"', b'"Secret"', "no space is called 'Secret'"),
        (1, b'{"runnerkit":2', b'{"runnerkit":1', "is of format version 1, but this RunnerKit reads 2"),
        (2, b'"run":0', b'"run":0.5', r"run is 0\.5"),
        (2, b'"length":', b'"length":1000000000000', "too few for the 1000000000000"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, line: int, old: bytes, new: bytes, words: str) -> None:
    path = tmp_path / "runs"
    record(path, rollouts=1)
    manifest = path / "manifest.jsonl"
    lines = manifest.read_bytes().split(b"\n")
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    manifest.write_bytes(b"\n".join(lines))
    with pytest.raises(ArgumentError, match=words):
        runnerkit.load(path)[0].rewards.sum()


def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "runs"
    with runnerkit.make("CartPole-v1", seed=0, n_envs=2, history=("npz", {"path": path})) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=30)
        before = len(runnerkit.load(path))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RolloutError, match="No space left on device") as caught:
            runner.rollout(agent, steps=30)
        monkeypatch.undo()
        lengths = [len(history) for history in caught.value.histories if isinstance(history, ArrayHistory)]
        assert lengths[0] == lengths[1] > 0  # the steps since the last window
        assert not list(path.glob("*.partial"))
        assert len(runnerkit.load(path)) == before
        runner.rollout(agent, steps=30)
    runs = runnerkit.load(path)
    assert len(runs) > before
    assert list(runs.faults()) == []


def test_faults_are_kept_and_told_by_formats_that_do_not_have_them(tmp_path: Path) -> None:
    def fleet() -> Fleet:
        return Fleet({1: Faults(step=raising(ValueError("broken"), at_step=2, in_episode=1))})

    with build(fleet(), n_envs=2, on_env_error="restart", history=("npz", {"path": tmp_path / "runs"})) as runner:
        runner.rollout(Constant(), steps=1)
        histories = runner.rollout(Constant(), steps=6)
    (fault,) = histories[1].faults
    assert (fault.env_index, fault.end_reason, "broken" in fault.error) == (1, EndReason.CRASHED, True)
    runs = runnerkit.load(tmp_path / "runs")
    stored = [history.faults for history in runs if history.faults]
    assert stored == [[fault]]
    assert runs.env_faults == [fault]
    with build(fleet(), n_envs=2, on_env_error="restart", history="transitions") as runner:
        runner.rollout(Constant(), steps=1)
        with pytest.warns(RuntimeWarning, match="do not have its faults"):
            runner.rollout(Constant(), steps=6)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    record(path, rollouts=1)
    runs = runnerkit.load(path)
    with np.load(path / runs.files[0]) as columns:
        values = dict(columns)
    np.savez(path / runs.files[0], **{**values, "rewards": np.array([print] * len(values["rewards"]), object)})
    with pytest.raises(ArgumentError, match="cannot be read"):
        runs[0].rewards.sum()


def test_what_cannot_be_written_is_refused_when_the_runner_is_built(tmp_path: Path) -> None:
    class Own(spaces.Text):
        pass

    space = spaces.Dict({"says": Own(3)})
    with pytest.raises(SpaceError, match=r"cannot hold observation\['says'\]"):
        record(tmp_path / "runs", env=lambda seed: SampleEnv(space, spaces.Discrete(2)))
    assert not (tmp_path / "runs").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="cannot be written to"):
        record(tmp_path / "file")
    for path in ("", 3):
        with pytest.raises(ArgumentError, match="must be a folder, or None"):
            NpzFormat(cast(Any, path))


def test_half_files_of_a_killed_program_are_removed_by_the_next_one(tmp_path: Path) -> None:
    record(tmp_path / "runs", rollouts=1)
    half = tmp_path / "runs" / "run0-env0-episode9-step0.npz.partial"
    half.write_bytes(b"PK")
    record(tmp_path / "runs", rollouts=1)
    assert not half.exists()


def test_by_name_alone_the_folder_is_called_after_the_env_and_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with runnerkit.make("CartPole-v1", seed=5, history="npz") as runner:
        (history,) = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=10)
    assert type(history) is ArrayHistory
    assert len(runnerkit.load("cartpole-v1-seed5")) > 0
    runnerkit.make("CartPole-v1", seed=5, history="npz").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cartpole-v1-seed5", "cartpole-v1-seed5-2"]
