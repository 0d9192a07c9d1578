"""What a rollout returns per env, and what of a Minari dataset is promised to type checkers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from runnerkit import Episode
from runnerkit.typing import AnyEnv

__all__ = ["Dataset", "DatasetEpisode", "MinariHistory"]


class DatasetEpisode(Protocol):
    """An episode of a dataset: T + 1 observations, nested as the space is, and T of the rest."""

    @property
    def id(self) -> int:
        """Its number in the dataset."""
        ...

    @property
    def observations(self) -> Any:
        """`[T + 1, *shape]`; a list of str for Text."""
        ...

    @property
    def actions(self) -> Any:
        """`[T, *shape]`."""
        ...

    @property
    def rewards(self) -> NDArray[np.float64]:
        """`[T]`."""
        ...

    @property
    def terminations(self) -> NDArray[np.bool_]:
        """`[T]`."""
        ...

    @property
    def truncations(self) -> NDArray[np.bool_]:
        """`[T]`."""
        ...


class Dataset(Protocol):
    """A `minari.MinariDataset`; Minari has no types of its own, these are the parts that most code needs."""

    @property
    def total_episodes(self) -> int:
        """How many episodes it holds."""
        ...

    @property
    def total_steps(self) -> int:
        """How many steps all of them have together."""
        ...

    @property
    def observation_space(self) -> Space[Any]:
        """The space of one observation."""
        ...

    @property
    def action_space(self) -> Space[Any]:
        """The space of one action."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, idx: int) -> DatasetEpisode: ...

    def iterate_episodes(self, episode_indices: Iterable[int] | None = None) -> Iterator[DatasetEpisode]:
        """Read episodes one by one."""
        ...

    def sample_episodes(self, n_episodes: int) -> Iterable[DatasetEpisode]:
        """Read some episodes at random."""
        ...

    def recover_environment(self, eval_env: bool = False) -> AnyEnv:
        """Make the env that the episodes are from."""
        ...


@dataclass(frozen=True, slots=True)
class MinariHistory:
    """What one env did in one rollout; the data itself is in the dataset::

    for history in runner.rollout(agent, steps=1000):
        print(history.dataset_id, history.steps, history.episodes)
    dataset = history.load()
    """

    dataset_id: str
    env_index: int
    steps: int
    """How many steps this env took in this rollout."""
    episodes: tuple[Episode, ...]
    """The records of its episodes, those included that the end of the rollout cut and that are not written yet."""
    episodes_written: int
    """How many episodes the dataset held after this rollout, of all envs."""

    def __len__(self) -> int:
        return self.steps

    def load(self) -> Dataset:
        """Return the dataset as it is now, as `minari.load_dataset` does; there is none before an episode ended."""
        from runnerkit_minari.dataset import load  # imports Minari

        return load(self.dataset_id)
