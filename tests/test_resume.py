"""Exact resume: a rollout that is cut by save, new process and load gives the bytes of the uncut one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from typing_extensions import override

import runnerkit
from runnerkit import EpisodeStart
from runnerkit._core.comparing import difference, exact
from runnerkit._envs.elsewhere import call_elsewhere
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.testing import SPACES, HashAgent, SampleEnv
from runnerkit.typing import AnyEnv


def make_nested(seed: int | None = None) -> AnyEnv:
    return SampleEnv(SPACES["nested"], SPACES["Dict of objects"], longest=20)


class Curriculum:
    """A schedule with a state."""

    def __init__(self) -> None:
        self.begun = 0

    def __call__(self, env_index: int, episode_index: int) -> EpisodeStart:
        self.begun += 1
        return EpisodeStart(1000 * self.begun + env_index, {"length": 1 + self.begun % 5})

    def state_dict(self) -> dict[str, int]:
        return {"begun": self.begun}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.begun = state["begun"]


def build(env: Any, **options: Any) -> Any:
    if options.pop("curriculum", False):
        options["schedule"] = Curriculum()
    given: Any = {"n_envs": 3, "seed": 7, **options}
    return runnerkit.make(env, **given)


def rolled(runner: Any, steps: int) -> Any:
    """Return all that a rollout gives."""
    names = ("observations", "actions", "env_actions", "rewards", "processed_rewards", "terminated", "truncated")
    histories = runner.rollout(HashAgent(runner.action_space), steps=steps)
    return [
        {
            **{name: exact(getattr(history, name)) for name in (*names, "next_observations", "raw_observations")},
            "infos": exact(history.infos),
            "reset_infos": exact(history.reset_infos),
            "episodes": [repr(episode) for episode in history.episodes],
        }
        for history in histories
    ]


def go_on(env: Any, options: dict[str, Any], state: str, steps: int) -> tuple[Any, Any]:
    """Load a state, roll out, save, load into yet another runner, and roll out."""
    with build(env, **options) as runner:
        runner.load_state_dict(json.loads(state))
        first = rolled(runner, steps)
        again = json.loads(json.dumps(runner.state_dict()))
    with build(env, **options) as runner:
        runner.load_state_dict(again)
        return first, rolled(runner, steps)


PROCESSED: dict[str, Any] = {
    "preprocessors": ["normalize", "frame-stack", "last-action"],
    "postprocessors": ["rescale"],
    "reward_processors": ["normalize-reward"],
}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "CartPole": ("CartPole-v1", {}),
    "Pendulum, processed": ("Pendulum-v1", PROCESSED),
    "nested, infos, curriculum": (make_nested, {"keep_infos": True, "curriculum": True}),
    "nested, restarts": (make_nested, {"keep_infos": True, "on_env_error": "restart"}),
}


@pytest.mark.parametrize(
    ("case", "executor", "then"),
    [
        *((case, "serial", "threads") for case in CASES),
        ("Pendulum, processed", "processes", "serial"),
        ("nested, infos, curriculum", "processes", "processes"),
        ("CartPole", "processes", "processes"),
        ("CartPole", "auto", "auto"),
    ],
)
def test_a_rollout_that_is_cut_gives_the_bytes_of_the_uncut_one(case: str, executor: str, then: str) -> None:
    env, options = CASES[case]
    with build(env, executor="serial", **options) as runner:
        uncut = [rolled(runner, steps) for steps in (13, 11, 11)]
    with build(env, executor=executor, **options) as runner:
        assert difference(uncut[0], rolled(runner, 13)) == ""
        state = json.dumps(runner.state_dict())
        assert difference(uncut[1], rolled(runner, 11)) == ""  # to save is to change nothing
    elsewhere = call_elsewhere(go_on, env, {"executor": then, **options}, state, 11)
    assert difference(uncut[1:], list(elsewhere)) == ""


def test_streams_and_runners_with_histories_of_their_own_can_be_saved() -> None:
    class Own(runnerkit.GymRunner[Any, Any, list[Any]]):
        @override
        def process_transition(self, history: list[Any] | None, transition: Any) -> list[Any]:
            return [*(history or []), exact((transition.observation, transition.reward))]

    agent: Any = HashAgent(spaces.Discrete(2))
    with Own("CartPole-v1", 0, 2) as runner:
        runner.rollout(agent, steps=30)
        state = runner.state_dict()
        expected = runner.rollout(agent, steps=30)
    with Own("CartPole-v1", 0, 2) as runner:
        runner.load_state_dict(state)
        assert runner.rollout(agent, steps=30) == expected
    with build("CartPole-v1") as runner:
        stream = runner.stream(agent, steps=4)
        for _ in range(9):
            next(stream)
        with pytest.raises(ArgumentError, match="open stream"):
            runner.state_dict()
        stream.close()
        state = runner.state_dict()
        uncut = rolled(runner, 20)
    with build("CartPole-v1") as runner:
        runner.load_state_dict(state)
        assert difference(uncut, rolled(runner, 20)) == ""


def test_rollouts_in_windows_and_without_a_barrier_can_be_saved(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._rollout.windows._FIRST_STEPS", 3)
    monkeypatch.setattr("runnerkit._rollout.windows._MOST_STEPS", 8)
    for options in ({"history": ("npz", {"path": tmp_path / "runs"})}, {"min_batch": 1, "executor": "threads"}):
        agent: Any = HashAgent(spaces.Discrete(2))
        with build("CartPole-v1") as runner:
            uncut = [runner.rollout(agent, steps=n)[1].observations for n in (30, 7, 30)]
        with build("CartPole-v1", **options) as runner:
            runner.rollout(agent, steps=30)
            runner.rollout(agent, steps=7)
            state = runner.state_dict()
        with build("CartPole-v1") as runner:
            runner.load_state_dict(state)
            np.testing.assert_array_equal(runner.rollout(agent, steps=30)[1].observations, uncut[2])


def test_a_runner_between_episodes_before_its_first_and_after_maybe_reset_can_be_saved() -> None:
    for begin in (lambda runner: None, lambda runner: runner.maybe_reset(), lambda runner: rolled_episodes(runner)):
        with build("CartPole-v1") as runner:
            begin(runner)
            state = runner.state_dict()
            uncut = rolled(runner, 30)
        with build("CartPole-v1", executor="threads") as runner:
            rolled(runner, 5)  # wherever it stood before
            runner.load_state_dict(state)
            assert difference(uncut, rolled(runner, 30)) == ""


def rolled_episodes(runner: Any) -> None:
    runner.rollout(HashAgent(runner.action_space), episodes=4)


@pytest.mark.parametrize(
    ("env", "options", "said"),
    [
        ("Acrobot-v1", {}, "whose env_id is 'CartPole-v1', but this one's is 'Acrobot-v1'"),
        ("CartPole-v1", {"n_envs": 4}, "whose n_envs is 3, but this one's is 4"),
        ("CartPole-v1", {"seed": 8}, "whose seed is 7, but this one's is 8"),
        ("CartPole-v1", {"env_options": {"sutton_barto_reward": True}}, r"'env CartPole-v1 \{\}' is missing"),
        ("CartPole-v1", {"preprocessors": ["normalize"]}, r"'preprocessor normalize \{\}' was not there"),
    ],
)
def test_a_state_of_another_runner_is_refused(env: str, options: dict[str, Any], said: str) -> None:
    with build("CartPole-v1") as runner:
        rolled(runner, 5)
        state = runner.state_dict()
    with build(env, **options) as runner, pytest.raises(ArgumentError, match=said):
        runner.load_state_dict(state)


def test_what_is_no_state_is_refused() -> None:
    with build("CartPole-v1") as runner:
        whole = runner.state_dict()
        damaged = [
            {name: found for name, found in whole.items() if name != left_out}
            for left_out in ("parts", "steps", "restarts", "schedule", "processors", "envs")
        ]
        damaged += [{**whole, "envs": []}, {**whole, "steps": "x"}, {**whole, "restarts": None}]
        damaged += [{**whole, "processors": {}}, {**whole, "envs": [None]}]
        for state in ({}, None, {"version": 0}, *damaged):
            with pytest.raises(ArgumentError, match="needs what state_dict"):
                runner.load_state_dict(state)


def make_mortal(seed: int | None, env_index: int) -> AnyEnv:
    return Mortal(env_index)


class Mortal(SampleEnv):
    """Env 1 dies with its process in its 18th step."""

    def __init__(self, env_index: int) -> None:
        super().__init__(SPACES["float32"], spaces.Discrete(3), longest=60)
        self._left_to_live = 18 if env_index == 1 else -1

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._left_to_live -= 1
        if self._left_to_live == 0:
            os._exit(1)
        return super().step(action)


def test_envs_that_are_lost_after_a_state_was_loaded_are_brought_back() -> None:
    options: Any = {"executor": "processes", "isolate": True, "workers": 1, "on_env_error": "restart"}
    with build(make_mortal, **options) as runner:
        rolled(runner, 10)
        state = runner.state_dict()
        uncut = rolled(runner, 12)
    with build(make_mortal, **options) as runner:
        runner.load_state_dict(state)
        again = rolled(runner, 12)
    assert "crashed" in str(uncut[1]["episodes"])
    assert difference(uncut, again) == ""


def make_located(seed: int | None = None) -> AnyEnv:
    env: AnyEnv = SampleEnv(SPACES["float32"], spaces.Discrete(3), longest=30)
    env.__dict__["pid"] = os.getpid()
    return env


@pytest.mark.parametrize("isolate", [False, True])
def test_a_state_is_loaded_though_helpers_died_meanwhile(isolate: bool) -> None:
    options: Any = {"executor": ("processes", {"isolate": isolate}), "workers": 2, "on_env_error": "restart"}
    with build(make_located, **options) as runner:
        rolled(runner, 9)
        state = runner.state_dict()
        uncut = rolled(runner, 9)
        for pid in {*runner.get_attr("pid")} - {os.getpid()}:
            os.kill(pid, signal.SIGKILL)
        runner.load_state_dict(state)
        assert difference(uncut, rolled(runner, 9)) == ""


def test_a_state_is_saved_though_a_helper_died_meanwhile() -> None:
    with build(make_located, executor="processes", workers=2) as runner:
        rolled(runner, 9)
        for pid in {*runner.get_attr("pid")} - {os.getpid()}:
            os.kill(pid, signal.SIGKILL)
        state = runner.state_dict()
    with build(make_located) as runner:
        uncut = [rolled(runner, 9), rolled(runner, 9)][1]
        runner.load_state_dict(state)
        assert difference(uncut, rolled(runner, 9)) == ""


def test_a_snapshot_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with build(make_walk) as runner:
        runner.maybe_reset()
        monkeypatch.setattr(Walk, "snapshot", lambda self: 1 / 0)
        with pytest.raises(EnvError, match="raised in snapshot: ZeroDivisionError"):
            runner.state_dict()


class Walk(gymnasium.Env[Any, Any]):
    """A random walk that says where it stands, and counts its steps in all, also those made once more."""

    forgets = False
    bound: float = 4.0

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(2)
        self.made = 0

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.normal(size=2)
        return self.at, {"from": self.at.copy()}

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.made += 1
        self.at += (2 * action - 1) * self.np_random.normal(size=2)
        return (
            self.at,
            float(self.at[0]),
            bool(np.abs(self.at).max() > self.bound),
            False,
            {"norm": float(np.abs(self.at).sum())},
        )

    def snapshot(self) -> Any:
        return {"at": self.at.copy(), "random": self.np_random.bit_generator.state}

    def restore(self, snapshot: Any) -> None:
        self.at = snapshot["at"]
        if not self.forgets:
            self.np_random.bit_generator.state = snapshot["random"]


def make_walk(seed: int | None = None) -> AnyEnv:
    return gymnasium.wrappers.TimeLimit(gymnasium.wrappers.OrderEnforcing(Walk()), 15)


def walk_on(executor: str, state: str) -> tuple[Any, list[int]]:
    with build(make_walk, executor=executor, keep_infos=True, preprocessors=["normalize"]) as runner:
        runner.load_state_dict(json.loads(state))
        made = runner.get_attr("made")
        return rolled(runner, 20), made


@pytest.mark.parametrize("executor", ["serial", "threads", "processes", "asyncio", "auto"])
def test_envs_that_have_snapshots_go_on_from_there_without_a_step_made_once_more(executor: str) -> None:
    with build(make_walk, executor=executor, keep_infos=True, preprocessors=["normalize"]) as runner:
        rolled(runner, 31)
        runner.maybe_reset()
        state = json.dumps(runner.state_dict())
        uncut = rolled(runner, 20)
    assert '"actions"' not in state
    found, made = call_elsewhere(walk_on, executor, state) if executor == "serial" else walk_on(executor, state)
    assert made == [0, 0, 0]
    assert difference(uncut, found) == ""


def test_snapshots_need_no_seed_but_all_layers_and_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    agent: Any = HashAgent(spaces.Discrete(2))

    def unseeded() -> Any:
        return build(make_walk, schedule=lambda i, k: EpisodeStart(), n_envs=1)

    monkeypatch.setattr(Walk, "bound", np.inf)  # what begins later without a seed is another episode
    with unseeded() as runner:
        runner.rollout(agent, steps=3)
        state = runner.state_dict()
        (uncut,) = runner.rollout(agent, steps=3)
    with unseeded() as runner:
        runner.load_state_dict(state)
        np.testing.assert_array_equal(runner.rollout(agent, steps=3)[0].observations, uncut.observations)
        monkeypatch.setattr(Walk, "forgets", True)
        with pytest.raises(ArgumentError, match=r"its snapshot after restore\(\) is another one"):
            runner.load_state_dict(state)
    with build(make_walk, on_env_error="restart") as runner:
        runner.maybe_reset()
        assert "actions" in runner.state_dict()["envs"][0]
    with build(lambda seed: gymnasium.wrappers.RecordEpisodeStatistics(Walk())) as runner:
        runner.maybe_reset()
        assert "actions" in runner.state_dict()["envs"][0]  # a wrapper with state of its own


class Counting(gymnasium.Env[Any, Any]):
    """Not a function of its seed: it goes on counting."""

    count = 0
    fails = False

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, np.inf, (1,))
        self.action_space = spaces.Discrete(2)

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._next(), {}

    def _next(self) -> Any:
        type(self).count += 1
        return np.array([self.count], np.float32)

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.fails:
            raise OSError("broken")
        return self._next(), 0.0, False, False, {}


def test_an_env_that_is_no_function_of_its_seed_is_named_and_the_runner_stays_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with build(lambda seed: Counting(), n_envs=2) as runner:
        rolled(runner, 3)
        state = runner.state_dict()
        with pytest.raises(ArgumentError, match=r"Env 0 does not come where it stood: .* episode 0 \(seed"):
            runner.load_state_dict(state)
        (episode, _) = (repr(history.episodes[0]) for history in runner.rollout(HashAgent(spaces.Discrete(2)), steps=2))
        assert "episode_index=1," in episode
        monkeypatch.setattr(Counting, "fails", True)
        with pytest.raises(EnvError, match="raised in step") as caught:
            runner.load_state_dict(state)
        assert "to load the state" in caught.value.__notes__[0]


class Told:
    """Has a state, but no state_dict."""

    def bind(self, space: Any) -> Any:
        return space

    def __call__(self, observations: Any) -> Any:
        return observations

    def begin_episodes(self, env_indices: Any) -> None: ...


@pytest.mark.parametrize(
    ("env", "options", "said"),
    [
        ("CartPole-v1", {"preprocessors": [Told()]}, "processor .*Told has state of running episodes"),
        ("CartPole-v1", {"schedule": lambda i, k: EpisodeStart()}, "its schedule gave it no seed"),
        ("vector:CartPole-v1", {}, "a vector env cannot be brought back"),
    ],
)
def test_what_cannot_be_saved_is_said(env: str, options: dict[str, Any], said: str) -> None:
    with build(env, **options) as runner:
        runner.maybe_reset()
        with pytest.raises(ArgumentError, match=said):
            runner.state_dict()


def kinds(value: Any) -> set[type]:
    inside: Any = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {type(value)}.union(*(kinds(part) for part in inside))


def test_a_state_is_of_plain_values_which_json_and_torch_take_as_they_are() -> None:
    for case in ("Pendulum, processed", "nested, infos, curriculum"):
        env, options = CASES[case]
        with build(env, **options) as runner:
            rolled(runner, 9)
            state = runner.state_dict()
        assert json.loads(json.dumps(state, allow_nan=False)) == state
        assert kinds(state) <= {dict, list, str, int, float, bool, type(None)}
