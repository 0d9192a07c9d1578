"""A helper process as the caller sees it: it is started, asked, waited for, ended, and mourned."""

from __future__ import annotations

import contextlib
import math
import os
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
from numpy.typing import NDArray

from runnerkit._core.faults import cause_of_death, describe
from runnerkit.errors import EnvError, EnvTimeoutError, RolloutError, RunnerKitError
from runnerkit.executors.calls import Doing, Phase, limits_of, slice_of, timed_out
from runnerkit.executors.processes import boot
from runnerkit.executors.processes.handover import ControlWords, Mail, PeerGoneError, TurnLock
from runnerkit.executors.processes.helper import NO_REWARD_YET, BlockTicket
from runnerkit.executors.processes.shared import Region, SharedBlock, standard_streams_taken
from runnerkit.executors.processes.surroundings import environment
from runnerkit.executors.processes.transport import dumps_for_helper, unpack
from runnerkit.executors.waiting import Patience, TooLateError
from runnerkit.records import RunOptions

__all__ = ["WorkerHandle"]

_REMAKE_S = 30.0  # how long an env may take to close before it is made anew
_EXIT_S: Final = 5.0  # how long an interpreter may take to end
_GO: Final = "go"  # a step of which all is in shared memory; all other calls have the names of methods
_REATTACH: Final = "reattach"
_PREPARING: Final = ("attach", "detach", "activate", _REATTACH)  # begun without waiting for the answer
# what a step reads and writes: to look them up in their class costs a tenth of a microsecond each
_COMMAND, _AT, _ROW, _STATUS = ControlWords.COMMAND, ControlWords.AT, ControlWords.ROW, ControlWords.STATUS
_STEP, _RESTARTING_STEP, _FAULT = ControlWords.STEP, ControlWords.RESTARTING_STEP, ControlWords.FAULT
_TERM_OF_GROUP_S: Final = 0.05

