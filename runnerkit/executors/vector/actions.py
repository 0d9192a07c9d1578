"""The actions of a vector env, which always steps all its envs: the agent's, and some action for idle envs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column, Layout

__all__ = ["Actions"]


class Actions:
    """Batches of actions in the form of the env's action space."""

    def __init__(self, layout: Layout, n_envs: int) -> None:
        self._layout, self._n = layout, n_envs
        space = copy.deepcopy(layout.space)
        space.seed(0)
        self._idle: list[Any] = layout.split(space.sample())  # always the same valid action

    def idle(self) -> Column:
        """Return a batch of valid actions, the same for all envs; only of a space that is one array."""
        return np.array([self._idle[0]] * self._n, self._layout.leaves[0].dtype)

    def batch(self, columns: Sequence[Column], at: int, idle: NDArray[np.intp]) -> Any:
        """Return the actions of row `at`, with any valid action for the envs in `idle`."""
        values: list[Any] = []
        for column, leaf, any_action in zip(columns, self._layout.leaves, self._idle, strict=True):
            batch = column[at].copy()
            if len(idle):
                if leaf.is_object:
                    for i in idle:
                        batch[i] = any_action
                else:
                    batch[idle] = any_action
            values.append(copy.deepcopy(tuple(batch)) if leaf.is_object else batch)
        return values[0] if self._layout.is_single else self._layout.join(values)
