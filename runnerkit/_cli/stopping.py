"""How the program is asked to stop: by Ctrl-C, or by SIGTERM, which is answered in the same way.

For example::

    with stoppable() as stop:
        runner.rollout(agent, on_interrupt="return")
    sys.exit(stop.code)                                 # 130 after Ctrl-C, 143 after SIGTERM
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

__all__ = ["Stop", "stoppable"]

_ONE_REQUEST: Final = 0.5  # seconds


class Stop:
    """Who asked for a stop, should there be one."""

    def __init__(self) -> None:
        self.by_sigterm: bool = False
        self._since = 0.0

    @property
    def code(self) -> int:
        """The exit code that a shell reports for a program that ended so."""
        return 128 + (signal.SIGTERM if self.by_sigterm else signal.SIGINT)

    @property
    def cause(self) -> str:
        """Who it was, in words."""
        return "SIGTERM" if self.by_sigterm else "Ctrl-C"

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Do what Ctrl-C does at this moment, even where that itself is ignored.

        `timeout` sends SIGTERM to its child and at once to the group: that is one request, not an impatient second.
        """
        now = time.monotonic()
        if self.by_sigterm and now < self._since + _ONE_REQUEST:
            return
        self.by_sigterm, self._since = True, now
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Let SIGTERM do what Ctrl-C does, unless it is ignored or handled already."""
    stop = Stop()
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield stop
        return
    signal.signal(signal.SIGTERM, stop._handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
