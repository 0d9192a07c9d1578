"""Envs, agents and comparisons that the tests share.

`SampleEnv` speaks any spaces and is a pure function of its reset seed, options and actions; `follow` is a plain
Gymnasium loop that repeats what a runner recorded and knows nothing of RunnerKit but the names in a history.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Space, spaces
from gymnasium.spaces.utils import flatten_space
from hypothesis import strategies as st
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import RandomAgent
from runnerkit._core.comparing import digest, exact, row_of
from runnerkit.testing.samples import SPACES, HashAgent, SampleEnv
from runnerkit.typing import AnyEnv

__all__ = [
    "ALL_SPACES",
    "ARRAY_SPACES",
    "SPACES",
    "CountingEnv",
    "HashAgent",
    "RecyclingAgent",
    "RecyclingEnv",
    "SampleEnv",
    "ScriptedEnv",
    "ZeroAgent",
    "any_space",
    "digest",
    "exact",
    "follow",
    "is_flattenable",
    "row_of",
    "summary",
]

# ---- spaces

ALL_SPACES: Sequence[str] = tuple(SPACES)

ARRAY_SPACES: Sequence[str] = tuple(
    name
    for name, space in SPACES.items()
    if isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete))
)


def any_space() -> st.SearchStrategy[Space[Any]]:
    """Draw one of `SPACES`, or a Dict or Tuple of a few."""
    leaves = st.sampled_from(list(SPACES.values()))
    return st.one_of(
        leaves,
        st.lists(leaves, min_size=1, max_size=3).map(lambda subs: spaces.Tuple(copy.deepcopy(subs))),
        st.dictionaries(st.sampled_from("abc"), leaves, min_size=1, max_size=3).map(
            lambda subs: spaces.Dict(copy.deepcopy(subs))
        ),
    )


def is_flattenable(space: Space[Any]) -> bool:
    """Return whether Gymnasium flattens a space; it says so of empty Tuples, but does not."""
    try:
        flatten_space(space)
    except ValueError:
        return False
    return space.is_np_flattenable


# ---- comparing


def summary(history: Any) -> dict[str, Any]:
    """Return all that a column history holds in a form that `==` compares bit by bit."""
    return {
        "observations": exact(history.observations),
        "actions": exact(history.actions),
        "env_actions": exact(history.env_actions),
        "rewards": exact(history.rewards),
        "terminated": exact(history.terminated),
        "truncated": exact(history.truncated),
        "next_observations": exact(history.next_observations),
        "raw_observations": exact(history.raw_observations),
        "bootstrap": exact(history.bootstrap),
        "last_observations": exact(history.last_observations),
        "episodes": list(history.episodes),
        "infos": {row: exact(info) for row, info in history.infos.items()},
        "reset_infos": {row: exact(info) for row, info in history.reset_infos.items()},
    }


def follow(make_env: Callable[[], AnyEnv], rollouts: Sequence[Any], *, infos: bool = False) -> int:
    """Repeat one env's consecutive histories in a plain loop and compare every bit; return how many steps.

    All that is taken from the histories beforehand is the seeds, the options and the actions.
    """
    env = make_env()
    observation: Any = None
    terminated = truncated = False
    steps = 0
    for history in rollouts:
        observations, actions, after = history.observations, history.env_actions, history.next_observations
        for episode in history.episodes:
            if not episode.continued:
                observation, info = env.reset(seed=episode.seed, options=episode.options)
                if infos:
                    assert exact(history.reset_infos.get(episode.start, {})) == exact(info)
            for t in range(episode.start, episode.start + episode.length):
                assert exact(row_of(observations, t)) == exact(observation), f"observation {t}"
                observation, reward, terminated, truncated, info = env.step(row_of(actions, t))
                assert float(history.rewards[t]).hex() == float(reward).hex(), f"reward {t}"
                assert bool(history.terminated[t]) == bool(terminated), f"terminated {t}"
                assert bool(history.truncated[t]) == bool(truncated), f"truncated {t}"
                assert exact(row_of(after, t)) == exact(observation), f"next observation {t}"
                if infos:
                    assert exact(history.infos.get(t, {})) == exact(info), f"info {t}"
                steps += 1
            assert episode.complete == bool(terminated or truncated)
        assert sum(episode.length for episode in history.episodes) == len(history)
    env.close()
    return steps


# ---- envs


class RecyclingEnv(gymnasium.Env[Any, Any]):
    """Has one buffer of each kind, which it overwrites and returns at every step; it also spoils its actions."""

    observation_space: Space[Any] = spaces.Dict(
        x=spaces.Box(-1e9, 1e9, (2,), np.float64), g=spaces.Sequence(spaces.Box(-1e9, 1e9, (1,)), stack=True)
    )
    action_space: Space[Any] = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self) -> None:
        self._observation: dict[str, NDArray[Any]] = {"x": np.zeros(2), "g": np.zeros((3, 1), np.float32)}
        self._info: dict[str, Any] = {"at": np.zeros(1), "list": []}
        self._t = 0

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._t = 0
        return self._turn()

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._t += 1
        reward = float(np.abs(action).sum())
        action[...] = 99.0
        observation, info = self._turn()
        return observation, reward, self._t % 5 == 0, False, info

    def _turn(self) -> tuple[Any, dict[str, Any]]:
        fill = float(self.np_random.integers(10**6))
        self._observation["x"][...] = fill
        self._observation["g"][...] = fill
        self._info["at"][...] = fill
        self._info["list"].append(self._t)
        return self._observation, self._info


class ScriptedEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Counts its steps in its observation; episodes have the lengths of a script, one after the other.

    Every other episode is truncated. It notes the seeds and options it is reset with.
    """

    observation_space: Space[Any] = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space: Space[Any] = spaces.Discrete(2)

    def __init__(self, lengths: Sequence[int] = (3,)) -> None:
        self._lengths = lengths
        self.episode = -1
        self.resets: list[tuple[int | None, Any]] = []

    @override
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.resets.append((seed, options))
        self.episode += 1
        self._t = 0
        return self._observe(), {"episode": self.episode}

    @override
    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self._t += 1
        over = self._t >= self._lengths[self.episode % len(self._lengths)]
        truncates = self.episode % 2 == 1
        return self._observe(), float(self._t), over and not truncates, over and truncates, {}

    def _observe(self) -> NDArray[np.float32]:
        return np.array([self.episode, self._t], np.float32)


