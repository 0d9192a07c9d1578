"""Arrow streams as a history format of RunnerKit::

    from runnerkit_arrow import ArrowFormat, load

    with runnerkit.make("CartPole-v1", n_envs=8, seed=0, history=ArrowFormat("cartpole.arrows")) as runner:
        runner.rollout(agent, steps=1000)

    for episode in load("cartpole.arrows").episodes:
        print(episode.record, episode.observations.shape)

This is the plugin module. pyarrow is imported when a file is opened, not before.
"""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit import Contribution, HistoryKey, hookimpl
from runnerkit.typing import HistoryFormat
from runnerkit_arrow.format import ArrowFormat
from runnerkit_arrow.history import ArrowEpisode, ArrowHistory, ArrowRun, load, repair, to_parquet

__all__ = [
    "ARROW",
    "ArrowEpisode",
    "ArrowFormat",
    "ArrowHistory",
    "ArrowRun",
    "history_formats",
    "load",
    "repair",
    "to_parquet",
]

ARROW: HistoryKey[ArrowHistory] = HistoryKey("arrow")
"""The name of the format, for type checkers: `runnerkit.make(..., history=ARROW)`."""


@hookimpl.history_formats
def history_formats() -> Iterator[Contribution[HistoryFormat[object]]]:
    """Offer the history format arrow."""
    yield Contribution("arrow", ArrowFormat, "an Arrow stream on disk, readable after a crash")
