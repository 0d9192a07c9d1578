"""What an executor is: it makes the envs of a runner, steps them, and writes what they return into a block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from runnerkit._core.spaces import Rows
from runnerkit._core.types import AnyEnv
from runnerkit.executors.calls import Doing
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, EpisodeStart, ExecutorReport, RunOptions

__all__ = [
    "Executor",
    "MakeExecutor",
    "SupportsAllocate",
    "SupportsOwnEnvs",
    "SupportsReport",
    "SupportsRestarts",
    "SupportsShares",
    "SupportsSpareEnvs",
    "SupportsTimeouts",
    "SupportsTuning",
    "SupportsVectorEnvs",
    "SupportsWatching",
]


class Executor(Protocol):
    """Steps n envs and writes what they return into the rollout's block.

    A runner calls `open` once, `attach` whenever the block has new arrays, then `reset` and `step`, and `drain` at the
    end of a rollout. Each call returns when all its envs are done. The same calls must leave the same bytes in the
    block with every executor.
    """

    @property
    def workers(self) -> int:
        """How many workers step envs, the calling thread included."""
        ...

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> Sequence[EnvFacts]:
        """Make all envs, by env index, and return what each says about itself."""
        ...

    def attach(self, block: Block | None, /) -> None:
        """Write into this block from now on; None lets go of the last one."""
        ...

    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], /) -> None:
        """Begin episodes {env index: (episode index, start)} and write their first observations to `row`."""
        ...

    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> Sequence[int]:
        """Step the active envs; return, in ascending order, the indices of those whose episode ended.

        `actions[i]` is for env `active[i]`; they are in row `at` of the block's `env_actions`, too. Rewards and
        flags go to row `at`, observations to `row`. With `restart`, an env whose episode ends begins its next one
        at once; its final observation, whose row the first one takes, goes to the log that `drain` returns. An executor
        that makes an env anew in a step returns its index, too, and says in the log how its episode ended, see
        `EpisodeLog.begin`.
        """
        ...

    def drain(self) -> EpisodeLog:
        """Return, and forget, the episodes begun and the infos kept since the last call.

        Nobody adds to the log that is returned: if it is empty, the next one may be the same.
        """
        ...

    def render(self, env_indices: Sequence[int], /) -> list[object]:
        """Return what `env.render()` returns, for each of these envs."""
        ...

    def close(self) -> None:
        """Close all envs and leave nothing behind; may be called twice."""
        ...


@runtime_checkable
class SupportsAllocate(Protocol):
    """An executor that brings the memory of blocks itself, so as to share it with other processes for instance."""

    def allocate(self, layout: BlockLayout, steps: int, most: int, window: bool, /) -> Block:
        """Return a block of `steps` steps that can be resized up to `most`."""
        ...


@runtime_checkable
class SupportsReport(Protocol):
    """An executor that can tell what it chose and why, for `runner.executor_report`."""

    def report(self, name: str, /) -> ExecutorReport:
        """Return a report under the name that the executor was asked for by."""
        ...


@runtime_checkable
class SupportsShares(Protocol):
    """An executor that can tell which worker steps which envs."""

    @property
    def shares(self) -> Sequence[Sequence[int]]:
        """The envs of each worker that has some now; empty if one has them all."""
        ...


@runtime_checkable
class SupportsVectorEnvs(Protocol):
    """An executor that makes all envs in the calling thread, so that it may leave a vector env to the runner."""

    @property
    def takes_vector_envs(self) -> bool:
        """Whether a factory may make a vector env, which then steps all its envs itself, instead of the executor."""
        ...


@runtime_checkable
class SupportsRestarts(Protocol):
    """An executor that can make envs anew. With `RunOptions.restarts`, it raises StepFaultsError in `step` and `reset`.

    All envs that have not failed must have made their step, or their reset, by then, unless they are `lost`.
    """

    def remake(self, env_indices: Sequence[int], /) -> Sequence[EnvFacts]:
        """Make these envs anew, and let go of those before."""
        ...


@runtime_checkable
class SupportsSpareEnvs(Protocol):
    """An executor whose envs may begin their next episode in a spare env, in a thread of its own: see `spare_envs`.

    All of its envs are in `Share`s, which tell a spare what comes next, and are no coroutines.
    """

    @property
    def takes_spare_envs(self) -> bool:
        """Whether they may."""
        ...


@runtime_checkable
class SupportsTimeouts(Protocol):
    """An executor that can give up an env that does not answer; `RunOptions.timeouts` says after how many seconds."""

    @property
    def can_time_out(self) -> bool:
        """Whether it can."""
        ...


@runtime_checkable
class SupportsWatching(Protocol):
    """An executor that can tell another thread what its envs are busy with, so that one that hangs is named."""

    def doing(self) -> Sequence[Doing]:
        """Return the calls of envs that are under way."""
        ...


@runtime_checkable
class SupportsTuning(Protocol):
    """What makes an executor and knows which numbers of workers are worth measuring, for `runnerkit tune`."""

    def workers_to_try(self, n_envs: int, /) -> Sequence[int | None]:
        """Return numbers of workers for so many envs, the simplest first; None leaves it to the executor."""
        ...


@runtime_checkable
class SupportsOwnEnvs(Protocol):
    """What makes an executor with an option `own_envs`: how many envs the calling thread steps itself."""

    def shares_to_try(self, n_envs: int, workers: int, /) -> Sequence[tuple[int, int]]:
        """Return pairs (own_envs, workers) for so many envs and workers, for an agent that takes time."""
        ...


class MakeExecutor(Protocol):
    """Makes an executor for a runner."""

    def __call__(self, n_envs: int, workers: int | None, /) -> Executor:
        """Return an executor of `workers` workers, of as many as it finds best if None."""
        ...
