"""Envs that end, block or fail as their seeds say, and an agent whose rows depend on themselves alone.

They are in a module of their own, as each actor imports the one that they are in: that of a test would cost it half of
the time that it takes to start.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from runnerkit.history import EpisodeStart
from runnerkit.typing import ActiveRows


class Walk(gymnasium.Env[NDArray[np.float32], np.int64]):
    """A random walk of 5 to 24 steps whose observations are large enough for the object store."""

    def __init__(self, size: int = 4, pause: float = 0.0) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._size, self._pause = size, pause

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._left = int(self.np_random.integers(5, 25))
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        time.sleep(self._pause)
        self._left -= 1
        over = self._left <= 0
        is_cut = bool(over and self.np_random.random() < 0.5)
        return self._observation(), float(action), over and not is_cut, is_cut, {"left": self._left}

    def _observation(self) -> NDArray[np.float32]:
        return self.np_random.standard_normal(self._size).astype(np.float32)


class Trap(Walk):
    """A walk on which some episodes end the process, hang or raise: always, or once.

    Args:
        worst: the seeds of these episodes, each with "die", "hang" or "raise".
        marks: a folder that notes what has happened, which then happens no more; None if it is to happen always.

    """

    def __init__(self, worst: Mapping[int | None, str], marks: Path | None = None) -> None:
        super().__init__()
        self._worst, self._marks = worst, marks

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        if seed in self._worst:
            strike(self._worst[seed], self._marks)
        return super().reset(seed=seed, options=options)


def strike(what: str, marks: Path | None) -> None:
    """End the process, hang or raise, unless a mark says that this has happened."""
    if marks is not None:
        if (marks / what).exists():
            return
        (marks / what).touch()
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(600)
    raise RuntimeError("a trap")


class Told(Walk):
    """Shows what it was made with."""

    def __init__(self, *of_it: int) -> None:
        super().__init__()
        self._of_it = np.array(of_it, np.float32)

    def _observation(self) -> NDArray[np.float32]:
        return self._of_it


def walk(seed: int | None) -> Walk:
    return Walk()


def large(seed: int | None) -> Walk:
    return Walk(size=2**15)


def slow(seed: int | None) -> Walk:
    return Walk(pause=0.002)


def told(seed: int, env_index: int, n_envs: int) -> Told:
    return Told(seed % 1000, env_index, n_envs, 0)


def chosen_starts(env_index: int, episode_index: int) -> EpisodeStart:
    return EpisodeStart(seed=1000 * env_index + episode_index, options={"k": episode_index})


class Thresholds:
    """Acts by weights, noise that belongs to the row, and what it remembers of the episode."""

    def __init__(self) -> None:
        self._w: Any = 1.0
        self._memory: dict[int, float] = {}
        self._envs: list[int] = [0]

    def set_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._w = weights["w"]

    def set_rows(self, rows: ActiveRows) -> None:
        self._rows = rows

    def set_active_envs(self, env_indices: list[int]) -> None:
        self._envs = list(env_indices)

    def begin_episodes(self, env_indices: list[int]) -> None:
        self._memory |= dict.fromkeys(env_indices, 0.0)

    def act(self, observations: NDArray[np.float32]) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
        noise = self._rows.standard_normal(2)
        score = (observations.reshape(len(observations), -1)[:, :2] * self._w + noise).sum(axis=1)
        score += [self._memory[i] for i in self._envs]
        for i, one in zip(self._envs, score.tolist(), strict=True):
            self._memory[i] = 0.5 * one
        return (score > 0).astype(np.int64), {"score": score}
