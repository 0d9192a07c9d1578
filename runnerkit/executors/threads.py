"""The threads executor: each env lives in one fixed thread, the calling thread has a share of its own.

It is faster than serial if the env releases the GIL in its step (MuJoCo's larger models, simulators that wait), and
on free-threaded CPython.
"""

from __future__ import annotations

import contextlib
import functools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from typing_extensions import override

from runnerkit._core.cores import available_cores, share_out, spinners, usual_workers
from runnerkit._core.faults import close_after
from runnerkit._core.spaces import Rows
from runnerkit._core.types import AnyEnv
from runnerkit.errors import ArgumentError
from runnerkit.executors.calls import Doing, limits_of
from runnerkit.executors.paces import Paces, ThreadPaces
from runnerkit.executors.rounds import NO_ROUND, Answer, Round
from runnerkit.executors.share import Share
from runnerkit.executors.sharing import Call, SharingExecutor
from runnerkit.executors.trial import WAITS
from runnerkit.executors.waiting import has_gil
from runnerkit.executors.worker_thread import CLOSE_S, TimedShare, WorkerThread, wait_for
from runnerkit.history.block import Block
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, ExecutorReport, RunOptions

__all__ = ["MOST_THREADS", "Spreading", "ThreadsExecutor"]

_UNCOUNTED: Final = 1  # first steps of an env build what later ones find
_WATCHED: Final = 4  # steps, the uncounted one included

MOST_THREADS: Final = 128
"""The largest number of threads, unless `workers` asks for more."""


