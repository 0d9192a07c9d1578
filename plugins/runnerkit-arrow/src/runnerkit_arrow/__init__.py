"""Arrow streams as a history format of RunnerKit::

    from runnerkit_arrow import ArrowFormat, load

    with runnerkit.make("CartPole-v1", n_envs=8, seed=0, history=ArrowFormat("cartpole.arrows")) as runner:
        runner.rollout(agent, steps=1000)

    for episode in load("cartpole.arrows").episodes:
        print(episode.record, episode.observations.shape)

pyarrow is imported when a file is opened, not before.
"""

from __future__ import annotations

from runnerkit import HistoryKey
from runnerkit_arrow.format import ArrowFormat
from runnerkit_arrow.history import ArrowEpisode, ArrowHistory, ArrowRun, load, repair, to_parquet

__all__ = [
    "ARROW",
    "ArrowEpisode",
    "ArrowFormat",
    "ArrowHistory",
    "ArrowRun",
    "load",
    "repair",
    "to_parquet",
]

ARROW: HistoryKey[ArrowHistory] = HistoryKey("arrow")
"""The name of the format, for type checkers: `runnerkit.make(..., history=ARROW)`."""
