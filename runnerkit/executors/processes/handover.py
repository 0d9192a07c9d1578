"""How the caller and a helper process take turns: numbers in shared memory, polled, then yielded, then slept on.

To wake a sleeper takes 50 us and more, longer than eight steps of a light env; so who waits looks at the number again
and again, gives way to others in between, and goes to sleep only after a millisecond. With fewer cores than workers
it goes to sleep at once, as it would keep the one it waits for from working.

Other processors than x86 may let one core see the number before the data that were written first; there everyone
sleeps until a bell rings, as what comes through the kernel comes after what was written before, everywhere.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from typing_extensions import TypeVar

from runnerkit.executors.waiting import TooLateError

__all__ = ["TurnLock", "Mail", "PeerGoneError", "ControlWords", "can_poll"]

_POLLS: Final = range(100)
_YIELDS: Final = range(50)
_SPIN_NS: Final = 1_000_000
_NAP_MS: Final = 20  # a wake-up may be missed in a race of some nanoseconds; then it comes so late
_ASK_MS: Final = 100  # after so long without a byte, the other side is asked for its life
_CLOSED_ON_EXEC: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_give_way: Final[Callable[[], None]] = getattr(os, "sched_yield", lambda: time.sleep(0))
T = TypeVar("T")
_X86: Final = ("x86_64", "amd64", "i686")


def can_poll() -> bool:
    """Whether other cores see writes to memory in the order in which they are made."""
    return platform.machine().lower() in _X86


class PeerGoneError(Exception):
    """The process on the other side has ended."""


class ControlWords:
    """What the two sides tell each other in shared memory: the index of each number, a cache line per writer."""

    GO = 0
    """Calls made so far. The caller writes the first line."""
    COMMAND = 1
    AT = 2
    ROW = 3
    SPIN = 4
    """Whether there are cores enough for all who poll."""
    DONE = 8
    """Calls answered so far. The helper writes this line and those after the sleepers'."""
    STATUS = 9
    """How many episodes ended (which, comes at the end of the words), or that there was a fault."""
    HAS_MAIL = 10
    """Whether infos or objects were logged, so that `drain` has to ask for them."""
    CALLER_ASLEEP = 16
    HELPER_ASLEEP = 24
    PHASE = 32
    """What the helper is doing, and with which env: for the error that tells of its death."""
    ENV = 33
    SINCE = 34
    """When that began, in nanoseconds of the monotonic clock, if there are timeouts; 0 if nothing is under way."""
    FIRST_ARRAY = 40
    """From here on: episode index, seed (-1: none that fits) and ended envs, n_envs of each."""

    STEP, RESTARTING_STEP, CALL, REATTACH = range(4)
    FINE, FAULT = 0, -1

    @staticmethod
    def count(n_envs: int) -> int:
        """Return how many words a helper needs."""
        return -(-(ControlWords.FIRST_ARRAY + 3 * n_envs) // 8) * 8


def _is_ready(connection: socket.socket, event: int, milliseconds: int) -> bool:
    """Wait until there is something to read, or room to write; for so long at the most.

    With a poll object of its own, as two threads may wait: one for a step, and one that closes the runner.
    """
    poll = select.poll()
    poll.register(connection, event)
    return bool(poll.poll(milliseconds))


class TurnLock:
    """One side's view of the turns: `give` the other side its turn, `wait` for one's own."""

    def __init__(
        self,
        words: memoryview[int],
        bell: socket.socket,
        *,
        is_caller: bool,
        is_alive: Callable[[], bool],
        by_bell: bool | None = None,
    ) -> None:
        self._words, self._bell, self._is_alive = words, bell, is_alive
        self._by_bell = not can_poll() if by_bell is None else by_bell
        self._heard = 0  # how often it rang
        bell.setblocking(False)
        self._out, self._in = (
            (ControlWords.GO, ControlWords.DONE) if is_caller else (ControlWords.DONE, ControlWords.GO)
        )
        asleep = (ControlWords.CALLER_ASLEEP, ControlWords.HELPER_ASLEEP)
        self._own_sleep, self._other_sleep = asleep if is_caller else asleep[::-1]
        self._ahead = 0 if is_caller else 1  # the caller has given once more than it was answered

    def give(self) -> None:
        """Let the other side go on; it sees all that was written before."""
        words = self._words
        words[self._out] += 1
        if words[self._other_sleep] or self._by_bell:
            # full of wake-ups, or nobody there: whoever waits next will notice
            with contextlib.suppress(BlockingIOError, ConnectionError):
                self._bell.send(b"!")

    def wait(self, seconds: float | None = None) -> None:
        """Return when the other side has given; again and again until one gives oneself.

        Raises PeerGoneError if it never will, and TooLateError after so many seconds.
        """
        words, at = self._words, self._in
        turn = words[self._out] + self._ahead
        if words[ControlWords.SPIN]:
            for _ in _POLLS:
                if words[at] >= turn:
                    return
            end = time.perf_counter_ns() + _SPIN_NS
            while time.perf_counter_ns() < end:
                for _ in _YIELDS:
                    if words[at] >= turn:
                        return
                    _give_way()
        self._sleep(turn, seconds)

    def _sleep(self, turn: int, seconds: float | None) -> None:
        words = self._words
        end = None if seconds is None else time.monotonic() + seconds
        words[self._own_sleep] = 1
        try:
            while not self._came(turn):
                self._nap(turn)
                if end is not None and time.monotonic() > end:
                    raise TooLateError
        except PeerGoneError:
            if not self._came(turn):  # else its last answer still holds
                raise
        finally:
            words[self._own_sleep] = 0

    def _came(self, turn: int) -> bool:
        return (self._heard if self._by_bell else self._words[self._in]) >= turn

    def _nap(self, turn: int) -> None:
        if not _is_ready(self._bell, select.POLLIN, _NAP_MS):
            if self._words[self._in] >= turn:
                self._heard = turn  # Ctrl-C came between the bell and the count; it rang long ago
            elif not self._is_alive():
                raise PeerGoneError
            return
        try:
            rung = self._bell.recv(4096)
        except ConnectionError:
            raise PeerGoneError from None
        if not rung:
            raise PeerGoneError
        self._heard += len(rung)


class Mail:
    """Pickled messages between two processes, and files with them.

    No end of the other side goes unnoticed: a process that an env started may keep the other side's socket open, so
    that whoever waits asks whether the other side is alive, too.
    """

    _HEADER = struct.Struct("!Q?")

    def __init__(self, connection: socket.socket, is_alive: Callable[[], bool]) -> None:
        self._socket, self._is_alive = connection, is_alive
        connection.setblocking(False)

    def send_pickled(self, pickled: bytes, fd: int | None = None) -> None:
        """Send a message that is pickled already."""
        header = self._HEADER.pack(len(pickled), fd is not None)
        if fd is None:
            self._send(header)
        else:  # a header is one piece: it fits into the socket as a whole, or not at all
            self._while_alive(select.POLLOUT, functools.partial(socket.send_fds, self._socket, [header], [fd]))
        self._send(pickled)

    def receive(self) -> tuple[bytearray, int]:
        """Wait for a message and return it, pickled still, with the file that came along, or -1."""
        header, fd = self._receive_header()
        nbytes, has_fd = self._HEADER.unpack(header)
        return self._receive(nbytes), fd if has_fd else -1

    def _receive_header(self) -> tuple[bytes, int]:
        begun, fds, _, _ = self._while_alive(
            select.POLLIN, functools.partial(socket.recv_fds, self._socket, self._HEADER.size, 1, _CLOSED_ON_EXEC)
        )
        if not begun:
            raise PeerGoneError
        return begun + self._receive(self._HEADER.size - len(begun)), fds[0] if fds else -1

    def _send(self, data: bytes) -> None:
        view, sent = memoryview(data), 0
        while sent < len(view):
            sent += self._while_alive(select.POLLOUT, functools.partial(self._socket.send, view[sent:]))

    def _receive(self, nbytes: int) -> bytearray:
        data = bytearray(nbytes)
        view, got = memoryview(data), 0
        while got < nbytes:
            more = self._while_alive(select.POLLIN, functools.partial(self._socket.recv_into, view[got:]))
            if not more:
                raise PeerGoneError
            got += more
        return data

    def _while_alive(self, event: int, transfer: Callable[[], T]) -> T:
        """Send or receive something as soon as it can be; raise PeerGoneError if it never will."""
        is_alive = True
        while True:
            try:
                return transfer()
            except BlockingIOError:
                pass
            except ConnectionError:
                raise PeerGoneError from None
            if not _is_ready(self._socket, event, _ASK_MS):
                if not is_alive:
                    raise PeerGoneError
                is_alive = self._is_alive()  # what it sent just before its end is still to be received
