"""Envs that are hard to step together: uneven ones, slow resets, and envs that wait for something outside.

`bench_envs:Uneven-v0` and the like make them, where this folder is on the path.
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

_EPISODE = 50


class Timed(gymnasium.Env[NDArray[np.float32], np.int64]):
    """An env whose calls take time, drawn from its own generator, so that nothing but its seed decides on it."""

    observation_space: gymnasium.Space[NDArray[np.float32]] = gymnasium.spaces.Box(0, 1, (4,), np.float32)
    action_space: gymnasium.Space[np.int64] = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        """Take nothing: without this, Python's words about `frameskip` are not those that TorchRL knows."""
        self._steps = 0

    @override
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        self.spend_reset()
        return self._observe(), {}

    @override
    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self._steps += 1
        self.spend_step()
        return self._observe(), 1.0, self._steps == _EPISODE, False, {}

    def _observe(self) -> NDArray[np.float32]:
        return self.np_random.random(4, np.float32)

    def spend_reset(self) -> None:
        """Take the time of a reset."""

    def spend_step(self) -> None:
        """Take the time of a step."""


class Uneven(Timed):
    """Steps compute for an exponential time, of 200 microseconds on average."""

    @override
    def spend_step(self) -> None:
        end = time.perf_counter() + self.np_random.exponential(200e-6)
        while time.perf_counter() < end:
            pass


class SlowReset(Timed):
    """Steps wait for a millisecond, resets for 20."""

    @override
    def spend_reset(self) -> None:
        time.sleep(20e-3)

    @override
    def spend_step(self) -> None:
        time.sleep(1e-3)


class FreeReset(SlowReset):
    """What `SlowReset` would be if nobody had to wait for its resets."""

    @override
    def spend_reset(self) -> None:
        pass


class Waiting(Timed):
    """Steps wait for an exponential time, of 4 milliseconds on average."""

    @override
    def spend_step(self) -> None:
        time.sleep(self.np_random.exponential(4e-3))


for _name in ("Uneven", "SlowReset", "FreeReset", "Waiting"):
    gymnasium.register(f"{_name}-v0", f"{__name__}:{_name}", disable_env_checker=True, order_enforce=False)
