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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from runnerkit._core.faults import describe
from runnerkit._core.spaces import Column, Rows
from runnerkit._core.types import AnyEnv
from runnerkit.errors import RunnerKitError
from runnerkit.executors.calls import Phase, limits_of
from runnerkit.executors.processes.handover import ControlWords, Mail, PeerGoneError, TurnLock
from runnerkit.executors.processes.share import HelperShare
from runnerkit.executors.processes.shared import Arena, Region, SharedBlock
from runnerkit.executors.processes.singles import Singles
from runnerkit.executors.processes.standins import be_helper
from runnerkit.executors.processes.surroundings import Surroundings, load_factory
from runnerkit.executors.processes.transport import dumps, loads_in_helper, pack
from runnerkit.executors.recall import Recollection
from runnerkit.executors.step_faults import StepFaultsError
from runnerkit.history.layout import BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, EpisodeStart, RunOptions

__all__ = ["BlockTicket", "Helper", "main"]

_GRACE_S = 5.0  # for a step that is under way when the caller is gone


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


_Mailed: TypeAlias = "tuple[list[int], list[list[object]], EpisodeLog | None]"
"""Whose episode ended, what objects were observed, and what was logged that no journal shows."""


class Helper:
    """Serves the calls of the other side, one at a time."""

    def __init__(self, share: HelperShare, words: memoryview[int], lane: TurnLock, mail: Mail, n_envs: int) -> None:
        self._share, self._words, self._lane, self._mail = share, words, lane, mail
        self._first_ended = ControlWords.FIRST_ARRAY + 2 * n_envs
        self._singles = Singles(share, words, mail, n_envs)
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
            elif command == ControlWords.SINGLE:
                self._single()
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

    def _single(self) -> None:
        """Make the next call of a single env."""
        pickled = self._singles.make(self._attached())
        self._give(ControlWords.FINE)
        if pickled is not None:
            self._mail.send_pickled(pickled)

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
