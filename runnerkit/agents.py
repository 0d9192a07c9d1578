"""Agents that need no learning."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import batch_space

from runnerkit.errors import ArgumentError
from runnerkit.spaces import Column, Layout, Leaf

__all__ = ["RandomAgent"]

_MANY = 1024  # actions drawn at once: a draw costs about as much as ten single samples
_FEW = 16  # of objects, which are sampled one by one anyway
_MOST_BYTES = 2**20  # of the actions drawn at once, unless one alone is larger


class RandomAgent:
    """Samples actions, with one random stream per env::

        agent = RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=1000)

    The k-th action of env i depends on (seed, i, k) only: not on how many envs there are, nor on which others
    are active. Actions are distributed as those of `action_space.sample()`; they are drawn many at a time.

    Args:
        action_space: of one action, `runner.action_space`.
        seed: a whole number of at least 0; None draws one.

    """

    def __init__(self, action_space: Space[Any], seed: int | None = None) -> None:
        if not isinstance(action_space, Space):
            raise ArgumentError(
                f"RandomAgent needs a gymnasium Space such as runner.action_space, not {action_space!r}."
            )
        self.action_space: Space[Any] = action_space
        self.seed: int = _checked(seed)
        self._layout = Layout(action_space, "action")
        self._chunk: int = _chunk(self._layout)
        self._batched: Space[Any] = batch_space(action_space, self._chunk)
        self._taken: dict[int, int] = {}
        self._active: list[int] = []
        self._told: bool = False
        self._table: list[Column] = []
        self._next = self._length = 0

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        """Row i belongs to env `env_indices[i]` from now on; to env i if this is never called."""
        self._told = True
        self._turn_to(list(env_indices))

    def act(self, observations: Any, /) -> Any:
        """Return one random action per row; raises ArgumentError where they are not those of the active envs."""
        n = _rows(observations)
        if not self._told:
            if not n:
                raise ArgumentError(
                    f"RandomAgent finds no rows to count in {observations!r}. Call set_active_envs(range(n)) first."
                )
            if n != len(self._active):
                self._turn_to(list(range(n)))
        elif n is not None and n != len(self._active):
            raise ArgumentError(
                f"RandomAgent acts for the {len(self._active)} envs of set_active_envs, not for {n} rows. "
                f"Call set_active_envs(range({n})), or use a new agent."
            )
        if self._next == self._length:
            self._refill(self._active)
        row = self._next
        self._next += 1
        return self._layout.batch(self._table, row)

    def _turn_to(self, active: list[int]) -> None:
        if active != self._active:
            self._put_back()
            self._active = active

    def _put_back(self) -> None:
        """Count what was taken from the table, and forget the rest of it."""
        for i in self._active:
            self._taken[i] = self._taken.get(i, 0) + self._next
        self._next = self._length = 0

    def _refill(self, active: Sequence[int]) -> None:
        """Tabulate the next actions of all active envs, as many as the shortest of their chunks holds."""
        self._put_back()
        ahead = []
        for i in active:
            chunk, begin = divmod(self._taken.get(i, 0), self._chunk)
            ahead.append([column[begin:] for column in self._draw(i, chunk)])
        self._length = min(len(columns[0]) for columns in ahead) if self._layout.leaves else 1
        self._table = [
            np.stack([columns[k][: self._length] for columns in ahead], axis=1) for k in range(len(self._layout.leaves))
        ]

    def _draw(self, env_index: int, chunk: int) -> list[Column]:
        """Return a chunk of an env's stream, which has a seed of its own so that any of it can be drawn at once."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(2, env_index, chunk))
        self._batched.seed(int(sequence.generate_state(1)[0]))
        values = self._layout.split(self._batched.sample())
        return [_column(leaf, value) for leaf, value in zip(self._layout.leaves, values, strict=True)]


def _checked(seed: object) -> int:
    if seed is None:
        return secrets.randbits(128)
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ArgumentError(f"seed must be a whole number of at least 0, or None to draw one, not {seed!r}.")
    return int(seed)


def _chunk(layout: Layout) -> int:
    """Return how many actions to draw at once: for a given space always as many, as streams depend on it."""
    most = _FEW if any(leaf.is_object for leaf in layout.leaves) else _MANY
    return min(most, max(1, _MOST_BYTES // max(1, layout.nbytes)))


def _column(leaf: Leaf, samples: Any) -> Column:
    if not leaf.is_object:
        return np.asarray(samples, leaf.dtype)
    column = np.empty(len(samples), object)
    for row, sample in enumerate(samples):
        column[row] = sample
    return column


def _rows(observations: Any) -> int | None:
    """Count the rows of a batch; None where nothing has rows, as in a batch of an empty Dict."""
    if isinstance(observations, (dict, tuple)):
        parts = observations.values() if isinstance(observations, dict) else observations
        return next((n for n in map(_rows, parts) if n is not None), None)
    try:
        return len(observations)
    except TypeError:
        return None
