"""Calls of single envs, as a helper process makes them: one after the other, as the caller gave them ahead."""

from __future__ import annotations

from typing import Any

from runnerkit._core.faults import describe
from runnerkit._core.spaces import Rows
from runnerkit.errors import RunnerKitError
from runnerkit.executors.processes.handover import CallRing, ControlWords, Mail
from runnerkit.executors.processes.share import HelperShare
from runnerkit.executors.processes.shared import SharedBlock
from runnerkit.executors.processes.transport import dumps, loads_in_helper, pack
from runnerkit.records import EpisodeStart

__all__ = ["Singles"]


class Singles:
    """Makes the calls that a `CallRing` has."""

    def __init__(self, share: HelperShare, words: memoryview[int], mail: Mail, n_envs: int) -> None:
        self._share, self._words, self._mail = share, words, mail
        self._ring = CallRing(words, n_envs)
        self._lists = {i: [i] for i in share.env_indices}

    def make(self, block: SharedBlock) -> bytes | None:
        """Make the call whose turn it is, and write what came of it; return what is to be sent with it."""
        number = self._words[ControlWords.DONE]
        kind, i, at, row, episode_index, seed = self._ring.get(number)
        mailed = self._mail.receive()[0] if kind == CallRing.BY_MAIL else b""
        if number < self._words[ControlWords.CALLED_OFF]:
            self._ring.answer(number, 0)
            return None
        ended, fault = False, None
        try:
            method, args = loads_in_helper(mailed) if mailed else ("", ())
            if method == "step" or kind == CallRing.STEP:
                ended = self._step(i, at, row, *(args or (_action(block, at, i),)))
            else:
                start = args or (episode_index, EpisodeStart(None if seed < 0 else seed))
                self._share.reset(row, {i: start})
        except BaseException as raised:
            fault = raised
        objects = [] if fault is not None else _objects(block, row, i)
        has_mail = fault is not None or bool(objects) or self._share.has_infos_to_tell
        self._ring.answer(number, CallRing.ENDED * ended + CallRing.HAS_MAIL * has_mail)
        return self._mail_of(fault, row, objects) if has_mail else None

    def _step(self, i: int, at: int, row: int, actions: Rows) -> bool:
        self._words[ControlWords.ENV], self._words[ControlWords.AT] = i, at
        return bool(self._share.step(at, row, actions, self._lists[i], False))

    def _mail_of(self, fault: BaseException | None, row: int, objects: list[object]) -> bytes:
        log = self._share.rest_of_log() if self._share.has_infos_to_tell else None
        try:
            return dumps((None if fault is None else pack(fault), row, objects, log))
        except Exception as error:
            unsent = RunnerKitError(
                f"What the envs gave cannot be sent to the calling process: {describe(error)}. "
                "executor='threads' keeps them in one process."
            )
            return dumps((pack(unsent), row, [], None))


def _action(block: SharedBlock, at: int, i: int) -> Rows:
    """Return a copy of the action of an env, as the only one of a batch: the env may write into it."""
    return block.layout.env_action.rows([column[at, i : i + 1].copy() for column in block.env_actions], 1)


def _objects(block: SharedBlock, row: int, i: int) -> list[object]:
    """Return the objects in an observation, and keep them no longer."""
    found: list[Any] = []
    for column in block.raw:
        if column.dtype == object:
            found.append(column[row, i])
            column[row, i] = None
    return found
