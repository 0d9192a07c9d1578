"""An agent that acts at random."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from runnerkit._core.spaces import Column, Layout, Leaf
from runnerkit.errors import ArgumentError

__all__ = ["RandomAgent"]

_MANY = 1024  # actions drawn at once: a draw costs about as much as ten single samples
_FEW = 16  # of objects, which are sampled one by one anyway
_MOST_BYTES = 2**20  # of the actions drawn at once, unless one alone is larger


class RandomAgent:
    """Samples actions, with one random stream per env::

        agent = RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=1000)

    The k-th action of env i depends only on (seed, i, k), and not on the other envs. Actions have the distribution of
    `action_space.sample()`; they are drawn many at a time.

    Args:
        action_space: the space of one action, `runner.action_space`.
        seed: a whole number of at least 0; None draws one.

    Attributes:
        action_space: the same.
        seed: the seed, an int; the drawn one if None was given.

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
        self._places: dict[int, int] = {}  # of the columns in the tables that envs have
        self._tables: list[Column] = self._layout.allocate(self._chunk, 0)
        self._chunks: NDArray[np.int64] = np.zeros(0, np.int64)  # the number of the chunk in each column
        self._next: NDArray[np.int64] = np.zeros(0, np.int64)  # the row of each to come next
        self._active: list[int] = []
        self._where: NDArray[np.int64] = np.zeros(0, np.int64)  # the places of the active envs
        self._told: bool = False
        self._left = 0  # how many actions all active envs have in the tables
        self._row: int | None = None  # if it is the same for all there are: the row to come next

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        """From now on, row i belongs to env `env_indices[i]`. If this is never called, row i belongs to env i."""
        self._told = True
        self._turn_to(list(env_indices))

    def act(self, observations: Any, /) -> Any:
        """Return one random action per row. Raises ArgumentError if there are not as many rows as active envs."""
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
        if self._left == 0:
            self._look_ahead()
        self._left -= 1
        if self._row is not None:
            self._row += 1
            return self._layout.batch(self._tables, self._row - 1)
        rows = self._next[self._where]
        self._next[self._where] = rows + 1
        return self._layout.batch(self._tables, (rows, self._where))

    def _turn_to(self, active: list[int]) -> None:
        if active == self._active:
            return
        self._count()
        new = [i for i in active if i not in self._places]
        if new:
            self._places |= {i: len(self._places) + k for k, i in enumerate(new)}
            more = self._layout.allocate(self._chunk, len(new))
            self._tables = [np.concatenate(pair, axis=1) for pair in zip(self._tables, more, strict=True)]
            self._chunks = np.append(self._chunks, np.full(len(new), -1))
            self._next = np.append(self._next, np.full(len(new), self._chunk))
        self._active, self._left = active, 0
        self._where = np.fromiter((self._places[i] for i in active), np.int64, len(active))

    def _count(self) -> None:
        """Note in which rows the active envs are."""
        if self._row is not None:
            self._next[self._where] = self._row
            self._row = None

    def _look_ahead(self) -> None:
        """Draw what is used up, and see for how many actions it will do."""
        self._count()
        where = self._where
        envs = list(self._places)
        for place in where[self._next[where] == self._chunk].tolist():
            self._chunks[place] += 1
            for table, column in zip(self._tables, self._draw(envs[place], int(self._chunks[place])), strict=True):
                table[:, place] = column
            self._next[place] = 0
        rows = self._next[where]
        last = int(rows.max(initial=0))
        self._left = self._chunk - last
        if len(where) == len(envs) and (rows == last).all() and (np.diff(where) == 1).all():
            self._row = last

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
