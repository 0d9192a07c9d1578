"""Ctrl-C while units are made: what was begun is finished first, so that each unit is handed out once, and whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupt"]


class Interrupt:
    """Notes Ctrl-C, instead of a KeyboardInterrupt at any line::

        with Interrupt() as stop:
            history = write(unit)
        stop.check()

    The next press raises KeyboardInterrupt at once, for what takes too long. Signals can only be handled in the main
    thread, and a handler of the user's own is left alone; KeyboardInterrupt then comes as always.

    Args:
        pressed: whether Ctrl-C was pressed before, so that the first press is the next one.

    """

    def __init__(self, *, pressed: bool = False) -> None:
        self.requested: bool = pressed
        """Whether Ctrl-C was pressed. It is known for certain only after the block."""
        self._before: Any = None

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.requested:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.default_int_handler  # first, so that the handler is removed whatever comes now
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Give Python's handler back, unless that was done.

        The end of the block does so, but the exception of another signal handler may come just before.
        """
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:  # what is raised may keep the end of the block from removing this handler
            self.end()
            raise KeyboardInterrupt
        self.requested = True
