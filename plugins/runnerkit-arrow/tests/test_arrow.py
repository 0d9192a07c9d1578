"""The history format arrow: what is in the stream is what `arrays` would have handed out, and it survives a kill."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import Space, spaces
from runnerkit_arrow import ARROW, ArrowFormat, load, repair, to_parquet
from runnerkit_arrow.columns import leaves_of

import runnerkit
from runnerkit import EndReason, RandomAgent
from runnerkit.errors import ArgumentError, RolloutError, SpaceError
from runnerkit.history import ArrayHistory

SPACES: list[Space[Any]] = [
    spaces.Box(-1, 1, (2, 3), np.float32),
    spaces.Box(-1, 1, (), np.float64),
    spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Box(0, 1, (2,), np.float16),
    spaces.Box(-5, 5, (2,), np.int8),
    spaces.Discrete(5),
    spaces.MultiBinary((2, 2)),
    spaces.MultiDiscrete([3, 4]),
    spaces.Text(8),
    spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Tuple((spaces.Discrete(3), spaces.Text(3)))),
]


class AnySpaceEnv(gymnasium.Env[Any, Any]):
    """Returns samples of its space; an episode lasts for 3 to 8 steps."""

    def __init__(self, observation: Space[Any], action: Space[Any]) -> None:
        self.observation_space, self.action_space = copy.deepcopy((observation, action))  # no two share one

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self._left = int(self.np_random.integers(3, 9))
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._left -= 1
        return self.observation_space.sample(), float(self.np_random.normal()), self._left == 0, False, {}


def rollouts(env: Any, history: Any, *steps: int, **options: Any) -> list[Any]:
    with runnerkit.make(env, n_envs=2, seed=3, history=history, **options) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        return [found for count in steps for found in runner.rollout(agent, steps=count)]


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_the_stream_has_every_row_of_the_arrays_exactly(space: Space[Any], executor: str, tmp_path: Path) -> None:
    def make(seed: int | None) -> AnySpaceEnv:
        return AnySpaceEnv(space, space)

    path = tmp_path / "run.arrows"
    histories = rollouts(make, ArrowFormat(path), 20, 15, executor=executor)
    arrays: list[ArrayHistory[Any, Any]] = rollouts(make, "arrays", 20, 15)
    assert [len(history) for history in histories] == [20, 20, 15, 15]
    assert [history.episodes for history in histories] == [tuple(history.episodes) for history in arrays]
    by_episode: dict[tuple[int, int], list[Any]] = {}
    for history in arrays:
        for part in history.split():
            by_episode.setdefault((part.record.env_index, part.record.episode_index), []).append(part)
    run = load(path)
    assert len(run) == len(by_episode)
    for episode in run.episodes:
        parts = by_episode[episode.record.env_index, episode.record.episode_index]
        assert episode.record.total_return == pytest.approx(parts[-1].record.total_return)
        assert episode.record.seed == parts[0].record.seed
        assert len(episode) == sum(part.record.length for part in parts)
        for name in ("observation", "action"):
            names = [found for found in episode.names if found == name or found.startswith(f"{name}.")]
            trees = [getattr(part, f"{name}s") for part in parts]
            for column, *leaves in zip(names, *map(leaves_of, trees), strict=True):
                ended = parts[-1].record.end_reason is not EndReason.CUT
                cut = [leaf[: part.record.length] for leaf, part in zip(leaves, parts, strict=True)]
                if name == "observation" and ended:
                    cut[-1] = leaves[-1]
                found = episode[column]
                if isinstance(found, list):
                    assert found == [text for leaf in cut for text in leaf]
                else:
                    expected = np.concatenate(cut)
                    assert found.dtype == expected.dtype
                    np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(episode["reward"], np.concatenate([part.rewards for part in parts]))
        np.testing.assert_array_equal(episode["terminated"], np.concatenate([part.terminated for part in parts]))


@pytest.mark.parametrize("space", [spaces.Graph(spaces.Box(-1, 1, (2,)), None), spaces.Sequence(spaces.Discrete(2))])
def test_what_a_stream_cannot_hold_is_refused_when_the_runner_is_built(space: Space[Any], tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"history='arrow' cannot hold observation\.x"):
        rollouts(
            lambda seed: AnySpaceEnv(spaces.Dict(x=space), spaces.Discrete(2)), ArrowFormat(tmp_path / "run.arrows"), 5
        )
    assert not list(tmp_path.iterdir())


def test_processed_and_raw_columns_are_both_there(tmp_path: Path) -> None:
    path = tmp_path / "run.arrows"
    options: dict[str, Any] = {"preprocessors": ["normalize"], "postprocessors": ["rescale"], "keep_raw": True}
    rollouts("Pendulum-v1", ArrowFormat(path), 30, **options)
    arrays = rollouts("Pendulum-v1", "arrays", 30, **options)
    run = load(path)
    assert run.made_by.parts[:-1] == arrays[0].made_by.parts[:-1]
    first = run.episodes[0]
    np.testing.assert_array_equal(first["raw_observation"], arrays[0].raw_observations)
    np.testing.assert_array_equal(first["observation"], arrays[0].observations)
    np.testing.assert_array_equal(first["env_action"], arrays[0].env_actions)


def test_a_torn_end_is_cut_off_and_a_reopened_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.arrows"
    rollouts("CartPole-v1", ArrowFormat(path), 50)
    whole = len(load(path))
    with path.open("ab") as file:
        file.truncate(path.stat().st_size - 100)
    assert len(load(path)) == whole - 1
    assert repair(path) > 0
    assert repair(path) == 0
    with path.open("ab") as file:
        file.write(b"\xff\xff\xff\xff\x80\x00\x00\x00garbage")
    rollouts("CartPole-v1", ArrowFormat(path, append=True), 50)
    run = load(path)
    assert (run.env_id, run.seed, run.n_envs) == ("CartPole-v1", 3, 2)
    with pytest.raises(ArgumentError, match="there already"):
        rollouts("CartPole-v1", ArrowFormat(path), 5)
    with pytest.raises(ArgumentError, match="Choose another path"):
        rollouts("Pendulum-v1", ArrowFormat(path, append=True), 5)


def test_runs_that_follow_each_other_in_a_stream_keep_their_episodes_apart(tmp_path: Path) -> None:
    path = tmp_path / "run.arrows"
    first = rollouts("CartPole-v1", ArrowFormat(path), 30)
    again = rollouts("CartPole-v1", ArrowFormat(path, append=True), 30)  # the same run, with the same numbers
    episodes = load(path).episodes
    lengths = [len(episode) for episode in episodes]
    half = len(lengths) // 2
    assert lengths[:half] == lengths[half:]
    assert sum(lengths) == sum(len(history) for history in (*first, *again))
    for one, other in zip(episodes[:half], episodes[half:], strict=True):
        assert one.record == other.record
        np.testing.assert_array_equal(one["observation"], other["observation"], strict=True)


def test_a_stream_whose_writer_was_killed_before_its_first_rollout_ended_is_gone_on_in(tmp_path: Path) -> None:
    path = tmp_path / "run.arrows"
    path.touch()
    rollouts("CartPole-v1", ArrowFormat(path, append=True), 5)
    assert len(load(path).episodes) > 0


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "run.arrows"
    code = f"""
