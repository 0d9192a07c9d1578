"""Spaces of every kind, an env that speaks any of them, and an agent that acts in any of them."""

from __future__ import annotations

import copy
import string
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Space, spaces
from typing_extensions import override

from runnerkit._core.comparing import digest, row_of

__all__ = ["SPACES", "HashAgent", "SampleEnv"]

_BOOL: Any = np.bool_  # Gymnasium takes it, but its annotations do not say so
_FLOAT = spaces.Box(-1.0, 1.0, (3,), np.float32)
_CHARACTERS = string.digits + string.ascii_letters  # in order: Gymnasium 1.3 draws from its own in the order of hashes

SPACES: Mapping[str, Space[Any]] = {
    "float32": _FLOAT,
    "float64": spaces.Box(-2.0, 2.0, (2, 2), np.float64),
    "float16": spaces.Box(-1.0, 1.0, (4,), np.float16),
    "one number": spaces.Box(-2.0, 2.0, (1,), np.float32),
    "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float64),
    "image": spaces.Box(0, 255, (4, 3, 3), np.uint8),
    "int8": spaces.Box(-5, 5, (3,), np.int8),
    "int64": spaces.Box(-(2**63), 2**63 - 1, (2,), np.int64),
    "bool": spaces.Box(0, 1, (3,), _BOOL),
    "scalar": spaces.Box(-1.0, 1.0, (), np.float32),
    "integer scalar": spaces.Box(0, 9, (), np.int32),
    "nothing": spaces.Box(0.0, 1.0, (0,), np.float32),
    "Discrete": spaces.Discrete(4),
    "Discrete from -3": spaces.Discrete(7, start=-3),
    "Discrete of int8": spaces.Discrete(120, start=-3, dtype=np.int8),
    "Discrete of uint8": spaces.Discrete(200, start=50, dtype=np.uint8),
    "MultiBinary": spaces.MultiBinary(5),
    "MultiBinary of two axes": spaces.MultiBinary((2, 3)),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2, 5], dtype=np.int32),
    "MultiDiscrete of two axes": spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]), start=np.array([[1, 1], [-2, 0]])),
    "Text": spaces.Text(min_length=0, max_length=5, charset=_CHARACTERS),
    "Graph": spaces.Graph(spaces.Box(0.0, 1.0, (2,)), spaces.Discrete(3)),
    "Graph without edges": spaces.Graph(spaces.Discrete(4), None),
    "Sequence": spaces.Sequence(spaces.Discrete(3)),
    "Sequence, stacked": spaces.Sequence(spaces.Box(0.0, 1.0, (2,)), stack=True),
    "OneOf": spaces.OneOf((spaces.Discrete(2), spaces.Box(0.0, 1.0, (2,)))),
    "Dict": spaces.Dict(z=spaces.Discrete(3), a=spaces.Box(0, 255, (2,), np.uint8)),
    "Tuple": spaces.Tuple((spaces.Box(-1.0, 1.0, (), np.float64), spaces.MultiBinary(2))),
    "Dict of objects": spaces.Dict(words=spaces.Text(3, charset=_CHARACTERS), pose=_FLOAT),
    "nested": spaces.Dict(
        left=spaces.Tuple((spaces.Discrete(2), spaces.Dict(deep=spaces.Box(-1, 1, (2, 1), np.float16)))),
        none=spaces.Tuple(()),
        right=spaces.OneOf((spaces.Discrete(2), spaces.Text(2, charset=_CHARACTERS))),
    ),
}
"""One space of each kind that Gymnasium has, and of each dtype that matters, by a name that says which."""


class SampleEnv(gymnasium.Env[Any, Any]):
    """Random observations of any space and episodes of random lengths that end in all ways.

    What it returns depends on the reset seed and on every bit of every action since. `options={"length": n}`
    sets the length of an episode. Infos are empty at every other step.
    """

    def __init__(self, observation_space: Space[Any], action_space: Space[Any], longest: int = 7) -> None:
        self.observation_space: Space[Any] = copy.deepcopy(observation_space)
        self.action_space: Space[Any] = copy.deepcopy(action_space)
        self._longest = longest

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        length = int(self.np_random.integers(1, self._longest + 1))
        self._left = (options or {}).get("length", length)
        self._ends = self.np_random.choice([(True, False), (False, True), (True, True)])
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample(), {"length": self._left} if self._left % 2 else {}

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._left -= 1
        heard = digest(action)
        self.observation_space.seed(int(self.np_random.integers(2**31)) ^ (heard >> 1))
        terminated, truncated = self._ends if self._left == 0 else (False, False)
        info = {"left": self._left, "heard": np.array([heard])} if self._left % 2 else {}
        reward = float(self.np_random.normal()) + heard / 2**32
        return self.observation_space.sample(), reward, bool(terminated), bool(truncated), info


class HashAgent:
    """Its action for a row is a function of the bits of that row, and of nothing else: it has no memory."""

    def __init__(self, action_space: Space[Any]) -> None:
        self._space = copy.deepcopy(action_space)

    def choose(self, observation: Any) -> Any:
        """Return the action for one observation."""
        self._space.seed(digest(observation))
        return self._space.sample()

    def act(self, observations: Any, /) -> list[Any]:
        """Return one action per row."""
        batch = observations
        while not isinstance(batch, (list, np.ndarray)):
            batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
        return [self.choose(row_of(observations, i)) for i in range(len(batch))]
