"""An env that fails in one place, in any of the ways in which envs fail, and is a function of its seed otherwise."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit.executors import SeedSchedule

RUN_SEED: Final = 3
SEEDS: Final = SeedSchedule(RUN_SEED)
N_ENVS: Final = 3
FAULTY: Final = 1
"""The env that fails."""


class TwoArguments(Exception):
    """Cannot be made again of its args."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what)
        self.number = number


class Unpicklable(Exception):
    """Holds what no other process can have."""

    def __init__(self) -> None:
        super().__init__("unpicklable")
        self.held = (number for number in range(3))


def raising(error: Callable[[], BaseException]) -> Callable[[], object]:
    """Return what raises."""

    def fault() -> object:
        raise error()

    return fault


def hang() -> object:
    """Do not return for longer than any test takes."""
    time.sleep(30)
    return None


NO_TUPLE: Final = object()

WAYS: Final[dict[str, Callable[[], object]]] = {
    "raises": raising(lambda: OSError("broken")),
    "two arguments": raising(lambda: TwoArguments("broken", 2)),
    "unpicklable": raising(Unpicklable),
    "MemoryError": raising(MemoryError),
    "SystemExit": raising(lambda: SystemExit(3)),
    "KeyboardInterrupt": raising(KeyboardInterrupt),
    "wrong shape": lambda: np.zeros(5, np.float32),
    "wrong dtype": lambda: np.array(["a", "b"]),
    "not a tuple": lambda: NO_TUPLE,
    "NaN": lambda: (np.full(2, np.nan, np.float32), np.nan, False, False, {}),
    "NaN reward": lambda: (np.zeros(2, np.float32), "much", False, False, {}),
    "hangs": hang,
    "os._exit": lambda: os._exit(3),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
}


def fork() -> None:
    """Have a child that ends at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, if there are threads
        pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


HARMLESS: Final[dict[str, Callable[[ZooEnv], object]]] = {
    "writes into its observation": lambda env: env.shown.fill(-1),
    "returns one buffer": lambda env: setattr(env, "buffer", env.shown),
    "closes itself": lambda env: env.close(),
    "forks": lambda env: fork(),
    "starts a daemon": lambda env: setattr(env, "daemon", subprocess.Popen(["sleep", "60"])),
}
"""Ways that are no fault, as nothing is lost."""


@dataclass(frozen=True)
class Place:
    """Where the env fails: the call ("make", "reset", "step", ...), the episode, and the step (from 1)."""

    call: str
    episode: int = 1
    step: int = 2


class ZooEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Ends after 3 to 6 steps; what it shows is a function of its seed and the actions."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, index: int, fault: tuple[str, Place] | None) -> None:
        self.observation_space = spaces.Box(-1e6, 1e6, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.render_mode = "rgb_array"
        self.index, (self.way, self.place) = index, fault or ("", Place("never"))
        self.episodes = {SEEDS.episode_seed(index, k): k for k in range(100)}
        self.episode, self.t = -1, 0
        self.shown: NDArray[np.float32] = np.zeros(2, np.float32)
        self.buffer: NDArray[np.float32] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None
        self._fail("make")

    def _fail(self, call: str) -> Any:
        place = self.place
        if call != place.call:
            return None
        if call in ("reset", "step", "render") and self.episode != place.episode:
            return None
        if call in ("step", "render") and self.t != place.step:
            return None
        if self.way in HARMLESS:
            HARMLESS[self.way](self)
            return None
        return WAYS[self.way]()

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        assert seed is not None
        self.random, self.episode, self.t = np.random.default_rng(seed), self.episodes[seed], 0
        self.length = int(self.random.integers(3, 7))
        instead = self._fail("reset")
        return (self._look(), {"episode": self.episode}) if instead is None else (instead, {})

    @override
    def step(self, action: np.int64) -> Any:
        self.t += 1
        instead = self._fail("step")
        if instead is not None:
            return (
                None
                if instead is NO_TUPLE
                else instead
                if isinstance(instead, tuple)
                else (instead, 0.0, False, False, {})
            )
        return self._look(), float(self.random.random() + action), self.t == self.length, False, {"t": self.t}

    @override
    def render(self) -> Any:
        self._fail("render")
        return np.full((4, 6, 3), self.t, np.uint8)

    @override
    def close(self) -> None:
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
        self._fail("close")

    def _look(self) -> NDArray[np.float32]:
        self.shown = np.array([self.t, self.random.random()], np.float32)
        if self.buffer is not None:
            self.buffer[:] = self.shown
            self.shown = self.buffer
        return self.shown


def zoo(way: str = "raises", place: Place | None = None) -> Any:
    """Return a factory of zoo envs, of which one fails; without a place, none does."""
    return zoo_of({} if place is None else {FAULTY: (way, place)})


def zoo_of(faults: Mapping[int, tuple[str, Place]]) -> Any:
    """Return a factory of zoo envs, and say which of them fail, and how."""

    def make(seed: int | None, env_index: int, render_mode: str = "rgb_array") -> ZooEnv:
        assert render_mode == "rgb_array"
        return ZooEnv(env_index, faults.get(env_index))

    return make


def act(observations: NDArray[np.float32]) -> NDArray[np.int64]:
    """Act on what is seen, row by row, so that no env has to do with another one."""
    actions: NDArray[np.int64] = (
        np.nan_to_num(observations.reshape(len(observations), -1).sum(axis=1) * 100).astype(np.int64) % 3
    )
    return actions
