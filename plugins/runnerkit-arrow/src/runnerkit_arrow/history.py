"""What a rollout returns, and what a stream on disk has: read as views of the file, as long as nobody copies them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runnerkit import EndReason, Episode, MadeBy

if TYPE_CHECKING:
    from runnerkit_arrow.stream import Batch

__all__ = ["ArrowEpisode", "ArrowHistory", "ArrowRun", "load", "repair", "to_parquet"]


@dataclass(frozen=True, slots=True)
class ArrowHistory:
    """What one env did in one rollout, by now on disk.

    For example::

        history.episodes                # records
        history.load().episodes         # all episodes of the stream so far
    """

    path: Path
    env_index: int
    steps: int
    """How many steps this env took in this rollout."""
    episodes: tuple[Episode, ...]
    """The records of its episodes, the one included that the end of the rollout cut."""

    def __len__(self) -> int:
        return self.steps

    def load(self) -> ArrowRun:
        """Return the stream as it is now."""
        return load(self.path)


class ArrowEpisode:
    """One episode of a stream, put together of the parts that the rollouts had of it.

    Columns of numbers are views of the file where the episode is in one part, and copies where it is not.
    """

    def __init__(self, parts: Sequence[Batch]) -> None:
        self._parts = list(parts)

    @property
    def record(self) -> Episode:
        """The record of the whole episode: `start` is 0, `length` counts the steps in the stream."""
        first, last = _record(self._parts[0]), _record(self._parts[-1])
        total = sum(_record(part).length for part in self._parts)
        rewards = sum(_record(part).return_ for part in self._parts)
        return replace(
            last,
            start=0,
            length=total,
            return_=rewards,
            steps_before=first.steps_before,
            return_before=first.return_before,
        )

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return self._parts[0].names

    def column(self, name: str) -> NDArray[Any] | list[str]:
        """Return a column: T rows of actions, rewards and flags; T + 1 observations if the episode has ended."""
        if name not in self.names:
            raise KeyError(f"There is no column {name!r}. The stream has {', '.join(self.names)}.")
        columns = [part.column(name) for part in self._parts]
        if len(columns) == 1:
            return columns[0]
        if isinstance(columns[0], list):
            return [text for column in columns for text in column]
        joined: NDArray[Any] = np.concatenate(columns)
        return joined

    def __getitem__(self, name: str) -> NDArray[Any] | list[str]:
        return self.column(name)

    def __len__(self) -> int:
        return self.record.length


class ArrowRun:
    """A stream: what is said of the run, and its episodes in the order in which they begin to appear."""

    def __init__(self, path: Path, about: dict[str, Any], batches: Sequence[Batch]) -> None:
        self.path: Path = path
        self.env_id: str = about["env_id"]
        self.seed: int = about["seed"]
        self.n_envs: int = about["n_envs"]
        self.env_spec: str | None = about["env_spec"]
        """As `EnvSpec.from_json` takes it, where it has nothing that JSON does not have."""
        self.made_by: MadeBy = MadeBy.of(about["made_by"])
        """The parts of the runner that began the stream, with distributions, versions and options."""
        self.episodes: list[ArrowEpisode] = [ArrowEpisode(parts) for parts in _by_episode(batches)]

    def __len__(self) -> int:
        return len(self.episodes)


def _by_episode(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Return the parts of each episode. Another run that goes on in the stream counts its episodes from 0 again."""
    found: list[list[Batch]] = []
    last: dict[tuple[int, int], list[Batch]] = {}
    for batch in batches:
        record = batch.record
        where = record["env_index"], record["episode_index"]
        if where not in last or (record["steps_before"] == 0 and any(part.record["length"] for part in last[where])):
            last[where] = []
            found.append(last[where])
        last[where].append(batch)
    return found


def load(path: str | os.PathLike[str]) -> ArrowRun:
    """Open a stream for reading; a torn last part, of a program that was killed, is left out."""
    from runnerkit_arrow.stream import read  # imports pyarrow

    about, batches = read(Path(path))
    return ArrowRun(Path(path), about, batches)


def repair(path: str | os.PathLike[str]) -> int:
    """Cut a torn end off a stream and return how many bytes that was; other readers then take the file, too."""
    from runnerkit_arrow.stream import repair as cut_off

    return cut_off(Path(path))


def to_parquet(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Write the rows of a stream to a Parquet file, and return its path."""
    from runnerkit_arrow.stream import write_parquet

    write_parquet(Path(path), Path(target))
    return Path(target)


def _record(batch: Batch) -> Episode:
    return Episode(**{**batch.record, "end_reason": EndReason(batch.record["end_reason"])})
