"""What becomes of envs that fail, if they are to be made anew: counted, recorded, replaced, begun again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from runnerkit._core.faults import describe
from runnerkit._rollout.assembly import Assembly
from runnerkit.errors import EnvError
from runnerkit.executors.base import SupportsRestarts
from runnerkit.executors.step_faults import StepFaultsError, first_fault
from runnerkit.history.block import Block
from runnerkit.records import EndReason, EnvFault, EpisodeStart

__all__ = ["Restarts", "StartOf"]

StartOf = Callable[[int, int], "tuple[int, EpisodeStart]"]
"""Says how the episode of an env begins that comes after the given one: (its index, its start)."""


class Restarts:
    """Makes envs anew, for all rollouts of one runner::

        try:
            ended = executor.step(...)
        except StepFaultsError as faults:
            restarts.replace(faults.faults, steps_of)       # or raise, if the budget is spent
            ended = sorted([*faults.ended, *restarts.failed])

    An env that fails in a step has no row of that step. The row is a gap in the block, which is closed at the end of
    the rollout. Its episode ends with the step before.
    """

    def __init__(self, parts: Assembly) -> None:
        self._parts = parts
        options = parts.spec.options
        most = options.max_restarts
        self._most: int = most[0] if isinstance(most, tuple) else most
        self._most_in_all: int | None = most[1] if isinstance(most, tuple) else None
        self._counts = [0] * parts.spec.n_envs
        self.faults: list[EnvFault] = []
        """The faults since they were taken last."""
        self.failed: dict[int, EndReason] = {}
        """The envs that failed in the step that is under way, and how their episodes end."""
        self.gaps: list[tuple[int, int]] = []
        """The steps in which an env failed: (step, env index)."""

    def begin(self) -> None:
        """Forget the gaps of the rollout before."""
        self.failed.clear()
        self.gaps = []

    def take_faults(self) -> list[EnvFault]:
        """Return the faults since the last call."""
        faults, self.faults = self.faults, []
        return faults

    def replace(self, faults: Sequence[EnvError], steps_of: Callable[[int], int | None]) -> list[int]:
        """Make the envs anew that failed, and return their indices; raise the first fault if there are too many."""
        todo = sorted(faults, key=lambda fault: fault.env_index)
        replaced = [fault.env_index for fault in todo]
        while todo:
            self._count(todo)
            for fault in todo:
                self._record(fault, steps_of(fault.env_index))
            again: list[EnvError] = []
            for i in [fault.env_index for fault in todo]:
                try:
                    self._remake(i)
                except EnvError as fault:
                    again.append(fault)
            todo = again
        return replaced

    def reset(
        self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], next_start: StartOf
    ) -> dict[int, list[tuple[int, EpisodeStart]]]:
        """Begin episodes, and further ones where an env fails in reset; return all that began, by env, in order."""
        begun = {i: [start] for i, start in starts.items()}
        todo = dict(starts)
        while todo:
            try:
                self._parts.executor.reset(row, todo)
            except StepFaultsError as faults:
                todo = {}
                for i in self.replace(faults.faults, lambda _: None):
                    todo[i] = next_start(i, begun[i][-1][0])
                    begun[i].append(todo[i])
            else:
                break
        return begun

    def note_gaps(self, block: Block, t: int) -> None:
        """Note that the envs that failed have no row of step t."""
        row = block.at(t)
        for i in self.failed:
            self.gaps.append((t, i))
            block.rewards[row, i], block.terminated[row, i], block.truncated[row, i] = 0.0, False, False
            for columns, row_of in ((block.raw, block.raw_row), (block.observations, block.row)):
                for column in columns:  # nothing is seen after the last observation, unless another episode begins
                    column[row_of(t + 1), i] = column[row_of(t), i]

    def close_gaps(self, block: Block, t: int) -> None:
        """Drop the rows of the steps in which an env failed; the rollout made `t` steps."""
        gaps = [gap for gap in self.gaps if gap[0] < t]
        if gaps:
            rows, envs = np.array(gaps, np.intp).T
            block.close_gaps(rows, envs)

    def _count(self, faults: Sequence[EnvError]) -> None:
        for fault in faults:
            self._counts[fault.env_index] += 1
        spent = [fault for fault in faults if self._counts[fault.env_index] > self._most]
        which = f"{self._most} per env"
        if not spent and self._most_in_all is not None and sum(self._counts) > self._most_in_all:
            spent, which = list(faults), f"{self._most_in_all} in all"
        if spent:
            fault = cast(EnvError, first_fault(spent))
            fault.add_note(f"The env was not made anew: max_restarts, {which}, are spent.")
            raise fault

    def _record(self, fault: EnvError, step: int | None) -> None:
        in_step = not fault.after_step and fault.episode_index is not None
        self.faults.append(
            EnvFault(
                env_index=fault.env_index,
                episode_index=fault.episode_index,
                seed=fault.seed,
                step=step if in_step else None,
                action=fault.action,
                end_reason=fault.end_reason or EndReason.CRASHED,
                error=f"{type(fault).__name__}: {fault.args[0]}",
            )
        )

    def _remake(self, i: int) -> None:
        """Make one env anew; raises EnvError."""
        try:
            (facts,) = cast(SupportsRestarts, self._parts.executor).remake([i])
        except EnvError:
            raise
        except Exception as error:
            raise EnvError(f"could not be made anew: {describe(error)}", env_index=i) from error
        spec = self._parts.spec
        if (facts.observation_space, facts.action_space) != (spec.env_observation_space, spec.env_action_space):
            raise EnvError("has other spaces since it was made anew: the factory must make equal envs", env_index=i)
