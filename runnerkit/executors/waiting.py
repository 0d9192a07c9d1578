"""Waiting for what another thread hands over, and what to do about envs that wait themselves.

What is handed over is polled for, then yielded for, then slept for.

To wake a sleeping thread takes 50 us, as long as several steps of a light env. A thread that polls, however, is in
the way of those that need its core, or the GIL, so that it has to be allowed to.
"""

from __future__ import annotations

import functools
import math
import os
import queue
import sys
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from runnerkit.errors import EnvError

__all__ = ["Patience", "SpinQueue", "TooLateError", "has_gil"]

T = TypeVar("T")

_POLLS = range(100)  # 5 us
_YIELDS = range(2000)  # 1 ms, if nobody else wants the core
_HEARS_S = 0.5

_yield_core: Callable[[], None] = getattr(os, "sched_yield", functools.partial(time.sleep, 0))


def has_gil() -> bool:
    """Whether only one thread at a time runs Python."""
    is_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)  # new in Python 3.13
    return is_enabled()


class TooLateError(Exception):
    """Whoever is waited for did not answer in time. No TimeoutError, which a signal handler may raise in a wait."""


class Patience:
    """How long the caller waits for its workers: without end, until something breaks a wait off.

    Whoever presses Ctrl-C a second time, or sets an alarm, wants to get out, even if an env hangs.
    """

    _AFTER_CTRL_C_S = 0.5
    _AFTER_EXCEPTION_S = 5.0
    _AFTER_FAULT_S = 30.0  # of an env, while others end their step

    def __init__(self) -> None:
        self.is_limited: bool = False
        """Whether there is an end."""
        self._end: float = math.inf

    def left(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self._end - time.monotonic())

    def hurry(self, fault: BaseException) -> None:
        """Set an end after a fault while others are under way: one of them may hang, too."""
        if isinstance(fault, EnvError):
            self.limit(self._AFTER_FAULT_S)
        else:
            self.lose(fault)

    def lose(self, fault: BaseException) -> None:
        """Set an end, since this fault is to be raised."""
        self.limit(self._AFTER_EXCEPTION_S if isinstance(fault, Exception) else self._AFTER_CTRL_C_S)

    def limit(self, seconds: float) -> None:
        """Set an end, unless there is a sooner one."""
        self._end, self.is_limited = min(self._end, time.monotonic() + seconds), True

    def regain(self) -> None:
        """Wait without end again."""
        self._end, self.is_limited = math.inf, False


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

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there yet."""
        return self._items.empty()

    def take(self, seconds: float | None = None) -> T:
        """Return the next item as soon as it is there; raise TooLateError if it is not within so many seconds."""
        if self.may_poll:
            self._poll()
        try:
            item = self._items.get(True, seconds)
        except queue.Empty:
            raise TooLateError from None
        self._has_item = False
        return item

    def take_in_main(self) -> T:
        """Return the next item as soon as it is there, in the main thread, which handles signals.

        Python runs a handler when a wait is over. A signal that comes just before the thread falls asleep ends no wait:
        it would be handled with the next one, as if Ctrl-C had been pressed once rather than twice.
        """
        while True:
            try:
                return self.take(_HEARS_S)
            except TooLateError:
                continue

    def _poll(self) -> None:
        for _ in _POLLS:
            if self._has_item:
                return
        for _ in _YIELDS:
            if self._has_item:
                return
            _yield_core()
