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
from collections.abc import Callable, Sequence
from typing import Final

from typing_extensions import TypeVar

from runnerkit.executors.waiting import TooLateError

__all__ = ["CallRing", "ControlWords", "Mail", "PeerGoneError", "TurnLock", "can_poll"]

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
    CALLED_OFF = 5
    """Calls of single envs before this one are not to be made any more."""
    DONE = 8
    """Calls answered so far. The helper writes this line and those after the sleepers'."""
    STATUS = 9
    """How many episodes ended (which, comes at the end of the words), or that there was a fault."""
    HAS_MAIL = 10
    """Whether infos or objects were logged, so that `drain` has to ask for them."""
    CALLER_ASLEEP = 16
    """The turn for which the caller is to be woken; 0 while it is awake."""
    HELPER_ASLEEP = 24
    PHASE = 32
    """What the helper is doing, and with which env: for the error that tells of its death."""
    ENV = 33
    SINCE = 34
    """When that began, in nanoseconds of the monotonic clock, if there are timeouts; 0 if nothing is under way."""
    FIRST_ARRAY = 40
    """From here on: episode index, seed (-1: none that fits) and ended envs, n_envs of each; then a `CallRing`."""

    STEP, RESTARTING_STEP, CALL, REATTACH, SINGLE = range(5)
    FINE, FAULT = 0, -1

    @staticmethod
    def count(n_envs: int) -> int:
        """Return how many words a helper needs."""
        return -(-(ControlWords.FIRST_ARRAY + (3 + CallRing.WIDTH) * n_envs) // 8) * 8


class CallRing:
    """Calls of single envs, which the caller gives ahead, and what came of them; by the number of their turn::

        ring.put(words[ControlWords.GO], CallRing.STEP, i, at, row)     # then `give`
        kind, i, at, row, _, _ = ring.get(words[ControlWords.DONE])     # the helper, when it is its turn

    An env has one call at a time, so that there is room for one per env.
    """

    WIDTH = 8
    STEP, RESET, BY_MAIL = range(3)
    ENDED, HAS_MAIL = 1, 2

    def __init__(self, words: memoryview[int], n_envs: int) -> None:
        self._words, self._n = words, n_envs
        self._first = ControlWords.FIRST_ARRAY + 3 * n_envs

    def put(self, number: int, kind: int, *numbers: int) -> None:
        """Write a call: of which env, and up to four more numbers."""
        k, words = self._first + number % self._n * self.WIDTH, self._words
        words[k] = kind
        for place, value in enumerate(numbers, k + 1):
            words[place] = value

    def get(self, number: int) -> list[int]:
        """Return the kind of a call, its env, and four more numbers."""
        k = self._first + number % self._n * self.WIDTH
        return self._words[k : k + 6].tolist()

    def answer(self, number: int, found: int) -> None:
        """Write what came of a call: ENDED and HAS_MAIL, added up."""
        self._words[self._first + number % self._n * self.WIDTH + 6] = found

    def found(self, number: int) -> tuple[int, int]:
        """Return the env of a call, and what came of it."""
        k = self._first + number % self._n * self.WIDTH
        return self._words[k + 1], self._words[k + 6]


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
        self._is_gone = False
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
        if (words[self._other_sleep] and words[self._out] >= words[self._other_sleep]) or self._by_bell:
            # full of wake-ups, or nobody there: whoever waits next will notice
            with contextlib.suppress(BlockingIOError, ConnectionError):
                self._bell.send(b"!")

    def wait(self, seconds: float | None = None) -> None:
        """Return when the other side has given; again and again until one gives oneself.

        Raises PeerGoneError if it never will, and TooLateError after so many seconds.
        """
        words, at = self._words, self._in
        turn = words[self._out] + self._ahead  # of a caller that gives ahead, the last one
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
        words[self._own_sleep] = turn
        try:
            while not self.came(turn):
                self._nap(turn)
                if end is not None and time.monotonic() > end:
                    raise TooLateError
        except PeerGoneError:
            if not self.came(turn):  # else its last answer still holds
                raise
        finally:
            words[self._own_sleep] = 0

    def came(self, turn: int) -> bool:
        """Whether the other side has come to that turn, as far as one knows without listening."""
        return (self._heard if self._by_bell else self._words[self._in]) >= turn

    def _nap(self, turn: int) -> None:
        if _is_ready(self._bell, select.POLLIN, _NAP_MS):
            self._listen()
        else:
            self._doubt(turn)

    def _doubt(self, turn: int) -> None:
        """Look closer, as no bell rang for a while; raise PeerGoneError if none will."""
        if self._words[self._in] >= turn:
            self._heard = turn  # Ctrl-C came between the bell and the count; it rang long ago
        elif not self._is_alive():
            raise PeerGoneError

    def _listen(self) -> None:
        try:
            rung = self._bell.recv(4096)
        except ConnectionError:
            rung = b""
        if not rung:
            self._is_gone = True
            raise PeerGoneError
        # no more than was given: `_doubt` may have counted what the other side was about to ring
        self._heard = min(self._heard + len(rung), self._words[self._in])

    @staticmethod
    def wait_for_any(turns: Sequence[tuple[TurnLock, int]], seconds: float) -> None:
        """Return when one of these has come to its turn, or never will, or after so many seconds."""
        if not _polled(turns):
            TurnLock._sleep_for_any(turns, time.monotonic() + seconds)

    @staticmethod
    def _sleep_for_any(turns: Sequence[tuple[TurnLock, int]], end: float) -> None:
        poll = select.poll()
        for lane, turn in turns:
            poll.register(lane._bell, select.POLLIN)
            lane._words[lane._own_sleep] = turn
        try:
            while not any(lane.came(turn) for lane, turn in turns) and time.monotonic() < end:
                rung = {fd for fd, _ in poll.poll(_NAP_MS)}
                for lane, turn in turns:
                    if lane._bell.fileno() in rung:
                        lane._listen()
                    elif not rung:
                        lane._doubt(turn)
        except PeerGoneError:
            return  # whoever hears what there is will notice
        finally:
            for lane, _ in turns:
                lane._words[lane._own_sleep] = 0

    def require_peer(self, turn: int) -> None:
        """Raise PeerGoneError if the other side has not come to that turn, and never will."""
        if self.came(turn) or not (self._is_gone or not self._is_alive()):
            return
        if self._words[self._in] < turn:
            raise PeerGoneError
        self._heard = turn  # the last answers still hold, though no bell rings any more


def _polled(turns: Sequence[tuple[TurnLock, int]]) -> bool:
    """Look again and again whether one has come to its turn, if that is allowed; return whether one has."""
    if not all(lane._words[ControlWords.SPIN] for lane, _ in turns):
        return False
    end = time.perf_counter_ns() + _SPIN_NS
    while time.perf_counter_ns() < end:
        if any(lane.came(turn) for lane, turn in turns):
            return True
        _give_way()
    return False


class Mail:
    """Pickled messages between two processes, and files with them.

    No end of the other side goes unnoticed: a process that an env started may keep the other side's socket open, so
    that whoever waits asks whether the other side is alive, too.
    """

    _HEADER = struct.Struct("!Q?")

    def __init__(self, connection: socket.socket, is_alive: Callable[[], bool]) -> None:
        self._socket, self._is_alive = connection, is_alive
        self._inbox = bytearray()
        """What came while there was no room to send: the other side may wait for room, too."""
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

    def _receive_header(self) -> tuple[bytes | bytearray, int]:
        if self._inbox:
            return self._receive(self._HEADER.size), -1
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
        view, got = memoryview(data), min(nbytes, len(self._inbox))
        view[:got] = self._inbox[:got]
        del self._inbox[:got]
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
            if not _is_ready(self._socket, event | select.POLLIN, _ASK_MS):
                if not is_alive:
                    raise PeerGoneError
                is_alive = self._is_alive()  # what it sent just before its end is still to be received
            elif event == select.POLLOUT:
                self._make_room()

    def _make_room(self) -> None:
        """Take what has come, as there was no room to send."""
        try:
            come = self._socket.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionError:
            come = b""
        if not come:
            raise PeerGoneError
        self._inbox += come
