"""What an executor is: it makes the envs of a runner, steps them, and writes what they return into a block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Rows
from runnerkit._core.types import AnyEnv
from runnerkit.history.block import Block, BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, EpisodeStart, ExecutorReport, Provenance, RunOptions

__all__ = ["Executor", "LockstepExecutor", "MakeExecutor", "SupportsAllocate", "SupportsReport"]


class Executor(Protocol):
    """Steps n envs and writes what they return into the rollout's block.

    A runner calls `open` once; `attach` whenever the arrays of the block are new; then `reset` and `step`, and
    `drain` at the end of a rollout. A call returns when all envs concerned are done. Whatever the executor,
    the same calls leave the same bytes in the block.
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
        at once; its final observation, whose row the first one takes, goes to the log that `drain` returns.
        """
        ...

    def drain(self) -> EpisodeLog:
        """Return, and forget, the episodes begun and the infos kept since the last call."""
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
class LockstepExecutor(Executor, Protocol):
    """An executor whose envs can only step all at once, as those of a `gymnasium.vector.VectorEnv` do.

    Most of them begin their episodes by themselves, too, some of them a step late: such an env *rests* in the step
    after its last one, and the agent is not asked for it. `reset` and `step` are as of any executor, but that
    `step` returns envs that will rest as ended without beginning anew, whatever `restart` is.
    """

    @property
    def provenance(self) -> Provenance:
        """What can be told of the envs."""
        ...

    @property
    def rests(self) -> bool:
        """Whether an env rests for a step before its next episode."""
        ...

    @property
    def begins_alone(self) -> bool:
        """Whether some envs can begin an episode while others go on with theirs."""
        ...

    @property
    def takes_schedule(self) -> bool:
        """Whether each episode can be given its own seed and options."""
        ...

    def begin(
        self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], alone: bool, /
    ) -> dict[int, EpisodeStart]:
        """Begin episodes as `reset` does, and return how they began, as far as it is known.

        Envs that are missing in what it returns rest first. `alone` says that no other env goes on with its episode.
        """
        ...

    def any_actions(self) -> NDArray[Any]:
        """Return a batch of valid actions for all envs, where the action space is one array."""
        ...

    def stepper(self) -> Callable[[int, int, Any], tuple[NDArray[np.bool_], Any]]:
        """Return what steps all envs with a batch of actions, faster than `step`: (at, row, actions) -> (over, infos).

        `over` says whose episode ended. What is chosen for an env that rests does not matter; it begins an episode with
        this step. Good until another block is attached, and only for envs that rest, with `keep_infos` off.
        """
        ...

    def never_rested(self) -> Exception:
        """Return what to raise if an env that rested in a step ended in it."""
        ...


@runtime_checkable
class SupportsReport(Protocol):
    """An executor that can tell what it chose and why, for `runner.executor_report`."""

    def report(self, name: str, /) -> ExecutorReport:
        """Return a report under the name that the executor was asked for by."""
        ...


class MakeExecutor(Protocol):
    """Makes an executor for a runner."""

    def __call__(self, n_envs: int, workers: int | None, /) -> Executor:
        """Return an executor of `workers` workers, of as many as it finds best if None."""
        ...