_DOING: Final = {
    Phase.MAKE: "was being made",
    Phase.RESET: "was in reset",
    Phase.STEP: "was in step",
    Phase.RENDER: "was in render",
    Phase.CALL: "was in a call of a method or attribute",
    Phase.CLOSE: "was in close",
    Phase.RECALL: "was brought back to where it had been",
}


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
        self._n_envs = n_envs
        self._first_ended = ControlWords.FIRST_ARRAY + 2 * n_envs
        self._active: Sequence[int] = range(low, high)
        self._rewards: NDArray[np.int64] | None = None
        """The rewards of the block, as bits: they tell how far a step got."""
        self._is_open = False
        self.died_idle: bool = False
        """Whether the process died while no env was at work, so that none is to blame."""
        self._pending = ""
        """The call that was not answered yet."""
        self._is_talking = False
        """Whether a message is half sent or half received."""
        self._death_error: RolloutError | None = None
        self._patience = patience
        self._limits = _limits(options)
        self._advice = "" if options.restarts else ". Build a new runner to go on"
        self._slice = slice_of(self._limits)
        n_words = ControlWords.count(n_envs)
        region = Region(n_words * 8)
        self._words: memoryview[int] = region.memory().view(np.int64).data
        for k in range(ControlWords.FIRST_ARRAY, ControlWords.FIRST_ARRAY + 2 * n_envs):
            self._words[k] = -1  # no episode yet
        self._words[ControlWords.ENV] = low
        with standard_streams_taken(), contextlib.ExitStack() as undo:
            mail, other_mail = map(undo.enter_context, socket.socketpair())
            bell, other_bell = map(undo.enter_context, socket.socketpair())
            fds = [other_mail.fileno(), other_bell.fileno(), region.fd]
            self._process = undo.enter_context(_start(fds, n_envs, low, high, options.seed))
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
        earlier = self._death_error
        if isinstance(earlier, EnvError):
            what = f"has no process any more: its worker process ended earlier, with this error: {earlier}"
            raise EnvError(what, env_index=earlier.env_index) from earlier
        if earlier is not None:
            raise RolloutError(f"{self._envs} cannot be stepped any more. {earlier}") from earlier

    def let_spin(self, may: bool) -> None:
        """Say whether both sides may wait without sleeping."""
        self._words[ControlWords.SPIN] = may

    # ---- calls

    def go(self, at: int, row: int, restart: bool) -> None:
        """Begin a step of which all is in shared memory."""
        if self._pending:
            try:
                self.settle()
            except EnvError:
                if self.is_alive:
                    raise
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
        try:
            pickled = dumps_for_helper((name, args))
        except Exception as error:
            raise RunnerKitError(
                f"What envs {self.low} to {self.high - 1} are to get cannot be sent to their process: "
                f"{describe(error)}. executor='threads' keeps everything in one process."
            ) from error
        self._words[ControlWords.COMMAND] = ControlWords.CALL
        if name == "step":
            self._words[_AT] = args[0]  # type: ignore[call-overload]
        self._pending, self._is_talking = name, True
        self._lane.give()
        try:
            self._mail.send_pickled(pickled, fd)
        except PeerGoneError:
            raise self._reap() from None
        self._is_talking = False

    def answer(self) -> Any:
        """Wait for the end of the call that was begun, and return or raise what it did."""
        return self._hear()

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

    def attach(self, block: SharedBlock, region: Region) -> None:
        """Begin to write into a block in that memory."""
        self._rewards = block.all_rewards.view(np.int64)
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
        self._active = range(self.low, self.high)

    def knows(self, region: Region) -> bool:
        """Whether the helper has mapped that memory."""
        return region in self._regions

    def detach(self, region: Region, keep: bool) -> None:
        """Let go of the block; unless its memory is to be kept, so does the helper."""
        self._rewards = None
        number = None if keep else self._regions.pop(region, None)
        if number is not None and self.is_alive:
            self.submit("detach", number)

    def activate(self, env_indices: Sequence[int]) -> None:
        """Let the next steps be of these envs."""
        if list(env_indices) != list(self._active):
            self._active = env_indices
            try:
                self.submit("activate", list(env_indices))
            except EnvError:
                if self.is_alive:
                    raise  # else whoever waits for the next step is told of the death

    def _hear(self, seconds: float | None = None) -> Any:
        if self._death_error is not None:
            self._pending = ""  # nothing will come of a step that was begun although this was known
            raise self._death_error
        if self._is_talking:  # all that followed would be garbled
            raise self._ended_by_us("Ctrl-C, or an exception of a signal handler, broke off a message between the two")
        patience = self._patience
        try:
            if self._limits:
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
        except PeerGoneError:
            raise self._reap() from None
        except TooLateError:
            if seconds is not None:
                raise
            why = "it did not answer soon after the rollout was broken off (a step of an env hangs, or is slow)"
            raise self._ended_by_us(why) from None
        except EnvTimeoutError:
            raise
        except BaseException as fault:  # of a signal handler, as that of Ctrl-C
            patience.lose(fault)
            raise
        name, self._pending, self._is_talking = self._pending, "", False
        if pickled is not None:
            answer = self._loaded(pickled)
        if is_fault:
            if name == "attach":  # what has that number is not there
                self._regions = weakref.WeakKeyDictionary(
                    {region: number for region, number in self._regions.items() if number != self._n_attached}
                )
            raise unpack(answer)
        self._is_open = True
        return answer

    def _wait_within_limits(self, seconds: float | None) -> None:
        """Wait as `TurnLock.wait` does, and look now and then whether an env takes longer than it may."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            left = self._patience.left() if seconds is None else max(0.0, end - time.monotonic())
            try:
                return self._lane.wait(min(left, self._slice))
            except TooLateError:
                self._require_in_time()
                if left <= self._slice:
                    raise

    def _require_in_time(self) -> None:
        words = self._words
        phase, i, since = words[ControlWords.PHASE], words[ControlWords.ENV], words[ControlWords.SINCE]
        limit = self._limits.get(phase, math.inf)
        if not since or time.monotonic_ns() - since <= limit * 1e9:
            return
        self._process.kill()
        self._reap()
        outcome = f"its process ({self._process.pid}, {self._envs.replace('E', 'e', 1)}) was killed"
        episode_index, seed = self._episode_of(i)
        self._death_error = timed_out(phase, limit, outcome, env_index=i, episode_index=episode_index, seed=seed)
        raise self._death_error

    def call_under_way(self) -> Doing | None:
        """Return which call of an env is under way, for a thread that watches the caller."""
        words = self._words
        phase, calls = words[ControlWords.PHASE], words[ControlWords.GO]
        if phase == Phase.IDLE or phase == Phase.CLOSE or not self.is_alive:
            return None
        i = self._stepped_env() if phase == Phase.STEP else words[ControlWords.ENV]
        return Doing(phase, i, self._episode_of(i)[0], (calls, phase, i))

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
        self._death_error = self._error(cause_of_death(code))
        return self._death_error

    def _error(self, how: str) -> EnvError:
        words = self._words
        phase, i = words[ControlWords.PHASE], words[ControlWords.ENV]
        if phase == Phase.STEP:
            i = self._stepped_env()
        elif phase == Phase.IDLE and self._is_open and self._active:
            i, self.died_idle = self._active[0], True
        episode_index, seed = self._episode_of(i)
        process = f"its process ({self._process.pid}, envs {self.low} to {self.high - 1}) {how}"
        if phase == Phase.IDLE and not self._is_open:
            what = f"could not be made: {process} as it started; what it wrote to stderr says why"
        else:
            what = f"{_DOING.get(phase, 'was waiting')} when {process}{self._advice}"
        return EnvError(
            what,
            env_index=i,
            episode_index=episode_index,
            seed=seed,
            after_step=phase in (Phase.RESET, Phase.RENDER, Phase.CALL),
        )

    def _stepped_env(self) -> int:
        """Return which env is in its step: the first one without a reward."""
        if self._rewards is None:
            return self._words[ControlWords.ENV]
        row = self._rewards[self._words[ControlWords.AT]]
        return next((k for k in self._active if row[k] == NO_REWARD_YET), self.high - 1)

    def _episode_of(self, i: int) -> tuple[int | None, int | None]:
        """Return the index and the seed of the episode that an env is in, where they are known."""
        first = ControlWords.FIRST_ARRAY + i
        episode_index, seed = self._words[first], self._words[first + self._n_envs]
        return None if episode_index < 0 else episode_index, None if seed < 0 else seed


def _limits(options: RunOptions) -> dict[int, float]:
    """Return how long a call may take, by phase."""
    limits = limits_of(options)
    if options.restarts:
        limits[Phase.CLOSE] = _REMAKE_S
    return limits


def _start(fds: Sequence[int], n_envs: int, low: int, high: int, seed: int) -> subprocess.Popen[bytes]:
    """Start the interpreter that runs this one, with the same flags; its arguments tell what it is for."""
    numbers = [*fds, os.getpid(), n_envs, low, high]
    command = [sys.executable, *_flags(), "-P", boot.__file__, *map(str, numbers)]
    return subprocess.Popen(
        [*command, f"runnerkit: envs {low} to {high - 1}"],
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        stdout=_output(1),
        stderr=_output(2),
        env=environment(seed),
    )


def _output(fd: int) -> int | None:
    """Return where a helper's output goes: where this process's does, but nowhere if that is closed."""
    return None if os.get_inheritable(fd) else subprocess.DEVNULL


def _flags() -> list[str]:
    flags = [f"-W{option}" for option in sys.warnoptions]
    flags += [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    flags += ["-O"] * sys.flags.optimize
    given = {"-B": sys.flags.dont_write_bytecode, "-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
    return flags + [flag for flag, is_given in given.items() if is_given]
