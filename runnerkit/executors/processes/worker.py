"""A helper process as the caller sees it: it is started, asked, waited for, ended, and mourned."""

from __future__ import annotations

import contextlib
import math
import pickle
import signal
import socket
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from runnerkit._core.faults import cause_of_death, describe
from runnerkit.errors import EnvError, EnvTimeoutError, RolloutError, RunnerKitError
from runnerkit.executors.calls import Doing, require_life
from runnerkit.executors.paces import Outcome
from runnerkit.executors.processes.handover import CallRing, ControlWords, Mail, PeerGoneError, TurnLock
from runnerkit.executors.processes.helper import BlockTicket
from runnerkit.executors.processes.shared import Region, SharedBlock, put_objects, standard_streams_taken
from runnerkit.executors.processes.starting import start_helper
from runnerkit.executors.processes.transport import dumps_for_helper, unpack
from runnerkit.executors.processes.whereabouts import Whereabouts
from runnerkit.executors.waiting import Patience, TooLateError
from runnerkit.records import RunOptions

__all__ = ["WorkerHandle"]

_EXIT_S: Final = 5.0  # how long an interpreter may take to end
_GO: Final = "go"  # a step of which all is in shared memory; all other calls have the names of methods
_REATTACH: Final = "reattach"
_SINGLE: Final = "single"  # calls of single envs, given ahead
_PREPARING: Final = ("attach", "detach", "activate", _REATTACH)  # begun without waiting for the answer
# what a step reads and writes: to look them up in their class costs a tenth of a microsecond each
_COMMAND, _AT, _ROW, _STATUS = ControlWords.COMMAND, ControlWords.AT, ControlWords.ROW, ControlWords.STATUS
_STEP, _RESTARTING_STEP, _FAULT = ControlWords.STEP, ControlWords.RESTARTING_STEP, ControlWords.FAULT
_TERM_OF_GROUP_S: Final = 0.05
_LATE: Final = "it did not answer soon after the rollout was broken off (a step of an env hangs, or is slow)"


