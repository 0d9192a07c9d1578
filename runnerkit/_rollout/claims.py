"""Claims: a processor object works in one runner at a time, as it is bound to one space."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from runnerkit.errors import ArgumentError

__all__ = ["Claims"]

_LOCK: Final = threading.Lock()
_TAKEN: Final[dict[int, object]] = {}
"""By `id`, the processors that runners have now; they are kept alive, so that no other object gets their `id`."""


class Claims:
    """The processors of one runner; no other runner may use them until they are released."""

    def __init__(self, processors: Sequence[tuple[str, object]]) -> None:
        self._mine: list[object] = []
        try:
            for name, processor in processors:
                self._claim(name, processor)
        except BaseException:
            self.release()
            raise

    def _claim(self, name: str, processor: object) -> None:
        with _LOCK:
            if id(processor) in _TAKEN:
                is_mine = any(mine is processor for mine in self._mine)
                where = "twice in this runner" if is_mine else "in another runner"
                way_out = "." if is_mine else ", or close the other runner first."
                raise ArgumentError(
                    f"Processor {name}: this object is {where}, but it can work in one place only. "
                    f"Make one for each{way_out}"
                )
            _TAKEN[id(processor)] = processor
            self._mine.append(processor)

    def release(self) -> None:
        """Release the processors for other runners. May be called twice."""
        with _LOCK:
            for processor in self._mine:
                _TAKEN.pop(id(processor), None)
            self._mine = []