import runnerkit
from runnerkit_arrow import ArrowFormat
with runnerkit.make("CartPole-v1", n_envs=2, seed=3, history=ArrowFormat({str(path)!r})) as runner:
    agent = runnerkit.RandomAgent(runner.action_space, seed=0)
    while True:
        runner.rollout(agent, steps=50)
        print("more", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        for _ in range(5):
            assert child.stdout.readline() == "more\n"
        os.kill(child.pid, signal.SIGKILL)
        child.wait(timeout=30)
    finally:
        child.kill()
        child.wait(timeout=30)
        assert child.stdout is not None
        child.stdout.close()
    expected = rollouts("CartPole-v1", "arrays", *[50] * 5)
    steps = {(i, k): 0 for i in range(2) for k in range(500)}
    for history in expected:
        for record in history.episodes:
            steps[record.env_index, record.episode_index] += record.length
    for episode in load(path).episodes:
        key = episode.record.env_index, episode.record.episode_index
        assert len(episode) >= steps[key] or steps[key] == 0


def test_the_rows_go_to_parquet(tmp_path: Path) -> None:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    path = tmp_path / "run.arrows"
    rollouts("CartPole-v1", ArrowFormat(path), 50)
    table = pq.read_table(to_parquet(path, tmp_path / "run.parquet"))
    assert table.column_names[:4] == ["env_index", "episode_index", "step", "observation"]
    finals = sum(episode.record.end_reason is not EndReason.CUT for episode in load(path).episodes)
    assert table.num_rows == 100 + finals
    assert sum(table["reward"].to_pylist()[k] or 0 for k in range(table.num_rows)) == 100.0


def test_the_name_is_found_and_a_path_is_derived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with runnerkit.make("CartPole-v1", seed=7, history=ARROW) as runner:
        (history,) = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=5)
    assert (history.path, len(history)) == (Path("cartpole-v1-seed7.arrows"), 5)
    assert [episode.record.end_reason for episode in history.load().episodes] == [EndReason.CUT]


def valued(observations: Any) -> Any:
    """An agent with extra columns."""
    return np.zeros(len(observations), np.int64), {"value": observations[:, 0], "seen": observations[:, :2] > 0}


def test_extra_columns_are_in_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "run.arrows"
    with runnerkit.make("CartPole-v1", n_envs=2, seed=3, history=ArrowFormat(path)) as runner:
        runner.rollout(valued, steps=13)
        runner.rollout(valued, steps=7)
        with pytest.raises(RolloutError, match=r"this rollout has .*'truncated'\], or others"):
            runner.rollout(lambda observations: [0, 0], steps=3)
    for episode in load(path).episodes:
        states = np.asarray(episode["observation"])[: len(episode)]
        np.testing.assert_array_equal(episode["extras.value"], states[:, 0])
        np.testing.assert_array_equal(episode["extras.seen"], states[:, :2] > 0)
        assert np.asarray(episode["extras.value"]).dtype == np.float32
    with runnerkit.make("CartPole-v1", n_envs=2, seed=3, history=ArrowFormat(path, append=True)) as runner:
        assert runner.rollout(valued, steps=5)[0].load().episodes[-1].names[-2:] == ["extras.value", "extras.seen"]


def test_processed_rewards_are_in_the_stream_if_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "run.arrows"
    scaled: Any = {"reward_processors": [runnerkit.use("scale", factor=0.5)]}
    rollouts("CartPole-v1", ArrowFormat(path), 30, 9, **scaled)
    for episode in load(path).episodes:
        np.testing.assert_array_equal(episode["processed_reward"], np.asarray(episode["reward"]) / 2)
    with pytest.raises(ArgumentError, match=r"processed_reward.*this run has"):
        rollouts("CartPole-v1", ArrowFormat(path, append=True), 3)
