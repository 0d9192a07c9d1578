"""Minari datasets as a history format of RunnerKit::

    from runnerkit_minari import MinariFormat

    with runnerkit.make("CartPole-v1", n_envs=8, seed=0, history=MinariFormat("cartpole/random-v0")) as runner:
        runner.rollout(agent, steps=1000)

    minari.load_dataset("cartpole/random-v0")

Minari is imported when the first runner with this format is built, not before.
"""

from __future__ import annotations

from runnerkit import HistoryKey
from runnerkit_minari.format import MinariFormat
from runnerkit_minari.history import MinariHistory
from runnerkit_minari.loaded import Dataset, DatasetEpisode

__all__ = ["MINARI", "Dataset", "DatasetEpisode", "MinariFormat", "MinariHistory"]

MINARI: HistoryKey[MinariHistory] = HistoryKey("minari")
"""The name of the format, for type checkers: `runnerkit.make(..., history=MINARI)`."""
