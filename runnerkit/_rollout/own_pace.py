"""A rollout without a barrier: the agent is asked as soon as some envs are ready, and each env has its own row.

Each env makes the same steps as in lockstep, as its row of a batch depends on nothing else. Only when they are made
differs. What began, ended and was logged is noted here, in the calling thread; other threads make single calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit._core.interrupts import Interrupt
from runnerkit._core.spaces import Rows
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.blocks import grow
from runnerkit._rollout.ends import Ends, TellEnded
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.ledger import Ledger
from runnerkit._rollout.loop import Process, Rollout
from runnerkit._rollout.own_rows import Arrivals, OwnRows
from runnerkit._rollout.own_tape import OwnTape
from runnerkit._rollout.plan import Plan
from runnerkit._rollout.restarts import Restarts
from runnerkit._rollout.start_order import StartOrder
from runnerkit.errors import ArgumentError
from runnerkit.executors.paces import Outcome, Paces, SupportsPaces
from runnerkit.executors.step_faults import StepFaultsError, first_fault
from runnerkit.executors.vector.executor import VectorExecutor
from runnerkit.history.log import EpisodeLog
from runnerkit.processors import SupportsStateDict
from runnerkit.records import EndReason, EpisodeStart, ProgressCallback

__all__ = ["OwnPaceRollout", "check_own_pace"]


def check_own_pace(parts: Assembly, executor: str, processors: Sequence[tuple[str, object]]) -> None:
    """Raise ArgumentError if the envs of a runner cannot go at their own pace, or its data would depend on it."""
    if isinstance(parts.executor, VectorExecutor):
        raise ArgumentError(
            "min_batch needs single envs, but a vector env steps all of its envs at once. Leave min_batch out, or pass "
            "a function that makes single envs."
        )
    if not isinstance(parts.executor, SupportsPaces):
        raise ArgumentError(
            "min_batch needs an executor that steps each env at its own pace: 'processes', 'threads', 'asyncio' or "
            f"'serial', not {executor!r}."
        )
    for name, processor in processors:
        if isinstance(processor, SupportsStateDict) and not getattr(processor, "is_frozen", False):
            raise ArgumentError(
                f"With min_batch, the order of observations differs from run to run, and so do the running statistics "
                f"of processor {name}. Freeze them (Normalize has freeze() and frozen()), or leave min_batch out."
            )


class OwnPaceRollout(Rollout):
    """One rollout in which the agent is asked as soon as `min_batch` envs are ready, or all that still run."""

    _least_window = 256  # as all envs finish their calls before a window ends

    def __init__(
        self,
        parts: Assembly,
        standing: EnvStates,
        plan: Plan,
        agent: object,
        progress: ProgressCallback | None,
        tell_ended: TellEnded | None,
        *,
        min_batch: int,
    ) -> None:
        self._least = min_batch
        self._steps_of = [0] * parts.spec.n_envs  # the next step of each env, as a row of the block
        self._before = [0] * parts.spec.n_envs  # its steps in earlier windows of the rollout
        super().__init__(parts, standing, plan, agent, None, progress, tell_ended)
        self._ready: list[int] = []
        self._resetting: set[int] = set()
        self._going: set[int] = set()
        """Envs that may still end an episode: they do not wait for a decision, and are not at their last step."""
        self._told: list[int] = []
        self._given: dict[int, Any] = {}  # the first actions, as long as bounds are to be looked at
        self._order = StartOrder(0)
        self._is_ending = False
        self._paces: Paces
        self._outcomes: Callable[[int], Sequence[Outcome]]
        self._faults: list[StepFaultsError] = []
        """What was raised since the last time that envs were made anew."""
        self._broken: dict[int, EndReason] = {}
        """The envs whose last episode a fault ended, and how, until it is settled what follows."""
        self._tape: OwnTape | None = None

    @override
    def _make_ledger(self, *, is_awaited: bool) -> Ledger:
        return OwnRows(self._parts, self._standing, self._block, self._plan, self._at, steps_of=self._steps_of)

    @override
    def _make_ends(self, tell: Sequence[TellEnded]) -> Ends:
        return Arrivals(self._block, self._standing, self._ledger, tell, steps_of=self._steps_of)

    @override
    def _bound(self) -> None:
        self._limit = self._plan.limit  # whatever the window
        self._stop, self._last_restart = self._limit - 1, 0

    # ---- the loop

    @override
    def _loop(self, interrupt: Interrupt) -> None:
        self._find_paces()
        restarts = self._standing.restarts
        self._ready, self._told = list(self._at.active), list(self._at.active)
        self._going = set(self._ready)
        self._order.left = self._to_start or 0
        if restarts is not None:
            self._tape = restarts.begin_own_pace(self._steps_of, self._ready)
        try:
            while not interrupt.stops and self._go_on():
                pass
            self._is_ending = True
            self._come_to_rest()
            self._decide()
            if self._tape is not None:
                self._tape.leave()
        except BaseException as fault:
            if not (isinstance(fault, KeyboardInterrupt) and interrupt.forced):
                self._is_ending = True
                self._paces.hurry(fault)
                self._take_pending(fault)
                self._decide()
            raise
        finally:
            self._paces.rest()
            self._settle_cursor()
            if restarts is not None:
                restarts.end_own_pace()

    def _find_paces(self) -> None:
        self._paces = paces = cast(SupportsPaces, self._parts.executor).paces()
        watch = self._standing.stopwatch
        self._outcomes = paces.outcomes if watch is None else watch.around_executor(paces.outcomes)

    def _go_on(self) -> bool:
        """Wait until enough envs are ready, and let them step; return whether there is anything left to do."""
        missing = self._missing()
        if missing or self._paces.pending:
            self._take(self._outcomes(missing))
        if self._faults:
            self._come_to_rest()
        elif self._ready and not self._missing():
            self._advance_ready()
        return bool(self._ready or self._paces.pending)

    def _missing(self) -> int:
        """Return how many more envs must be ready before the agent is asked."""
        ready = len(self._ready)
        return max(0, min(self._least, ready + self._paces.pending) - ready)

    def _advance_ready(self) -> None:
        """Ask the agent for all envs that are ready, and let them make their steps."""
        block, steps_of = self._block, self._steps_of
        rows = block.steps if self._windows is None else self._windows.steps
        if any(steps_of[i] == rows for i in self._ready):  # nobody may write into a block as it grows, or is handed on
            self._come_to_rest()
            if not self._turn():
                grow(block, self._parts, self._plan)
            return
        if self._standing.restarts is not None and self._ends_doomed(self._standing.restarts):
            return
        envs, self._ready = sorted(self._ready), []
        actions = self._ask_for(envs)
        for k, i in enumerate(envs):
            t, mine = steps_of[i], actions[k : k + 1]
            if i in self._standing.unseen:
                self._given[i] = mine[0]
            self._paces.begin_step(i, t, block.raw_row(t + 1), mine)

    def _ask_for(self, envs: list[int]) -> Rows:
        block, parts, port = self._block, self._parts, self._port
        steps = self._turn_to(envs)
        if envs != self._told:
            port.tell_active(envs)
            self._told = envs
        port.tell_of_episodes()
        columns = port.ask(parts.layout.observation.batch(block.observations, (steps, envs)))
        for column, value in zip(block.actions, columns, strict=True):
            column[steps, envs] = value
        if self._notes_actions:
            parts.preprocess.note_actions(columns, parts.layout.action, envs)
        if parts.postprocess:
            columns = port.postprocess(columns)
            for column, value in zip(block.env_actions, columns, strict=True):
                column[steps, envs] = value
        return parts.layout.env_action.rows(columns, len(envs))

    def _turn_to(self, envs: list[int]) -> NDArray[np.intp]:
        """Let these envs be the active ones, and return the step of each."""
        at = self._at
        steps = np.array([self._steps_of[i] for i in envs], np.intp)
        at.active = at.rows = envs
        at.t, at.own_steps = int(steps.min()), steps
        if self._windows is not None:
            at.before = min(self._before[i] + self._steps_of[i] for i in envs) - at.t
        return steps

    @override
    def _turn(self) -> bool:
        """Hand the rows of all envs to the history format, and go on in the same rows; return whether it takes them.

        Envs have different numbers of rows. What has ended is complete, though its env may wait to begin again.
        """
        if self._windows is None:
            return False
        for i in self._order.waiting:
            self._leave_out(i)
        self._settle_cursor()
        if self._ends is not None:
            self._ends.turn(self._steps_of)
        if self._tape is not None:
            self._tape.turn()
        self._ledger.record_window((), self._starts.close_gaps)
        self._port.start_rows(self._standing.envs)
        for i, steps in enumerate(self._steps_of):
            self._before[i] += steps
            self._steps_of[i] = 0
        self._ledger.begin_window(())
        self._windows.turn(min(self._before[i] for i in self._at.active))
        return True

    # ---- what comes of it

    def _come_to_rest(self) -> None:
        """Wait for all that is under way, and make the envs anew that failed."""
        while self._paces.pending or self._faults:
            while self._paces.pending:
                self._take(self._outcomes(self._paces.pending))
            if self._faults and self._standing.restarts is not None:
                self._make_anew(self._standing.restarts)
        self._paces.rest()

    def _take_pending(self, before: BaseException) -> None:
        """Wait for all that is under way; `before` is a fault that is on its way already."""
        while self._paces.pending:
            try:
                self._take(self._outcomes(self._paces.pending))
            except Exception as fault:
                before.add_note(f"Besides: {fault}")
        for one in self._faults:
            before.add_note(f"Besides: {one}")

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        """Note what came of some calls; raise the first fault."""
        stepped, begun, ended, faults = [], [], [], []
        for i, is_over, fault, log in sorted(outcomes, key=lambda outcome: outcome.env_index):
            if log is not None:
                self._ledger.add_timings(log)
                self._ledger.note(log, upto=self._plan.limit)
            if fault is not None:
                faults.append(fault)
            elif i in self._resetting:
                begun.append(i)
            else:
                stepped.append(i)
                ended += [i] * is_over
        self._resetting.difference_update(begun)
        if stepped:
            self._note_steps(stepped, ended)
        if begun:
            self._note_begun(begun)
        self._decide()
        if faults:
            united = None if self._standing.restarts is None else StepFaultsError.united(faults, ())
            if united is None:
                raise first_fault(faults)
            self._faults.append(united)

    def _note_steps(self, envs: list[int], ended: Sequence[int]) -> None:
        block, parts, steps_of = self._block, self._parts, self._steps_of
        self._look_at_steps(envs)
        steps = np.array([steps_of[i] for i in envs], np.intp)
        if self._processes_rewards:
            rewards = block.rewards[steps, envs]
            block.processed_rewards[steps, envs] = parts.process_rewards(rewards, envs)
        for i in envs:
            steps_of[i] += 1
        if self._standing.stopwatch is not None:
            self._standing.stopwatch.count_steps(len(envs))
        going = [i for i in envs if i not in ended]
        self._process_at(parts.preprocess, going)
        for i in going:
            self._be_ready(i)
        if self._reporter is not None:
            self._reporter.count_steps(len(envs))
        for i in ended:
            self._end(i)
        if self._reporter is not None and self._reporter.is_due():
            self._report()

    def _look_at_steps(self, envs: Sequence[int]) -> None:
        standing = self._standing
        for i in envs if standing.unseen else ():
            if i in standing.unseen:
                row = self._block.raw_row(self._steps_of[i] + 1)
                standing.check_bounds(self._block, row, [i], "step", {i: self._given.pop(i)})
                standing.unseen.discard(i)

    def _note_begun(self, envs: list[int]) -> None:
        if self._tape is not None:
            for i in envs:
                self._tape.begin(i, self._standing.envs[i].episode_index, self._standing.envs[i].start)
        self._process_at(self._parts.preprocess, envs)
        self._port.note_begun(envs)
        self._port.note_rows(envs, [self._steps_of[i] for i in envs], self._standing.envs)
        for i in envs:
            self._be_ready(i)

    def _be_ready(self, i: int) -> None:
        if self._before[i] + self._steps_of[i] < self._limit:
            self._ready.append(i)
        else:
            self._going.discard(i)

    def _process_at(self, process: Process, envs: list[int]) -> None:
        """Process the last observation of each of these envs."""
        if not envs or not self._parts.preprocess:
            return
        block, layout = self._block, self._parts.layout
        steps = np.array([self._steps_of[i] for i in envs], np.intp)
        raw_rows = np.array([block.raw_row(self._steps_of[i]) for i in envs], np.intp)
        columns = process([column[raw_rows, envs] for column in block.raw], layout.raw, envs)
        for column, value in zip(block.observations, columns, strict=True):
            column[steps, envs] = value

    # ---- episodes

    def _end(self, i: int) -> None:
        """Decide what follows the episode of an env that has ended, at once or later."""
        t = self._before[i] + self._steps_of[i] - 1
        self._going.discard(i)
        if self._tape is not None:
            self._tape.end(i)
        if not self._plan.auto_reset or t >= self._stop or self._is_ending:
            self._leave_out(i)
        elif self._to_start is None:
            self._begin_again(i)
        else:
            self._order.wait(t, i)

    def _decide(self) -> None:
        """Begin the episodes of which it is certain now that they are among those asked for."""
        if self._to_start is None:
            return
        if self._is_ending:
            for i in self._order.give_up():
                self._leave_out(i)
        while (decided := self._order.decide(self._steps_made())) is not None:
            self._to_start = self._order.left
            i, begins = decided
            if begins:
                self._begin_again(i)
            else:
                self._leave_out(i)

    def _steps_made(self) -> dict[int, int]:
        """Return the next step of each env that may still end an episode."""
        return {i: self._before[i] + self._steps_of[i] for i in self._going}

    def _begin_again(self, i: int) -> None:
        standing, block, row = self._standing, self._block, self._steps_of[i]
        raw_row = block.raw_row(row)
        goes_on = standing.envs[i].running  # else its last episode lies in an earlier window
        if goes_on and self._ends is not None:
            self._ends.collect(row - 1, [i], self._broken)
        start = standing.next_starts(block, [i])[i]
        if goes_on:
            self._begin_after(i, row, start)
        else:
            self._begin_first(i, start)
        self._going.add(i)
        self._resetting.add(i)
        self._paces.begin_reset(i, raw_row, *start)

    def _begin_after(self, i: int, row: int, start: tuple[int, EpisodeStart]) -> None:
        """Note that an episode begins in this row, and the one before has ended."""
        block, reason = self._block, self._broken.pop(i, None)
        if reason is not None:
            self._ledger.note_failed(i, start[0], reason, row, last=row - 1)
        else:
            log = EpisodeLog(self._parts.layout.raw)
            log.begin(i, row, start[0], block.raw, (block.raw_row(row), i))
            self._ledger.note(log, upto=row)
        self._standing.envs[i].begin(*start)
        self._tell_of_end(row - 1)

    def _begin_first(self, i: int, start: tuple[int, EpisodeStart]) -> None:
        """Note that an episode begins in the first row of an env."""
        env = self._standing.envs[i]
        env.begin(*start)
        env.running = True
        self._ledger.mark_first(i)
        if self._parts.preprocess:
            self._parts.preprocess.begin_episodes([i])
        if self._ends is not None:
            self._ends.begin(i, 0)

    def _leave_out(self, i: int) -> None:
        """Let an env rest until the next rollout, or until it is certain that it begins again."""
        if not self._standing.envs[i].running:
            return  # since an earlier window
        t = self._steps_of[i] - 1
        if self._ends is not None:
            self._ends.collect(t, [i], self._broken)
        reason = self._broken.pop(i, None)
        if reason is not None:
            self._ledger.break_off(i, reason)
        else:
            self._process_at(self._parts.preprocess.finals, [i])
        self._standing.envs[i].running = False
        self._block.lengths[i] = t + 1
        self._tell_of_end(t)

    # ---- envs made anew

    def _make_anew(self, restarts: Restarts) -> None:
        """Make the envs anew that failed, or were lost along with others, and let them go on. All others rest."""
        whole = cast(StepFaultsError, StepFaultsError.united(self._faults, ()))
        self._faults = []
        self._paces.rest()
        failed_in_reset = {fault.env_index for fault in whole.faults} & (self._resetting - whole.lost)
        stepping = self._going - set(self._ready) - self._resetting  # of these steps nothing came
        failed = restarts.replace(whole)
        self._find_paces()  # as some envs may live elsewhere now
        for i in sorted(self._resetting & (failed.keys() | whole.lost)):
            self._reset_again(i, is_next=i in failed_in_reset)
        for i in sorted(failed.keys() - self._resetting):
            if i in stepping:
                self._end_by_fault(i, failed[i], restarts)
            elif i in self._running():
                restarts.doom(i, failed[i])
        for i in sorted((whole.lost & stepping) - failed.keys()):
            t = self._steps_of[i]
            restarts.take_back(t, i)
            action = [column[t : t + 1, i].copy() for column in self._block.env_actions]
            row = self._block.raw_row(t + 1)
            self._paces.begin_step(i, t, row, self._parts.layout.env_action.rows(action, 1))
        self._decide()

    def _running(self) -> list[int]:
        """Return the envs that are in an episode, or about to begin one."""
        return [] if self._tape is None else [i for i in range(self._block.n_envs) if self._tape.runs(i)]

    def _reset_again(self, i: int, *, is_next: bool) -> None:
        """Begin the episode of an env again, or the next one, if it failed in its reset."""
        standing, block, row = self._standing, self._block, self._steps_of[i]
        env = standing.envs[i]
        if is_next:
            start = standing.start_after(block, i, env.episode_index)
            self._ledger.note_failed(i, start[0], EndReason.CRASHED, row, last=max(row - 1, 0))
            env.begin(*start)
            if self._ends is not None:
                self._ends.begin(i, row)
        self._paces.begin_reset(i, block.raw_row(row), env.episode_index, env.start)

    def _end_by_fault(self, i: int, reason: EndReason, restarts: Restarts) -> None:
        """End the episode of an env with the last step that it made: its history has no row of this one."""
        restarts.note_gap(self._steps_of[i], i)
        self._steps_of[i] += 1
        self._broken[i] = reason
        if self._standing.stopwatch is not None:
            self._standing.stopwatch.count_steps(1)
        if self._reporter is not None:
            self._reporter.count_steps(1)
        self._end(i)

    def _ends_doomed(self, restarts: Restarts) -> bool:
        """End the episodes of ready envs that cannot go on; return whether there are any."""
        doomed = restarts.take_doomed(self._ready)
        self._ready = [i for i in self._ready if i not in doomed]
        for i in sorted(doomed):
            self._end_by_fault(i, doomed[i], restarts)
        self._decide()
        return bool(doomed)

    def _tell_of_end(self, t: int) -> None:
        if self._ends is not None:
            self._ends.settle(t)
            self._ends.report(t)

    def _settle_cursor(self) -> None:
        """Let the cursor say where the rollout ended, and which envs are in the middle of an episode."""
        at, envs = self._at, self._standing.envs
        at.t, at.own_steps = max(self._steps_of), None
        at.turn_to([i for i in sorted(self._block.first_marks) if envs[i].running], self._parts.spec.n_envs)
