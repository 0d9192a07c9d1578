"""Waiting for what another thread hands over, and what to do about envs that wait themselves.

What is handed over is polled for, then yielded for, then slept for.

To wake a sleeping thread takes 50 us, as long as several steps of a light env. A thread that polls, however, is in
the way of those that need its core, or the GIL, so that it has to be allowed to.
"""

from __future__ import annotations

import functools
import os
import queue
import sys
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["SpinQueue", "has_gil"]

T = TypeVar("T")

_POLLS = range(100)  # 5 us
_YIELDS = range(2000)  # 1 ms, if nobody else wants the core

_yield_core: Callable[[], None] = getattr(os, "sched_yield", functools.partial(time.sleep, 0))


def has_gil() -> bool:
    """Whether only one thread at a time runs Python."""
    is_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)  # new in Python 3.13
    return is_enabled()


class SpinQueue(Generic[T]):
    """A queue from one thread to one other, for one item at a time: more are kept, but found late."""

    __slots__ = ("_has_item", "_items", "may_poll")

    def __init__(self) -> None:
        self.may_poll: bool = False
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._has_item: bool = False  # what is polled, as the queue has a lock; only a hint, since it may be set late

    def put(self, item: T) -> None:
        """Hand an item over."""
        self._items.put(item)
        self._has_item = True

    def take(self) -> T:
        """Return the next item as soon as it is there."""
        if self.may_poll:
            self._poll()
        item = self._items.get()
        self._has_item = False
        return item

    def _poll(self) -> None:
        for _ in _POLLS:
            if self._has_item:
                return
        for _ in _YIELDS:
            if self._has_item:
                return
            _yield_core()
