"""Ctrl-C during a rollout: the current step is finished, then the rollout ends with what was collected."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupt", "deadline"]


class Interrupt:
    """Notes Ctrl-C, instead of a KeyboardInterrupt at any line::

        with Interrupt() as interrupt:
            while not interrupt.requested:
                ...

    A second Ctrl-C raises KeyboardInterrupt at once, for steps that do not end. Signals can only be handled in
    the main thread, and a handler of the user's own is left alone; KeyboardInterrupt then comes as always.

    No press is lost: one that comes before or after raises KeyboardInterrupt. Whether one came while this handler was
    there is known for certain only after the block, so look at `requested` there.
    """

    def __init__(self) -> None:
        self.requested: bool = False
        """Whether Ctrl-C was pressed."""
        self.stops: bool = False
        """Whether the rollout must stop: Ctrl-C was pressed, or the deadline has passed."""
        self.forced: bool = False
        """Whether it was pressed again."""
        self.is_over: bool = False
        """Set if the exception of a signal handler may have prevented the removal of this handler."""
        self.is_paused: bool = False
        """Set while other code runs, such as the body of a `for`: Ctrl-C raises KeyboardInterrupt at once there."""
        self._before: Any = None

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.default_int_handler  # first, so that the handler is removed whatever comes now
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is None:
            return
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)
        else:  # a generator may be closed by the garbage collector of any thread
            self.is_over = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.is_over:
            signal.signal(signal.SIGINT, self._before)
            raise KeyboardInterrupt
        if self.is_paused:
            raise KeyboardInterrupt
        if self.requested:
            self.forced = True
            raise KeyboardInterrupt
        self.requested = self.stops = True


@contextlib.contextmanager
def deadline(interrupt: Interrupt, seconds: float | None) -> Iterator[None]:
    """Let the rollout stop after so many seconds, as if its steps were up; None lets it run."""
    if seconds is None:
        yield
        return

    def stop() -> None:
        interrupt.stops = True

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), stop)
    timer.name, timer.daemon = "runnerkit-deadline", True
    try:
        timer.start()
        yield
    finally:
        timer.cancel()
        if timer.ident is not None:
            timer.join()
