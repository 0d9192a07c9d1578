"""Replay: recorded episodes once more, compared bit by bit, and the first difference named."""

from __future__ import annotations

import importlib
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from gymnasium import spaces
from typing_extensions import override

import runnerkit
from runnerkit._cli.main import main
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.history import ArrayHistory
from runnerkit.replaying import whole_episodes
from runnerkit.testing import SPACES, SampleEnv
from runnerkit.typing import AnyEnv


def make_nested(seed: int | None = None) -> AnyEnv:
    return SampleEnv(SPACES["nested"], SPACES["Dict"])


def make_vector(seed: int | None = None, n_envs: int = 1) -> Any:
    return gymnasium.make_vec("CartPole-v1", n_envs, vectorization_mode="sync")


def record(env: Any, rollouts: int = 2, steps: int = 15, **options: Any) -> list[ArrayHistory[Any, Any]]:
    given: Any = {"n_envs": 3, "seed": 4, **options}
    with runnerkit.make(env, **given) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        return [history for _ in range(rollouts) for history in runner.rollout(agent, steps=steps)]


PROCESSED: Any = {"preprocessors": ["normalize"], "postprocessors": ["rescale"], "keep_raw": True}


@pytest.mark.parametrize(
    ("executor", "env", "options", "unseen"),
    [
        ("threads", "CartPole-v1", {}, False),
        ("serial", "Pendulum-v1", PROCESSED, False),
        ("serial", "Pendulum-v1", {"preprocessors": ["normalize"], "env_options": {"g": 3.0}}, True),
        ("serial", "CartPole-v1", {"wrappers": [("gymnasium.wrappers:TimeLimit", {"max_episode_steps": 5})]}, False),
        ("serial", make_nested, {"keep_infos": True}, False),
        ("processes", make_nested, {"keep_infos": True}, False),
    ],
    ids=["CartPole", "processed, raw kept", "processed", "wrapped", "nested, with infos", "nested, in processes"],
)
def test_episodes_are_the_same_once_more_over_all_their_rollouts(
    executor: str, env: Any, options: dict[str, Any], unseen: bool
) -> None:
    histories = record(env, executor=executor, **options)
    replayed = runnerkit.replay(histories)
    assert replayed.first is None
    records = [episode for history in histories for episode in history.episodes]
    assert sum(episode.length for episode in replayed.episodes) == sum(episode.length for episode in records) == 90
    assert {(e.env_index, e.episode_index) for e in replayed.episodes} == {
        (e.env_index, e.episode_index) for e in records
    }
    assert not replayed.left_out
    assert replayed.unseen == (len(replayed.episodes) if unseen else 0)


class Changing(gymnasium.Env[Any, Any]):
    """Changes one thing in its third step, when told so."""

    changes: str = ""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(a=spaces.Box(-1.0, 1.0, (2, 2)), b=spaces.Discrete(9))
        self.action_space = spaces.Discrete(2)

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        if type(self).changes == "reset":
            raise OSError("broken")
        return self._observed(), {}

    def _observed(self) -> Any:
        a = np.full((2, 2), self.t / 10, np.float32)
        if self._is("observation"):
            a[1, 0] = -0.0 if self.t == 0 else 0.5
        return {"a": a, "b": self.t + self._is("leaf")}

    def _is(self, change: str) -> bool:
        return type(self).changes == change and self.t == 3

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        if self._is("raises"):
            raise OSError("broken")
        reward = float("nan") if self.t == 2 else 1.0 - self._is("reward")
        terminated, truncated = self.t == 6 or self._is("terminated"), self._is("truncated")
        return self._observed(), reward, terminated, truncated, {"t": self.t + self._is("info")}


