"""Measuring how long the calls of envs take, for `timings=True`."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Protocol

from runnerkit.records import EnvTimings

__all__ = ["EnvClock", "SupportsStep"]


class SupportsStep(Protocol):
    """What steps an env: the env, or what stands before it."""

    def step(self, action: Any, /) -> Any:
        """Return (observation, reward, terminated, truncated, info)."""
        ...


class EnvClock:
    """Measures the calls of one env."""

    def __init__(self, env_index: int) -> None:
        self._i = env_index
        self._worker = _this_worker()
        self._forget()

    def _forget(self) -> None:
        self.steps: int = 0
        self.step_seconds: float = 0.0
        self._resets, self._reset_seconds = 0, 0.0

    def around(self, env: SupportsStep) -> SupportsStep:
        """Return what steps the env and measures it, for the thread that asks."""
        self._worker = _this_worker()
        return _ClockedEnv(env, self)

    def reset(self, env: Any, seed: int | None, options: dict[str, Any] | None) -> Any:
        """Reset the env."""
        began = time.perf_counter()
        try:
            return env.reset(seed=seed, options=options)
        finally:
            self._resets += 1
            self._reset_seconds += time.perf_counter() - began

    def note(self, seconds: float, *, is_step: bool) -> None:
        """Add a call that was measured elsewhere, by the thread that asks."""
        self._worker = _this_worker()
        if is_step:
            self.steps, self.step_seconds = self.steps + 1, self.step_seconds + seconds
        else:
            self._resets, self._reset_seconds = self._resets + 1, self._reset_seconds + seconds

    def take(self) -> EnvTimings:
        """Return, and forget, what was measured since the last call."""
        found = EnvTimings(self._i, self._worker, self.steps, self.step_seconds, self._resets, self._reset_seconds)
        self._forget()
        return found


class _ClockedEnv:
    def __init__(self, env: SupportsStep, clock: EnvClock) -> None:
        self._env, self._clock = env, clock

    def step(self, action: Any, /) -> Any:
        began = time.perf_counter()
        try:
            return self._env.step(action)
        finally:
            self._clock.step_seconds += time.perf_counter() - began
            self._clock.steps += 1


def _this_worker() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()
