"""The rows of a batch, and random numbers that belong to each of them.

The numbers are those of SplitMix64 (Steele, Lea and Flood: Fast splittable pseudorandom number generators, OOPSLA
2014), used as a tree: each env has a seed that follows from that of the run, each episode one that follows from that of
its env, each step one that follows from that of its episode, and the numbers of a step follow from that. There is no
state that draws would move on, as with the counter-based generators of Salmon et al. (Parallel random numbers: as easy
as 1, 2, 3; SC 2011), so that it does not matter who draws first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import EllipsisType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runnerkit.errors import ArgumentError

__all__ = ["ActiveRows"]

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = (np.uint64(shift) for shift in (30, 27, 31, 11))
_STREAM: Final = 7  # among the streams that follow from the seed of a run
_UNIT: Final = 2.0**-53

Words = NDArray[np.uint64]


class ActiveRows:
    """Tells env, episode and step of each row of the batch that an agent is asked about, and draws numbers for them::

        def set_rows(self, rows: ActiveRows) -> None:
            self._rows = rows

        def act(self, observations):
            noise = self._rows.standard_normal(6)           # [n, 6]
            return self._mean(observations) + noise

    Each number is a pure function of the run's seed, of env, episode and step of the row, and of how many numbers the
    row has drawn in this step. It does not depend on the other rows, nor on the executor.

    Args:
        seed: the seed of the run.
        n_envs: the number of envs.

    """

    def __init__(self, seed: int, n_envs: int) -> None:
        sequence = np.random.SeedSequence(seed, spawn_key=(_STREAM,))
        run = sequence.generate_state(1, np.uint64).astype(np.uint64)
        self._envs: Words = _children(run, np.arange(n_envs))
        self._indices: NDArray[np.int64] = np.arange(n_envs)
        self._episodes: NDArray[np.int64] = np.full(n_envs, -1)
        self._first: NDArray[np.int64] = np.zeros(n_envs, np.int64)
        self._keys: Words = np.zeros(n_envs, np.uint64)
        self._which: EllipsisType | Sequence[int] = ...
        self._at: int | NDArray[np.intp] = 0
        self._steps_drawn: Words | None = None
        self._drawn = 0

    # ---- what rows they are

    @property
    def env_indices(self) -> NDArray[np.int64]:
        """The env of each row, int64 `[n]`."""
        return self._indices[self._which].copy()

    @property
    def episode_indices(self) -> NDArray[np.int64]:
        """The episode of each row, as `Episode.episode_index` counts them, int64 `[n]`."""
        return self._episodes[self._which].copy()

    @property
    def steps(self) -> NDArray[np.int64]:
        """How many steps each row's episode has behind it, int64 `[n]`."""
        steps: NDArray[np.int64] = self._at - self._first[self._which]
        return steps

    # ---- numbers

    def random(self, *shape: int) -> NDArray[np.float64]:
        """Return numbers in [0, 1), float64 `[n, *shape]`, the same bits on every machine."""
        return (self._words(math.prod(shape)) >> _11).astype(np.float64).reshape(-1, *shape) * _UNIT

    def standard_normal(self, *shape: int) -> NDArray[np.float64]:
        """Return numbers of the standard normal distribution, float64 `[n, *shape]` (Box and Muller)."""
        count = math.prod(shape)
        uniform = self.random(2 * count)
        radius = np.sqrt(-2.0 * np.log1p(-uniform[:, :count].copy()))  # copies, as their rows do not depend on strides
        return (radius * np.cos(2.0 * np.pi * uniform[:, count:].copy())).reshape(-1, *shape)

    def choice(self, probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return a category per row, int64 `[n]`, for probabilities or weights `[n, k]`.

        Raises ArgumentError if there is not a row of weights for each row, or if they are negative, NaN or all zero.
        """
        weights = np.asarray(probabilities, np.float64)
        if weights.ndim != 2 or len(weights) != len(self._indices[self._which]):
            n = len(self._indices[self._which])
            raise ArgumentError(f"choice needs probabilities of shape ({n}, k), one row per env, not {weights.shape}.")
        sums = weights.cumsum(axis=1)
        totals = sums[:, -1:]
        if not ((weights >= 0).all() and np.isfinite(totals).all() and (totals > 0).all()):
            raise ArgumentError("choice needs probabilities that are not negative, and not all zero, in each row.")
        threshold = np.minimum(self.random(1) * totals, np.nextafter(totals, 0.0))
        chosen: NDArray[np.int64] = (sums <= threshold).sum(axis=1, dtype=np.int64)
        return chosen

    # ---- what runners tell

    def begin(self, env_index: int, episode_index: int, row: int) -> None:
        """Note that an episode begins, whose step 0 is asked about as row `row`; runners call this."""
        one = slice(env_index, env_index + 1)
        self._episodes[env_index], self._first[env_index] = episode_index, row
        self._keys[one] = _children(self._envs[one], self._episodes[one])

    def episode_of(self, env_index: int) -> int:
        """Return the episode that an env is in; -1 before its first."""
        return int(self._episodes[env_index])

    def turn_to(self, which: EllipsisType | Sequence[int], at: int | NDArray[np.intp]) -> None:
        """Note of which envs the next batch is, and at which row each of them is; runners call this."""
        self._which, self._at, self._steps_drawn, self._drawn = which, at, None, 0

    # ---- inside

    def _words(self, count: int) -> Words:
        """Return random bits, `[n, count]`."""
        if self._steps_drawn is None:
            self._steps_drawn = _children(self._keys[self._which], self.steps)
        begin, self._drawn = self._drawn, self._drawn + count
        return _children(self._steps_drawn[:, None], np.arange(begin, self._drawn))


def _children(seeds: Words, numbers: NDArray[np.int64]) -> Words:
    """Return output number `numbers` of the generators with these seeds."""
    word = (numbers + 1).astype(np.uint64) * _GAMMA + seeds
    word = (word ^ (word >> _30)) * _FIRST
    word = (word ^ (word >> _27)) * _SECOND
    children: Words = word ^ (word >> _31)
    return children
