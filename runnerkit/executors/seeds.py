"""The seeds of episodes: which one each gets, from the seed of the run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.seed_states import states
from runnerkit.records import EpisodeStart

__all__ = ["SeedSchedule"]

_CHUNK = 64  # seeds that are drawn at once


class SeedSchedule:
    """The default schedule: every episode has a seed of its own, drawn from the run's seed::

        SeedSchedule(seed=0)(env_index, episode_index).seed

    The seed, below 2**63, is a pure function of (run seed, env index, episode index), whatever the number of
    envs, the executor and what was run before. Streams come from NumPy's `SeedSequence` with the env index as
    spawn key, so that runs and envs share none; `seed + i`, as is usual, would overlap between runs.
    """

    def __init__(self, seed: int) -> None:
        self.seed: int = seed
        self._seeds: dict[int, tuple[int, NDArray[np.uint64]]] = {}  # one chunk per env: (its number, seeds)

    def __call__(self, env_index: int, episode_index: int, /) -> EpisodeStart:
        """Return the start of that episode."""
        return EpisodeStart(self.episode_seed(env_index, episode_index))

    def episode_seed(self, env_index: int, episode_index: int) -> int:
        """Return the seed of that episode."""
        number, place = divmod(episode_index, _CHUNK)
        known = self._seeds.get(env_index)
        if known is None or known[0] != number:
            known = self._draw(env_index, number)
        seed: int = known[1].item(place)
        return seed

    def env_seed(self, env_index: int) -> int:
        """Return the seed that `make_env` gets for an env, from a stream of its own."""
        state = np.random.SeedSequence(self.seed, spawn_key=(1, env_index)).generate_state(1, np.uint64)
        return int(state[0] >> np.uint64(1))

    def _draw(self, env_index: int, number: int) -> tuple[int, NDArray[np.uint64]]:
        sequence = np.random.SeedSequence(self.seed, spawn_key=(0, env_index))
        known = self._seeds[env_index] = number, states(sequence, number * _CHUNK, _CHUNK) >> np.uint64(1)
        return known  # not what is kept, where another thread may have put another chunk: histories ask, too
