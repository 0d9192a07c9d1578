"""Each env at its own pace: calls of single envs that are begun, and heard of as they end.

A lockstep executor steps all active envs and waits for the slowest. Here nobody waits::

    paces = executor.paces()
    paces.begin_step(i, at, row, actions)
    ...
    for outcome in paces.outcomes(least=4):
        outcome.env_index, outcome.ended
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from runnerkit._core.spaces import Rows
from runnerkit.errors import EnvError
from runnerkit.executors.forks import is_fork, require_process
from runnerkit.executors.rounds import outcome_of
from runnerkit.executors.share import Share
from runnerkit.executors.step_faults import StepFaultsError
from runnerkit.executors.waiting import Patience, SpinQueue, TooLateError, has_gil
from runnerkit.executors.worker_thread import WorkerThread
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EpisodeStart

__all__ = ["Outcome", "Paces", "SerialPaces", "SupportsPaces", "ThreadPaces", "has_fault"]


class Outcome(NamedTuple):
    """What came of the call of one env."""

    env_index: int
    ended: bool
    """Whether it was a step that ended the episode."""
    fault: BaseException | None
    """What it raised; a StepFaultsError, which names lost envs, too, if envs that fail are made anew."""
    log: EpisodeLog | None
    """The infos, and what the env did against its contract; None if there is nothing."""


def has_fault(outcomes: Sequence[Outcome]) -> bool:
    """Whether one of these calls raised."""
    return any(outcome.fault is not None for outcome in outcomes)


class Paces(Protocol):
    """Makes calls of single envs. An env has one call at a time; no env begins an episode within a step."""

    @property
    def pending(self) -> int:
        """How many calls have begun, and were not heard of."""
        ...

    def begin_step(self, env_index: int, at: int, row: int, actions: Rows, /) -> None:
        """Begin a step of one env, with the only row of `actions`; rows are those of `Executor.step`."""
        ...

    def begin_reset(self, env_index: int, row: int, episode_index: int, start: EpisodeStart, /) -> None:
        """Begin an episode in one env."""
        ...

    def outcomes(self, least: int, /) -> list[Outcome]:
        """Return what has come of calls: of `least` calls, unless less are pending or one has a fault.

        A fault is not to wait for the other calls, which may hang. Nothing comes of calls of envs that are lost.
        """
        ...

    def hurry(self, fault: BaseException, /) -> None:
        """Do not wait for ever any more, as this fault is on its way, and an env may hang."""
        ...

    def rest(self) -> None:
        """Let go of the workers, for calls of another kind; nothing is pending."""
        ...


@runtime_checkable
class SupportsPaces(Protocol):
    """An executor whose envs can go at their own pace, for `rollout(min_batch=...)`."""

    def paces(self) -> Paces:
        """Return what makes calls of single envs, in the block that is attached."""
        ...


class SerialPaces:
    """The calling thread makes the calls, in the order in which they were begun, as soon as somebody waits."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._todo: deque[tuple[int, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._found: list[Outcome] = []  # what was not heard of yet: a later call may have failed, or Ctrl-C have come

    @property
    def pending(self) -> int:
        """How many calls have begun, and were not heard of."""
        return len(self._todo) + len(self._found)

    def begin_step(self, env_index: int, at: int, row: int, actions: Rows, /) -> None:
        """Note a step."""
        self._todo.append((env_index, self._share.step, (at, row, actions, [env_index], False)))

    def begin_reset(self, env_index: int, row: int, episode_index: int, start: EpisodeStart, /) -> None:
        """Note a reset."""
        self._todo.append((env_index, self._share.reset, (row, {env_index: (episode_index, start)})))

    def outcomes(self, least: int, /) -> list[Outcome]:
        """Make so many calls."""
        while self._todo and len(self._found) < least:
            i, function, args = self._todo.popleft()
            answer: object = None
            fault: StepFaultsError | None = None
            try:
                answer = function(*args)  # what is raised comes through at once: nothing else is under way
            except StepFaultsError as error:  # unless the env is to be made anew
                fault = error
            self._found.append(Outcome(i, bool(answer), fault, self._share.drain_what_there_is()))
        found, self._found = self._found, []
        return found

    def hurry(self, fault: BaseException, /) -> None:
        """Make no further call."""
        del fault
        self._todo.clear()

    def rest(self) -> None:
        """Do nothing: there is no worker."""