@pytest.mark.parametrize(
    ("change", "step", "field", "recorded", "replayed"),
    [
        ("observation", 2, "observation['a'][1][0]", float(np.float32(0.3)), 0.5),
        ("leaf", 2, "observation['b']", 3, 4),
        ("reward", 2, "reward", 1.0, 0.0),
        ("terminated", 2, "terminated", False, True),
        ("truncated", 2, "truncated", False, True),
        ("info", 2, "info", {"t": 3}, {"t": 4}),
        ("raises", 2, "error", None, "OSError: broken"),
        ("reset", None, "error", None, "OSError: broken"),
    ],
)
def test_the_first_difference_is_named(
    change: str, step: int | None, field: str, recorded: object, replayed: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = record(lambda seed: Changing(), 1, 6, n_envs=1, keep_infos=True)
    monkeypatch.setattr(Changing, "changes", change)
    found = runnerkit.replay(histories, env=lambda seed: Changing()).first
    assert found is not None
    assert (found.step, found.field, found.recorded, found.replayed) == (step, field, recorded, replayed)
    assert (found.episode.env_index, found.episode.episode_index) == (0, 0)
    where = "in its reset" if step is None else "in step 2"
    assert f"(seed {found.episode.seed}) differs {where}: {field} was {recorded!r}, and is {replayed!r}" in str(found)


def test_a_bit_that_compares_as_equal_is_a_difference_and_a_final_observation_is_called_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    histories = record(lambda seed: Changing(), 1, 6, n_envs=1)
    observed = Changing._observed

    def signed(self: Changing) -> Any:
        found = observed(self)
        return {**found, "a": found["a"] * np.float32(-1 if self.t == 0 else 1), "b": found["b"] + (self.t == 6)}

    monkeypatch.setattr(Changing, "_observed", signed)
    found = runnerkit.replay(histories, env=lambda seed: Changing()).first
    assert found is not None
    assert (found.step, found.field, repr(found.recorded), repr(found.replayed)) == (
        None, "observation['a'][0][0]", "0.0", "-0.0",
    )  # fmt: skip
    monkeypatch.setattr(
        Changing, "_observed", lambda self: {**observed(self), "b": observed(self)["b"] + (self.t == 6)}
    )
    found = runnerkit.replay(histories, env=lambda seed: Changing()).first
    assert found is not None
    assert (found.step, found.field, found.recorded, found.replayed) == (5, "final observation['b']", 6, 7)


class Global(SampleEnv):
    """Draws from the global generator."""

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, random.random(), terminated, truncated, info


def test_an_env_that_is_no_function_of_its_seed_differs_in_each_episode() -> None:
    histories = record(lambda seed: Global(spaces.Discrete(3), spaces.Discrete(3)), 1)
    replayed = runnerkit.replay(histories, env=lambda seed: Global(spaces.Discrete(3), spaces.Discrete(3)))
    assert {divergence.field for divergence in replayed.divergences} == {"reward"}
    assert len(replayed.divergences) == len(replayed.episodes) > 3
    assert f"{len(replayed.episodes)} episodes differ" in str(replayed)


def test_what_cannot_be_replayed_is_left_out_with_the_reason() -> None:
    first, second = record("Pendulum-v1", steps=150, n_envs=1)
    replayed = runnerkit.replay(second)
    assert [(episode.episode_index, why[:26]) for episode, why in replayed.left_out] == [
        (0, "began before these histori")
    ]
    assert [episode.episode_index for episode in replayed.episodes] == [1]
    assert not runnerkit.replay([first, second], which=lambda episode: episode.episode_index == 5).episodes
    unseeded = record("CartPole-v1", 1, schedule=lambda i, k: runnerkit.EpisodeStart())
    assert all("has no seed" in why for _, why in runnerkit.replay(unseeded).left_out)


@pytest.mark.parametrize(
    ("histories", "options", "said"),
    [
        (lambda: record(lambda seed: make_nested()), {}, "Pass env=, a function"),
        (lambda: record([make_nested, make_nested], n_envs=2), {}, "Pass env=, as the runner got it"),
        (lambda: record(make_vector), {}, "recorded with a vector env"),
        (lambda: record("CartPole-v1"), {"env": "Pendulum-v1"}, "The env has other spaces"),
        (lambda: record("CartPole-v1", history="transitions"), {}, "replay needs histories with columns"),
        (lambda: "runs", {}, r"Use replay\(runnerkit.load\('runs'\)\)"),
        (list, {}, "at least one history"),
        (lambda: iter(()), {}, "at least one history"),
        (lambda: None, {}, "with columns, .* not None"),
        (lambda: record("CartPole-v1"), {"which": [0]}, "which must be a function .* not "),
        (lambda: record("CartPole-v1"), {"env": []}, "a list of 0 envs, but env 0 is to be made"),
    ],
)
def test_what_the_histories_do_not_know_is_asked_for(
    histories: Callable[[], Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        runnerkit.replay(histories(), **options)


def test_a_folder_is_replayed_in_which_several_runs_wrote(tmp_path: Path) -> None:
    for seed in (0, 1):
        record("CartPole-v1", seed=seed, history=("npz", {"path": tmp_path / "runs"}))
    runs = runnerkit.load(tmp_path / "runs")
    replayed = runnerkit.replay(runs)
    assert replayed.first is None
    assert sum(episode.length for episode in replayed.episodes) == 180
    assert {seed.made_by.seed for seed in runs} == {0, 1}


def test_the_episodes_of_a_folder_are_in_the_order_in_which_they_ended_and_not_env_by_env(tmp_path: Path) -> None:
    for seed in (0, 1):
        record("CartPole-v1", steps=60, seed=seed, history=("npz", {"path": tmp_path / "runs"}))
    runs = runnerkit.load(tmp_path / "runs")
    rows = [runs.rows[episode.indices[-1]] for episode in whole_episodes(runs)]
    ends = [(row.run, row.rollout, row.episode.start + row.episode.length) for row in rows]
    assert ends == sorted(ends)
    assert {row.episode.env_index for row in rows[:4]} == {0, 1, 2}


def test_the_command_replays_folders_and_checks_envs(tmp_path: Path) -> None:
    folder = str(tmp_path / "runs")
    record("CartPole-v1", history=("npz", {"path": folder}))

    def said(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["replay", *words])
        return result.exit_code, result.output

    assert said(folder)[0] == 0
    assert "all the same" in said(folder)[1]
    assert said(folder, "0") == (0, said(folder, "0")[1])
    code, text = said(folder, "--env", f"{__name__}:make_longer")
    assert (code, "observation[" in text) == (1, True)
    assert said(folder, "99")[0] == 2
    assert said()[0] == 2
    assert said("--check", "CartPole-v1") == (0, "CartPole-v1 is a function of its seed and its actions.\n")
    code, text = said("--check", f"{__name__}:make_global", "--json")
    assert (code, "the global generator of random" in text) == (1, True)


def test_options_of_envs_that_were_typed_in_a_terminal_are_recorded_as_they_were_read(tmp_path: Path) -> None:
    folder = str(tmp_path / "runs")
    typed = ["--env-option", "max_episode_steps=7", "--env-option", "sutton_barto_reward=true"]
    made = CliRunner().invoke(main, ["rollout", "CartPole-v1", "--steps", "20", "-o", folder, *typed])
    assert made.exit_code == 0, made.output
    options = runnerkit.load(folder).runs[0].made_by.parts[0].options
    assert options == {"max_episode_steps": 7, "sutton_barto_reward": True}
    replayed = CliRunner().invoke(main, ["replay", folder])
    assert (replayed.exit_code, "all the same" in replayed.output) == (0, True), replayed.output


LATER = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

gymnasium.register("RkLater-v0", "rk_later:CartPoleEnv", max_episode_steps=7)
"""


def test_the_package_of_an_env_is_imported_where_nobody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rk_later.py").write_text(LATER)
    (tmp_path / "rk_later-1.0.dist-info").mkdir()
    (tmp_path / "rk_later-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rk-later\nVersion: 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("rk_later")
    try:
        histories = record("RkLater-v0")
        assert histories[0].made_by.parts[0].distribution == "rk-later"
        del gymnasium.registry["RkLater-v0"], sys.modules["rk_later"]  # as in another program
        assert runnerkit.replay(histories).first is None
    finally:
        gymnasium.registry.pop("RkLater-v0", None)
        sys.modules.pop("rk_later", None)


class Weighed(gymnasium.RewardWrapper[Any, Any]):
    def __init__(self, env: AnyEnv, weights: Any) -> None:
        super().__init__(env)
        self.weight = float(weights.sum())

    @override
    def reward(self, reward: Any) -> float:
        return float(reward) * self.weight


def test_an_option_that_the_record_has_as_text_only_is_asked_for() -> None:
    weighed: Any = (f"{__name__}:Weighed", {"weights": np.ones(2)})
    histories = record("CartPole-v1", wrappers=[weighed])
    with pytest.raises(ArgumentError, match=r"cannot be made as its record says: .*\. Pass env=, .* --env\.$"):
        runnerkit.replay(histories)
    assert (
        runnerkit.replay(histories, env=lambda seed: Weighed(gymnasium.make("CartPole-v1"), np.ones(2))).first is None
    )


def make_longer(seed: int | None) -> AnyEnv:
    env: AnyEnv = gymnasium.make("CartPole-v1")
    vars(env.unwrapped)["length"] = 2.0
    return env


def make_global(seed: int | None) -> AnyEnv:
    return Global(spaces.Discrete(3), spaces.Discrete(3))


class Late(SampleEnv):
    """Fails in the fourth step of each episode of more than three, or not at all."""

    heals = False

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.t = 0
        return super().reset(seed=seed)

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        found = super().step(action)
        if self.t == 4 and not type(self).heals:
            raise OSError(f"broken by {action} at {found[1]}")
        return found


def first_error(runner: Any, agent: Any, steps: int) -> EnvError:
    for _ in range(50):
        try:
            runner.rollout(agent, steps=steps)
        except EnvError as error:
            return error
    raise AssertionError("no env failed")


@pytest.mark.parametrize("executor", ["serial", "processes"])
@pytest.mark.parametrize("steps", [1, 50])
def test_an_error_makes_its_episode_once_more(executor: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = Late
    options: Any = {"n_envs": 3, "seed": 4, "executor": executor}
    with runnerkit.make(lambda seed: kind(spaces.Discrete(9), spaces.Discrete(7)), **options) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        error = first_error(runner, agent, steps)
    again = error.replay()
    assert again is not None
    assert (str(again), again.seed, again.step, error.step) == (str(error), error.seed, 3, 3)
    copied = pickle.loads(pickle.dumps(again))
    with pytest.raises(ArgumentError, match="does not know its episode"):
        copied.replay()
    if executor == "serial":
        monkeypatch.setattr(Late, "heals", True)
        assert error.replay() is None
