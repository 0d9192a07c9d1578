"""Envs that are no functions of their seed are named, and on what they depend."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from typing_extensions import override

from runnerkit.errors import EnvError
from runnerkit.testing import depends_on

WORDS = {"one", "two", "three", "four", "five", "six"}


class Depending(gymnasium.Env[Any, Any]):
    """Its reward depends on one thing more."""

    shared = 0

    def __init__(self, what: str) -> None:
        self.observation_space = spaces.Box(-9, 9, (1,))
        self.action_space = spaces.Discrete(5)
        self.what, self.count = what, 0

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self.np_random.normal(size=1).astype(np.float32), {}

    @override
    def step(self, action: Any) -> Any:
        self.count += 1
        Depending.shared += 1
        rewards: dict[str, Callable[[], float]] = {
            "nothing": lambda: 0.0,
            "random": random.random,
            "numpy": lambda: float(np.random.random()),
            "spaces": lambda: float(self.action_space.sample()),
            "clock": lambda: time.time() // 1000,
            "fraction": lambda: time.perf_counter() % 1,
            "pid": lambda: float(os.getpid()),
            "count": lambda: float(self.count),
            "shared": lambda: float(Depending.shared),
            "hashes": lambda: float(len(next(iter(WORDS)))) + sum(k * len(w) for k, w in enumerate(WORDS)),
        }
        reward = rewards[self.what]()
        return self.np_random.normal(size=1).astype(np.float32), reward, bool(self.np_random.random() < 0.1), False, {}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("nothing", []),
        ("random", ["the global generator of random"]),
        ("numpy", ["the global generator of numpy.random"]),
        ("spaces", ["its spaces' generators"]),
        ("clock", ["the clock"]),
        ("count", ["earlier episodes"]),
        ("shared", ["earlier envs"]),
        ("hashes", ["the order of hashes"]),
        ("fraction", ["the clock"]),
        ("pid", ["the process"]),
    ],
)
def test_it_is_named_on_what_an_env_depends(what: str, expected: list[str]) -> None:
    before = random.getstate(), time.time
    found = depends_on(lambda seed: Depending(what), steps=20)
    assert [one.what for one in found] == expected
    assert (random.getstate(), time.time) == before
    for one in found:
        assert f"It depends on {one.what}: in call " in str(one)


def test_an_env_that_fails_is_no_riddle() -> None:
    with pytest.raises(EnvError, match="Env 0 could not be checked: KeyError"):
        depends_on(lambda seed: Depending("nothing that it knows"), steps=20)
