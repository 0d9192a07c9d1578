"""The episodes of one rollout: which began, which a fault ended, and which histories the rollout returns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.faults import describe
from runnerkit._core.wording import warn
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.cursor import Cursor
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.plan import Plan
from runnerkit.errors import EnvError, RolloutError
from runnerkit.executors.reexecution import Course
from runnerkit.history.arrays import ArrayRecorder
from runnerkit.history.base import SupportsWindows, windows_of
from runnerkit.history.block import Block
from runnerkit.history.layout import Mark
from runnerkit.history.log import EpisodeLog
from runnerkit.history.rows import totals
from runnerkit.history.transitions import transition
from runnerkit.records import EndReason, EpisodeStart

__all__ = ["Ledger", "attach"]

_NO_STEP: Final = object()
"""Instead of the history of an env that made no step yet: None may be somebody's history."""


class Ledger:
    """Keeps account of the episodes of one rollout, and closes its block."""

    def __init__(
        self, parts: Assembly, standing: EnvStates, block: Block, plan: Plan, at: Cursor, *, is_awaited: bool = False
    ) -> None:
        self._parts, self._standing, self._block, self._plan, self._at = parts, standing, block, plan, at
        self._own = plan.process_transition
        self._histories: list[Any] = [_NO_STEP] * block.n_envs  # of a runner that makes its own
        self._without_step: list[int] = []
        self._broken_off: dict[int, EndReason] = {}
        self._counted = 0  # steps, of a runner that makes its own histories
        self._faulty_row: int | None = None  # in which episodes began in a step of which a fault came after it
        # Episodes that begin in a step are looked at when the rollout is over, unless someone waits for them.
        self.is_awaited: bool = is_awaited or bool(parts.preprocess) or self._own is not None
        """Whether it matters at once which episodes began in a step."""
        self._carried: dict[int, NDArray[np.float64]] = {}  # rewards of running episodes in earlier windows
        self._bases: dict[int, float] = {}  # and what these episodes had returned before this rollout
        self.is_turning: bool = False
        """Whether a window is on its way into the history format, so that the block is between two of them."""
        self.is_closed: bool = False
        """Whether all is done at the end but to make histories."""
        self.windows: SupportsWindows | None = None
        """The history format, if it takes the rollout in windows."""
        if self._own is None and not plan.has_windows:
            self.windows = windows_of(parts.recorder)
        self.makes_own: bool = self._own is not None
        """Whether the runner makes its own histories, so that the block keeps the last step only."""

    # ---- in a step

    def take(self, upto: int, *, is_last: bool = False) -> Sequence[tuple[int, int, int]]:
        """Note which episodes began, as the executor logged it; show final observations to the preprocessors.

        Returns `EpisodeLog.last` of what was looked at: with `is_last`, of the whole rollout or window.
        What began after observation `upto` did so in a step that a fault broke off, and never was.
        """
        log = self._drained()
        new = log if log.has_no_news else self.note(log, upto)
        if self._own is not None and self._faulty_row is not None:
            return ()
        block = self._block
        # In a rollout, what was noted before has been looked at; a fault may take the last step back.
        whole = is_last or self._faulty_row is not None
        begun = block.log.last(before=self._faulty_row) if whole else new.last()
        for i, _, episode_index in begun:
            self._standing.envs[i].begin(episode_index, block.start_of(i, episode_index))
        return begun

    def note(self, log: EpisodeLog, upto: int) -> EpisodeLog:
        """Append to the log of the block, without looking at who is where now; return what was appended."""
        layout, block = self._parts.layout, self._block
        if log.oddities:
            self._standing.note(log.oddities)
        if self._own is None and len(log):
            log = log.until(layout.raw, upto)
        if self._parts.preprocess and len(log):  # as a batch in the order of the envs, whoever stepped them
            log = log.by_env(layout.raw)
            raw, envs = log, log.table()[:, 0].tolist()
            finals = self._parts.preprocess.finals(raw.finals(layout.raw), layout.raw, envs)
            log = raw.with_finals(layout.observation, finals)
            if block.raw_log is not None:
                block.raw_log.extend(raw)
            self._parts.preprocess.begin_episodes(envs)  # whose first observations come next
        block.log.extend(log)
        return log

    def note_failed(
        self, i: int, episode_index: int, reason: EndReason, row: int | None = None, last: int | None = None
    ) -> None:
        """Note that an episode begins, as the one before failed in this step, or in reset.

        It begins after the coming row, and that row has the observation before; unless `row` and `last` say where.
        """
        block, parts = self._block, self._parts
        t = self._at.t if last is None else last
        begins = t + 1 if row is None else row
        block.log.begin(i, begins, episode_index, block.observations, (block.row(t), i), reason)
        if block.raw_log is not None:
            block.raw_log.begin(i, begins, episode_index, block.raw, (block.raw_row(t), i), reason)
        if parts.preprocess:
            parts.preprocess.begin_episodes([i])

    def break_off(self, i: int, reason: EndReason) -> None:
        """Note how the last episode of an env ends that failed, and does not begin again."""
        self._broken_off[i] = reason

    def note_fault_after(self, row: int) -> None:
        """Note that all envs made a step, to `row`, and that what failed came after it: the next episode of an env.

        The episodes that others began in the same step are not counted: with more workers there are more.
        """
        self._faulty_row = row

    def count(self, at: int) -> None:
        """Count steps and returns here, as a window of one step forgets the rewards."""
        restarts = self._standing.restarts
        active = [i for i in self._at.active if restarts is None or i not in restarts.failed]
        self._counted += len(active)
        for i in active:
            env = self._standing.envs[i]
            env.steps += 1
            env.return_ += float(self._block.rewards[at, i])

    def process_transitions(self, env_indices: list[int]) -> None:
        """Hand the last step to a runner that makes its own histories."""
        block, t, process = self._block, self._at.t, self._own
        assert process is not None
        self.take(upto=t + 1)
        infos = {i: info for i, _, info in block.log.infos}
        columns, envs = block.log.finals(block.layout.observation), block.log.table()[:, 0].tolist()
        finals = {i: [column[k] for column in columns] for k, i in enumerate(envs)}
        for i in env_indices:
            step = transition(block, i, t, finals.get(i), infos.get(i, {}), known=(i, 1) not in block.log.unknown)
            history = self._histories[i]
            try:
                self._histories[i] = process(None if history is _NO_STEP else history, step)
            except Exception as error:
                raise RolloutError(f"process_transition raised {describe(error)}, for env {i}") from error
        block.log = EpisodeLog(block.layout.observation)
        block.terminated[:], block.truncated[:] = False, False
        self._standing.note_actions(block, [1] * block.n_envs)

    # ---- faults

    def locate(self, error: RolloutError, *, breaks_off: bool) -> None:
        """Complete what an error says with what only the rollout knows, and settle the env's episode."""
        if not isinstance(error, EnvError) or error.episode_index is None:
            return
        i = error.env_index
        if breaks_off:
            self._broken_off[i] = error.end_reason or EndReason.CRASHED
        if self._own is None:
            self.take(upto=self._at.t)
        if error.action is not None and i in self._block.first_marks:
            error.step = self.steps_of(i)
        error.course = self._course(error)
        self._standing.skip(error)

    def _course(self, error: EnvError) -> Course | None:
        """Return what the env was asked in the episode in which it failed, up to the action at which it did."""
        i, block, trail = error.env_index, self._block, self._standing.trail
        if trail is None or error.seed is None or error.episode_index is None:
            return None
        if error.action is None or i not in block.first_marks:  # in reset
            return Course(error.episode_index, EpisodeStart(error.seed), [], 0) if error.after_step else None
        steps, at = self.steps_of(i), block.at(self.reached(i))
        here = 0 if self._own is not None else min(steps, at)
        before = trail.last(i, steps - here)
        if before is None:
            return None
        rows = [column[at - here : at + 1, i] for column in block.env_actions]
        start = self._standing.envs[i].start if self._own is not None else self._start_of(i, error.episode_index)
        actions = [np.concatenate(pair) for pair in zip(before, rows, strict=True)]
        return Course(error.episode_index, start, actions, steps + 1)

    def _start_of(self, i: int, episode_index: int) -> EpisodeStart:
        mark = self._block.first_marks[i]
        return mark.start if mark.episode_index == episode_index else self._block.start_of(i, episode_index)

    def steps_of(self, i: int) -> int:
        """Return how many steps the episode of an env has behind it."""
        if self._own is not None:
            return self._standing.envs[i].steps
        began = next((row for env, row, _ in self._block.log.last() if env == i), None)
        t = self.reached(i)
        return t - began if began is not None else t + self._block.first_marks[i].steps_before

    def reached(self, i: int) -> int:
        """Return how many steps an active env has behind it in this rollout."""
        del i  # all make their steps together
        return self._at.t

    # ---- windows

    def close_window(self) -> None:
        """Complete the block of a window that is to be handed out."""
        block, t, standing = self._block, self._at.t, self._standing
        begun = self.take(upto=t, is_last=True)
        block.lengths = [t] * block.n_envs
        if standing.restarts is not None:
            block.faults = standing.restarts.take_faults()
        if standing.vector is not None:
            block.seeding = standing.vector.seeding
        standing.steps += t * block.n_envs
        longest = self._count_window(t, begun)
        if standing.trail is not None:
            standing.trail.add_rows(block.env_actions, t, longest)

    def open_next_window(self) -> None:
        """Go on where the last window ended, in the same block."""
        block, envs = self._block, self._standing.envs
        infos = block.log.reset_infos
        block.rewind(self._at.t)
        if infos:  # those of episodes that began with the last step
            fresh = {i: env.episode_index for i, env in enumerate(envs) if not env.steps}
            block.log.reset_infos += [entry for entry in infos if fresh.get(entry[0]) == entry[1]]
        for i, env in enumerate(envs):  # in half the time of `Mark(...)`, which is a call in Python
            block.first_marks[i] = tuple.__new__(Mark, (0, env.episode_index, env.start, env.steps, env.return_))
        self._at.before, self._at.t = self._at.step, 0

    def leave_window(self) -> None:
        """Let the next rollout go on where the last window ended."""
        self._standing.keep(self._block, self._at.t)
        self._hand_over()
        self._parts.executor.attach(None)

    # ---- at the end

    def finish(self, tail: EndReason, waiting: Sequence[int], close_gaps: Callable[[int], None]) -> list[object]:
        """Close the block after the last step and return the histories.

        `tail` is how running episodes end; `waiting` are envs that go on though they are not active.
        """
        executor, t, standing = self._parts.executor, self._at.t, self._standing
        if self._own is None:  # else all is taken but for what began in a step that a fault broke off
            self.take(upto=t, is_last=True)
        else:
            self._drained()
        executor.attach(None)
        cannot_wait = standing.vector is not None and not standing.vector.begins_alone
        if cannot_wait and tail is EndReason.CUT and self._plan.is_open_ended:
            tail = EndReason.INTERRUPTED  # the other envs cannot begin before these end, and are not to wait
        self._close(tail, waiting, close_gaps)
        if tail is EndReason.CUT:
            self._hand_over()
            if self._own is None:  # else they were noted step by step
                standing.note_actions(self._block, self._block.lengths)
        else:
            standing.abandon()
        self.is_closed = True
        return self._own_histories() if self._own is not None else self._record()

    def _close(self, tail: EndReason, waiting: Sequence[int], close_gaps: Callable[[int], None]) -> None:
        """Complete the block after the last step, or the last one of a window."""
        block, t, standing = self._block, self._at.t, self._standing
        if standing.restarts is not None:
            block.faults += standing.restarts.take_faults()
        for i in (*self._at.active, *waiting):
            block.lengths[i] = self.reached(i)
        block.lengths = [min(length, t) for length in block.lengths]  # a fault may have broken the last step off
        if standing.vector is not None:
            block.seeding = standing.vector.seeding
        block.tails = [self._broken_off.get(i, tail) for i in range(block.n_envs)]
        self._keep()  # before rows move
        if self._own is None:
            # what a broken off step left is not to move along
            block.trim(t, release=not (self._plan.has_windows or self.windows))
            close_gaps(t)
        standing.steps += self._counted if self._own is not None else sum(block.lengths)

    # ---- windows of a rollout that is recorded in parts

    def record_window(self, waiting: Sequence[int], close_gaps: Callable[[int], None]) -> None:
        """Hand the rows of a window to the history format."""
        self.is_turning = True
        self.take(upto=self._at.t, is_last=True)
        self._close(EndReason.CUT, waiting, close_gaps)
        self._count_all()
        self._standing.note_actions(self._block, self._block.lengths)
        self._carry()
        with self._handing_over():
            if self.windows is not None:
                self.windows.record(self._block)

    def begin_window(self, waiting: Sequence[int]) -> None:
        """Go on in the same rows; `waiting` are envs that go on though they are not active."""
        block, standing, at = self._block, self._standing, self._at
        infos = block.log.reset_infos
        block.forget_steps()
        block.faults, block.lengths = [], [0] * block.n_envs
        standing.resume(block)
        if standing.restarts is not None:
            standing.restarts.gaps = []
        # infos of episodes that began with the last step
        block.log.reset_infos += [entry for entry in infos if self._is_fresh(*entry[:2])]
        block.first_marks = {}
        for i in (*at.active, *waiting):
            self.mark_first(i)
        at.before, at.t = at.step, 0
        self.is_turning = False

    def mark_first(self, i: int) -> None:
        """Note that the episode of an env goes on, or begins, in the first row of the window."""
        self._block.first_marks[i] = self._mark_of(i)
        self._broken_off.pop(i, None)
        if self._standing.envs[i].steps == 0:
            self._carried.pop(i, None)
            self._bases[i] = 0.0

    def earlier_rows(self, i: int) -> Block | None:
        """Return the rows of the running episode of an env in earlier windows of the rollout."""
        return None if self.windows is None else self.windows.earlier(i)

    def _is_fresh(self, i: int, episode_index: int) -> bool:
        env = self._standing.envs[i]
        return not env.steps and env.episode_index == episode_index

    def _mark_of(self, i: int) -> Mark:
        env = self._standing.envs[i]
        return Mark(0, env.episode_index, env.start, env.steps, env.return_)

    def _carry(self) -> None:
        """Keep the rewards of the episodes that run on, whose sum is only the same to the last bit if made at once."""
        block = self._block
        began = {i: row for i, row, _ in block.log.last()}
        for i, mark in block.first_marks.items():
            if i in began:
                self._bases[i], self._carried[i] = 0.0, block.rewards[began[i] : block.lengths[i], i].copy()
            else:
                self._bases.setdefault(i, mark.return_before)
                self._carried[i] = self.with_earlier(i, block.rewards[: block.lengths[i], i].copy())

    def with_earlier(self, i: int, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the rewards of the running episode of an env, with those in earlier windows of the rollout."""
        return np.concatenate([self._carried[i], rewards]) if i in self._carried else rewards

    def _keep(self) -> None:
        """Remember the last observations, for the next rollout."""
        self._standing.keep(self._block, self._at.t)

    def _hand_over(self) -> None:
        """Tell the runner where its envs stand now."""
        block, envs = self._block, self._standing.envs
        if self._own is None:  # else steps and returns were counted on the way
            self._count_all()
        fresh = {i: envs[i].episode_index for i in self._at.active if not envs[i].steps}
        self._standing.untold = list(fresh)
        self._standing.reset_infos = [entry for entry in block.log.reset_infos if fresh.get(entry[0]) == entry[1]]

    def _count_all(self) -> None:
        """Count the steps and returns of the running episodes."""
        block, envs = self._block, self._standing.envs
        began = {i: row for i, row, _ in block.log.last()}
        for i, mark in block.first_marks.items():
            row, length = began.get(i, mark.row), block.lengths[i]
            rewards = block.rewards[row:length, i]
            if i in began:
                steps, return_ = 0, 0.0
            else:
                steps, return_ = mark.steps_before, self._bases.get(i, mark.return_before)
                rewards = self.with_earlier(i, rewards)
            envs[i].steps = steps + length - row
            envs[i].return_ = return_ + float(np.add.reduce(rewards))

    def _count_window(self, t: int, begun: Sequence[tuple[int, int, int]]) -> int:
        """Count as `_count_all` does, where all envs made t steps in a window that is not carried on.

        Returns how many steps the running episodes have at most.
        """
        block, envs, longest = self._block, self._standing.envs, t
        for env, total in zip(envs, totals(block.rewards[:t]), strict=True):
            env.steps += t
            env.return_ += total
            if env.steps > longest:
                longest = env.steps
        for i, row, _ in begun:
            envs[i].steps, envs[i].return_ = t - row, float(np.add.reduce(block.rewards[row:t, i]))
        return longest

    def _record(self) -> list[object]:
        """Hand the block to the history format; should that fail, the error has the arrays."""
        block, name = self._block, self._parts.history_title
        with self._handing_over():
            histories = list(self._parts.recorder.finish(block))
        if len(histories) != block.n_envs:
            raise self._unrecorded(f"{name} returned {len(histories)} histories for {block.n_envs} envs")
        return histories

    def _own_histories(self) -> list[object]:
        """Return the runner's own histories; those of envs that made no step are empty, or None if nobody can say."""
        empty = self._plan.empty_history
        if empty is None:
            self._without_step = [i for i, history in enumerate(self._histories) if history is _NO_STEP]
            return [None if history is _NO_STEP else history for history in self._histories]
        try:
            return [empty() if history is _NO_STEP else history for history in self._histories]
        except Exception as error:
            raise RolloutError(f"empty_history raised {describe(error)}") from error

    def missing_histories(self) -> RolloutError | None:
        """Return what to raise if there are envs of whose history nobody can say what it is."""
        if not self._without_step:
            return None
        envs = ", ".join(map(str, self._without_step))
        return RolloutError(
            f"Env {envs} made no step, so that process_transition made no history of it. Override empty_history(), "
            "which returns the history of an env without a step. The histories of this error have None for it."
        )

    def warn_of_losses(self, histories: Sequence[object]) -> None:
        """Tell of the faults after which envs were made anew, and once of infos, if the histories do not have them."""
        block = self._block
        if block.faults and not all(hasattr(history, "faults") for history in histories):
            said = "; ".join(f"env {fault.env_index}: {fault.error}" for fault in block.faults)
            warn(
                f"The histories of this rollout do not have its faults, after which envs were made anew: {said}. "
                "Those of history='arrays' have them, as history.faults.",
                RuntimeWarning,
            )
        has_infos = bool(block.log.infos or block.log.reset_infos)
        if has_infos and not self._standing.told_of_infos and not self._own and not all(map(_has_infos, histories)):
            self._standing.told_of_infos = True
            warn(
                f"The histories of {self._parts.history_title} do not have the infos that keep_infos=True asks for. "
                "Use history='arrays', which has them as history.infos, or leave keep_infos out.",
                RuntimeWarning,
            )

    @contextlib.contextmanager
    def _handing_over(self) -> Iterator[None]:
        """Give what the history format raises the arrays; a RolloutError of its own says already what happened."""
        try:
            yield
        except RolloutError as error:
            error.histories = self._arrays()
            raise
        except Exception as error:
            raise self._unrecorded(
                f"{self._parts.history_title} failed to take the rollout: {describe(error)}"
            ) from error

    def _unrecorded(self, what: str) -> RolloutError:
        fault = RolloutError(f"The history format failed. {what}")
        fault.histories = self._arrays()
        return fault

    def _arrays(self) -> list[object]:
        return list(ArrayRecorder().finish(self._block))

    def abandon(self) -> None:
        """Leave the runner fit for another rollout, and this one behind."""
        self._standing.abandon()
        self._drained()
        self._parts.executor.attach(None)

    def _drained(self) -> EpisodeLog:
        """Return what was logged since the last call, without the timings."""
        log = self._parts.executor.drain()
        if log.timings:
            self.add_timings(log)
        return log

    def add_timings(self, log: EpisodeLog) -> None:
        """Add what a log tells of how long the calls of envs took."""
        if log.timings and self._standing.stopwatch is not None:
            self._standing.stopwatch.add(log.timings)


def _has_infos(history: object) -> bool:
    """Whether a history has infos: as such, or those of each of its transitions, if it has any."""
    if isinstance(history, list):
        return all(hasattr(item, "info") for item in history[:1])
    return hasattr(history, "infos")


def attach(error: BaseException, histories: list[object]) -> None:
    """Let an exception carry the histories; one that has slots cannot."""
    try:
        error.histories = histories  # type: ignore[attr-defined]
    except AttributeError:
        error.add_note("It has no room for what the rollout had collected.")
