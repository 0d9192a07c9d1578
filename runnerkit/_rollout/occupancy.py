"""Who uses a runner now."""

from __future__ import annotations

import contextlib
import inspect
import threading
import weakref
from collections.abc import Generator, Iterator
from typing import Any

from runnerkit.errors import ArgumentError

__all__ = ["Claim", "Occupancy"]


class Claim:
    """One caller's reservation of a runner. A lock could stay locked if a signal handler raises in its `acquire`."""

    def __init__(self) -> None:
        self.is_over: bool = False


class Occupancy:
    """One caller at a time, and the streams that wait to be asked for their next batch."""

    def __init__(self, runner: str) -> None:
        self._runner: str = runner
        self._lock = threading.Lock()
        self._claim = Claim()
        self._claim.is_over = True
        self._streams: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()

    def take(self, claim: Claim) -> None:
        """Reserve the runner until the claim is over."""
        with self._lock:
            if not self._claim.is_over and self.open_streams():
                raise ArgumentError(
                    f"{self._runner} has an open stream. Call close() of the stream first, or use another runner."
                )
            if not self._claim.is_over:
                raise ArgumentError(
                    f"{self._runner} is already in a rollout. Wait until it ends, or use one runner per thread."
                )
            self._claim = claim

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Reserve the runner for the body of a `with`."""
        claim = Claim()
        try:
            self.take(claim)
            yield
        finally:
            claim.is_over = True

    def add(self, stream: Generator[Any, None, None]) -> None:
        """Watch a stream."""
        self._streams.add(stream)

    def open_streams(self) -> list[Generator[Any, None, None]]:
        """Return the streams that have given a batch and wait to be asked for the next one."""
        return [s for s in list(self._streams) if inspect.getgeneratorstate(s) == inspect.GEN_SUSPENDED]
