"""The default executor: steps serially, or in threads where these are known to be safe and found to be faster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runnerkit._core.cores import share_out
from runnerkit._core.spaces import Rows
from runnerkit._core.types import AnyEnv
from runnerkit.errors import EnvError
from runnerkit.executors.calls import Doing
from runnerkit.executors.env_calls import EnvCall
from runnerkit.executors.paces import Paces
from runnerkit.executors.serial import SerialExecutor
from runnerkit.executors.threads import MOST_THREADS, ThreadsExecutor
from runnerkit.executors.trial import WAITS, Trial, Way
from runnerkit.history.block import Block
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, EpisodeStart, ExecutorReport, RunOptions

__all__ = ["AutoExecutor"]

_MOVED = (
    "The env had been moved from one thread to another by executor='auto', which tries whether threads are "
    "faster. If it must stay where it was made, as SQLite connections and signal handlers must, build the runner with "
    "executor='serial', which keeps all envs in the calling thread."
)


class AutoExecutor:
    """Steps n envs serially or in up to `workers` threads, whichever turns out to be faster.

    All envs are made in the calling thread and are stepped serially at first. Unless all of them are known to be
    thread-safe (see `runnerkit.executors.thread_safety`, and the runner's `thread_safe=True`), they stay serial, and
    the report says how much faster another executor could probably be. If they are, and threads could save time, a
    few steps are made in threads, then a few serially, and so on until one way is clearly faster. The runner keeps
    that way. Short rollouts share one trial. Envs that wait most of the time get a thread each. Envs that render are
    never moved. The recorded data do not depend on any of this.

    `_make_trial` is called with the part of the envs that each thread would get. It is there for tests.
    """

    takes_vector_envs: bool = True
    takes_spare_envs: bool = True

    def __init__(
        self, n_envs: int, workers: int | None = None, *, _make_trial: Callable[[float], Trial] = Trial
    ) -> None:
        shares = share_out(n_envs, workers)
        self._n_envs = n_envs
        self._most_workers = len(shares)
        self._may_add_workers = workers is None
        self._pid = os.getpid()
        self._serial: SerialExecutor = SerialExecutor(n_envs)
        self._threads: ThreadsExecutor | None = None
        self._now: SerialExecutor | ThreadsExecutor = self._serial
        """Who steps the envs now; it alone is attached, and has the log."""
        self._block: Block | None = None
        self._unstepped: set[int] = set()
        """Envs that were moved and not stepped since."""
        self._unreset: set[int] = set()
        """Envs that were moved and not reset since."""
        self._trial: Trial = _make_trial(max(map(len, shares)) / n_envs)
        if n_envs == 1:
            self._trial.choose("serial", "there is only one env")
        elif self._most_workers == 1:
            self._trial.choose("serial", "workers=1" if workers else "there is only one core")

    @property
    def workers(self) -> int:
        """How many workers step the envs now."""
        return self._now.workers

    @property
    def shares(self) -> Sequence[Sequence[int]]:
        """The envs of each thread; empty while, or as, one thread steps all of them."""
        return () if isinstance(self._now, SerialExecutor) else self._now.shares

    def report(self, name: str, /) -> ExecutorReport:
        """Return what was measured and chosen."""
        trial = self._trial
        reason = trial.reason
        if trial.choice is None:
            reason = f"not decided yet, {trial.timed()} steps of all envs were timed"
        advice = trial.advise(self._n_envs) if trial.choice == "serial" else ""
        return ExecutorReport(name, trial.choice, self.workers, reason, trial.seconds(), advice)

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        """Make all envs in the calling thread."""
        facts = self._serial.open(make_env, options)
        self._trial.known_safe = all(fact.thread_safe for fact in facts)
        if self._trial.choice is None:
            if any(fact.render_mode is not None for fact in facts):
                self._trial.choose("serial", "envs that render stay in the thread that made them")
            elif _share_spaces(facts):
                self._trial.choose("serial", "the envs share a space object, so that they may share its random numbers")
        return facts

    def attach(self, block: Block | None, /) -> None:
        """Write into this block from now on; None lets go of the last one."""
        self._block = block
        if self._trial.choice is None and os.getpid() != self._pid:  # the threads, if there are some, are elsewhere
            self._trial.choose("serial", "this process is a fork of the one that built the runner")
        self._now.attach(block)

    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], /) -> None:
        """Begin the given episodes."""
        try:
            self._now.reset(row, starts)
        except EnvError as fault:
            self._explain(fault)
            raise
        self._unreset.difference_update(starts)

    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> Sequence[int]:
        """Step the active envs and return those whose episode ended."""
        is_decided = self._trial.choice is not None
        if is_decided and not (self._unreset or self._unstepped):
            return self._now.step(at, row, actions, active, restart)
        counts = not is_decided and len(active) == self._n_envs
        if not is_decided:  # steps of fewer envs are no measure
            self._use(self._trial.way if counts else "serial")
        began, began_cpu = time.perf_counter(), time.thread_time()
        try:
            ended = self._now.step(at, row, actions, active, restart)
        except EnvError as fault:
            self._explain(fault)
            raise
        seconds, cpu = time.perf_counter() - began, time.thread_time() - began_cpu
        self._unstepped.difference_update(active)
        if restart:
            self._unreset.difference_update(ended)
        if counts:
            self._note(seconds, bool(ended), cpu)
        return ended

    def paces(self) -> Paces:
        """Return what steps single envs, in the way that is used now."""
        return self._now.paces()

    def drain(self) -> EpisodeLog:
        """Return what was logged since the last call."""
        return self._now.drain()

    def render(self, env_indices: Sequence[int], /) -> list[object]:
        """Return what each env's `render()` returns."""
        return self._now.render(env_indices)

    def call_envs(self, call: EnvCall, env_indices: Sequence[int], /) -> list[Any]:
        """Return what each of these envs answers."""
        return self._now.call_envs(call, env_indices)

    def doing(self) -> list[Doing]:
        """Return the calls of envs that are under way."""
        return self._now.doing()

    def close(self) -> None:
        """Close all envs, each where it is, and end the threads."""
        elsewhere = self._threads.helped if self._threads is not None and self._now is self._threads else ()
        try:
            self._now.close()
        except EnvError as fault:
            if fault.env_index in elsewhere:
                fault.add_note(_MOVED)
            raise
        finally:
            if self._threads is not None:
                self._threads.close()

    # ---- the trial

    def _note(self, seconds: float, ended: bool, cpu: float) -> None:
        trial = self._trial
        trial.note(seconds, ended, cpu)
        if trial.choice is not None:
            self._use(trial.choice)
            if self._threads is not None and self._now is self._serial:
                self._threads.release()

    def _use(self, way: Way) -> None:
        """Let the envs be stepped in this way from now on."""
        if way == "threads" and self._threads is None:
            self._start_threads()
        now = self._threads if way == "threads" and self._threads is not None else self._serial
        if now is self._now:
            return
        before = self._now
        now.attach(self._block)
        now.take_log(before.drain())
        self._now = now
        before.attach(None)
        moved = self._threads.helped if self._threads is not None else ()
        self._unstepped, self._unreset = set(moved), set(moved)

    def _start_threads(self) -> None:
        try:
            waits = self._trial.waiting >= WAITS and self._may_add_workers
            workers = min(self._n_envs, MOST_THREADS) if waits else self._most_workers
            self._threads = ThreadsExecutor(self._n_envs, workers, _make_share=self._serial.part)
        except RuntimeError as error:  # there is a limit to the number of threads, in containers for instance
            self._trial.choose("serial", f"no thread could be started: {error}")

    def _explain(self, fault: EnvError) -> None:
        if fault.env_index in (self._unreset if fault.after_step else self._unstepped):
            fault.add_note(_MOVED)


def _share_spaces(facts: Sequence[EnvFacts]) -> bool:
    """Whether envs that sample from their spaces would get other samples in another order of steps."""
    return any(
        len({id(space) for space in spaces}) < len(facts)
        for spaces in ([fact.observation_space for fact in facts], [fact.action_space for fact in facts])
    )