class ThreadsExecutor(SharingExecutor[WorkerThread]):
    """Steps n envs in `workers` threads, the calling one included; finds the number itself if it is not given.

    Each env is made, reset, stepped, rendered and closed by one thread, unless it is known to be thread-safe. Envs
    must not share anything that one of them writes to: no class attribute or module variable that changes, and no
    library that keeps one state for the whole process, as Box2D and pygame do.

    Without `workers`, each env begins with a thread of its own (up to `MOST_THREADS` threads), and the calling thread
    steps none. This is right for envs that wait. If the first steps show that the envs compute, thread-safe envs move
    to as many threads as there are cores. Other envs cannot move. Each of their steps then costs about 20 us for the
    change of threads: a CartPole of unknown safety runs at a third to half of the speed of `workers=2`, while a
    Humanoid runs as fast. For light envs that compute, use "serial", pass `workers`, or say that they are thread-safe
    (`thread_safe=True`). Without a GIL, envs of unknown safety begin in as many threads as there are cores.

    `_make_share` may be the `part` of a share whose envs are made already. Then do not call `open`, and pass `workers`.
    """

    can_time_out: bool = True
    takes_spare_envs: bool = True

    def __init__(
        self, n_envs: int, workers: int | None = None, *, _make_share: Callable[[Sequence[int]], Share] = Share
    ) -> None:
        self._places_by_core: list[range] = share_out(n_envs, workers)
        self.workers: int = len(self._places_by_core)
        self._n_envs = n_envs
        self._asked_for = workers
        self._block: Block | None = None
        self._spreading: Spreading | None = None
        """Finds out whether envs wait; None once that is known."""
        self._reason = self._advice = ""
        self._is_free: bool = workers is None and self.workers < n_envs
        own, *others = self._places_by_core
        super().__init__(self._first_share() if self._is_free else _make_share(own))
        self._limits: dict[int, float] = {}
        self._may_poll: bool = False
        self._cores: int = available_cores()
        self._round: Round = NO_ROUND  # until it is heard
        self._make_env: Callable[[int], AnyEnv] | None = None
        self._options: RunOptions
        self._left: list[WorkerThread] = []  # threads whose env was made anew elsewhere
        if not self._is_free:
            self._start([_make_share(env_indices) for env_indices in others], self.release)

    def _first_share(self) -> Share:
        """Return what the calling thread begins with, if it is not known yet where the envs will live.

        Where each env is to have a thread of its own, the calling one has none. Without a GIL, what the first env is
        like decides.
        """
        return Share(() if has_gil() else self._places_by_core[0][:1])

    def _start(self, shares: Sequence[Share], undo: Callable[[], None]) -> None:
        try:
            for share in shares:
                self._helpers.append(WorkerThread(share, self._patience, self._limits))
                self._helpers[-1].start()
        except BaseException as error:  # there may be a limit to the number of threads, or Ctrl-C
            close_after(error, undo)
            raise

    @staticmethod
    def workers_to_try(n_envs: int, /) -> list[int | None]:
        """Return what to measure: first the number that it finds itself, as envs may wait."""
        return [None, *usual_workers(n_envs)] if n_envs > 1 else []

    @property
    def helped(self) -> list[int]:
        """The envs that live in other threads than the calling one."""
        return [i for helper in self._helpers for i in helper.share.env_indices]

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        """Make each env in its own thread, one after the other: factories need not be thread-safe."""
        self._tolerant, self._options = options.restarts, options
        self._make_env = make_env if options.restarts else None
        if options.timeouts:
            self._live_apart(options)
        try:
            facts = self._own.open(make_env, options)
            if self._is_free:
                facts += self._settle_in(make_env, spread=not facts or facts[0].thread_safe)
            for helper in self._helpers:
                helper.submit("open", make_env, options)
                facts += helper.answer()
        except BaseException as error:
            close_after(error, self.close)
            raise
        if self._spreading is not None:
            self._spreading.is_safe = all(fact.thread_safe for fact in facts)
        return facts

    def _live_apart(self, options: RunOptions) -> None:
        """Give each env a thread of its own, so that one that hangs can be left behind alone."""
        if self._asked_for not in (None, self._n_envs):
            raise ArgumentError(
                f"With {' and '.join(options.timeouts)}, executor='threads' has a thread for each env, so that one "
                f"that hangs can be left behind alone. Leave workers={self._asked_for} out."
            )
        self.release()
        self._own, self._is_free, self._limits, self.workers = Share(()), False, limits_of(options), self._n_envs
        self._start([TimedShare([i]) for i in range(self._n_envs)], self.release)

    def _settle_in(self, make_env: Callable[[int], AnyEnv], *, spread: bool) -> list[EnvFacts]:
        """Decide where the envs will live, start the threads, and make the other envs of the calling one."""
        places = self._places_by_core
        if spread:
            places = share_out(self._n_envs, min(self._n_envs, MOST_THREADS))
            self._spreading = Spreading()
            self.workers = len(places)
        if not self._own.env_indices:
            self._start([Share(place) for place in places], lambda: None)  # open closes all
            return []
        facts = self._own.open_more(make_env, places[0][1:])
        self._start([Share(place) for place in places[1:]], lambda: None)
        return facts

    def attach(self, block: Block | None, /) -> None:
        """Write into this block from now on; None lets go of the last one."""
        self._require_own_process()
        if block is not None:
            self._patience.regain()
        for helper in self._helpers:
            helper.settle()
        lost = [helper for helper in self._helpers if helper.loss is not None]
        if block is not None:
            for helper in lost:
                helper.require_presence()
        elif self._block is not None and any(not isinstance(helper.share, TimedShare) for helper in lost):
            self._block.renew()  # an env that is left behind may still write into what there was
        self._block = block
        self._own.attach(block)
        for helper in self._helpers:
            if helper not in lost:
                helper.share.attach(block)
        if block is None:
            spinners.leave(self)
            self.let_spin(False)
        else:
            spinners.enter(self)

    def let_spin(self, may: bool) -> None:
        """Let threads poll for each other, or not; with a GIL they would keep each other from working."""
        self._may_poll = may and not has_gil()
        for helper in self._helpers:
            helper.line.may_poll = self._may_poll

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> Sequence[int]:
        """Step the active envs and return those whose episode ended."""
        spreading = self._spreading
        if spreading is None or len(active) < self._n_envs:  # steps of fewer envs are no measure
            return super().step(at, row, actions, active, restart)
        with spreading.watching(self._shares()):
            ended = super().step(at, row, actions, active, restart)
        if spreading.is_over:
            self._spreading = None
            self._end_spreading(spreading)
        return ended

    def _end_spreading(self, spreading: Spreading) -> None:
        self._reason = spreading.reason
        if spreading.waits:
            return
        if spreading.is_safe:
            self._gather()
        elif (cores := len(self._places_by_core)) < self.workers:
            self._advice = (
                f"the envs compute and are not known to be thread-safe, so that each stays in a thread of its own: "
                f"workers={cores} or executor='serial' could be faster"
            )

    def _gather(self) -> None:
        """Let as many threads as there are cores step the envs from now on, as these may be moved."""
        shares, others = self._shares(), self._helpers
        whole = Share.union(shares)
        own, *places = [whole.part(place) for place in self._places_by_core]
        helpers = [WorkerThread(place) for place in places]
        try:
            for helper in helpers:
                helper.start()
        except BaseException:  # the envs stay where they are
            for helper in helpers:
                helper.share.env_indices = []
                helper.stop()
            raise
        log = self.drain()
        self._own, self._helpers, self._split_for, self.workers = own, helpers, (), 1 + len(helpers)
        self.attach(self._block)
        self.take_log(log)
        for share in shares:
            share.env_indices = []
        for other in others:
            other.stop()
        end = time.monotonic() + CLOSE_S
        for other in others:
            other.join(end)

    def paces(self) -> Paces:
        """Return what steps single envs."""
        return ThreadPaces(self._own, self._helpers, self._patience, may_poll=self._may_poll, failed=self._failed)

    def report(self, name: str, /) -> ExecutorReport:
        """Return how many threads there are, and why, if `workers` was not given."""
        return ExecutorReport(name, name, self.workers, self._reason, advice=self._advice)

    def drain(self) -> EpisodeLog:
        """Return what was logged since the last call."""
        self._require_own_process()
        for helper in self._helpers:
            helper.settle()  # after Ctrl-C one may be in its last step still
        log = self._own.drain()
        for helper in self._helpers:
            log.extend(helper.share.drain())
        return log

    def take_log(self, log: EpisodeLog) -> None:
        """Go on with the log of those who stepped these envs before."""
        self._own.take_log(log)  # which is drained first, so that the entries of each env stay in order

    def remake(self, env_indices: Sequence[int], /) -> list[EnvFacts]:
        """Make envs anew that have failed, each where it lives; one that has a thread of its own gets another one."""
        facts: list[EnvFacts] = []
        for i in env_indices:
            if i in self._own.env_indices:
                facts += self._own.remake([i])
                continue
            k = next(k for k, helper in enumerate(self._helpers) if i in helper.env_indices)
            if isinstance(self._helpers[k].share, TimedShare):
                facts += self._replace(k, i)
            else:
                self._helpers[k].submit("remake", [i])
                facts += self._helpers[k].answer()
        return facts

    def _replace(self, k: int, i: int) -> list[EnvFacts]:
        """Let another thread have an env; the one before closes what it has, unless it hangs."""
        before = self._helpers[k]
        log = None if self._block is None else before.share.drain()
        if before.loss is None:
            before.stop()
        else:
            warnings.warn(
                f"Env {i} hangs and was left behind, in the thread {before.name}, which ends with the program. A new "
                "env goes on in its place.",
                RuntimeWarning,
                stacklevel=2,
            )
        self._left.append(before)
        helper = self._helpers[k] = WorkerThread(TimedShare([i]), self._patience, self._limits)
        helper.share.attach(self._block)
        if log is not None:  # it has the infos of the steps before, whether or not another env can be made
            helper.share.take_log(log)
        helper.start()
        helper.submit("open", self._make_env, self._options)
        facts: list[EnvFacts] = helper.answer()
        helper.share.attach(self._block)  # again, as it knows its options now
        return facts

    def doing(self) -> list[Doing]:
        """Return the calls of envs that are under way."""
        return [doing for share in self._shares() if (doing := share.call_under_way()) is not None]

    def close(self) -> None:
        """Close all envs, each in its own thread, and end the threads."""
        if self._is_forked():
            return  # neither the threads nor the envs are this process's own
        spinners.leave(self)
        for helper in self._helpers:
            helper.stop()
        helpers, self._helpers = self._helpers, []
        errors: list[Exception] = []
        try:
            self._own.close()
        except Exception as error:
            errors.append(error)
        end = time.monotonic() + CLOSE_S
        for helper in helpers:
            errors += helper.join(end)
        for helper in self._left:
            helper.join_if_it_ends()
        self._left = []
        if errors:
            raise errors[0]

    def release(self) -> None:
        """End the threads, and leave the envs open for whoever else knows them."""
        for share in self._shares():
            share.env_indices = []
        self.close()

    @override
    def _ask(
        self, method: str, calls: Sequence[Call], faults: list[BaseException]
    ) -> Sequence[tuple[int, WorkerThread]]:
        asked = [(k, helper) for k, helper in enumerate(self._helpers, start=1) if calls[k] is not None]
        try:
            todo = [(getattr(helper.share, method), calls[k] or ()) for k, helper in asked]
            self._round = one = Round([helper.line for _, helper in asked], todo, heads=self._heads(len(asked)))
            one.ended.may_poll = self._may_poll
            for _, helper in asked:
                helper.join_in(one)
            one.begin()
        except BaseException as fault:
            faults.append(fault)
            return ()
        return asked

    def _heads(self, n: int) -> int:
        """Return how many of n threads the caller wakes itself: of more than there are cores, those that can run."""
        return n if n <= self._cores else 1 if has_gil() else self._cores

    @override
    def _hear(self, asked: Sequence[tuple[int, WorkerThread]], answers: list[Any], faults: list[BaseException]) -> None:
        if not asked:
            return
        one, helpers, is_over = self._round, [helper for _, helper in asked], False
        while not is_over:
            try:
                wait_for(one, helpers, self._patience)
                if not (is_over := None not in one.answers):
                    self._hurry(one.answers)
            except BaseException as fault:  # there is an end of the patience from now on
                faults.append(fault)
        for (k, helper), answer in zip(asked, one.answers, strict=True):
            helper.leave()
            assert answer is not None
            answers[k], raised = answer
            if raised is not None:
                faults.append(raised)
        self._round = NO_ROUND

    def _hurry(self, answers: Sequence[Answer | None]) -> None:
        for answer in answers:
            if answer is not None and answer[1] is not None:
                self._failed(answer[1])

    def _shares(self) -> list[Share]:
        return [self._own, *(helper.share for helper in self._helpers)]


