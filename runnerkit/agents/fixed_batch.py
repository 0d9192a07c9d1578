"""An agent whose batches always have the same shape."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from runnerkit.agents.protocols import AnyAgent
from runnerkit.errors import ArgumentError

__all__ = ["FixedBatch"]


class FixedBatch:
    """Asks an agent for all envs at each step, so that its batches always have the same shape::

        runner.rollout(FixedBatch(policy, n_envs=8), steps=1000, min_batch=2)

    The last bits of a matrix product depend on the number of rows, and on which row it is. With this agent, row i of
    each batch belongs to env i. Rows of envs that are not asked for hold what was seen of them last; what the policy
    returns for these is dropped. So `min_batch` gives the bits of a rollout in lockstep with this agent.

    Args:
        agent: an object with `act(observations)`, or a function of observations. It must have no state per env.
        n_envs: the number of envs of the runner.

    """

    def __init__(self, agent: AnyAgent, n_envs: int) -> None:
        for method in ("begin_episodes", "set_active_envs", "set_rows"):
            if callable(getattr(agent, method, None)):
                raise ArgumentError(
                    f"FixedBatch needs an agent without state per env, but {type(agent).__name__} has {method}: it "
                    "would be asked for rows of envs that do not step."
                )
        act: Any = getattr(agent, "act", agent)
        self.n_envs: int = n_envs
        self._act: Callable[[Any], Any] = act
        self._active: list[int] = list(range(n_envs))
        self._batch: Any = None

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        """From now on, row i belongs to env `env_indices[i]`."""
        self._active = list(env_indices)

    def act(self, observations: Any, /) -> Any:
        """Return the agent's actions for these rows, and its extra columns, if it returns some."""
        if self._batch is None:
            self._batch = _each(observations, lambda rows: np.zeros((self.n_envs, *rows.shape[1:]), rows.dtype))
        _put(self._batch, self._active, observations)
        return _each(self._act(copy.deepcopy(self._batch)), lambda rows: rows[self._active])


def _each(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Change all arrays, and tensors, of a batch."""
    if isinstance(tree, dict):
        return {name: _each(part, change) for name, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_each(part, change) for part in tree)
    return change(np.asarray(tree) if isinstance(tree, list) else tree)


def _put(batch: Any, where: list[int], rows: Any) -> None:
    if isinstance(batch, dict):
        for name, part in batch.items():
            _put(part, where, rows[name])
    elif isinstance(batch, tuple):
        for part, more in zip(batch, rows, strict=True):
            _put(part, where, more)
    else:
        batch[where] = rows
