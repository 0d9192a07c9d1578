"""What a rollout returns per env, and what of a Minari dataset is promised to type checkers."""

from __future__ import annotations

from dataclasses import dataclass

from runnerkit import Episode
from runnerkit_minari.loaded import Dataset

__all__ = ["MinariHistory"]


@dataclass(frozen=True, slots=True)
class MinariHistory:
    """What one env did in one rollout; the data itself is in the dataset.

    For example::

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
