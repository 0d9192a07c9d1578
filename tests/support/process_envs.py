"""Envs that die, hang or raise on demand, in whatever process they live, for the tests of the process executor."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit.executors.seeds import SeedSchedule

RUN_SEED: Final = 5
SEEDS: Final = SeedSchedule(RUN_SEED)
INDEX: Final = {SEEDS.env_seed(i): i for i in range(64)}


def kill() -> None:
    """Die as of `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    """End the process in the middle of everything."""
    os._exit(3)


def crash() -> None:
    """Read what is not there, as a broken C extension might."""
    ctypes.string_at(0)


def fail() -> None:
    """Raise, and live on."""
    raise OSError("gone")


DEATHS: Final = {"SIGKILL": kill, "exit code 3": leave, "SIGSEGV": crash}
FAULTS: Final = {**DEATHS, "OSError": fail}


class MortalEnv(gymnasium.Env[NDArray[np.float64], np.int64]):
    """Counts steps and episodes; every episode has 4 steps. Dies at one place, in a helper process only."""

    def __init__(self, index: int, place: tuple[str, int, int, int], death: str) -> None:
        self.observation_space = spaces.Box(0, 1e6, (2,), np.float64)
        self.action_space = spaces.Discrete(3)
        self.render_mode = "rgb_array"
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 30}
        self.index, self.place, self.death = index, place, death
        self.episode, self.t = -1, 0
        self._pass("make")

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.episode, self.t = self.episode + 1, 0
        self._pass("reset")
        return self._look(), {}

    @override
    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        self._pass("step")
        return self._look(), float(action), self.t == 4, False, {"t": self.t}

    @override
    def render(self) -> Any:
        self._pass("render")
        return np.zeros((2, 2, 3), np.uint8)

    @override
    def close(self) -> None:
        self._pass("close")

    def _look(self) -> NDArray[np.float64]:
        return np.array([self.t, self.episode], np.float64)

    def _pass(self, what: str) -> None:
        where, index, episode, t = self.place
        reached = where in ("make", "close", "render") or (self.episode, self.t) == (episode, t)
        if what == where and self.index == index and reached:
            FAULTS[self.death]()


class Mortals:
    """Makes such envs, in whatever process; it is a helper process if its parent is the one that made this."""

    def __init__(self, where: str, index: int, episode: int = 0, t: int = 0, death: str = "SIGKILL") -> None:
        self.place, self.death, self.caller = (where, index, episode, t), death, os.getpid()

    def __call__(self, seed: int | None, render_mode: str | None = None) -> MortalEnv:
        assert seed is not None
        place = self.place if os.getppid() == self.caller else ("never", 0, 0, 0)
        return MortalEnv(INDEX[seed], place, self.death)


class Hanging(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Hangs in every step, of which a file in a folder may tell: its name is that of the process."""

    def __init__(self, env: gymnasium.Env[Any, Any], folder: Path | None = None) -> None:
        super().__init__(env)
        self._folder = folder

    @override
    def step(self, action: Any) -> Any:
        if self._folder is not None:
            (self._folder / str(os.getpid())).touch()
        time.sleep(1000)


class Sleeping(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Sleeps in one step of one env, of which a file in a folder may tell: its name is the env's index."""

    def __init__(
        self, seed: int, seconds: float, *, at_step: int = 6, env_index: int = 3, folder: Path | None = None
    ) -> None:
        super().__init__(Mortals("never", 0)(seed))
        self._steps, self._seconds = 0, seconds if INDEX[seed] == env_index else 0.0
        self._at_step = at_step
        self._told = folder / str(env_index) if folder and self._seconds else None

    @override
    def step(self, action: Any) -> Any:
        self._steps += 1
        if self._steps == self._at_step:
            if self._told is not None:
                self._told.touch()
            time.sleep(self._seconds)
        return super().step(action)
