"""Agents in an actor: what they are told of is the whole run, of which the actor's runner knows one env."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from runnerkit.errors import ArgumentError
from runnerkit.typing import ActiveRows, SupportsBeginEpisodes, SupportsSetActiveEnvs, SupportsSetRows

__all__ = ["RowAgent", "SupportsSetWeights", "placed"]


@runtime_checkable
class SupportsSetWeights(Protocol):
    """An agent whose weights can be set, as `RayRunner.set_weights` does on all actors::

        def set_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
            self._w = weights["w"]

    The arrays are read-only, as all actors of a machine share them.
    """

    def set_weights(self, weights: Mapping[str, NDArray[Any]], /) -> None:
        """Take these weights."""
        ...


class RowAgent:
    """Samples actions at random, with numbers that follow from run, env, episode and step::

        agent = RowAgent(runner.action_space)
        runner.rollout(agent, episodes=20)

    `runnerkit.RandomAgent` goes on where it stopped, and so cannot begin in the middle of a run. This agent draws the
    same actions in a `RayRunner` as in a `GymRunner`.

    Args:
        action_space: the space of one action, `runner.action_space`.

    """

    def __init__(self, action_space: Space[Any]) -> None:
        self.action_space: Space[Any] = action_space
        self._rows: ActiveRows | None = None

    def set_rows(self, rows: ActiveRows, /) -> None:
        """Learn where the random numbers come from."""
        self._rows = rows

    def act(self, observations: Any, /) -> Any:
        """Return one action per row."""
        del observations
        rows, space = self._rows, self.action_space
        if rows is None:
            raise ArgumentError("RowAgent draws numbers for the rows of a runner: pass it to rollout or collect.")
        if isinstance(space, spaces.Discrete):
            return (rows.random(1)[:, 0] * space.n).astype(np.int64) + int(space.start)
        seeds = (rows.random(1)[:, 0] * 2.0**53).astype(np.int64)
        return _stacked(space, [_sampled(space, seed) for seed in seeds.tolist()])


def _sampled(space: Space[Any], seed: int) -> Any:
    space.seed(seed)
    return space.sample()


def _stacked(space: Space[Any], actions: list[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {name: _stacked(part, [action[name] for action in actions]) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_stacked(part, [action[k] for action in actions]) for k, part in enumerate(space.spaces))
    return np.stack(actions) if isinstance(actions[0], np.ndarray | np.generic) else actions


def placed(agent: object, seed: int, n_envs: int, env_index: int, shift: int) -> object:
    """Return an agent for a runner of one env, that tells `agent` which env of the run it is.

    `shift` is how much higher than in the runner the episodes count.
    """
    told = (SupportsSetRows, SupportsSetActiveEnvs, SupportsBeginEpisodes)
    if not isinstance(agent, told):
        return agent
    return _Placed(agent, seed, n_envs, env_index, shift)


class _Placed:
    """Stands between a runner of one env and an agent that wants to know which env it is."""

    def __init__(self, agent: Any, seed: int, n_envs: int, env_index: int, shift: int) -> None:
        self._agent, self._env_index, self._shift = agent, env_index, shift
        self._ask = agent.act if hasattr(agent, "act") else agent
        self._local: ActiveRows | None = None
        self._rows: ActiveRows | None = None
        if isinstance(agent, SupportsSetRows):
            self._rows = ActiveRows(seed, n_envs)
            agent.set_rows(self._rows)

    def set_rows(self, rows: ActiveRows, /) -> None:
        self._local = rows

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        if isinstance(self._agent, SupportsSetActiveEnvs):
            self._agent.set_active_envs([self._env_index for _ in env_indices])

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        if isinstance(self._agent, SupportsBeginEpisodes):
            self._agent.begin_episodes([self._env_index for _ in env_indices])

    def act(self, observations: Any, /) -> Any:
        rows, local, i = self._rows, self._local, self._env_index
        if rows is not None and local is not None:
            episode = local.episode_of(0) + self._shift
            if rows.episode_of(i) != episode:
                rows.begin(i, episode, 0)
            rows.turn_to([i], local.steps)
        return self._ask(observations)