class CountingEnv(gymnasium.Env[NDArray[np.float64], np.int64]):
    """One long episode after the other, `length` steps each, of `[size]` float64 that are equal to the step."""

    action_space: Space[Any] = spaces.Discrete(2)

    def __init__(self, size: int, length: int) -> None:
        self.observation_space = spaces.Box(0.0, np.inf, (size,), np.float64)
        self._observation = np.zeros(size)
        self._length = length

    @override
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        self._observation[...] = 0.0
        return self._observation, {}

    @override
    def step(self, action: np.int64) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        self._observation += 1.0
        return self._observation, 1.0, bool(self._observation[0] >= self._length), False, {}


# ---- agents


class RecyclingAgent:
    """Spoils the observations that it gets and writes all its actions into one buffer, spoilt when asked again."""

    def __init__(self, action_space: spaces.Box, seed: int, n_envs: int) -> None:
        self._inner = RandomAgent(action_space, seed)
        self._inner.set_active_envs(range(n_envs))
        self._buffer = np.zeros((n_envs, *action_space.shape), action_space.dtype)

    def act(self, observations: Any, /) -> NDArray[Any]:
        """Return the buffer."""
        self._buffer[...] = self._inner.act(observations)
        for batch in observations.values() if isinstance(observations, dict) else [observations]:
            if isinstance(batch, np.ndarray):
                batch[...] = -1
            else:
                for sample in batch:
                    sample[...] = -1
                batch.clear()
        return self._buffer


class ZeroAgent:
    """Chooses action 0 of a Discrete space, and remembers what it was told and shown."""

    def __init__(self) -> None:
        self.begun: list[list[int]] = []
        self.active: list[list[int]] = []
        self.calls: list[tuple[str, list[int]]] = []
        self.seen: list[NDArray[Any]] = []

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        self.begun.append(list(env_indices))
        self.calls.append(("begin", list(env_indices)))

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        self.active.append(list(env_indices))
        self.calls.append(("active", list(env_indices)))

    def act(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
        self.calls.append(("act", []))
        self.seen.append(observations.copy())
        return np.zeros(len(observations), np.int64)