class ThreadPaces:
    """Each thread makes the calls of its envs. Envs of the calling thread are stepped while nothing else is ready."""

    def __init__(
        self,
        own: Share,
        helpers: Sequence[WorkerThread],
        patience: Patience,
        *,
        may_poll: bool,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.is_off: bool = False
        """Whether calls that have not begun are not to begin any more."""
        self._own, self._patience, self._pid = own, patience, os.getpid()
        self._failed = failed
        self._helper_of: Mapping[int, WorkerThread] = {i: helper for helper in helpers for i in helper.env_indices}
        self._singles = {i: [i] for i in (*own.env_indices, *self._helper_of)}
        self._calls: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self._own_todo: deque[int] = deque()
        self._ended: deque[Outcome] = deque()
        self._found: list[Outcome] = []  # what was not heard of yet: Ctrl-C may have broken off a wait for more
        self._wanted = 1  # so many ended calls wake the caller; without a GIL, each does
        self._wake: SpinQueue[None] = SpinQueue()
        self._wake.may_poll = may_poll
        self._joined: dict[WorkerThread, None] = {}

    @property
    def pending(self) -> int:
        """How many calls have begun, and were not heard of."""
        return 0 if is_fork(self._pid) else len(self._calls) + len(self._found)  # a fork waits for none

    def begin_step(self, env_index: int, at: int, row: int, actions: Rows, /) -> None:
        """Let the thread of an env make a step."""
        self._begin(env_index, "step", at, row, actions, self._singles[env_index], False)

    def begin_reset(self, env_index: int, row: int, episode_index: int, start: EpisodeStart, /) -> None:
        """Let the thread of an env begin an episode."""
        self._begin(env_index, "reset", row, {env_index: (episode_index, start)})

    def _begin(self, i: int, method: str, *args: Any) -> None:
        helper = self._helper_of.get(i)
        share = self._own if helper is None else helper.share
        self._calls[i] = getattr(share, method), args
        if helper is None:
            self._own_todo.append(i)
            return
        if helper not in self._joined:
            helper.join_in(self)
            self._joined[helper] = None
        helper.line.put((self, i))

    def take_part(self, i: int, /) -> None:
        """Make the call of an env, in the thread of the env."""
        if not self.is_off:
            outcome = self._made(i, self._helper_of[i].share)
            self._ended.append(outcome)
            if len(self._ended) >= self._wanted or outcome.fault is not None:
                self._wake.put(None)

    def _made(self, i: int, share: Share) -> Outcome:
        answer, fault = outcome_of(*self._calls[i])
        return Outcome(i, bool(answer), fault, share.drain_what_there_is())

    def outcomes(self, least: int, /) -> list[Outcome]:
        """Wait for so many calls to end."""
        require_process(self._pid)
        found, least = self._found, min(least, self.pending)
        while True:
            while self._ended:
                found += self._heard(self._ended.popleft())
            if len(found) >= least or not self._calls or has_fault(found):
                self._found = []
                return found
            if self._own_todo:
                own = self._made(self._own_todo.popleft(), self._own)
                if own.fault is not None:
                    self._failed(own.fault)
                found += self._heard(own)
            else:
                found += self._wait(least - len(found))

    def _heard(self, outcome: Outcome) -> list[Outcome]:
        """Return the outcome, unless it comes from an env that was left behind."""
        i, ended, fault, log = outcome
        call = self._calls.pop(i, None)
        if call is None:
            return []
        if isinstance(fault, EnvError) and not fault.after_step and fault.action is None and len(call[1]) > 2:
            fault.action = copy.deepcopy(call[1][2][0])
        return [Outcome(i, ended, fault, log)]

    def _wait(self, missing: int) -> list[Outcome]:
        """Wait for so many calls to end, or less. Envs that take longer than they may are left behind."""
        self._wanted = missing if has_gil() else 1
        if len(self._ended) >= self._wanted:
            return []
        try:
            seconds = next(iter(self._joined)).slice  # all have the same limits, and the same patience
            if seconds is None:
                self._wake.take_in_main()
                return []
            left = self._patience.left()
            try:
                self._wake.take(min(left, seconds))
            except TooLateError:
                losses = [(i, self._helper_of[i].overdue(left)) for i in self._calls if i in self._helper_of]
                return [one for i, loss in losses if loss for one in self._heard(Outcome(i, False, loss, None))]
        except BaseException as fault:  # of a signal handler, as that of Ctrl-C
            self._patience.lose(fault)
            raise
        return []

    def hurry(self, fault: BaseException, /) -> None:
        """Wait only half a minute from now on, or less."""
        self._patience.hurry(fault)

    def rest(self) -> None:
        """Let go of the threads."""
        for helper in self._joined:
            helper.leave()
        self._joined = {}
