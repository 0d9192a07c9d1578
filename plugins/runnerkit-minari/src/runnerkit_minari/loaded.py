"""What Minari gives back, as far as most code needs it: Minari has no types of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from runnerkit.typing import AnyEnv

__all__ = ["Dataset", "DatasetEpisode"]


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

    @property
    def infos(self) -> Mapping[str, Any]:
        """The extra columns of the agent, `[T + 1, *shape]`; the last row has no action and no value."""
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
