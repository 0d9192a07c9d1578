"""One rollout, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from runnerkit._core.faults import describe
from runnerkit._core.interrupts import Interrupt
from runnerkit._core.memory import fitting, require_bytes
from runnerkit._core.spaces import Column, MisfitError, Rows, put_rows
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.plan import Plan
from runnerkit._rollout.progress import Reporter
from runnerkit._rollout.rendering import Screen
from runnerkit.agents import SupportsBeginEpisodes, SupportsSetActiveEnvs
from runnerkit.errors import AgentError, EnvError, ProcessorError, RolloutError
from runnerkit.history.arrays import ArrayRecorder
from runnerkit.history.block import Block
from runnerkit.history.log import EpisodeLog
from runnerkit.history.transitions import transition
from runnerkit.records import EndReason, ProgressCallback, Transition

__all__ = ["Rollout"]

_FIRST_STEPS = 256
_GROWTH = 1.125  # a block of unknown length grows by so much; a greater factor would touch memory never used


class Rollout:
    """One rollout: `run` returns the histories, or raises RolloutError with what there is of them."""

    def __init__(
        self,
        parts: Assembly,
        standing: EnvStates,
        plan: Plan,
        agent: object,
        screen: Screen | None,
        progress: ProgressCallback | None,
    ) -> None:
        self._parts, self._standing, self._plan, self._screen = parts, standing, plan, screen
        self._stateful = agent if isinstance(agent, SupportsBeginEpisodes) else None
        self._row_aware = agent if isinstance(agent, SupportsSetActiveEnvs) else None
        self._block = self._allocate()
        self._histories: list[object] = [None] * parts.spec.n_envs
        self._t = 0
        self._to_start = plan.episodes  # episodes still to begin; None if there is no end to them
        self._began: Sequence[int] = ()
        self._active: list[int] = []
        self._resting: list[int] = []  # envs that are left out of one step, see LockstepRollout
        self._rows: EllipsisType | list[int] = ...  # which rows of a column the active envs are: all of them
        self._own = plan.process_transition
        # Up to here envs may begin again within a step: at the last one it is left to the next rollout.
        self._last_restart = plan.limit - 1 if plan.auto_reset and standing.restarts_in_step else 0
        self._crashed: int | None = None
        self._how = EndReason.CRASHED
        self._faulty_row: int | None = None
        self._drawing = False
        # Episodes that begin in a step are looked at when the rollout is over, unless someone waits for them.
        self._needs_log = bool(parts.preprocess) or plan.process_transition is not None
        self._progress = progress
        self._reporter: Reporter | None = None

    # ---- life

    def run(self, interrupt: Interrupt) -> list[object]:
        """Return one history per env; `interrupt.requested` says whether Ctrl-C ended the rollout early."""
        self._parts.executor.attach(self._block)
        try:
            self._start()
            self._loop(interrupt)
        except KeyboardInterrupt:
            if interrupt.forced:  # anything may be half done
                self._abandon()
                raise
            interrupt.requested = True
        except RolloutError as error:
            self._locate(error)
            error.histories = self._finish(EndReason.INTERRUPTED)
            raise
        except BaseException:
            self._abandon()
            raise
        missing = None if interrupt.requested else self._missing_episodes()
        histories = self._finish(EndReason.INTERRUPTED if interrupt.requested else EndReason.CUT)
        try:
            self._report()
            if missing is not None:
                raise missing
        except RolloutError as error:
            error.histories = histories
            raise
        return histories

    def _loop(self, interrupt: Interrupt) -> None:
        if self._goes_on() and self._standing.unseen:
            self._step()  # in which first observations are looked at
        self._run_plainly(interrupt)
        while self._goes_on() and not interrupt.requested:
            self._step()

    def _goes_on(self) -> bool:
        return bool(self._active) and self._t < self._plan.limit

    def _missing_episodes(self) -> RolloutError | None:
        """Return what to raise if MAX_STEPS came before the last of the episodes asked for."""
        if self._plan.episodes is None or not (self._active or self._to_start):
            return None
        missing = len(self._active) + (self._to_start or 0)
        return RolloutError(
            f"{missing} of {self._plan.episodes} episodes did not end within MAX_STEPS, {self._plan.limit} steps per "
            "env. The histories of this error have what was collected; raise MAX_STEPS, or give the env a time limit."
        )

    def _abandon(self) -> None:
        """Leave the runner fit for another rollout, and this one behind."""
        self._standing.abandon()
        self._parts.executor.drain()
        self._parts.executor.attach(None)

    def _allocate(self) -> Block:
        layout, plan = self._parts.layout, self._plan
        if plan.process_transition is not None:
            return self._block_of(1, window=True)
        steps = plan.limit
        if plan.is_open_ended:
            steps = fitting(min(plan.limit, _FIRST_STEPS), layout.bytes_per_step)
        require_bytes(layout.bytes_per_step * steps, steps, layout.n_envs)
        return self._block_of(steps, plan.limit)

    def _block_of(self, steps: int, most: int | None = None, *, window: bool = False) -> Block:
        block = self._parts.block(steps, most, window=window)
        block.schedule = self._parts.schedule
        return block

    def _start(self) -> None:
        indices: Sequence[int] = range(self._parts.spec.n_envs)
        if self._to_start is not None:
            self._standing.abandon()
            indices = range(min(len(indices), self._to_start))
            self._to_start -= len(indices)
        self._began = self._standing.begin(self._block, indices)
        self._block.log.reset_infos += self._standing.reset_infos
        self._standing.untold, self._standing.reset_infos = [], []
        self._activate([i for i in indices if self._standing.envs[i].running])
        if self._progress is not None:
            is_known = self._parts.spec.provenance.every_step and not self._plan.is_open_ended
            total = self._plan.limit * self._parts.spec.n_envs if is_known else None
            self._reporter = Reporter(self._progress, self._block, total, self._plan.episodes)

    def _finish(self, tail: EndReason) -> list[object]:
        """Close the block after step `t` and hand it to the history format."""
        executor, block, t = self._parts.executor, self._block, self._t
        log = executor.drain()
        if self._own is None:  # else all is taken but for what began in a step that a fault broke off
            self._take(log, upto=t)
        executor.attach(None)
        for i in self._active:
            block.lengths[i] = t
        # an env may have come to rest in the very step that a fault broke off
        block.lengths = [min(length, t) for length in block.lengths]
        block.tails = [tail if i != self._crashed else self._how for i in range(block.n_envs)]
        self._standing.keep(block, t)  # before rows move
        if self._own is None:
            block.trim(t)  # what a step left that a fault broke off is not to move along
        self._close_gaps()
        if tail is EndReason.CUT:
            self._hand_over()
        else:
            self._standing.abandon()
        return self._record(block) if self._own is None else self._histories

    def _close_gaps(self) -> None:
        """Drop the rows in which envs did nothing: there are none as long as no env rests."""

    def _record(self, block: Block) -> list[object]:
        """Hand the block to the history format; should that fail, the error has the arrays."""
        name = type(self._parts.recorder).__name__
        try:
            histories = list(self._parts.recorder.finish(block))
        except Exception as error:
            raise self._unrecorded(block, f"{name} failed to take the rollout: {describe(error)}") from error
        if len(histories) != block.n_envs:
            raise self._unrecorded(block, f"{name} returned {len(histories)} histories for {block.n_envs} envs")
        return histories

    def _unrecorded(self, block: Block, what: str) -> RolloutError:
        fault = RolloutError(f"The history format failed. {what}")
        fault.histories = list(ArrayRecorder().finish(block))
        return fault

    def _hand_over(self) -> None:
        """Tell the runner where its envs stand now."""
        if self._own is not None:
            return  # steps and returns were counted on the way
        block, standing = self._block, self._standing
        last = {i: (mark.row, mark.steps_before, mark.return_before) for i, mark in block.first_marks.items()}
        last.update({i: (row, 0, 0.0) for i, row, _ in block.log.last()})
        for i, (row, steps_before, return_before) in last.items():
            length = block.lengths[i]
            standing.envs[i].steps = steps_before + length - row
            standing.envs[i].return_ = return_before + float(block.rewards[row:length, i].sum())

    def _locate(self, error: RolloutError) -> None:
        """Complete what an error says with what only the rollout knows, and settle the env's episode."""
        if not isinstance(error, EnvError) or error.episode_index is None:
            return
        i, standing = error.env_index, self._standing
        if not self._drawing:
            self._crashed, self._how = i, error.end_reason or EndReason.CRASHED
        if self._own is None:
            self._take(self._parts.executor.drain(), upto=self._t)
        if error.action is not None and i in self._block.first_marks:
            error.step = self._steps_of(i)
        standing.skip(error)

    def _steps_of(self, i: int) -> int:
        """Return how many steps the episode of an env has behind it."""
        if self._own is not None:
            return self._standing.envs[i].steps
        began = next((row for env, row, _ in self._block.log.last() if env == i), None)
        return self._t - began if began is not None else self._t + self._block.first_marks[i].steps_before

    # ---- a step

    def _run_plainly(self, interrupt: Interrupt) -> None:
        """`_step` in a tight loop, all but the last step, for what most rollouts are.

        One array in and one out for a fixed number of steps, nothing in between and nobody to tell: for envs
        of a few microseconds the general step would cost a tenth of the speed.
        """
        parts, plan, block = self._parts, self._plan, self._block
        read = self._plain_reader()
        if read is None:
            return
        observations, recorded, active, n = block.observations[0], block.actions[0], self._active, len(self._active)
        choose, step = plan.compute_action, parts.executor.step
        for t in range(self._t, self._last_restart):
            if interrupt.requested:
                return
            try:
                actions = read(choose(observations[t].copy()), n)
            except Exception as error:
                raise self._agent_error(error) from error
            recorded[t] = actions
            try:
                step(t, t + 1, actions, active, True)
            except EnvError as fault:
                self._count_faulty_step(fault)
                raise
            self._t = t + 1

    def _plain_reader(self) -> Callable[[Any, int], Column] | None:
        """Return what reads actions where a rollout can run plainly."""
        layout, others = self._parts.layout, (self._own, self._screen, self._reporter, self._stateful)
        unlike = self._plan.is_open_ended or self._last_restart == 0 or any(other is not None for other in others)
        arrays = layout.observation.is_array and layout.action.is_array
        unlike = unlike or not arrays or layout.preprocessed or layout.postprocessed
        if unlike or layout.action.leaves[0].is_scalar_box:  # the rows of whose batches are no arrays
            return None
        return self._parts.read_actions.read_single

    def _count_faulty_step(self, fault: EnvError) -> None:
        """Count the step if all envs made it, and what failed came after it: the next episode of an env.

        The episodes that others began in the same step are not counted: with more workers there are more.
        """
        if fault.after_step:
            self._t += 1
            self._faulty_row = self._t

    def _step(self) -> None:
        t, block, active, rows, parts = self._t, self._block, self._active, self._rows, self._parts
        if t == block.steps and self._own is None:
            self._grow()
        at, raw_row = block.at(t), block.raw_row(t + 1)
        actions = self._act(block.row(t), at)
        restart = t < self._last_restart and (self._to_start is None or self._to_start >= len(active))
        ended: Sequence[int] = ()
        failed: EnvError | None = None
        try:
            ended = parts.executor.step(at, raw_row, actions, active, restart)
            self._look_at_first(raw_row, actions)
            if self._own is not None:
                self._count(at)
            if ended or self._resting:
                self._end(ended, restart)
        except EnvError as fault:
            if not fault.after_step:
                raise
            failed, self._faulty_row = fault, t + 1
            if self._needs_log:
                self._take(parts.executor.drain(), upto=t + 1)
        if parts.preprocess:
            rows = self._observed(rows)
            raw = [column[raw_row].copy() if rows is ... else column[raw_row, rows] for column in block.raw]
            put_rows(block.observations, block.row(t + 1), rows, parts.preprocess(raw, parts.layout.raw))
        if self._own is not None:
            self._process_transitions(active, self._own)
        self._t = t + 1
        if failed is not None:
            raise failed
        if self._reporter is not None:
            self._reporter.step(block, at, active, ended)
            if self._reporter.is_due():
                self._report()
        if self._screen is not None:
            self._draw(active, self._screen)

    def _observed(self, rows: EllipsisType | list[int]) -> EllipsisType | list[int]:
        """Return which envs a step gave an observation of, for those that were stepped."""
        return rows

    def _look_at_first(self, raw_row: int, actions: Rows) -> None:
        standing = self._standing
        if standing.unseen:
            by_env = dict(zip(self._active, actions, strict=True))
            standing.check_bounds(self._block, raw_row, self._active, "step", by_env)
            standing.unseen.difference_update(self._active)

    def _act(self, row: int, at: int) -> Rows:
        """Ask the agent, record what it chose, and return one env action per active env."""
        block, parts, rows, n = self._block, self._parts, self._rows, len(self._active)
        self._tell_of_episodes()
        observations = parts.layout.observation.batch(block.observations, row if rows is ... else (row, rows))
        columns = self._chosen(observations)
        put_rows(block.actions, at, rows, columns)
        if parts.postprocess:
            columns = self._postprocessed(columns, n)
            put_rows(block.env_actions, at, rows, columns)
        return parts.layout.env_action.rows(columns, n)

    def _tell_of_episodes(self) -> None:
        if self._stateful is not None and self._began:
            self._tell(self._stateful.begin_episodes, list(self._began))
        self._began = ()

    def _tell(self, tell: Callable[[Sequence[int]], None], env_indices: list[int]) -> None:
        try:
            tell(env_indices)
        except Exception as error:
            raise self._agent_error(error) from error

    def _chosen(self, observations: object) -> list[Column]:
        """Ask the agent and check its answer."""
        try:
            return self._parts.read_actions(self._plan.compute_action(observations), len(self._active))
        except Exception as error:
            raise self._agent_error(error) from error

    def _postprocessed(self, columns: list[Column], n: int) -> list[Column]:
        parts = self._parts
        columns = parts.postprocess(columns, parts.layout.action)
        try:
            return parts.read_env_actions(parts.layout.env_action.present(columns), n)
        except MisfitError as error:
            of = "" if error.row is None else f" for env {self._active[error.row]}"
            raise ProcessorError(f"The postprocessors made actions{of} that the env does not take: {error}.") from error

    def _agent_error(self, error: Exception) -> AgentError:
        if not isinstance(error, MisfitError):
            return AgentError(f"The agent raised at step {self._t} of the rollout: {describe(error)}")
        of = "" if error.row is None else f" for env {self._active[error.row]}"
        n, space = len(self._active), self._parts.spec.action_space
        clip = isinstance(space, Box) and np.issubdtype(space.dtype, np.floating)
        hint = "; postprocessors=['clip'], or ['rescale'], can make others fit" if clip else ""
        return AgentError(
            f"The agent's actions{of} do not fit (step {self._t} of the rollout, {n} active envs): {error}. "
            f"act() must return one action of {space} per row (runner.action_space){hint}."
        )

    def _end(self, ended: Sequence[int], restarted: bool) -> None:
        """Begin new episodes where old ones ended, or let the envs rest."""
        again: Sequence[int] = ended if restarted else self._to_begin_again(ended)
        if again:
            self._begin_again(again, restarted)
        if again is not ended and len(again) < len(ended):
            rest = set(ended) - set(again)
            for i in rest:
                self._standing.envs[i].running = False
                self._block.lengths[i] = self._t + 1
            self._activate([i for i in self._active if i not in rest])

    def _to_begin_again(self, ended: Sequence[int]) -> Sequence[int]:
        if not self._plan.auto_reset or self._t + 1 >= self._plan.limit:
            return ()
        return ended if self._to_start is None else ended[: self._to_start]

    def _begin_again(self, again: Sequence[int], restarted: bool) -> None:
        if self._to_start is not None:
            self._to_start -= len(again)
        self._began = again
        if restarted and not self._needs_log:
            return
        next_t = self._t + 1
        self._take(self._parts.executor.drain(), upto=next_t)
        if not restarted:
            row = self._block.raw_row(next_t)
            starts = self._standing.next_starts(self._block, again)
            log = EpisodeLog(self._parts.layout.raw)
            for i in again:
                log.begin(i, next_t, starts[i][0], self._block.raw, (row, i))
            self._take(log, upto=next_t, advance=False)  # before a first observation takes the final one's row
            self._parts.executor.reset(row, starts)
            for i, (episode_index, start) in starts.items():
                self._standing.envs[i].begin(episode_index, start)

    def _take(self, log: EpisodeLog, upto: int, *, advance: bool = True) -> None:
        """Note which episodes began in a step; show the final observations before them to the preprocessors.

        What began after observation `upto` did so in a step that a fault broke off, and never was.
        """
        layout, block = self._parts.layout, self._block
        if self._own is None:
            log = log.until(layout.raw, upto)
        if self._parts.preprocess and len(log):  # as a batch in the order of the envs, whoever stepped them
            log = log.by_env(layout.raw)
            raw = log
            log = raw.with_finals(layout.observation, self._parts.preprocess(raw.finals(layout.raw), layout.raw))
            if block.raw_log is not None:
                block.raw_log.extend(raw)
        block.log.extend(log)
        if not advance or (self._own is not None and self._faulty_row is not None):
            return
        for i, _, episode_index in log.last(before=self._faulty_row):
            self._standing.envs[i].begin(episode_index, block.start_of(i, episode_index))

    def _activate(self, env_indices: Sequence[int]) -> None:
        self._active = list(env_indices)
        self._rows = ... if len(self._active) == self._parts.spec.n_envs else self._active
        if self._row_aware is not None:
            self._tell(self._row_aware.set_active_envs, list(self._active))

    def _grow(self) -> None:
        block = self._block
        more = min(self._plan.limit, int(block.steps * _GROWTH) + 1) - block.steps
        more = fitting(more, block.layout.bytes_per_step)
        require_bytes(block.layout.bytes_per_step * more, more, block.n_envs)
        block.resize(block.steps + more)
        self._parts.executor.attach(block)

    # ---- what only some rollouts do

    def _count(self, at: int) -> None:
        """Count steps and returns here, as a window of one step forgets the rewards."""
        for i in self._active:
            going = self._standing.envs[i]
            going.steps += 1
            going.return_ += float(self._block.rewards[at, i])

    def _process_transitions(
        self, env_indices: Sequence[int], process: Callable[[Any, Transition[Any, Any]], object]
    ) -> None:
        block = self._block
        self._take(self._parts.executor.drain(), upto=self._t + 1)
        infos = {i: info for i, _, info in block.log.infos}
        columns, envs = block.log.finals(block.layout.observation), block.log.table()[:, 0].tolist()
        finals = {i: [column[k] for column in columns] for k, i in enumerate(envs)}
        for i in env_indices:
            step = transition(block, i, self._t, finals.get(i), infos.get(i, {}), known=(i, 1) not in block.log.unknown)
            try:
                self._histories[i] = process(self._histories[i], step)
            except Exception as error:
                raise RolloutError(f"process_transition raised {describe(error)}, for env {i}") from error
        block.log = EpisodeLog(block.layout.observation)
        block.terminated[:], block.truncated[:] = False, False

    def _report(self) -> None:
        if self._reporter is None:
            return
        try:
            self._reporter.report()
        except Exception as error:
            raise RolloutError(f"progress raised {describe(error)}") from error

    def _draw(self, env_indices: Sequence[int], screen: Screen) -> None:
        self._drawing = True
        screen.wait()
        if screen.needs_frames:
            screen.show(self._parts.executor.render(env_indices))
        self._drawing = False
