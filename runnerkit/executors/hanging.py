"""Warning of envs that hang, from other threads: in close, and in any other call.

For example::

    with CloseWatch() as watch:
        watch.begins("Env 3")
        env.close()

An env is closed in the thread that made it, so that nobody else can end the call: all that is left is to say which
env it is. If it hangs in C code that never returns to Python, not even Ctrl-C gets through.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from runnerkit.executors.calls import NAMES, TIMEOUTS, Doing

__all__ = ["WATCH", "CloseWatch", "HangWatch"]

_PATIENCE_S: Final = 30.0
_LONG_S: Final = 60.0  # for one call of an env, other than close
_LOOKS: Final = 12  # in that time


class CloseWatch:
    """Warns once of each `close` that takes longer than 30 s, from a thread of its own, unless that is not to start."""

    def __init__(self, *, starts: bool = True) -> None:
        self._over = threading.Event()
        self._current: tuple[str, float] = "", time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="runnerkit-close-watch", daemon=True)
        self._is_watched: bool = starts

    def __enter__(self) -> Self:
        try:
            if self._is_watched:
                self._thread.start()
        except RuntimeError:  # no thread can be started any more: the interpreter ends, or there is a limit
            self._is_watched = False
        except BaseException:  # Ctrl-C, once more
            self._over.set()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self._is_watched:
            self._thread.join()

    def begins(self, what: str) -> None:
        """Take note that this is being closed from now on."""
        self._current = what, time.monotonic()

    def _watch(self) -> None:
        told: tuple[str, float] | None = None
        wait = _PATIENCE_S
        while not self._over.wait(wait):
            current = self._current
            late = time.monotonic() - current[1]
            if late >= _PATIENCE_S and current is not told:
                told = current
                warnings.warn(
                    f"{current[0]} has been closing for {late:.3g} s: its close() hangs. Fix the env, or press Ctrl-C "
                    "twice to go on without it; the other envs are closed all the same.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            wait = _PATIENCE_S if current is told else _PATIENCE_S - late


class _Watched:
    """An executor whose envs are at work."""

    def __init__(self, doing: Callable[[], Sequence[Doing]], where: Callable[[], str]) -> None:
        self._doing, self._where = doing, where
        self._seen: dict[int, tuple[object, float]] = {}  # by env: the call, and when it was seen first
        self._told: set[int] = set()

    def look(self, now: float, patience: float) -> None:
        """Warn of calls that have been seen for too long."""
        seen = {}
        for phase, i, episode_index, token in self._doing():
            before = self._seen.get(i)
            since = before[1] if before is not None and before[0] == token else now
            seen[i] = token, since
            if since == now:
                self._told.discard(i)
            elif now - since >= patience and i not in self._told and phase in NAMES:
                self._told.add(i)
                facts = [f"episode {episode_index}"] if episode_index is not None else []
                facts += [where] if (where := self._where()) else []
                which = f"Env {i} ({', '.join(facts)})" if facts else f"Env {i}"
                warnings.warn(
                    f"{which} has been in {NAMES[phase]} for {now - since:.3g} s. If it hangs, press Ctrl-C twice. "
                    f"{TIMEOUTS[phase]} sets a limit (with executor='processes' or 'threads').",
                    RuntimeWarning,
                    stacklevel=2,
                )
        self._seen = seen


class HangWatch:
    """Warns once of each call of an env that takes longer than 60 s; one thread looks after all runners::

        WATCH.begin(executor, lambda: "step 12 of the rollout")
        ...
        WATCH.end(executor)

    The thread starts with the first rollout, and ends when no runner has been at work for a while, or when one is
    closed while no other is at work. It is never there in a fork of the process.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._watched: dict[int, _Watched] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def over(self, executor: object, where: Callable[[], str] = str) -> Iterator[None]:
        """Watch an executor in a `with` statement; see `begin`."""
        self.begin(executor, where)
        try:
            yield
        finally:
            self.end(executor)

    def begin(self, executor: object, where: Callable[[], str] = str) -> None:
        """Watch an executor from now on, if it can be watched; `where` says how far its rollout is."""
        doing: Callable[[], Sequence[Doing]] | None = getattr(executor, "doing", None)
        if doing is not None:
            self._watched[id(executor)] = _Watched(doing, where)
            if self._thread is None:
                self._start()

    def end(self, executor: object) -> None:
        """Watch it no longer."""
        self._watched.pop(id(executor), None)

    def rest(self) -> None:
        """End the thread, unless a runner is at work."""
        if not self._watched:
            self._end()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._stop = threading.Event()
            thread = threading.Thread(target=self._watch, args=(self._stop,), name="runnerkit-watch", daemon=True)
            with contextlib.suppress(RuntimeError):  # there is a limit to the number of threads, or the program ends
                thread.start()
                self._thread = thread

    def _end(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _watch(self, stop: threading.Event) -> None:
        idle = 0
        while not stop.wait(_LONG_S / _LOOKS):
            watched, now = list(self._watched.values()), time.monotonic()
            for one in watched:
                one.look(now, _LONG_S)
            idle = 0 if watched else idle + 1
            if idle == _LOOKS:
                with self._lock:
                    if not self._watched:
                        self._thread = None if self._stop is stop else self._thread
                        return

    def _after_fork(self) -> None:
        if self._watched:
            self._start()

    def _forget(self) -> None:
        self._lock, self._watched, self._thread = threading.RLock(), {}, None


WATCH: Final = HangWatch()
"""The watch over all runners of this process."""

if hasattr(os, "register_at_fork"):  # a process with one thread more is warned of as it forks
    os.register_at_fork(before=WATCH._end, after_in_parent=WATCH._after_fork, after_in_child=WATCH._forget)
