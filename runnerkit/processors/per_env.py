"""State per env: to which env each row belongs, and in which envs an episode begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column

__all__ = ["PerEnv", "longer"]


class PerEnv:
    """Knows to which env each row belongs, and in which envs an episode begins.

    Without a runner that tells it, row i belongs to env i, whose first episode begins with its first row.
    """

    def __init__(self) -> None:
        self._active: NDArray[np.intp] | None = None
        self._begins: NDArray[np.bool_] = np.ones(0, np.bool_)

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        """From now on, row i belongs to env `env_indices[i]`."""
        self._active = np.array(env_indices, np.intp)
        self._make_room(max(env_indices, default=-1) + 1)

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        """Forget the last episode of these envs."""
        self._make_room(max(env_indices, default=-1) + 1)
        self._begins[list(env_indices)] = True

    def _rows(self, n: int) -> NDArray[np.intp]:
        """Return the env of each of n rows."""
        if self._active is None:
            self._make_room(n)
            return np.arange(n)
        if len(self._active) != n:
            raise ValueError(f"there are {n} rows for the {len(self._active)} envs of set_active_envs")
        return self._active

    def _take_begins(self, envs: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of these envs begin an episode with the row at hand; the next row goes on with it."""
        begins = self._begins[envs]
        self._begins[envs] = False
        return begins

    def _make_room(self, n_envs: int) -> None:
        more = n_envs - len(self._begins)
        if more > 0:
            self._begins = np.concatenate([self._begins, np.ones(more, np.bool_)])
            self._grow(n_envs)

    def _grow(self, n_envs: int) -> None:
        """Make the tables of state as long as there are envs."""
        raise NotImplementedError


def longer(table: Column, n: int) -> Column:
    """Return a table with more rows, which are zero."""
    grown = np.zeros((n, *table.shape[1:]), table.dtype)
    grown[: len(table)] = table
    return grown
