"""The values of rollouts: transitions, episodes and their end reasons, and what runners tell their parts."""

from __future__ import annotations

from runnerkit.records.episodes import (
    EndReason,
    EnvFault,
    Episode,
    EpisodeSchedule,
    EpisodeStart,
    Seeded,
    Seeding,
    Transition,
)
from runnerkit.records.runs import (
    EnvFacts,
    ExecutorReport,
    MadeBy,
    PartRecord,
    Progress,
    ProgressCallback,
    RunOptions,
    RunSpec,
)
from runnerkit.records.timings import EnvTimings, Timings, WorkerTimings

__all__ = [
    "EndReason",
    "EnvFacts",
    "EnvFault",
    "EnvTimings",
    "Episode",
    "EpisodeSchedule",
    "EpisodeStart",
    "ExecutorReport",
    "MadeBy",
    "PartRecord",
    "Progress",
    "ProgressCallback",
    "RunOptions",
    "RunSpec",
    "Seeded",
    "Seeding",
    "Timings",
    "Transition",
    "WorkerTimings",
]
