"""The public types of RunnerKit: Protocols to implement, TypeVars and aliases to annotate with.

Any object with the right methods will do; no class needs to inherit from these. `ObsT` and `ActT` stand for a
**batch**, as in `gymnasium.vector.VectorEnv`: one stacked array `[n, ...]` for array spaces, a dict of batches
for Dict, a tuple of batches for Tuple, and a list for spaces whose samples cannot be stacked (Text, Graph,
Sequence, OneOf). `HistoryT` is the type of one history: a rollout returns one per env.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict

from typing_extensions import TypeVar

from runnerkit._core.types import (
    ActT,
    ActT_contra,
    Answer,
    AnyEnv,
    AnyMakeEnv,
    AnyVectorEnv,
    MakeEnv,
    MakeIndexedEnv,
    MakeSizedEnv,
    ObsT,
    ObsT_co,
    TensorLike,
)
from runnerkit.agents import ActiveRows, Agent, SupportsBeginEpisodes, SupportsSetActiveEnvs, SupportsSetRows
from runnerkit.executors.base import Executor, MakeExecutor, SupportsAllocate, SupportsReport
from runnerkit.executors.snapshots import SupportsSnapshot
from runnerkit.history.arrays import HistoryT
from runnerkit.history.base import HistoryFormat, Recorder, SupportsAppend, SupportsBatch, SupportsWindows
from runnerkit.history.ended import EpisodeCallback, SupportsPut
from runnerkit.hooks import EnvFactory
from runnerkit.keys import PartName
from runnerkit.processors import (
    ActionPostprocessor,
    ActionPreprocessor,
    ProcessorContext,
    RewardProcessor,
    SupportsEpisodeState,
    SupportsFinalObservations,
    SupportsNoteActions,
    SupportsSetContext,
    SupportsStateDict,
)
from runnerkit.records import EpisodeSchedule, ProgressCallback, Transition

__all__ = [
    "ActT",
    "ActionPostprocessor",
    "ActiveRows",
    "ActionPreprocessor",
    "Agent",
    "Answer",
    "AnyEnv",
    "AnyMakeEnv",
    "AnyVectorEnv",
    "EnvFactory",
    "EpisodeCallback",
    "EpisodeSchedule",
    "Executor",
    "HistoryFormat",
    "HistoryT",
    "MakeEnv",
    "MakeIndexedEnv",
    "MakeSizedEnv",
    "ObsT",
    "PartName",
    "PlainOptions",
    "ProcessorContext",
    "ProgressCallback",
    "Recorder",
    "RewardProcessor",
    "Runner",
    "RunnerOptions",
    "SupportsAllocate",
    "SupportsAppend",
    "SupportsBatch",
    "SupportsWindows",
    "SupportsBeginEpisodes",
    "SupportsPut",
    "SupportsEpisodeState",
    "SupportsFinalObservations",
    "SupportsNoteActions",
    "SupportsReport",
    "SupportsRollout",
    "SupportsSetActiveEnvs",
    "SupportsSetContext",
    "SupportsSetRows",
    "SupportsSnapshot",
    "SupportsStateDict",
    "TensorLike",
]

HistoryT_co = TypeVar("HistoryT_co", covariant=True)


class SupportsRollout(Protocol[ObsT_co, ActT_contra, HistoryT_co]):
    """The consumer's view of a runner: what a learning algorithm needs, and nothing else."""

    def rollout(
        self,
        agent: Agent[ObsT_co, ActT_contra],
        steps: int | None = None,
        render: bool = False,
        fps: int = 30,
        *,
        episodes: int | None = None,
    ) -> Sequence[HistoryT_co]:
        """Step every env `steps` times for the agent, or make `episodes` whole ones; return one history per env."""
        ...

    def close(self) -> None:
        """Release the envs."""
        ...


class Runner(Protocol[ObsT, ActT, HistoryT]):
    """The implementer's view: an object with these methods is a runner, without a base class."""

    @property
    def MAX_STEPS(self) -> int:
        """The most steps per env that a rollout may take."""
        ...

    def make_env(self, seed: int | None = None) -> AnyEnv:
        """Return a new env."""
        ...

    def compute_action(self, agent: Agent[ObsT, ActT], obs_list: ObsT) -> Answer[ActT]:
        """Return the agent's actions for a batch of observations."""
        ...

    def process_transition(self, history: HistoryT | None, transition: Transition[Any, Any]) -> HistoryT:
        """Return the history with one more transition. The first call for an env gets None."""
        ...

    def rollout(
        self, agent: Agent[ObsT, ActT], steps: int | None = None, render: bool = False, fps: int = 30
    ) -> Sequence[HistoryT]:
        """Step every env `steps` times for the agent and return one history per env."""
        ...

    def close(self) -> None:
        """Release the envs."""
        ...


class PlainOptions(TypedDict, total=False):
    """The options of `GymRunner` that do not change the types of batches. `GymRunner` explains them."""

    executor: PartName | MakeExecutor | Executor
    workers: int | None
    auto_reset: bool
    min_batch: int | None
    reward_processors: Sequence[PartName | RewardProcessor]
    schedule: EpisodeSchedule | None
    keep_infos: bool
    keep_raw: bool
    thread_safe: bool | None
    isolate: bool
    strict_spaces: bool
    step_timeout: float | None
    reset_timeout: float | None
    make_timeout: float | None
    spare_envs: int
    repeatable: bool | None
    timings: bool
    on_env_error: Literal["raise", "restart"]
    max_restarts: int | tuple[int, int]
    lock: str | os.PathLike[str] | None
    render_mode: str | None
    env_options: Mapping[str, Any] | None
    wrappers: Sequence[PartName | Callable[[AnyEnv], AnyEnv]]


class RunnerOptions(PlainOptions, total=False):
    """The options of `GymRunner`, except env, seed, n_envs, log_level and history. `GymRunner` explains them."""

    preprocessors: Sequence[PartName | ActionPreprocessor]
    postprocessors: Sequence[PartName | ActionPostprocessor]
