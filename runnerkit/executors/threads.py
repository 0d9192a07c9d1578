"""The threads executor: each env lives in one fixed thread, the calling thread has a share of its own.

Pays where the env releases the GIL in its step (MuJoCo's larger models, simulators that wait), and on
free-threaded CPython.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from runnerkit._core.cores import share_out, spinners
from runnerkit._core.faults import close_after
from runnerkit._core.types import AnyEnv
from runnerkit.executors.share import Share
from runnerkit.executors.sharing import SharingExecutor
from runnerkit.executors.waiting import SpinQueue, has_gil
from runnerkit.history.block import Block
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, RunOptions

__all__ = ["MOST_THREADS", "ThreadsExecutor"]

MOST_THREADS: Final = 128
"""How many threads there are at the most, unless a number of workers is asked for."""

_Call: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...]] | None"


class ThreadsExecutor(SharingExecutor["WorkerThread"]):
    """Steps n envs in `workers` threads, `min(n_envs, cores)` by default, the calling one included.

    `make_share` may be the `part` of a share whose envs are made already; `open` is then not to be called.
    """

    def __init__(
        self, n_envs: int, workers: int | None = None, *, make_share: Callable[[Sequence[int]], Share] = Share
    ) -> None:
        own, *others = share_out(n_envs, workers)
        self.workers: int = 1 + len(others)
        super().__init__(make_share(own))
        try:
            for env_indices in others:
                self._helpers.append(WorkerThread(make_share(env_indices)))
                self._helpers[-1].start()
        except BaseException as error:  # there may be a limit to the number of threads, or Ctrl-C
            close_after(error, self.release)
            raise

    @property
    def helped(self) -> list[int]:
        """The envs that live in other threads than the calling one."""
        return [i for helper in self._helpers for i in helper.share.env_indices]

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        """Make each env in its own thread, one after the other: factories need not be thread-safe."""
        try:
            facts = self._own.open(make_env, options)
            for helper in self._helpers:
                helper.submit("open", make_env, options)
                facts += helper.answer()
        except BaseException as error:
            close_after(error, self.close)
            raise
        return facts

    def attach(self, block: Block | None, /) -> None:
        """Write into this block from now on; None lets go of the last one."""
        self._require_own_process()
        self._own.attach(block)
        for helper in self._helpers:
            helper.settle()
            helper.share.attach(block)
        if block is None:
            spinners.leave(self)
            self.let_spin(False)
        else:
            spinners.enter(self)

    def let_spin(self, may: bool) -> None:
        """Let threads poll for each other, or not; with a GIL they would keep each other from working."""
        for helper in self._helpers:
            helper.let_poll(may and not has_gil())

    def drain(self) -> EpisodeLog:
        """Return what was logged since the last call."""
        for helper in self._helpers:
            helper.settle()  # after Ctrl-C one may be in its last step still
        log = self._own.drain()
        for helper in self._helpers:
            log.extend(helper.share.drain())
        return log

    def take_log(self, log: EpisodeLog) -> None:
        """Go on with the log of those who stepped these envs before."""
        self._own.take_log(log)  # which is drained first, so that the entries of each env stay in order

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
        for helper in helpers:
            errors += helper.join()
        if errors:
            raise errors[0]

    def release(self) -> None:
        """End the threads, and leave the envs open for whoever else knows them."""
        for share in self._shares():
            share.env_indices = []
        self.close()

    def _shares(self) -> list[Share]:
        return [self._own, *(helper.share for helper in self._helpers)]


class WorkerThread:
    """A thread that does for its share what it is told, one call at a time."""

    def __init__(self, share: Share) -> None:
        self.share: Share = share
        self._calls: SpinQueue[_Call] = SpinQueue()
        self._answers: SpinQueue[tuple[Any, BaseException | None]] = SpinQueue()
        self._closing_faults: list[Exception] = []
        self._may_be_busy: bool = False
        name = f"runnerkit-envs-{share.env_indices[0]}-{share.env_indices[-1]}"
        # No bound method of the helper is in it, so that a dropped runner can be collected.
        work = functools.partial(_work, share, self._calls, self._answers, self._closing_faults)
        # Context variables as the caller has them now, such as the precision of decimals and what NumPy does on
        # overflow, hold for all envs: a new thread would have the defaults.
        target = functools.partial(contextvars.copy_context().run, work)
        self._thread: threading.Thread = threading.Thread(target=target, name=name, daemon=True)

    @property
    def env_indices(self) -> Sequence[int]:
        """The envs that live there."""
        return self.share.env_indices

    def start(self) -> None:
        self._thread.start()

    def let_poll(self, may: bool) -> None:
        self._calls.may_poll = self._answers.may_poll = may

    def settle(self) -> None:
        """Wait until nothing is under way: Ctrl-C may have left an answer unheard, or unkept."""
        if self._may_be_busy:
            mark = object()
            self._calls.put((lambda: mark, ()))
            while self._answers.take()[0] is not mark:
                pass
            self._may_be_busy = False

    def submit(self, method: str, /, *args: Any) -> None:
        """Begin a call of a method of the share."""
        self.begin(getattr(self.share, method), *args)

    def begin(self, function: Callable[..., Any], *args: Any) -> None:
        """Begin a call of any function."""
        self.settle()
        self._may_be_busy = True
        self._calls.put((function, args))

    def answer(self) -> Any:
        """Wait for the end of the call that was begun, and return or raise what it did."""
        value, fault = self._answers.take()
        self._may_be_busy = False
        if fault is not None:
            raise fault
        return value

    def stop(self) -> None:
        self._calls.put(None)

    def join(self) -> list[Exception]:
        """Wait for the thread and return what went wrong as its envs closed."""
        # One that Ctrl-C kept from starting, or from being seen to start, is not waited for.
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join()
        return self._closing_faults


def _work(
    share: Share,
    calls: SpinQueue[_Call],
    answers: SpinQueue[tuple[Any, BaseException | None]],
    closing_faults: list[Exception],
) -> None:
    while (call := calls.take()) is not None:
        function, args = call
        try:
            answer: tuple[Any, BaseException | None] = function(*args), None
        except BaseException as fault:
            answer = None, fault
        answers.put(answer)
        del call, function, args, answer  # keep nothing alive while waiting
    try:
        share.close()
    except Exception as fault:
        closing_faults.append(fault)