class WorkerHandle:
    """The helper process of envs `low` to `high - 1`."""

    def __init__(
        self,
        env_indices: range,
        n_envs: int,
        shares: list[int],
        number: int,
        *,
        options: RunOptions,
        patience: Patience,
    ) -> None:
        low, high = env_indices.start, env_indices.stop
        self._shares, self._number = shares, number
        self._regions: weakref.WeakKeyDictionary[Region, int] = weakref.WeakKeyDictionary()
        """Memory that the helper has mapped, by the number under which it knows it."""
        self._n_attached = 0
        self.low: int = low
        self.high: int = high
        self._first_ended = ControlWords.FIRST_ARRAY + 2 * n_envs
        self._pending = ""
        """The call that was not answered yet."""
        self._is_talking = False
        """Whether a message is half sent or half received."""
        self._heard = 0  # the calls that were heard of, if single envs are called
        self._block: SharedBlock | None = None
        self._death_error: RolloutError | None = None
        self._patience = patience
        self._advice = "" if options.restarts else ". Build a new runner to go on"
        n_words = ControlWords.count(n_envs)
        region = Region(n_words * 8)
        self._words: memoryview[int] = region.memory().view(np.int64).data
        self._ring = CallRing(self._words, n_envs)
        self.where: Whereabouts = Whereabouts(self._words, n_envs, low, high, options)
        with standard_streams_taken(), contextlib.ExitStack() as undo:
            mail, other_mail = map(undo.enter_context, socket.socketpair())
            bell, other_bell = map(undo.enter_context, socket.socketpair())
            fds = [other_mail.fileno(), other_bell.fileno(), region.fd]
            self._process = undo.enter_context(start_helper(fds, n_envs, low, high, options.seed))
            undo.callback(self._process.kill)
            path = pickle.dumps(sys.path)
            with contextlib.suppress(ConnectionError):  # whoever waits for it will notice
                mail.sendall(len(path).to_bytes(8, "big") + path)
            undo.pop_all()
            other_mail.close()
            other_bell.close()
        region.close_file()
        self._sockets = mail, bell
        process = self._process
        self._mail = Mail(mail, lambda: process.poll() is None)
        self._lane = TurnLock(self._words, bell, is_caller=True, is_alive=lambda: process.poll() is None)

    @property
    def _envs(self) -> str:
        return f"Env {self.low}" if self.high - self.low == 1 else f"Envs {self.low} to {self.high - 1}"

    @property
    def env_indices(self) -> range:
        """The envs that live there."""
        return range(self.low, self.high)

    @property
    def is_alive(self) -> bool:
        """Whether the process was alive when it was last needed."""
        return self._death_error is None

    @property
    def has_more_to_tell(self) -> bool:
        """Whether infos were kept that no journal shows."""
        return self.is_alive and bool(self._words[ControlWords.HAS_MAIL])

    def require_life(self) -> None:
        """Raise what the process died of, should it have done so before."""
        require_life(self._death_error, self._envs)

    def let_spin(self, may: bool) -> None:
        """Say whether both sides may wait without sleeping."""
        self._words[ControlWords.SPIN] = may

    # ---- calls

    def go(self, at: int, row: int, restart: bool) -> None:
        """Begin a step of which all is in shared memory."""
        if self._pending:
            self.rest()
            if not self.is_alive:
                return  # whoever waits for the step is told of the death
        words = self._words
        words[_COMMAND], words[_AT], words[_ROW] = _RESTARTING_STEP if restart else _STEP, at, row
        self._pending = _GO
        self._lane.give()

    def stepped(self) -> Sequence[int]:
        """Wait for the end of that step and return which episodes ended."""
        n = self._hear()
        return self._words[self._first_ended : self._first_ended + n].tolist() if n else ()

    def call(self, name: str, *args: object) -> Any:
        """Call a method of the helper and wait for its answer."""
        self.submit(name, *args)
        return self._hear()

    def submit(self, name: str, /, *args: object, fd: int | None = None) -> None:
        """Begin a call."""
        self.settle()
        self.require_life()
        pickled = self._pickled((name, args))
        self._words[ControlWords.COMMAND] = ControlWords.CALL
        if name == "step":
            self._words[_AT] = args[0]  # type: ignore[call-overload]
        self._pending = name
        self._give_with(pickled, fd)

    def _pickled(self, call: tuple[str, tuple[object, ...]]) -> bytes:
        try:
            return dumps_for_helper(call)
        except Exception as error:
            raise RunnerKitError(
                f"What envs {self.low} to {self.high - 1} are to get cannot be sent to their process: "
                f"{describe(error)}. executor='threads' keeps everything in one process."
            ) from error

    def _give_with(self, pickled: bytes, fd: int | None = None) -> None:
        """Give the helper its turn, and a message with it."""
        self._is_talking = True
        self._lane.give()
        try:
            self._mail.send_pickled(pickled, fd)
        except PeerGoneError:
            raise self._reap() from None
        self._is_talking = False

    def answer(self) -> Any:
        """Wait for the end of the call that was begun, and return or raise what it did."""
        return self._hear()

    # ---- calls of single envs, given ahead

    @property
    def under_way(self) -> int:
        """How many calls of single envs have begun, and were not heard of."""
        return self._words[ControlWords.GO] - self._heard if self._pending is _SINGLE else 0

    def begin_single(self, kind: int, *numbers: int, by_mail: tuple[str, tuple[object, ...]] | None = None) -> None:
        """Begin a call of one env, after those that are under way, see `CallRing`."""
        words = self._words
        pickled = None if by_mail is None else self._pickled(by_mail)
        if self._pending is not _SINGLE:
            self.settle()
            self.require_life()
            self._heard = words[ControlWords.GO]
            words[_COMMAND], self._pending = ControlWords.SINGLE, _SINGLE
        self._ring.put(words[ControlWords.GO], kind, *numbers)
        if pickled is None:
            self._lane.give()
        else:
            self._give_with(pickled)

    def turn(self, more: int) -> tuple[TurnLock, int]:
        """Return what it takes to wait for so many calls more, or for all that are under way."""
        return self._lane, self._heard + min(more, self.under_way)

    def take_singles(self, found: list[Outcome]) -> None:
        """Add what has come of calls of single envs, without a wait."""
        try:
            while self.under_way and self._lane.came(self._heard + 1):
                found.append(self._outcome())
        except PeerGoneError:
            found.append(self._loss(self._reap()))

    def _outcome(self) -> Outcome:
        i, status = self._ring.found(self._heard)
        if not status & CallRing.HAS_MAIL:
            self._heard += 1
            return Outcome(i, bool(status), None, None)
        self._is_talking = True
        pickled, _ = self._mail.receive()
        self._heard += 1
        self._is_talking = False
        fault, row, objects, log = self._loaded(pickled)
        if objects:
            assert self._block is not None
            put_objects(self._block, row, [i], [[one] for one in objects])
        return Outcome(i, bool(status & CallRing.ENDED), None if fault is None else unpack(fault), log)

    def look_after(self, found: list[Outcome], *, is_late: bool) -> None:
        """Add a fault if nothing will come of the calls that are under way; they are forgotten then."""
        if not self.under_way:
            return
        try:
            if self.where.limits:
                self._require_in_time()
            self._lane.require_peer(self._heard + 1)
            if is_late:
                found.append(self._loss(self._ended_by_us(_LATE)))
        except PeerGoneError:
            found.append(self._loss(self._reap()))
        except EnvTimeoutError as fault:
            found.append(self._loss(fault))

    def _loss(self, fault: RolloutError) -> Outcome:
        i, _ = self._ring.found(self._heard)
        return Outcome(fault.env_index if isinstance(fault, EnvError) else i, False, fault, None)

    def call_off(self) -> None:
        """Let calls of single envs that have not begun not begin any more."""
        if self._pending is _SINGLE:
            self._words[ControlWords.CALLED_OFF] = self._words[ControlWords.GO]

    def _drop_singles(self, seconds: float | None) -> None:
        """Wait for the calls of single envs that cannot be called off, and forget what comes of them."""
        self.call_off()
        end = math.inf if seconds is None else time.monotonic() + seconds
        found: list[Outcome] = []
        while self.under_way:
            left = self._patience.left() if seconds is None else end - time.monotonic()
            try:
                TurnLock.wait_for_any([self.turn(1)], min(left, self.where.slice))
            except BaseException as fault:  # as in `_hear`
                self._patience.lose(fault)
                raise
            self.take_singles(found)
            if left <= 0 and seconds is not None and self.under_way:
                raise TooLateError
            self.look_after(found, is_late=left <= 0)
        self._pending = ""
        if self._death_error is not None:
            raise self._death_error

    def settle(self) -> None:
        """Wait until nothing is under way: Ctrl-C may have left an answer unheard."""
        name = self._pending
        if not name:
            return
        try:
            self._hear()
        except Exception:
            if name in _PREPARING:  # of all else nobody wants to know any more
                raise

    def rest(self) -> None:
        """Wait until nothing is under way; of a death, whoever needs the helper next is told."""
        try:
            self.settle()
        except EnvError:
            if self.is_alive:
                raise

    def attach(self, block: SharedBlock, region: Region) -> None:
        """Begin to write into a block in that memory."""
        self._block, self.where.rewards = block, block.all_rewards.view(np.int64)
        number = self._regions.get(region)
        if number is not None:
            self.settle()
            self._words[_COMMAND], self._words[_AT] = ControlWords.REATTACH, number
            self._pending = _REATTACH
            self._lane.give()
        else:
            number = self._n_attached = self._n_attached + 1
            ticket = BlockTicket(
                number=number,
                known=list(self._regions.values()),
                layout=block.layout,
                nbytes=region.nbytes,
                most=region.most,
                window=region.window,
                shares=self._shares,
                mine=self._number,
            )
            self.submit("attach", ticket, fd=region.fd)
            self._regions[region] = number
        self.where.active = range(self.low, self.high)

    def knows(self, region: Region) -> bool:
        """Whether the helper has mapped that memory."""
        return region in self._regions

    def detach(self, region: Region, keep: bool) -> None:
        """Let go of the block; unless its memory is to be kept, so does the helper."""
        self._block = self.where.rewards = None
        number = None if keep else self._regions.pop(region, None)
        if number is not None:
            self._tell("detach", number)

    def activate(self, env_indices: Sequence[int]) -> None:
        """Let the next steps be of these envs."""
        if list(env_indices) != list(self.where.active):
            self.where.active = env_indices
            self._tell("activate", list(env_indices))

    def _tell(self, name: str, *args: object) -> None:
        """Begin a call; of a death, whoever needs the helper next is told."""
        self.rest()
        if self.is_alive:
            try:
                self.submit(name, *args)
            except EnvError:
                if self.is_alive:
                    raise

    def _hear(self, seconds: float | None = None) -> Any:
        if self._death_error is not None:
            self._pending = ""  # nothing will come of a step that was begun although this was known
            raise self._death_error
        if self._is_talking:  # all that followed would be garbled
            raise self._ended_by_us("Ctrl-C, or an exception of a signal handler, broke off a message between the two")
        if self._pending is _SINGLE:
            return self._drop_singles(seconds)
        patience = self._patience
        try:
            if self.where.limits:
                self._wait_within_limits(seconds)
            else:
                self._lane.wait(patience.left() if seconds is None and patience.is_limited else seconds)
            status = self._words[_STATUS]
            answer: Any = status
            if self._pending is _GO and status != _FAULT:
                self._pending = ""
                return answer
            is_fault, pickled = status == _FAULT, None
            if is_fault or self._pending != _REATTACH:
                self._is_talking = True
                pickled, _ = self._mail.receive()
        except BaseException as fault:
            raised = self._unheard(fault, seconds)
            if raised is fault:
                raise
            raise raised from None
        name, self._pending, self._is_talking = self._pending, "", False
        if pickled is not None:
            answer = self._loaded(pickled)
        if is_fault:
            if name == "attach":  # what has that number is not there
                self._regions = weakref.WeakKeyDictionary(
                    {region: number for region, number in self._regions.items() if number != self._n_attached}
                )
            raise unpack(answer)
        self.where.is_open = True
        return answer

    def _unheard(self, fault: BaseException, seconds: float | None) -> BaseException:
        """Return what to raise for what broke off a wait."""
        if isinstance(fault, PeerGoneError):
            return self._reap()
        if isinstance(fault, TooLateError) and seconds is None:
            return self._ended_by_us(_LATE)
        if not isinstance(fault, TooLateError | EnvTimeoutError):  # of a signal handler, as that of Ctrl-C
            self._patience.lose(fault)
        return fault

    def _wait_within_limits(self, seconds: float | None) -> None:
        """Wait as `TurnLock.wait` does, and look now and then whether an env takes longer than it may."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            left = self._patience.left() if seconds is None else max(0.0, end - time.monotonic())
            try:
                return self._lane.wait(min(left, self.where.slice))
            except TooLateError:
                self._require_in_time()
                if left <= self.where.slice:
                    raise

    def _require_in_time(self) -> None:
        overdue = self.where.overdue()
        if overdue is None:
            return
        phase, i = overdue
        self._process.kill()
        self._reap()
        outcome = f"its process ({self._process.pid}, {self._envs.replace('E', 'e', 1)}) was killed"
        self._death_error = self.where.timed_out(phase, i, outcome)
        raise self._death_error

    def call_under_way(self) -> Doing | None:
        """Return which call of an env is under way, for a thread that watches the caller."""
        return self.where.doing() if self.is_alive else None

    def _loaded(self, pickled: bytearray) -> Any:
        try:
            return pickle.loads(pickled)
        except Exception as error:
            raise RunnerKitError(
                f"What envs {self.low} to {self.high - 1} gave cannot be loaded in the calling process: "
                f"{describe(error)}. executor='threads' keeps everything in one process."
            ) from error

    # ---- the end

    def begin_to_close(self, end: float) -> None:
        """Tell the helper to close its envs as soon as what is under way is done; until `end`, else it is killed."""
        if not self.is_alive:
            return
        try:
            if self._pending:
                self._hear(max(0.0, end - time.monotonic()))
        except TooLateError:
            self._give_up("did not answer in time as the runner closed")
            return
        except Exception as fault:
            if not self.is_alive:
                raise fault from None
        self.submit("close")

    def end(self, end: float) -> None:
        """Wait for the helper to close its envs and to end; raise what went wrong."""
        try:
            if self._pending:
                self._hear(max(0.0, end - time.monotonic()))
        except TooLateError:
            self._give_up("did not close in time")
        finally:
            for connection in self._sockets:
                connection.close()
            try:
                self._process.wait(_EXIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        """Kill the process, whatever it is doing."""
        if self.is_alive:
            self._ended_by_us("Ctrl-C broke off the closing of the runner")

    def _give_up(self, why: str) -> None:
        pid, env = self._process.pid, self._words[ControlWords.ENV]
        self._ended_by_us(f"env {env} {why}")
        warnings.warn(f"Env {env} {why}; its process {pid} was killed.", RuntimeWarning, stacklevel=2)

    def _ended_by_us(self, why: str) -> RolloutError:
        """Kill the process, and return what is to be said: no env is to blame for that."""
        self._process.kill()
        self._reap()
        self._death_error = RolloutError(
            f"RunnerKit ended process {self._process.pid} of {self._envs.replace('E', 'e', 1)}: {why}. "
            "Build a new runner to go on."
        )
        return self._death_error

    def _reap(self) -> RolloutError:
        """Take note of the death of the process, and return what is to be said of it."""
        self._pending, self._is_talking = "", False
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:  # it has closed its sockets, and will not be of use again
            self._process.kill()
            code = self._process.wait()
        if code == -signal.SIGTERM:  # of the whole group, perhaps, as `timeout` and SLURM send it: then ours comes now
            time.sleep(_TERM_OF_GROUP_S)
        self._death_error = self.where.death(self._process.pid, cause_of_death(code), self._advice)
        return self._death_error
