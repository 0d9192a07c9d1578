"""Sharing envs out among workers: the common part of executors whose envs do not all live in the calling thread."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeAlias

from typing_extensions import TypeVar

from runnerkit._core.spaces import Rows
from runnerkit.errors import EnvError
from runnerkit.executors.env_calls import EnvCall
from runnerkit.executors.forks import require_process
from runnerkit.executors.share import Share
from runnerkit.executors.step_faults import StepFaultsError, first_fault
from runnerkit.executors.waiting import Patience
from runnerkit.records import EpisodeStart

__all__ = ["Call", "SharingExecutor", "Worker"]

Call: TypeAlias = "tuple[Any, ...] | None"
"""The arguments of a call for one share; None leaves that share out."""


class Worker(Protocol):
    """The place of a share of the envs: a thread, a process, an actor elsewhere; it does one call at a time.

    For example::

        worker.submit("step", at, row, actions, active, restart)
        ended = worker.answer()
    """

    @property
    def env_indices(self) -> Sequence[int]:
        """The envs that live there."""
        ...

    def submit(self, method: str, /, *args: Any) -> None:
        """Begin a call of a method of the share."""
        ...

    def answer(self) -> Any:
        """Wait for the call to end, and return or raise what it did."""
        ...


WorkerT = TypeVar("WorkerT", bound=Worker)


class SharingExecutor(Generic[WorkerT]):
    """Steps envs of several workers at once: the calling thread has a share of its own, each helper another one.

    A subclass adds `open`, `attach`, `drain` and `close`. It overrides `_received`, too, if its helpers do not
    write into the memory of the block.
    """

    def __init__(self, own: Share) -> None:
        self._own: Share = own
        self._helpers: list[WorkerT] = []
        self._pid: int = os.getpid()
        self._patience: Patience = Patience()
        self._tolerant: bool = False
        """Whether the step of all other envs counts where one has failed."""
        self._split_for: Sequence[int] = ()
        self._parts: list[tuple[slice, list[int]]] = []
        """For each share, the caller's first: which rows of a batch are its own, and for which envs."""

    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], /) -> None:
        """Begin the given episodes."""
        parts = [{i: starts[i] for i in places if i in starts} for places in self._places()]
        answers = self._all("reset", [(row, part) if part else None for part in parts])
        for part, answer in zip(parts[1:], answers[1:], strict=True):
            if part:
                self._received(answer, row, list(part))

    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> Sequence[int]:
        """Step the active envs and return those whose episode ended."""
        if active is not self._split_for:
            self._split(active)
            self._split_for = active
        calls = [(at, row, actions[where], mine, restart) if mine else None for where, mine in self._parts]
        try:
            own, *answers = self._all("step", calls)
        except EnvError as fault:
            _add_action(fault, actions, active)
            raise
        except StepFaultsError as several:
            for one in several.faults:
                _add_action(one, actions, active)
            raise
        ended: list[int] = own or []
        for (_, mine), answer in zip(self._parts[1:], answers, strict=True):
            if mine:
                ended += self._received(answer, row, mine)
        return ended

    def render(self, env_indices: Sequence[int], /) -> list[object]:
        """Return what each env renders, drawn where the env lives, one after the other."""
        self._require_own_process()
        frames = self._own.render([i for i in env_indices if i in self._own.env_indices])
        for helper in self._helpers:
            mine = [i for i in env_indices if i in helper.env_indices]
            if mine:
                helper.submit("render", mine)
                frames += helper.answer()
        return frames

    def call_envs(self, call: EnvCall, env_indices: Sequence[int], /) -> list[Any]:
        """Return what each of these envs answers, asked where the env lives, one worker after the other."""
        self._require_own_process()
        found: dict[int, Any] = {}
        faults: list[EnvError] = []
        places: list[Share | WorkerT] = [self._own, *self._helpers]
        for place in places:
            mine = [i for i in env_indices if i in place.env_indices]
            try:
                answers = self._answers(place, call, mine) if mine else ()
            except EnvError as fault:  # the others are to be asked, too
                faults.append(fault)
            else:
                found.update(zip(mine, answers, strict=True))
        if faults:
            raise first_fault(faults)
        return [found[i] for i in env_indices]

    def _answers(self, place: Share | WorkerT, call: EnvCall, env_indices: Sequence[int]) -> Sequence[Any]:
        if isinstance(place, Share):
            return place.call_envs(call, env_indices)
        place.submit("call_envs", call, env_indices)
        answers: Sequence[Any] = place.answer()
        return answers

    @property
    def shares(self) -> Sequence[Sequence[int]]:
        """The envs of each worker that has some; empty if one has them all."""
        places = tuple(tuple(place) for place in self._places() if place)
        return places if len(places) > 1 else ()

    # ---- inside

    def _received(self, answer: Any, row: int, env_indices: Sequence[int], /) -> Sequence[int]:
        """Take what a helper answered to `reset` or `step` of these envs; return whose episode ended."""
        del row, env_indices
        ended: Sequence[int] = answer or ()
        return ended

    def _places(self) -> list[Sequence[int]]:
        """Return the envs of each share, the caller's first."""
        return [self._own.env_indices, *(helper.env_indices for helper in self._helpers)]

    def _split(self, active: Sequence[int]) -> None:
        """Find which rows of a batch belong to which share; both are in ascending order."""
        self._parts, begin = [], 0
        for place in self._places():
            mine = [i for i in active if i in place]
            self._parts.append((slice(begin, begin + len(mine)), mine))
            begin += len(mine)

    def _all(self, method: str, calls: Sequence[Call]) -> list[Any]:
        """Call a method of each share that has arguments, all at once; wait for all, then raise the first fault.

        There is an answer for each share; that of one without arguments is None.
        """
        require_process(self._pid)
        answers: list[Any] = [None] * len(calls)
        faults: list[BaseException] = []
        asked = self._ask(method, calls, faults)
        try:
            if calls[0] is not None:
                answers[0] = getattr(self._own, method)(*calls[0])
        except BaseException as fault:  # the helpers must be waited for, Ctrl-C or not
            faults.append(fault)
            self._failed(fault)
        self._hear(asked, answers, faults)
        if faults:
            raise self._raised(faults, self._ended(answers, calls) if self._tolerant else ())
        return answers

    def _ask(self, method: str, calls: Sequence[Call], faults: list[BaseException]) -> Sequence[tuple[int, WorkerT]]:
        """Let the helpers begin their calls; return those that do, with their places."""
        asked: list[tuple[int, WorkerT]] = []
        for k, helper in enumerate(self._helpers, start=1):
            call = calls[k]
            if call is None:
                continue
            try:
                helper.submit(method, *call)
                asked.append((k, helper))
            except BaseException as fault:
                faults.append(fault)
        return asked

    def _hear(self, asked: Sequence[tuple[int, WorkerT]], answers: list[Any], faults: list[BaseException]) -> None:
        """Wait for what the helpers answer."""
        for k, helper in reversed(asked):  # whoever began last ends last, so that most answers are there by then
            try:
                answers[k] = helper.answer()
            except BaseException as fault:
                faults.append(fault)
                self._failed(fault)

    def _ended(self, answers: Sequence[Any], calls: Sequence[Call], /) -> list[int]:
        """Return whose episode ended, as those answered who did not fail; take what else they answered."""
        del calls
        return [i for answer in answers for i in answer or ()]

    def _raised(self, faults: Sequence[BaseException], ended: Sequence[int], /) -> BaseException:
        """Return what to raise for what shares raised while others answered."""
        united = StepFaultsError.united(faults, ended) if self._tolerant else None
        return united or first_fault(faults)

    def _failed(self, fault: BaseException, /) -> None:
        """Wait for the other shares, since one failed, but not for ever: one of their envs may hang.

        Where an env that fails is made anew, nothing is broken off, and nobody has to hurry.
        """
        if not (self._tolerant and isinstance(fault, (EnvError, StepFaultsError))):
            self._patience.hurry(fault)

    def _require_own_process(self) -> None:
        """Raise RunnerKitError in a fork of the process that the helpers work for."""
        require_process(self._pid)

    def _is_forked(self) -> bool:
        return os.getpid() != self._pid


def _add_action(fault: EnvError, actions: Rows, active: Sequence[int]) -> None:
    """Add the action to what is said of an env that hung, or died: it cannot."""
    if not fault.after_step and fault.action is None and fault.env_index in active:
        fault.action = copy.deepcopy(actions[list(active).index(fault.env_index)])
