"""One rollout: what is asked, what is stepped, what ended, what begins.

The agent stands behind its port, the ledger has the episodes, and `Starts` is where kinds of envs differ: most begin an
episode at once, some vector envs a step late.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import Any, ClassVar, TypeAlias

from runnerkit._core.faults import describe
from runnerkit._core.interrupts import Interrupt
from runnerkit._core.spaces import Column, Layout, Rows, put_rows
from runnerkit._rollout.agent_port import AgentPort
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.blocks import allocate, grow
from runnerkit._rollout.cursor import Cursor
from runnerkit._rollout.ends import Ends, TellEnded
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.late_starts import LateStarts
from runnerkit._rollout.ledger import Ledger, attach
from runnerkit._rollout.plan import Plan
from runnerkit._rollout.progress import Reporter
from runnerkit._rollout.rendering import Screen
from runnerkit._rollout.starts import PromptStarts, Read, Starts
from runnerkit._rollout.windows import Windows
from runnerkit.errors import EnvError, RolloutError
from runnerkit.executors.hanging import WATCH
from runnerkit.executors.step_faults import StepFaultsError
from runnerkit.history.base import windows_of
from runnerkit.history.block import Block
from runnerkit.records import EndReason, ProgressCallback

__all__ = ["Process", "Rollout"]

Process: TypeAlias = Callable[[list[Column], Layout, Sequence[int]], list[Column]]


class Rollout:
    """One rollout: `run` returns the histories; whatever it raises has what there is of them."""

    _least_window: ClassVar[int] = 1
    """The fewest steps of a window, if the history format takes the rollout in windows."""

    def __init__(
        self,
        parts: Assembly,
        standing: EnvStates,
        plan: Plan,
        agent: object,
        screen: Screen | None,
        progress: ProgressCallback | None,
        tell_ended: TellEnded | None = None,
    ) -> None:
        self._parts, self._standing, self._plan, self._screen = parts, standing, plan, screen
        self._at = at = Cursor()
        # a stream has windows of its own
        has_others = plan.has_windows or plan.process_transition is not None
        recorder = None if has_others else windows_of(parts.recorder)
        self._windows: Windows | None = (
            None if recorder is None else Windows(parts.layout, plan.limit, self._least_window)
        )
        self._block = block = allocate(parts, plan, self._windows)
        watch, choose = standing.stopwatch, plan.compute_action
        self._port = AgentPort(agent, choose if watch is None else watch.around_agent(choose), parts, block, at)
        told = progress is not None or tell_ended is not None
        self._ledger = ledger = self._make_ledger(is_awaited=told)
        self._starts: Starts = (
            LateStarts(standing.vector, parts, standing, block, ledger, at)
            if standing.vector is not None and standing.vector.rests
            else PromptStarts(parts, standing, block, ledger, at)
        )
        self._to_start = plan.episodes  # episodes still to begin; None if there is no end to them
        self._bound()
        self._processes_rewards, self._notes_actions = parts.layout.reward_processed, parts.preprocess.notes_actions
        if standing.restarts is not None:
            standing.restarts.begin(block, at, self._make_up if plan.has_windows else None)
        if recorder is not None:
            recorder.begin()
        self._failed: dict[int, EndReason] = {} if standing.restarts is None else standing.restarts.failed
        """The envs that failed in the step that is under way and were made anew, and how their episodes end."""
        self._drawing = False
        self._has_window = False
        self.is_over: bool = False
        """Whether the runner knows where its envs stand now."""
        self._reporter: Reporter | None = None if progress is None else Reporter(progress)
        tell: list[TellEnded] = [self._reporter.count_episode] if self._reporter is not None else []
        tell += [tell_ended] if tell_ended is not None else []
        self._ends: Ends | None = self._make_ends(tell) if tell else None
        self._read: Read | None = None

    def _make_ledger(self, *, is_awaited: bool) -> Ledger:
        return Ledger(self._parts, self._standing, self._block, self._plan, self._at, is_awaited=is_awaited)

    def _make_ends(self, tell: Sequence[TellEnded]) -> Ends:
        return Ends(self._block, self._standing, self._ledger, tell)

    # ---- life

    def run(self, interrupt: Interrupt) -> list[object]:
        """Return one history per env; `interrupt.requested` says whether Ctrl-C ended the rollout early."""
        with self.watched():
            self._advance(interrupt, starts=True)
        missing = None if interrupt.stops else self._missing_episodes()
        histories = self._finish(EndReason.INTERRUPTED if interrupt.requested else EndReason.CUT)
        try:
            self._standing.warn()
            self._ledger.warn_of_losses(histories)
            self._report()
            missing = missing or self._ledger.missing_histories()
            if missing is not None:
                raise missing
        except BaseException as error:
            attach(error, histories)
            raise
        return histories

    def next_window(self, interrupt: Interrupt) -> Block | None:
        """Make the next `plan.limit` steps of a stream, and return the block; None after Ctrl-C.

        The block is valid until the next call. Faults have histories, as those of `run`.
        """
        if self._has_window:
            self._has_window = False
            self._ledger.open_next_window()
            self._port.start_rows(self._standing.envs)
            self._advance(interrupt, starts=False)
        else:
            self._advance(interrupt, starts=True)
        if interrupt.requested:
            return None
        self._standing.warn()
        self._ledger.close_window()
        self._has_window = True
        return self._block

    def cut_window(self) -> list[object]:
        """Return the histories of a window that Ctrl-C cut."""
        return self._finish(EndReason.INTERRUPTED)

    def leave(self) -> None:
        """End a stream. The next rollout goes on where the last window ended, if the envs stand there."""
        if self._has_window:
            self._ledger.leave_window()
        else:
            self._ledger.abandon()
        self.is_over = True

    def _advance(self, interrupt: Interrupt, *, starts: bool) -> None:
        """Make the steps. What is raised has the histories; after Ctrl-C, `interrupt.requested` is set."""
        try:
            if starts:
                self._parts.executor.attach(self._block)
                self._start()
            self._loop(interrupt)
        except KeyboardInterrupt:
            if interrupt.forced:  # anything may be half done
                self._ledger.abandon()
                raise
            interrupt.requested = interrupt.stops = True
        except RolloutError as error:
            if self._ledger.is_turning:  # the history format failed, and what there is left travels with that
                self._ledger.abandon()
                self.is_over = True
                raise
            self._ledger.locate(error, breaks_off=not self._drawing)
            error.histories = self._finish(EndReason.INTERRUPTED)
            raise
        except BaseException as error:  # sys.exit() in an env, or what a signal handler raised
            self._hand_along(error)
            raise

    def watched(self) -> contextlib.AbstractContextManager[None]:
        """Watch the envs while they are at work."""
        return WATCH.over(self._parts.executor, self._where)

    def _where(self) -> str:
        return f"step {self._at.step} of the rollout"

    def _start(self) -> None:
        indices: Sequence[int] = range(self._parts.spec.n_envs)
        if self._to_start is not None:
            self._standing.abandon()
            indices = range(min(len(indices), self._to_start))
            self._to_start -= len(indices)
        begun = self._standing.begin(self._block, indices)
        self._port.start_rows(self._standing.envs)
        self._port.note_begun(begun)
        self._block.log.reset_infos += self._standing.reset_infos
        self._standing.untold, self._standing.reset_infos = [], []
        self._activate([i for i in indices if self._standing.envs[i].running])
        self._starts.start()
        if self._screen is not None:
            self._screen.begin({i: self._standing.envs[i].return_ for i in indices})
        if self._ends is not None:
            self._ends.start(self._starts.waiting)
        if self._reporter is not None:
            is_known = self._parts.spec.seeding.every_step and not self._plan.is_open_ended
            total = self._plan.limit * self._parts.spec.n_envs if is_known else None
            self._reporter.start(total, self._plan.episodes)
        self._read = self._plain_reader()

    def _loop(self, interrupt: Interrupt) -> None:
        self._make_steps(interrupt)
        while self._windows is not None and not interrupt.stops and self._turn():
            self._make_steps(interrupt)

    def _make_steps(self, interrupt: Interrupt) -> None:
        """Make the steps of the rollout, or of one window of it."""
        if self._standing.unseen and self._goes_on():
            self._step()  # in which first observations are looked at
        read = self._read
        if read is not None:  # all but the last step, in which nobody is to begin again
            self._starts.run_plainly(self._port, read, self._last_restart, interrupt, self._ends)
        while self._at.t < self._limit and self._goes_on() and not interrupt.stops:
            self._step()

    def _goes_on(self) -> bool:
        return bool(self._at.active or self._starts.waiting) and self._at.t < self._limit

    def _bound(self) -> None:
        """Set where the steps end: with the rollout, or with this window of it."""
        plan, windows = self._plan, self._windows
        self._limit = plan.limit if windows is None else windows.steps
        # Up to here envs may begin again: at the last step it is left to the next rollout, unless a window follows.
        follows = plan.has_windows or (windows is not None and not windows.is_last)
        self._stop = self._limit if follows else self._limit - 1
        # Up to here they may begin again within a step.
        self._last_restart = self._stop if plan.auto_reset and self._standing.restarts_in_step else 0

    def _turn(self) -> bool:
        """Hand a full window to the history format, and go on in the same rows; return whether there are more steps."""
        windows, starts = self._windows, self._starts
        if windows is None or windows.is_last or not (self._at.active or starts.waiting):
            return False
        if self._ends is not None:
            self._ends.turn([self._at.t] * self._block.n_envs)
        self._ledger.record_window(starts.waiting, starts.close_gaps)
        self._port.start_rows(self._standing.envs)
        starts.turn()
        self._ledger.begin_window(starts.waiting)
        windows.turn(windows.before + windows.steps)
        self._bound()
        self._read = self._plain_reader()
        return True

    def _missing_episodes(self) -> RolloutError | None:
        """Return what to raise if MAX_STEPS came before the last of the episodes asked for."""
        if self._plan.episodes is None or not (self._at.active or self._to_start):
            return None
        missing = len(self._at.active) + (self._to_start or 0)
        return RolloutError(
            f"{missing} of {self._plan.episodes} episodes did not end within MAX_STEPS, {self._plan.limit} steps per "
            "env. The histories of this error have what was collected; raise MAX_STEPS, or give the env a time limit."
        )

    def _finish(self, tail: EndReason) -> list[object]:
        try:
            histories = self._ledger.finish(tail, self._starts.waiting, self._starts.close_gaps)
        except RolloutError:
            self.is_over = self._ledger.is_closed  # if it is of the history format, all else is done
            raise
        self.is_over = True
        return histories

    def _hand_along(self, error: BaseException) -> None:
        """Attach what was collected to an exception that may have come at any moment."""
        try:
            attach(error, self._finish(EndReason.INTERRUPTED))
        except Exception as fault:
            self._ledger.abandon()
            error.add_note(f"What the rollout had collected is lost: {describe(fault)}")

    def _plain_reader(self) -> Read | None:
        """Return what reads actions, if asking and stepping is all there is to do in a step."""
        layout, others = self._parts.layout, (self._plan.process_transition, self._screen, self._reporter)
        unlike = self._plan.is_open_ended or self._last_restart == 0 or any(other is not None for other in others)
        arrays = layout.observation.is_array and layout.action.is_array
        processed = layout.preprocessed or layout.postprocessed or layout.reward_processed
        unlike = unlike or not arrays or processed or self._port.stateful is not None
        unlike = unlike or (self._standing.vector is not None and self._standing.stopwatch is not None)
        if unlike or layout.action.leaves[0].is_scalar_box:  # the rows of whose batches are no arrays
            return None
        return self._parts.read_actions.read_single

    # ---- a step

    def _step(self) -> None:
        at, block, parts, ledger = self._at, self._block, self._parts, self._ledger
        t, active, rows = at.t, at.active, at.rows
        if t == block.steps and not ledger.makes_own:
            grow(block, parts, self._plan)
        row, raw_row = block.at(t), block.raw_row(t + 1)
        actions = self._ask(t, row) if active else ()
        restart = t < self._last_restart and (self._to_start is None or self._to_start >= len(active))
        ended: Sequence[int] = ()
        observed: Sequence[int] = active
        final: Sequence[int] = ()  # those of them whose observation is the last of its episode
        failed: EnvError | None = None
        failed_envs = self._failed  # in this step, and made anew
        try:
            ended = self._standing.step_envs(row, raw_row, actions, active, restart)
            self._look_at_first(raw_row, actions)
            if ledger.makes_own:
                ledger.count(row)
            if ended and self._ends is not None:
                self._ends.collect(t, ended, failed_envs)
            if ended or self._starts.waiting:
                observed, final = self._turn_over(ended, restart)
            if ended and self._ends is not None:
                self._ends.settle(t, self._starts.waiting)
        except EnvError as fault:
            if not fault.after_step:
                raise
            failed = fault
            ledger.note_fault_after(t + 1)
            if ledger.is_awaited:
                ledger.take(upto=t + 1)
            observed = [i for i in active if i not in failed_envs] if failed_envs else active
        made = [i for i in active if i not in failed_envs] if failed_envs else active
        if self._processes_rewards and made:
            self._process_rewards(row, made, made if failed_envs else rows)
        if parts.preprocess:
            self._preprocess(raw_row, block.row(t + 1), observed, final)
        if ledger.makes_own:
            ledger.process_transitions(made)
        at.t = t + 1
        if failed is not None:
            if self._ends is not None:
                self._ends.report_before(failed, t, active)
            raise failed
        if self._reporter is not None:
            self._reporter.count_steps(len(active))
        if ended and self._ends is not None:
            self._ends.report(t)
        if self._reporter is not None and self._reporter.is_due():
            self._report()
        if self._screen is not None:
            self._screen.count(block.rewards[row], active, ended)
            self._draw(observed, self._screen)

    def _make_up(self, failed: Mapping[int, EndReason]) -> dict[int, Any]:
        """Begin new episodes before this step, in the envs that failed in it, and ask the agent for these alone."""
        at, block, port = self._at, self._block, self._port
        t, active, envs = at.t, at.active, sorted(failed)
        self._begin_before(failed)
        if self._parts.preprocess:
            self._preprocess(block.raw_row(t), block.row(t), envs, ())
        port.note_begun(envs)
        port.note_rows(envs, [t] * len(envs), self._standing.envs)
        self._activate(envs)
        try:
            return dict(zip(envs, self._ask(t, block.at(t)), strict=True))
        finally:
            at.turn_to(active, block.n_envs)
            at.active = active  # executors know a batch of envs by its list
            port.tell_active(active)

    def _begin_before(self, failed: Mapping[int, EndReason]) -> None:
        """Begin episodes whose first observation takes the row of the last one before."""
        block, standing, t = self._block, self._standing, self._at.t
        assert standing.restarts is not None
        starts = standing.next_starts(block, sorted(failed))
        for i, (episode_index, _) in starts.items():
            self._ledger.note_failed(i, episode_index, failed[i], row=t)
        next_start = functools.partial(standing.start_after, block)
        begun = standing.restarts.reset(block, block.raw_row(t), starts, next_start)
        for i, some in begun.items():
            for episode_index, _ in some[1:]:  # those before failed in reset
                self._ledger.note_failed(i, episode_index, EndReason.CRASHED, row=t)
            standing.envs[i].begin(*some[-1])

    def _ask(self, t: int, at: int) -> Rows:
        """Ask the agent, record what it chose, and return one env action per active env."""
        block, parts, port, rows = self._block, self._parts, self._port, self._at.rows
        port.tell_of_episodes()
        row = block.row(t)
        columns = port.ask(parts.layout.observation.batch(block.observations, row if rows is ... else (row, rows)))
        put_rows(block.actions, at, rows, columns)
        if self._notes_actions:
            parts.preprocess.note_actions(columns, parts.layout.action, self._at.active)
        if parts.postprocess:
            columns = port.postprocess(columns)
            put_rows(block.env_actions, at, rows, columns)
        return parts.layout.env_action.rows(columns, len(self._at.active))

    def _look_at_first(self, raw_row: int, actions: Rows) -> None:
        standing, active = self._standing, self._at.active
        if standing.unseen:
            by_env = dict(zip(active, actions, strict=True))
            seen = [i for i in active if i not in self._failed] if self._failed else active
            standing.check_bounds(self._block, raw_row, seen, "step", by_env)
            standing.unseen.difference_update(active)

    def _turn_over(self, ended: Sequence[int], restarted: bool) -> tuple[Sequence[int], Sequence[int]]:
        """Begin new episodes where old ones ended, and leave envs out that are done.

        Returns the envs that were observed, and those of them whose observation is the last of its episode.
        """
        at = self._at
        again = ended if restarted else self._to_begin_again(ended)
        if self._to_start is not None:
            self._to_start -= len(again)
        begun = self._starts.begin(again, restarted)
        self._port.note_begun(begun)
        if begun and self._port.rows is not None:
            self._port.note_rows(begun, [at.t + 1] * len(begun), self._standing.envs)
        if begun is ended:
            return at.active, ()
        gone = set(self._failed) - set(begun)  # of which there is no observation
        for i in set(ended) - set(again):
            self._standing.envs[i].running = False
            self._block.lengths[i] = at.t + 1
        for i in gone:
            self._ledger.break_off(i, self._failed[i])
        active, observed = at.active, sorted({*at.active, *begun} - gone)
        still = sorted({*active} - {*ended} | {*begun})
        if still != active:
            self._activate(still, is_asked=at.t + 1 < self._limit or self._limit == self._stop)
        return observed, sorted({*ended} - {*begun} - gone)

    def _to_begin_again(self, ended: Sequence[int]) -> Sequence[int]:
        if not self._plan.auto_reset or self._at.t >= self._stop:
            return ()
        return ended if self._to_start is None else ended[: self._to_start]

    def _preprocess(self, raw_row: int, row: int, observed: Sequence[int], final: Sequence[int]) -> None:
        """Process what was observed, final observations first and apart."""
        chain = self._parts.preprocess
        if final:
            self._process(chain.finals, raw_row, row, final)
            observed = sorted({*observed} - {*final})
        if observed:
            self._process(chain, raw_row, row, observed)

    def _process(self, process: Process, raw_row: int, row: int, env_indices: Sequence[int]) -> None:
        block, layout = self._block, self._parts.layout
        rows = ... if len(env_indices) == block.n_envs else env_indices
        raw = [column[raw_row].copy() if rows is ... else column[raw_row, rows] for column in block.raw]
        put_rows(block.observations, row, rows, process(raw, layout.raw, env_indices))

    def _process_rewards(self, row: int, active: Sequence[int], rows: EllipsisType | list[int]) -> None:
        rewards = self._block.rewards[row, rows].copy()  # a processor may do with it as it likes
        self._block.processed_rewards[row, rows] = self._parts.process_rewards(rewards, active)

    def _activate(self, env_indices: Sequence[int], *, is_asked: bool = True) -> None:
        self._at.turn_to(env_indices, self._parts.spec.n_envs)
        if is_asked:
            self._port.tell_active(self._at.active)

    # ---- who looks on

    def _report(self) -> None:
        if self._reporter is None:
            return
        if self._standing.restarts is not None:
            self._reporter.count_restarts(self._standing.restarts.count_here)
        try:
            self._reporter.report()
        except Exception as error:
            raise RolloutError(f"progress raised {describe(error)}") from error

    def _draw(self, env_indices: Sequence[int], screen: Screen) -> None:
        self._drawing = True
        screen.wait()
        if screen.needs_frames:
            try:
                screen.show(self._parts.executor.render(env_indices), env_indices)
            except (EnvError, StepFaultsError) as error:
                if self._standing.restarts is None:
                    raise
                self._standing.restarts.fail_next(error)
        self._drawing = False
