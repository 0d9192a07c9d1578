"""Units of work: whole episodes of one env, which any actor can make at any time, with the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from runnerkit.errors import ArgumentError
from runnerkit.executors import SeedSchedule
from runnerkit.typing import EpisodeSchedule

__all__ = ["Plan", "Poisoned", "Unit", "seeds_of"]


@dataclass(frozen=True, slots=True)
class Unit:
    """Whole episodes of one env, in a row. Their data follow from the run's seed, this address and the weights.

    Attributes:
        index: which unit it is, in the order in which units are planned, from 0 on.
        env_index: the env, from 0 to n_envs - 1.
        first: its first episode, as `Episode.episode_index` counts them.
        episodes: how many episodes it has.

    """

    index: int
    env_index: int
    first: int
    episodes: int

    @property
    def episode_indices(self) -> range:
        """Its episodes."""
        return range(self.first, self.first + self.episodes)


@dataclass(frozen=True, slots=True)
class Poisoned:
    """A unit that was given up, as it ended or blocked every actor that tried it.

    Attributes:
        unit: the unit.
        seeds: the seed of each of its episodes, to try them elsewhere.
        reasons: what became of each actor.

    """

    unit: Unit
    seeds: tuple[int | None, ...]
    reasons: tuple[str, ...]


def seeds_of(unit: Unit, seed: int, schedule: EpisodeSchedule | None = None) -> tuple[int | None, ...]:
    """Return the seeds of a unit's episodes, for the seed of the run or the user's schedule."""
    starts = SeedSchedule(seed) if schedule is None else schedule
    return tuple(starts(unit.env_index, episode).seed for episode in unit.episode_indices)


class Plan:
    """Which units come next, and which were begun but not handed out.

    New units go to the env that is behind the others. So unit u of equal ones is of env `u % n_envs`.
    """

    def __init__(self, n_envs: int, episodes: int) -> None:
        self._episodes = episodes
        self._positions = [0] * n_envs  # the next episode of each env
        self._index = 0
        self._open: dict[int, Unit] = {}
        self._backlog: list[Unit] = []  # open units of which nobody is in charge

    def take(self, most: int | None = None) -> Unit:
        """Return the next unit, with as many episodes at the most."""
        if self._backlog:
            unit = self._backlog.pop(0)
            if most is not None and unit.episodes > most:
                rest = replace(unit, index=self._index, first=unit.first + most, episodes=unit.episodes - most)
                self._index += 1
                unit = replace(unit, episodes=most)
                self._open |= {unit.index: unit, rest.index: rest}
                self._backlog.insert(0, rest)
            return unit
        env_index = min(range(len(self._positions)), key=self._positions.__getitem__)
        episodes = self._episodes if most is None else min(most, self._episodes)
        unit = Unit(self._index, env_index, self._positions[env_index], episodes)
        self._positions[env_index] += episodes
        self._index += 1
        self._open[unit.index] = unit
        return unit

    def close(self, unit: Unit) -> None:
        """Note that a unit was handed out, or given up."""
        self._open.pop(unit.index, None)

    def put_back(self) -> None:
        """Let the open units be the next ones."""
        self._backlog = sorted(self._open.values(), key=lambda unit: unit.index)

    def state(self) -> dict[str, Any]:
        """Return where it stands, as plain values."""
        open_units = sorted(self._open.values(), key=lambda unit: unit.index)
        return {"positions": list(self._positions), "index": self._index, "open": [asdict(unit) for unit in open_units]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where a plan stood."""
        positions: Sequence[int] = state["positions"]
        if len(positions) != len(self._positions):
            raise ArgumentError(f"The state is of {len(positions)} envs, but this runner has {len(self._positions)}.")
        self._positions, self._index = list(positions), state["index"]
        self._open = {one["index"]: Unit(**one) for one in state["open"]}
        self.put_back()
