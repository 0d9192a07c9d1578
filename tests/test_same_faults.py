"""After a fault, too, nothing tells who stepped the envs: not the error, nor the histories, nor what comes next."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import exact, summary
from gymnasium import Space, spaces
from numpy.typing import NDArray
from restless import moving
from typing_extensions import override

from runnerkit import EpisodeStart, GymRunner, Transition
from runnerkit.errors import RolloutError, RunnerKitError
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.executors.trial import Way

RUN_SEED = 3
SEEDS = SeedSchedule(RUN_SEED)
WORKERS = {"serial": None, "processes": 2}
Fault = tuple[str, int, int, int]
"""What fails ("reset", "step" or "shape"), of which env and episode, at which step."""


class FaultyEnv(gymnasium.Env[Any, Any]):
    """Ends after 1 to 6 steps, and fails where the plan says so."""

    def __init__(self, index: int, plan: set[Fault]) -> None:
        self.observation_space = spaces.Box(-1e6, 1e6, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.index = index
        self.plan = plan
        self.episodes = {SEEDS.episode_seed(index, k): k for k in range(200)}

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        assert seed is not None
        self.random, self.episode, self.t = random.Random(seed), self.episodes[seed], 0
        self.left = self.random.randint(1, 6)
        if ("reset", self.index, self.episode, 0) in self.plan:
            raise OSError("reset")
        return self._observation(), {"episode": self.episode} if self.random.random() < 0.5 else {}

    @override
    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        self.left -= 1
        where = (self.index, self.episode, self.t)
        if ("step", *where) in self.plan:
            raise OSError("step")
        shown = np.zeros(3, np.float32) if ("shape", *where) in self.plan else self._observation()
        done, cut = self.left == 0, self.random.random() < 0.5
        info = {"t": self.t} if self.random.random() < 0.3 else {}
        return shown, self.random.random() + int(action), done and not cut, done and cut, info

    def _observation(self) -> NDArray[np.float32]:
        return np.array([self.t, self.random.random()], np.float32)


class Counter:
    """A stateful preprocessor: what it makes of a batch depends on all batches before."""

    def __init__(self) -> None:
        self.rows = 0

    def bind(self, space: Space[Any], /) -> Space[Any]:
        return spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def __call__(self, observations: NDArray[Any], /) -> object:
        self.rows += len(observations)
        return observations.astype(float) + self.rows


class Listener:
    """Acts on what it sees, notes what it is told, and may fail once."""

    def __init__(self, fails_at: int) -> None:
        self.acts, self.fails_at = 0, fails_at
        self.told: list[tuple[str, list[int]]] = []

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        self.told.append(("begin", list(env_indices)))

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        self.told.append(("active", list(env_indices)))

    def act(self, observations: Any, /) -> Any:
        self.acts += 1
        if self.acts == self.fails_at:
            raise OSError("agent")
        return (observations[:, 0].astype(np.int64) + self.acts) % 3


class OwnHistory(GymRunner[Any, Any, Any]):
    @override
    def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
        return [*(history or []), transition]


def told(history: Any) -> Any:
    if history is None or isinstance(history, list):
        return [exact((t.observation, t.action, t.reward, t.next_observation, t.done, t.info)) for t in history or []]
    return summary(history), history.faults


def run(
    trial: int, runner_class: type[GymRunner[Any, Any, Any]], executor: str, length: int = 1, *, spare_envs: int = 0
) -> Any:
    """Run a random program of rollouts over randomly failing envs; return all that can be seen of it.

    A program of greater `length` has so many times the rollouts and the faults.
    """
    draw = random.Random(trial)
    n = draw.randint(1, 5)
    kinds = ["reset", "step", "shape"]
    plan = {
        (kind, draw.randrange(n), draw.randrange(4 * length), 0 if kind == "reset" else draw.randint(1, 3))
        for kind in draw.choices(kinds, k=length * draw.choice([0, 1, 1, 3] if length == 1 else [1, 2, 3]))
    }
    counter = Counter()
    options: dict[str, Any] = {
        "keep_infos": draw.random() < 0.5,
        "keep_raw": draw.random() < 0.5,
        "auto_reset": draw.random() < 0.8,
        "preprocessors": [counter] if draw.random() < 0.4 else [],
        "schedule": None if draw.random() < 0.7 else lambda i, k: EpisodeStart(SEEDS.episode_seed(i, k), {"k": k}),
        "on_env_error": "restart" if draw.random() < 0.4 else "raise",
        "workers": draw.randint(1, n)
        if executor in ("threads", "restless")
        else draw.randint(1, n) and WORKERS[executor],
    }
    if executor == "restless":
        moves = random.Random(trial)
        ways: list[Way] = moves.choices(["serial", "threads"], k=moves.randint(1, 60))
        options["plugins"] = moving(ways, moves.choice(["serial", "threads"]))
    if options["on_env_error"] == "restart":
        options["max_restarts"] = draw.choice([1, 3 * length])
        if executor == "processes" and trial % 2:  # no env is in the calling process: one helper has them all
            options["workers"] = 1
        if executor == "restless":  # no env is moved then
            executor = "threads"
            del options["plugins"]
            options["workers"] = n
    if spare_envs:
        options |= {"spare_envs": spare_envs, "repeatable": True}
    agent = Listener(draw.randint(1, 60 * length))
    seen: list[Any] = []
    index: dict[int | None, int] = {SEEDS.env_seed(i): i for i in range(n)}
    with runner_class(lambda seed: FaultyEnv(index[seed], plan), RUN_SEED, n, executor=executor, **options) as runner:
        for _ in range(6 * length):
            kind, number = draw.choice(["steps", "steps", "episodes", "reset"]), draw.randint(1, 9)
            limit: dict[str, Any] = {kind: number}
            try:
                if kind == "reset":
                    runner.maybe_reset()
                else:
                    seen.append([told(history) for history in runner.rollout(agent, **limit)])
            except RunnerKitError as error:
                histories = error.histories if isinstance(error, RolloutError) else []
                notes = getattr(error, "__notes__", ())
                spent = [note for note in notes if "max_restarts" in note]
                seen.append((type(error), str(error), spent, [told(history) for history in histories]))
    return seen, agent.told, counter.rows


LOST = "ignore:The histories of this rollout do not have its faults:RuntimeWarning"


@pytest.mark.filterwarnings(LOST)
@pytest.mark.parametrize("runner_class", [GymRunner, OwnHistory])
@pytest.mark.parametrize("first", range(0, 120, 20))
def test_faults_are_the_same_whoever_steps_the_envs(runner_class: type[GymRunner[Any, Any, Any]], first: int) -> None:
    faults = 0
    for trial in range(first, first + 20):
        serial = run(trial, runner_class, "serial")
        for executor in ("threads", "restless"):
            assert run(trial, runner_class, executor) == serial, f"trial {trial}, {executor}"
        if trial % 3 == 0:
            some = random.Random(trial)
            executor, spare_envs = some.choice(["serial", "threads", "restless"]), some.randint(1, 3)
            with_spares = run(trial, runner_class, executor, spare_envs=spare_envs)
            assert with_spares == serial, f"trial {trial}, {executor}, {spare_envs} spares"
        faults += sum(isinstance(entry, tuple) for entry in serial[0])
    assert faults > 5


@pytest.mark.filterwarnings(LOST)
@pytest.mark.parametrize("runner_class", [GymRunner, OwnHistory])
def test_faults_are_the_same_in_other_processes(runner_class: type[GymRunner[Any, Any, Any]]) -> None:
    # Long programs, as each needs processes of its own, which take longer to start than all else.
    for trial in range(6):
        serial = run(trial, runner_class, "serial", 4)
        processes = run(trial, runner_class, "processes", 4, spare_envs=trial % 3)
        assert serial == processes, f"trial {trial}"
