"""Executors: how n envs are stepped. Which one is used never shows in the data, only in the speed.

An `Executor` steps its envs through `Share`, the envs that one worker owns; an executor of your own should, too::

    class Mine:
        def __init__(self, n_envs: int, workers: int | None, /) -> None:
            self.share = Share(range(n_envs))

`share_out` divides n envs among workers, `first_fault` picks the error that a single worker would have met first,
and `SeedSchedule` knows the seed of every episode. `SerialExecutor` is the shortest example.
"""

from __future__ import annotations

from runnerkit._core.cores import share_out
from runnerkit.executors.auto import AutoExecutor
from runnerkit.executors.base import (
    Executor,
    MakeExecutor,
    SupportsAllocate,
    SupportsOwnEnvs,
    SupportsReport,
    SupportsTuning,
)
from runnerkit.executors.paces import Outcome, Paces, SupportsPaces
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.executors.serial import SerialExecutor
from runnerkit.executors.share import Share
from runnerkit.executors.step_faults import first_fault
from runnerkit.executors.threads import ThreadsExecutor
from runnerkit.executors.vector.executor import VectorExecutor
from runnerkit.records import EnvFacts, EpisodeStart, ExecutorReport, RunOptions

__all__ = [
    "AutoExecutor",
    "EnvFacts",
    "EpisodeStart",
    "Executor",
    "ExecutorReport",
    "MakeExecutor",
    "Outcome",
    "Paces",
    "RunOptions",
    "SeedSchedule",
    "SerialExecutor",
    "Share",
    "SupportsAllocate",
    "SupportsOwnEnvs",
    "SupportsPaces",
    "SupportsReport",
    "SupportsTuning",
    "ThreadsExecutor",
    "VectorExecutor",
    "first_fault",
    "share_out",
]
