"""A helper process: it owns a share of the envs and does with them what the caller says.

It imports nothing of the caller's program: that needs no `if __name__ == "__main__":`. What it is to make comes
pickled by value.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from typing_extensions import override

from runnerkit._core.faults import describe
from runnerkit._core.spaces import Column, Rows
from runnerkit._core.types import AnyEnv
from runnerkit.errors import RunnerKitError
from runnerkit.executors.calls import Phase, limits_of
from runnerkit.executors.clock import SupportsStep
from runnerkit.executors.env_calls import EnvCall
from runnerkit.executors.processes.handover import ControlWords, Mail, PeerGoneError, TurnLock
from runnerkit.executors.processes.shared import Arena, Journal, Region, SharedBlock
from runnerkit.executors.processes.standins import be_helper
from runnerkit.executors.processes.surroundings import Surroundings, load_factory
from runnerkit.executors.processes.transport import dumps, loads_in_helper, pack
from runnerkit.executors.recall import Recollection, recall
from runnerkit.executors.share import Share
from runnerkit.executors.step_faults import StepFaultsError
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, EpisodeStart, RunOptions

__all__ = ["NO_REWARD_YET", "BlockTicket", "Helper", "HelperShare", "main"]

_GRACE_S = 5.0  # for a step that is under way when the caller is gone


NO_REWARD_YET: Final = 0xFFF8_1234_5678_9ABC - 2**64
"""The bits of a NaN that no arithmetic makes: there is no reward yet."""


@dataclass(frozen=True, slots=True)
class BlockTicket:
    """What a helper needs to see a block, besides the file of its memory."""

    number: int
    """Under which the memory is to be known."""
    known: list[int]
    """What other memory is still in use; the rest may be forgotten."""
    layout: BlockLayout
    nbytes: int
    most: int
    window: bool
    shares: list[int]
    """How many envs each helper has."""
    mine: int
    """Which of these it is."""


class HelperShare(Share):
    """A share that says at any time which env it is busy with, and in which episode, for the case of its death.

    In a step it is the first one that has no reward yet: to say so by name would cost more than a percent.
    """

    def __init__(self, env_indices: Sequence[int], words: memoryview[int], n_envs: int) -> None:
        super().__init__(env_indices)
        self._words = words
        self._episodes = ControlWords.FIRST_ARRAY
        self._episode_seeds = ControlWords.FIRST_ARRAY + n_envs
        self._n_envs = n_envs
        self._no_reward_yet: memoryview[int] = np.full(n_envs, NO_REWARD_YET, np.int64).data
        self.journal: Journal | None = None
        self.is_timed: bool = False
        """Whether the other side is to see when each call began."""
        self._is_remaking = False

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        self._words[ControlWords.PHASE] = Phase.STEP
        first = at * self._n_envs + active[0]
        n = active[-1] + 1 - active[0]
        self._reward_bits[first : first + n] = self._no_reward_yet[:n]
        return super().step(at, row, actions, active, restart)

    @override
    def attach(self, block: Block | None, /) -> None:
        super().attach(block)
        if block is not None:
            self._reward_bits: memoryview[int] = block.rewards.reshape(-1).view(np.int64).data

    @override
    def render(self, env_indices: Sequence[int], /) -> list[object]:
        frames = []
        for i in env_indices:
            self._mark(Phase.RENDER, i)
            frames += super().render([i])
        return frames

    @override
    def _render_env(self, i: int) -> object:
        with self._timed():
            return super()._render_env(i)

    @override
    def call_envs(self, call: EnvCall, env_indices: Sequence[int], /) -> list[Any]:
        self._mark(Phase.CALL, env_indices[0])
        return super().call_envs(call, env_indices)

    def rest_of_log(self) -> EpisodeLog:
        """Return, and forget, what the journal does not show."""
        log = self.drain()
        if log is not self.journal:
            return log
        rest = EpisodeLog(self._layout)
        rest.infos, rest.reset_infos = self._told
        rest.oddities, log.oddities = log.oddities, {}
        rest.timings, log.timings = log.timings, []
        return rest

    @property
    def has_more_to_tell(self) -> bool:
        """Whether there is such a rest."""
        log = self._log
        return bool(log.infos or log.reset_infos or len(log) or self.oddities.found or self._measures)

    def _mark(self, phase: int, i: int) -> None:
        self._words[ControlWords.PHASE], self._words[ControlWords.ENV] = phase, i

    @override
    def _make(self, make_env: Callable[[int], AnyEnv], i: int) -> EnvFacts:
        self._mark(Phase.MAKE, i)
        with self._timed():
            return super()._make(make_env, i)

    @override
    def _stepper(self, i: int) -> SupportsStep:
        env = super()._stepper(i)
        return _TimedEnv(env, i, self._words) if self.is_timed else env

    @override
    def _reset_env(self, i: int, seed: int | None, options: dict[str, Any] | None) -> Any:
        with self._timed():
            return super()._reset_env(i, seed, options)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        self._words[ControlWords.SINCE] = time.monotonic_ns()
        try:
            yield
        finally:
            self._words[ControlWords.SINCE] = 0

    @override
    def _reset(self, i: int, row: int, episode_index: int, seed: int | None, options: Mapping[str, Any] | None) -> None:
        self._words[self._episodes + i] = episode_index
        self._words[self._episode_seeds + i] = seed if seed is not None and 0 <= seed < 2**63 else -1
        self._mark(Phase.RESET, i)
        super()._reset(i, row, episode_index, seed, options)

    @override
    def _close_env(self, i: int, env: AnyEnv) -> None:
        self._mark(Phase.CLOSE, i)
        with (
            self._timed() if self._is_remaking else contextlib.nullcontext()
        ):  # the end of a runner has a time of its own
            super()._close_env(i, env)

    @override
    def remake(self, env_indices: Sequence[int], /) -> list[EnvFacts]:
        self._is_remaking = True
        try:
            return super().remake(env_indices)
        finally:
            self._is_remaking = False

    def recall(self, layout: BlockLayout, i: int, known: Recollection) -> str:
        """Bring an env that was made anew to where the one before was; return where it differs, if it does."""
        part = self._with_envs(_RecallingShare([i], self._words, self._n_envs))
        part.tolerant, part._keep_infos, part.is_timed, part._clocks = False, False, self.is_timed, {}
        return recall(part, layout, i, known)

    @override
    def _new_log(self) -> EpisodeLog:
        if self.journal is None:
            return EpisodeLog(self._layout)
        self._told = self.journal.infos, self.journal.reset_infos
        self.journal.infos, self.journal.reset_infos = [], []
        return self.journal


class _RecallingShare(HelperShare):
    """Executes an episode once more, and says so."""

    workers: int = 1

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        self._mark(Phase.RECALL, active[0])
        return Share.step(self, at, row, actions, active, restart)


class _TimedEnv:
    """Notes when each step of an env begins."""

    def __init__(self, env: SupportsStep, i: int, words: memoryview[int]) -> None:
        self._env, self._i, self._words = env, i, words

    def step(self, action: Any, /) -> Any:
        words = self._words
        words[ControlWords.ENV], words[ControlWords.SINCE] = self._i, time.monotonic_ns()
        try:
            return self._env.step(action)
        finally:
            words[ControlWords.SINCE] = 0


_Mailed: TypeAlias = "tuple[list[int], list[list[object]], EpisodeLog | None]"
"""Whose episode ended, what objects were observed, and what was logged that no journal shows."""


class Helper:
    """Serves the calls of the other side, one at a time."""

    def __init__(self, share: HelperShare, words: memoryview[int], lane: TurnLock, mail: Mail, n_envs: int) -> None:
        self._share, self._words, self._lane, self._mail = share, words, lane, mail
        self._first_ended = ControlWords.FIRST_ARRAY + 2 * n_envs
        self._tells_more = False
        self._block: SharedBlock | None = None
        self._blocks: dict[int, SharedBlock] = {}
        self._mine = 0
        self._actions: Column | None = None  # those of the block, where the rows of the only column are the actions
        self._calls: dict[str, Callable[..., object]] = {
            "open": self._open,
            "prepare": self._prepare,
            "remake": share.remake,
            "recall": self._recall,
            "attach": self._attach,
            "detach": self._detach,
            "activate": self._activate,
            "reset": self._reset,
            "step": self._step_by_mail,
            "drain": share.rest_of_log,
            "render": share.render,
            "call_envs": share.call_envs,
            "close": share.close,
        }

    def serve(self) -> None:
        """Work until told to close; raise PeerGoneError when the caller is gone."""
        name = ""
        while name != "close":
            self._lane.wait()
            command = self._words[ControlWords.COMMAND]
            if command <= ControlWords.RESTARTING_STEP:
                self._step(command == ControlWords.RESTARTING_STEP)
            elif command == ControlWords.CALL:
                name = self._call()
            else:
                self._reattach(self._words[ControlWords.AT])
                self._give(ControlWords.FINE)

    def close(self) -> None:
        """Close what is open, as nobody else will."""
        with contextlib.suppress(Exception):  # there is nobody left to tell
            self._share.close(watched=False)  # the process that waits for this one watches

    def _call(self) -> str:
        pickled, fd = self._mail.receive()
        name = ""
        try:
            name, args = loads_in_helper(pickled)
            self._answer(ControlWords.FINE, self._calls[name](*args, *([fd] if fd >= 0 else [])))
        except PeerGoneError:
            raise
        except BaseException as fault:
            self._answer(ControlWords.FAULT, pack(fault))
        return name

    def _answer(self, status: int, answer: object) -> None:
        try:
            pickled = dumps(answer)
        except Exception as error:
            raise RunnerKitError(
                f"What the envs gave cannot be sent to the calling process: {describe(error)}. "
                "executor='threads' keeps them in one process."
            ) from error
        self._give(status)
        self._mail.send_pickled(pickled)

    def _give(self, status: int) -> None:
        words = self._words
        words[ControlWords.STATUS] = status
        if (self._tells_more or self._share.oddities.found) and self._block is not None:
            self._tells_more = True
            words[ControlWords.HAS_MAIL] = self._share.has_more_to_tell
        words[ControlWords.PHASE] = (
            Phase.IDLE
        )  # before it is the caller's turn: a death in its next step is not in this one
        self._lane.give()

    # ---- steps

    def _step(self, restart: bool) -> None:
        """Make a step of which all is in shared memory."""
        words = self._words
        at = words[ControlWords.AT]
        actions: Rows
        if self._actions is not None:
            actions = self._actions[at, self._where].copy()  # as an env may write into it
        else:
            block = self._attached()
            columns = [column[at, self._where].copy() for column in block.env_actions]
            actions = block.layout.env_action.rows(columns, len(self._active))
        try:
            ended = self._share.step(at, words[ControlWords.ROW], actions, self._active, restart)
        except BaseException as fault:
            self._answer(ControlWords.FAULT, pack(fault))
            return
        for k, i in enumerate(ended, self._first_ended):
            words[k] = i
        self._give(len(ended))

    def _step_by_mail(self, at: int, row: int, actions: Rows, active: list[int], restart: bool) -> _Mailed:
        """Make a step with objects in its actions or observations."""
        if active != self._active:  # else the same list: the share knows it by its identity
            self._activate(active)
        try:
            ended = self._share.step(at, row, actions, self._active, restart)
        except StepFaultsError as faults:
            faults.besides = row, self._active, self._objects(row, self._active), self._share.rest_of_log()
            raise
        return ended, self._objects(row, self._active), self._share.rest_of_log()

    def _reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]]) -> _Mailed:
        envs = list(starts)
        try:
            self._share.reset(row, starts)
        except StepFaultsError as faults:
            faults.besides = row, envs, self._objects(row, envs), self._rest()
            raise
        return [], self._objects(row, envs), self._rest()

    def _rest(self) -> EpisodeLog | None:
        """Return the infos of resets, if this process may end before it is asked for them."""
        return self._share.rest_of_log() if self._share.tolerant else None

    def _recall(self, i: int, known: Recollection) -> str:
        return self._share.recall(self._attached().layout, i, known)

    def _objects(self, row: int, env_indices: list[int]) -> list[list[object]]:
        """Return the objects in a row of observations, and keep them no longer."""
        found = []
        for column in self._attached().raw:
            if column.dtype == object:
                found.append([column[row, i] for i in env_indices])
                column[row, env_indices] = None
        return found

    def _attached(self) -> SharedBlock:
        assert self._block is not None
        return self._block

    # ---- before and after

    def _open(self, factory: bytes, options: RunOptions, surroundings: Surroundings) -> list[EnvFacts]:
        facts = self._share.open(self._loaded(factory, options, surroundings), options)
        gc.freeze()  # what is here now is here to stay
        return facts

    def _prepare(self, factory: bytes, options: RunOptions, surroundings: Surroundings) -> None:
        """Be ready to make envs, in the place of a process that died."""
        self._share.prepare(self._loaded(factory, options, surroundings), options)

    def _loaded(self, factory: bytes, options: RunOptions, surroundings: Surroundings) -> Callable[[int], AnyEnv]:
        self._tells_more = options.keep_infos or options.timings
        self._share.is_timed = bool(limits_of(options))
        return load_factory(factory, options.seed, surroundings, self._share.env_indices[0])

    def _attach(self, ticket: BlockTicket, fd: int) -> None:
        for number in self._blocks.keys() - ticket.known:
            del self._blocks[number]
        region = Region(ticket.nbytes, fd)
        region.close_file()
        most = ticket.most
        block = SharedBlock(ticket.layout, None, most, ticket.window, Arena(region.memory()), ticket.shares)
        self._mine = ticket.mine
        self._blocks[ticket.number] = block
        self._reattach(ticket.number)

    def _reattach(self, number: int) -> None:
        self._let_go()
        self._block = block = self._blocks[number]
        action = block.layout.env_action
        is_plain = action.is_array and not action.leaves[0].is_scalar_box
        self._actions = block.env_actions[0] if is_plain else None
        self._share.journal = block.journals[self._mine] if block.journals else None
        self._share.attach(block)
        self._activate(self._share.env_indices)

    def _let_go(self) -> None:
        if self._block is not None:
            self._share.attach(None)
            self._block = self._actions = self._share.journal = None

    def _detach(self, number: int) -> None:
        """Let go of memory that will not be used again."""
        self._let_go()
        del self._blocks[number]

    def _activate(self, env_indices: list[int]) -> None:
        self._active = env_indices
        first, last = (env_indices[0], env_indices[-1]) if env_indices else (0, -1)
        is_range = last - first + 1 == len(env_indices)
        self._where: slice | list[int] = slice(first, last + 1) if is_range else env_indices


def main(mail_fd: int, bell_fd: int, words_fd: int, caller: int, n_envs: int, low: int, high: int) -> None:
    """Be the helper for envs `low` to `high - 1`."""
    be_helper()
    _die_with(caller)
    _name_process(f"rk-envs-{low}-{high - 1}")
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C goes to the whole group; it is for the caller to act on
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see _interrupts_blocked
    faulthandler.enable()
    n_words = ControlWords.count(n_envs)
    region = Region(n_words * 8, words_fd)
    region.close_file()
    words: memoryview[int] = region.memory().view(np.int64).data
    share = HelperShare(range(low, high), words, n_envs)
    with socket.socket(fileno=bell_fd) as bell, socket.socket(fileno=mail_fd) as mail:

        def is_alive() -> bool:
            return os.getppid() == caller

        lane = TurnLock(words, bell, is_caller=False, is_alive=is_alive)
        helper = Helper(share, words, lane, Mail(mail, is_alive), n_envs)
        try:
            helper.serve()
        except PeerGoneError:
            helper.close()


def _die_with(caller: int) -> None:
    """End this process some seconds after the caller's, even if an env hangs."""

    def watch() -> None:
        while os.getppid() == caller:
            time.sleep(1.0)
        time.sleep(_GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, name="runnerkit-watch", daemon=True).start()


def _name_process(name: str) -> None:
    """Set what `ps` and `top` show (Linux)."""
    if sys.platform == "linux":
        set_name = 15
        ctypes.CDLL(None).prctl(set_name, name.encode(), 0, 0, 0)
