"""Small envs that fail on demand and keep a journal of who called them, for the tests of faults and bad input."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from programs import wait_for
from restless import RESTLESS
from typing_extensions import override

from runnerkit import GymRunner
from runnerkit.history.arrays import ArrayHistory

AnyRunner: TypeAlias = GymRunner[Any, Any, Any]
History: TypeAlias = ArrayHistory[Any, Any]
Fault: TypeAlias = "Callable[[ScriptedEnv], object]"

GO_ON = object()
"""What a fault returns if the env shall do what it always does."""

# Without processes: these tests look into the journals of envs, which would be in other processes. The shared suites
# test_same_bytes, test_same_faults and test_odd_envs run with processes, too.
EXECUTORS: list[dict[str, Any]] = [{"executor": "serial"}, {"executor": "threads", "workers": 3}, RESTLESS]


@dataclass(frozen=True)
class Faults:
    """What an env does instead of working; each may raise, or return what the env returns."""

    reset: Fault | None = None
    step: Fault | None = None
    render: Fault | None = None
    close: Fault | None = None


class ScriptedEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Counts: the observation is [steps in this episode, episodes begun], the reward is the action."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, length: int = 5, faults: Faults = Faults(), render_mode: str | None = None) -> None:
        self.observation_space = spaces.Box(0, 1000, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.render_mode = render_mode
        self.length = length
        self.faults = faults
        self.steps = 0
        self.episodes = 0
        self.seeds: list[int | None] = []
        self.journal: list[tuple[str, int]] = []
        self._note("make")

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self._note("reset")
        self.seeds.append(seed)
        self.steps = 0
        self.episodes += 1
        instead = self.faults.reset(self) if self.faults.reset else GO_ON
        return (self.look(), {}) if instead is GO_ON else instead

    @override
    def step(self, action: Any) -> Any:
        self._note("step")
        self.steps += 1
        instead = self.faults.step(self) if self.faults.step else GO_ON
        if instead is not GO_ON:
            return instead
        return self.look(), float(action), self.steps >= self.length, False, {}

    @override
    def render(self) -> Any:
        self._note("render")
        instead = self.faults.render(self) if self.faults.render else GO_ON
        return np.full((4, 6, 3), self.steps, np.uint8) if instead is GO_ON else instead

    @override
    def close(self) -> None:
        self._note("close")
        if self.faults.close:
            self.faults.close(self)

    def look(self) -> NDArray[np.float32]:
        """Return the observation of this moment."""
        return np.array([self.steps, self.episodes], np.float32)

    def calls(self, what: str) -> int:
        """Return how often it was made, reset, stepped, rendered or closed."""
        return sum(name == what for name, _ in self.journal)

    @property
    def threads(self) -> set[int]:
        """The threads that it was called from."""
        return {thread for _, thread in self.journal}

    def _note(self, what: str) -> None:
        self.journal.append((what, threading.get_ident()))


class Fleet:
    """Makes scripted envs and remembers them, in the order of their making, which is that of their indices."""

    def __init__(self, faulty: Mapping[int, Faults] | None = None, length: int = 5) -> None:
        self.envs: list[ScriptedEnv] = []
        self._faulty = faulty or {}
        self._length = length

    def __call__(self, seed: int | None, render_mode: str | None = None) -> ScriptedEnv:
        env = ScriptedEnv(self._length, self._faulty.get(len(self.envs), Faults()), render_mode)
        self.envs.append(env)
        return env

    def mend(self) -> None:
        """Let all envs work from now on."""
        for env in self.envs:
            env.faults = Faults()


class Constant:
    """An agent that always returns the same action."""

    def __init__(self, action: object = 1) -> None:
        self.action = action

    def act(self, observations: Any, /) -> NDArray[Any]:
        while isinstance(observations, (dict, tuple)):
            observations = next(iter(observations.values() if isinstance(observations, dict) else observations))
        return np.array([self.action] * len(observations))


class Answer:
    """An agent that returns what a function makes of its observations."""

    def __init__(self, answer: Callable[[Any], object]) -> None:
        self._answer = answer

    def act(self, observations: Any, /) -> Any:
        return self._answer(observations)


def raising(error: BaseException, *, at_step: int = 1, in_episode: int | None = None) -> Fault:
    """Return a fault that raises in the given step of an episode (from 1), of any episode if none is given."""

    def fault(env: ScriptedEnv) -> object:
        if env.steps == at_step and in_episode in (None, env.episodes):
            raise error
        return GO_ON

    return fault


def returning(value: object, *, at_step: int = 1) -> Fault:
    """Return a fault that returns a value from the given step on."""
    return lambda env: value if env.steps >= at_step else GO_ON


def build(env: Any, **options: Any) -> AnyRunner:
    """Return a runner, without a word of the type checker about wrong options."""
    make: Any = GymRunner
    runner: AnyRunner = make(env, **options)
    return runner


def collected(error: Any) -> list[History]:
    """Return the histories of an error."""
    histories: list[History] = error.histories
    return histories


_FORGOTTEN: set[threading.Thread] = set()


def runnerkit_threads() -> list[str]:
    """Return the names of the threads of RunnerKit that are alive, less those that an earlier test complained of."""
    return [thread.name for thread in _alive() if thread not in _FORGOTTEN]


def wait_for_those_left_behind(runner: AnyRunner) -> None:
    """Wait until the threads that were left behind have ended, whose envs hang no more."""
    helpers = runner._parts.executor._helpers  # type: ignore[attr-defined]
    wait_for(lambda: not any(helper.loss is not None and helper._thread.is_alive() for helper in helpers))


def forget_threads() -> None:
    """Leave what is alive now out of `runnerkit_threads`, so that one test's fault is not that of the next."""
    _FORGOTTEN.update(_alive())


def _alive() -> list[threading.Thread]:
    # The watch is there from the first rollout to the last close; tests/test_deadlines.py looks after it.
    named = [thread for thread in threading.enumerate() if thread.name.startswith("runnerkit")]
    return [thread for thread in named if thread.name != "runnerkit-watch"]