class Spreading:
    """Finds out in the first steps whether envs wait, so that each is worth a thread of its own, or compute.

    Envs wait if nearly every step of theirs took far longer than it kept a core busy. Threads that compute have to
    wait for each other, too, but some of their steps are left alone.
    """

    def __init__(self) -> None:
        self.is_safe: bool = False
        """Whether the envs may be moved to other threads."""
        self.is_over: bool = False
        self.waits: bool = True
        """What was found."""
        self.reason: str = ""
        """Why."""
        self._steps = 0
        self._waiting: list[float] = []

    @contextlib.contextmanager
    def watching(self, shares: Sequence[Share]) -> Iterator[None]:
        """Find out in a step of these shares which part of their time they wait."""
        waiting: list[float] = []

        def watched(step: Callable[..., list[int]], *args: Any) -> list[int]:
            began, cpu = time.perf_counter(), time.thread_time()
            try:
                return step(*args)
            finally:
                cpu = time.thread_time() - cpu
                waiting.append(1 - cpu / max(time.perf_counter() - began, 1e-9))

        for share in shares:
            vars(share)["step"] = functools.partial(watched, share.step)
        try:
            yield
        finally:
            for share in shares:
                del vars(share)["step"]
        self.note(waiting)

    def note(self, waiting: Sequence[float]) -> None:
        """Take note of which part of its time each share waited in a step."""
        self._steps += 1
        if self._steps > _UNCOUNTED:
            self._waiting += waiting
        if self._steps == _WATCHED:
            least = sorted(self._waiting)[len(self._waiting) // 10]
            self.is_over, self.waits = True, least >= WAITS
            what = "the envs wait for at least" if self.waits else "the envs compute: in some steps they wait for only"
            self.reason = f"{what} {least:.0%} of the time"
