"""An env that returns whatever it is told to, in a module of its own: helper processes import the one that it is in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from typing_extensions import override

BOX = spaces.Box(-1, 1, (3,), np.float32)


class Odd(gymnasium.Env[Any, Any]):
    """Episodes of three steps; passes all it returns through a function."""

    def __init__(
        self,
        space: spaces.Space[Any] = BOX,
        observe: Callable[[int], Any] = lambda t: np.full(3, t / 4, np.float32),
        reward: Callable[[float], Any] = float,
        flag: Callable[[bool], Any] = bool,
        info: Callable[[int], dict[str, Any]] = lambda t: {},
    ) -> None:
        self.observation_space = space
        self.action_space = spaces.Discrete(2)
        self._observe, self._reward, self._flag, self._info, self._t = observe, reward, flag, info, 0

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._t = 0
        return self._observe(0), self._info(0)

    @override
    def step(self, action: Any) -> Any:
        self._t += 1
        ends = self._t == 3
        return self._observe(self._t), self._reward(self._t), self._flag(ends), self._flag(False), self._info(self._t)
