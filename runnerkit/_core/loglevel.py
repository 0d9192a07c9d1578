"""The level of Gymnasium's logger while runners work. The whole process has one logger."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import gymnasium

__all__ = ["gymnasium_log_level"]

_lock = threading.RLock()  # reentrant, as the garbage collector may close a dropped runner's envs right in here
_levels: list[int] = []  # of the runners at work, the latest last; before them, that of the process


@contextlib.contextmanager
def gymnasium_log_level(level: int) -> Iterator[None]:
    """Set the level for a while. If several runners work at once, the latest one decides."""
    with _lock:
        if not _levels:
            _levels.append(gymnasium.logger.min_level)
        _levels.append(level)
        gymnasium.logger.min_level = level
    try:
        yield
    finally:
        with _lock:
            last = len(_levels) - 1 - _levels[::-1].index(level)
            del _levels[last]
            gymnasium.logger.min_level = _levels[-1]
            if len(_levels) == 1:
                _levels.clear()
