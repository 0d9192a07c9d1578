"""State per env: to which env each row belongs, and in which envs an episode begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column
from runnerkit.errors import ArgumentError

__all__ = ["PerEnv"]


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

    def episode_state(self) -> dict[str, Any]:
        """Return the state of the running episodes, as numbers and nested lists."""
        return {"begins": self._begins.tolist(), "tables": [table.tolist() for table in self._tables()]}

    def load_episode_state(self, state: Mapping[str, Any], /) -> None:
        """Load what `episode_state` returned, into a processor that is bound to the same space."""
        begins, tables = np.array(state["begins"], np.bool_), self._tables()
        loaded = [np.array(new, old.dtype) for new, old in zip(state["tables"], tables, strict=True)]
        for new, old in zip(loaded, tables, strict=True):
            if new.size != len(begins) * np.prod(old.shape[1:]):
                raise ArgumentError(
                    f"{type(self).__name__} has {len(begins)} rows of shape {old.shape[1:]}, but this state has "
                    f"{new.shape}. Load it into a processor of the same env and options."
                )
        self._begins = begins
        self._set_tables([new.reshape(len(begins), *old.shape[1:]) for new, old in zip(loaded, tables, strict=True)])

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
            self._set_tables([_longer(table, n_envs) for table in self._tables()])

    def _tables(self) -> list[Column]:
        """Return the tables of state, each with one row per env."""
        raise NotImplementedError

    def _set_tables(self, tables: Sequence[Column]) -> None:
        """Put others in their place."""
        raise NotImplementedError


def _longer(table: Column, n: int) -> Column:
    """Return a table with more rows, which are zero."""
    grown = np.zeros((n, *table.shape[1:]), table.dtype)
    grown[: len(table)] = table
    return grown
