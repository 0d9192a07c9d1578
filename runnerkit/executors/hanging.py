"""Warning of an env that hangs in close.

For example::

    with CloseWatch() as watch:
        watch.begins("Env 3")
        env.close()

An env is closed in the thread that made it, so that nobody else can end the call: all that is left is to say which
env it is. If it hangs in C code that never returns to Python, not even Ctrl-C gets through.
"""

from __future__ import annotations

import threading
import time
import warnings
from types import TracebackType
from typing import Final, Self

__all__ = ["CloseWatch"]

_PATIENCE_S: Final = 30.0


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
