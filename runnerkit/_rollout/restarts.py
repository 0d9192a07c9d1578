"""What becomes of envs that fail, if they are to be made anew: counted, recorded, replaced, begun again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.faults import describe
from runnerkit._core.spaces import Column, Rows
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.cursor import Cursor
from runnerkit._rollout.own_tape import OwnTape
from runnerkit._rollout.tape import Tape
from runnerkit.errors import EnvError
from runnerkit.executors.base import SupportsRestarts
from runnerkit.executors.recall import Recollection, SupportsRecall
from runnerkit.executors.reexecution import Course
from runnerkit.executors.step_faults import StepFaultsError, first_fault
from runnerkit.history.block import Block
from runnerkit.records import EndReason, EnvFault, EpisodeStart

__all__ = ["MakeUp", "Restarts", "StartOf"]

StartOf = Callable[[int, int], "tuple[int, EpisodeStart]"]
"""Says how the episode of an env begins that comes after the given one: (its index, its start)."""


MakeUp = Callable[[Mapping[int, EndReason]], Mapping[int, Any]]
"""Begins new episodes before the step that is under way, in the envs that failed in it, and returns their actions."""


class Running(Protocol):
    """What is known of the running episodes: a `Tape`, or an `OwnTape`."""

    def runs(self, i: int) -> bool:
        """Whether an env is in an episode."""
        ...

    def steps(self, i: int) -> int | None:
        """Return how many steps the episode of an env has behind it; None if it is in none."""
        ...

    def recollection(self, block: Block, row: int, i: int) -> Recollection:
        """Return what is known of the episode of an env, up to the observation in that row of `block.raw`."""
        ...


class Restarts:
    """Makes envs anew, for all rollouts of one runner. Its `step` and `reset` stand before those of the executor::

        ended = restarts.step(at, row, actions, active, False)      # restarts.failed: those of them that failed
        begun = restarts.reset(block, row, starts, next_start)

    An env that fails in a step has no row of that step. The row is a gap in the block, which is closed at the end of
    the rollout. Its episode ends with the step before. In a stream there are no gaps, as its batches have as many rows
    for each env: there the first step of the next episode takes the row. An env that fails elsewhere, in render for
    instance, fails in the next step, which is not made.

    An env that is lost along with another one, as they shared a process, is made anew, too, and its episode is executed
    once more from its seed and its actions. It goes on if all is bit by bit as it was, and fails otherwise.
    """

    def __init__(self, parts: Assembly) -> None:
        self._parts = parts
        options = parts.spec.options
        most = options.max_restarts
        self._most: int = most[0] if isinstance(most, tuple) else most
        self._most_in_all: int | None = most[1] if isinstance(most, tuple) else None
        self._counts = [0] * parts.spec.n_envs
        self._tape = Tape(keeps=isinstance(parts.executor, SupportsRecall))
        self._running: Running = self._tape
        self._count_before = 0
        self._make_up: MakeUp | None = None
        self._block: Block
        self._at: Cursor
        self.faults: list[EnvFault] = []
        """The faults since they were taken last."""
        self.failed: dict[int, EndReason] = {}
        """The envs that failed in the step that is under way, and how their episodes end."""
        self._fail_next: dict[int, EndReason] = {}
        """The envs that failed outside of a step, and were made anew."""
        self._behind: set[int] | None = None
        """While new episodes take the place of failed steps: the lost envs, which have to make the step again."""
        self.gaps: list[tuple[int, int]] = []
        """The steps in which an env failed: (step, env index)."""

    @property
    def count(self) -> int:
        """How often envs were made anew, over all rollouts."""
        return sum(self._counts)

    def state(self) -> list[int]:
        """Return how often each env was made anew."""
        return list(self._counts)

    def load(
        self,
        counts: Sequence[int],
        courses: Mapping[int, Course],
        columns: Sequence[Column],
        rewards: NDArray[np.float64],
    ) -> None:
        """Go on with these counts and running episodes, see `Tape.load`."""
        self._counts = list(counts)
        self._tape.load(courses, columns, rewards)

    @property
    def count_here(self) -> int:
        """How often envs were made anew in this rollout."""
        return self.count - self._count_before

    def begin(self, block: Block, at: Cursor, make_up: MakeUp | None) -> None:
        """Begin a rollout, and forget the gaps of the one before; with `make_up`, there are to be none."""
        self._make_up = make_up
        self._block, self._at, self._count_before = block, at, self.count
        self.failed.clear()
        self.gaps = []

    def abandon(self) -> None:
        """Note that all episodes are given up."""
        self._tape.clear()
        self._fail_next.clear()

    def take_faults(self) -> list[EnvFault]:
        """Return the faults since the last call."""
        faults, self.faults = self.faults, []
        return faults

    # ---- calls of the executor

    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> Sequence[int]:
        """Step the active envs; return those whose episode ended, or that failed and were made anew."""
        del restart  # nobody begins again within a step
        failed, by_env = self.failed, dict(zip(active, actions, strict=True))
        failed.clear()
        ended: list[int] = []
        going: Sequence[int] = active
        if self._fail_next:
            failed.update((i, self._fail_next.pop(i)) for i in active if i in self._fail_next)
            going = [i for i in active if i not in failed]
        while going or (failed and self._make_up is not None):
            try:
                if not going:
                    going = self._with_new_episodes(by_env)
                    ended = self._take_back(ended, at, going)
                chosen = actions if going is active else [by_env[i] for i in going]
                ended += self._parts.executor.step(at, row, chosen, going, False)
                going = ()
            except StepFaultsError as error:
                failed.update(self._replace(self._block, error, self._block.raw_row(self._at.t), after_step=False))
                going = [i for i in active if i in error.lost and i not in failed]
                ended = self._take_back([*ended, *error.ended], at, [*going, *failed])
        self._tape.note(self._block, at)
        if failed:
            for i in failed:
                self.note_gap(self._at.t, i)
            ended = sorted({*ended} | failed.keys())
        if ended:
            self._tape.end(ended)
        return ended

    def _with_new_episodes(self, by_env: dict[int, Any]) -> list[int]:
        """Let new episodes begin before this step, in the envs that failed in it; return who is to make the step."""
        assert self._make_up is not None
        self._behind = set()
        try:
            new = self._make_up(dict(self.failed))
            again = self._behind - self._fail_next.keys()
        finally:
            self._behind = None
        by_env.update(new)
        self.failed.clear()
        return sorted(new.keys() | again)

    def _take_back(self, ended: Sequence[int], at: int, env_indices: Sequence[int]) -> list[int]:
        """Forget how the step ended for some envs."""
        if env_indices:
            where = list(env_indices)
            self._block.terminated[at, where], self._block.truncated[at, where] = False, False
        return [i for i in ended if i not in env_indices]

    def reset(
        self, block: Block, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], next_start: StartOf
    ) -> dict[int, list[tuple[int, EpisodeStart]]]:
        """Begin episodes, and further ones where an env fails in reset; return all that began, by env, in order."""
        begun = {i: [start] for i, start in starts.items()}
        todo = dict(starts)
        self._tape.end(todo)
        for i in todo:
            self._fail_next.pop(i, None)
        while todo:
            try:
                self._parts.executor.reset(row, todo)
                break
            except StepFaultsError as error:
                failed = self._replace(block, error, row, after_step=True)
                for fault in error.faults:
                    if (i := fault.env_index) in todo and i not in error.lost:
                        begun[i].append(next_start(i, begun[i][-1][0]))
                self._fail_next.update((i, reason) for i, reason in failed.items() if i not in begun)
                todo = {i: begun[i][-1] for i in begun if i in failed or i in error.lost}
                if self._behind is not None:
                    self._behind |= {i for i in error.lost if i not in begun and self._tape.runs(i)}
        for i, some in begun.items():
            self._tape.begin(i, *some[-1])
        return begun

    def fail_next(self, error: StepFaultsError | EnvError) -> None:
        """Make the envs anew that failed after the step that was made last; their episodes end with the next one."""
        faults = error if isinstance(error, StepFaultsError) else StepFaultsError([error])
        self._fail_next.update(self._replace(self._block, faults, self._block.raw_row(self._at.t), after_step=True))

    def revive(self, error: StepFaultsError) -> None:
        """Make the envs anew that failed, or were lost, while no rollout ran: nobody's episode ends by that."""
        for i in sorted({fault.env_index for fault in error.faults} | error.lost):
            self._remake(i)

    # ---- envs at their own pace

    def begin_own_pace(self, rows: Sequence[int], running: Iterable[int]) -> OwnTape:
        """Let each env go at its own pace, at these rows; return what is to be told of their episodes."""
        self._running = own = OwnTape(self._tape, self._block, rows, running)
        return own

    def end_own_pace(self) -> None:
        """Let all envs go in lockstep again."""
        self._running = self._tape

    def replace(self, error: StepFaultsError) -> dict[int, EndReason]:
        """Make the envs anew that failed, or were lost, while all others rest; return all that failed, and how.

        Lost envs come where they were; `error.lost` has all of them.
        """
        return self._replace(self._block, error, 0, after_step=None)

    def take_back(self, t: int, i: int) -> None:
        """Forget what an env that was lost in step t may have written."""
        self._block.terminated[t, i], self._block.truncated[t, i] = False, False

    def doom(self, i: int, reason: EndReason) -> None:
        """Let an env, which was made anew, fail in its next step, as its episode cannot go on."""
        self._fail_next[i] = reason

    def take_doomed(self, env_indices: Iterable[int]) -> dict[int, EndReason]:
        """Return those of these envs that fail in the step that comes now, and how."""
        return {i: self._fail_next.pop(i) for i in env_indices if i in self._fail_next} if self._fail_next else {}

    # ---- gaps

    def note_gap(self, t: int, i: int) -> None:
        """Note that an env, which failed, has no row of step t."""
        block, row = self._block, self._block.at(t)
        self.gaps.append((t, i))
        block.rewards[row, i], block.terminated[row, i], block.truncated[row, i] = 0.0, False, False
        for columns, row_of in ((block.raw, block.raw_row), (block.observations, block.row)):
            for column in columns:  # nothing is seen after the last observation, unless another episode begins
                column[row_of(t + 1), i] = column[row_of(t), i]

    def close_gaps(self, block: Block, t: int) -> None:
        """Drop the rows of the steps in which an env failed; the rollout made `t` steps."""
        gaps = sorted(gap for gap in self.gaps if gap[0] < t)
        if gaps:
            rows, envs = np.array(gaps, np.intp).T
            block.close_gaps(rows, envs)

    # ---- envs made anew

    def _replace(
        self, block: Block, error: StepFaultsError, row: int, *, after_step: bool | None
    ) -> dict[int, EndReason]:
        """Make the envs anew that failed, or were lost; return all that failed, and how.

        Those that were lost are brought back to the observation in this row. Raises the first fault if there are too
        many; `after_step` says whether a step is complete by then, unless each fault knows that.
        """
        failed: dict[int, EndReason] = {}
        faults, lost, blameless = error.faults, error.lost, error.blameless
        while faults or lost:
            self._count(faults, after_step)
            for fault in faults:
                reason = fault.end_reason or EndReason.CRASHED
                if fault.env_index in blameless:
                    reason = EndReason.CUT
                else:
                    failed.setdefault(fault.env_index, reason)
                self._record(fault, reason)
            todo = sorted({fault.env_index for fault in faults} | lost)
            faults, lost, blameless = [], set(), set()
            for i in todo:
                try:
                    self._remake(i)
                    if i not in failed and self._running.runs(i):
                        self._recall(block, i, row)
                except StepFaultsError as more:
                    faults, lost, blameless = faults + more.faults, lost | more.lost, blameless | more.blameless
                except EnvError as fault:
                    faults.append(fault)
            error.lost |= lost
        return failed

    def _count(self, faults: Iterable[EnvError], after_step: bool | None) -> None:
        todo = list(faults)
        for fault in todo:
            self._counts[fault.env_index] += 1
        spent = [fault for fault in todo if self._counts[fault.env_index] > self._most]
        which = f"{self._most} per env"
        if not spent and self._most_in_all is not None and todo and self.count > self._most_in_all:
            spent, which = todo, f"{self._most_in_all} in all"
        if spent:
            fault = cast(EnvError, first_fault(spent))
            fault.after_step = fault.after_step if after_step is None else after_step
            fault.add_note(f"The env was not made anew: max_restarts, {which}, are spent.")
            raise fault

    def _record(self, fault: EnvError, reason: EndReason) -> None:
        in_step = not fault.after_step and fault.episode_index is not None
        self.faults.append(
            EnvFault(
                env_index=fault.env_index,
                episode_index=fault.episode_index,
                seed=fault.seed,
                step=self._running.steps(fault.env_index) if in_step else None,
                action=fault.action,
                end_reason=reason,
                error=f"{type(fault).__name__}: {fault.args[0]}",
            )
        )

    def _remake(self, i: int) -> None:
        """Make one env anew; raises EnvError."""
        try:
            (facts,) = cast(SupportsRestarts, self._parts.executor).remake([i])
        except (EnvError, StepFaultsError):
            raise
        except Exception as error:
            raise EnvError(f"could not be made anew: {describe(error)}", env_index=i) from error
        spec = self._parts.spec
        if (facts.observation_space, facts.action_space) != (spec.env_observation_space, spec.env_action_space):
            raise EnvError("has other spaces since it was made anew: the factory must make equal envs", env_index=i)

    def _recall(self, block: Block, i: int, row: int) -> None:
        """Bring an env back to where it was; raises EnvError if it comes out elsewhere."""
        known = self._running.recollection(block, row, i)
        differs = cast(SupportsRecall, self._parts.executor).recall(i, known)
        if differs:
            raise EnvError(
                "was lost along with another env of its process, and could not be brought back: executed again from "
                f"its seed and its actions, {differs}. An env that is no function of these needs a process of its own: "
                "workers=n_envs",
                env_index=i,
                episode_index=known.course.episode_index,
                seed=known.course.start.seed,
            )
