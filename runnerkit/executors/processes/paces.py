"""Calls of single envs in helper processes: each helper makes those of its envs one after the other.

The caller gives calls ahead, in shared memory, and hears of them as they end. So a helper never waits for the caller as
long as one of its envs has something to do.
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from runnerkit._core.spaces import Rows
from runnerkit.errors import EnvError
from runnerkit.executors.forks import is_fork, require_process
from runnerkit.executors.paces import Outcome, has_fault
from runnerkit.executors.processes.handover import CallRing, TurnLock
from runnerkit.executors.processes.worker import WorkerHandle
from runnerkit.executors.rounds import outcome_of
from runnerkit.executors.share import Share
from runnerkit.executors.waiting import Patience
from runnerkit.records import EpisodeStart

__all__ = ["ProcessPaces"]

_LOOK_S: Final = 1.0  # between looks for a fault, whose helper may hang in the call that came after it


class ProcessPaces:
    """Makes calls of single envs. Envs of the calling process are stepped while nothing else is ready."""

    def __init__(
        self,
        own: Share,
        helpers: Sequence[WorkerHandle],
        patience: Patience,
        *,
        by_mail: bool,
        with_lost: Callable[[BaseException], BaseException] | None,
    ) -> None:
        self._own, self._helpers, self._patience, self._pid = own, helpers, patience, os.getpid()
        self._by_mail = by_mail
        self._with_lost = with_lost
        """Adds the envs that are lost with a process; None if no process takes the place of one that is dead."""
        self._helper_of: Mapping[int, WorkerHandle] = {i: helper for helper in helpers for i in helper.env_indices}
        self._own_todo: deque[tuple[int, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._given: dict[int, Rows] = {}
        self._found: list[Outcome] = []  # what was not heard of yet: Ctrl-C may have broken off a wait for more

    @property
    def pending(self) -> int:
        """How many calls have begun, and were not heard of."""
        if is_fork(self._pid):
            return 0  # a fork waits for none
        return self._under_way() + len(self._found)

    def _under_way(self) -> int:
        return len(self._own_todo) + sum(helper.under_way for helper in self._helpers)

    def begin_step(self, env_index: int, at: int, row: int, actions: Rows, /) -> None:
        """Let the process of an env make a step; the action is in row `at` of the block, too."""
        helper = self._helper_of.get(env_index)
        if helper is None:
            self._own_todo.append((env_index, self._own.step, (at, row, actions, [env_index], False)))
            return
        self._given[env_index] = actions
        if self._by_mail:
            self._begin(helper, CallRing.BY_MAIL, env_index, at, row, by_mail=("step", (actions,)))
        else:
            self._begin(helper, CallRing.STEP, env_index, at, row)

    def begin_reset(self, env_index: int, row: int, episode_index: int, start: EpisodeStart, /) -> None:
        """Let the process of an env begin an episode."""
        helper, seed = self._helper_of.get(env_index), start.seed
        if helper is None:
            self._own_todo.append((env_index, self._own.reset, (row, {env_index: (episode_index, start)})))
        elif start.options is None and (seed is None or 0 <= seed < 2**63):
            self._begin(helper, CallRing.RESET, env_index, 0, row, episode_index, -1 if seed is None else seed)
        else:
            self._begin(helper, CallRing.BY_MAIL, env_index, 0, row, by_mail=("reset", (episode_index, start)))

    def _begin(self, helper: WorkerHandle, *call: int, by_mail: tuple[str, tuple[object, ...]] | None = None) -> None:
        """Begin a call; one in a dead process is lost with it, as the caller of this hears."""
        if self._with_lost is not None and not helper.is_alive:
            return
        try:
            helper.begin_single(*call, by_mail=by_mail)
        except EnvError as fault:
            if self._with_lost is None or helper.is_alive:
                raise
            self._found.append(Outcome(fault.env_index, False, fault, None))

    def outcomes(self, least: int, /) -> list[Outcome]:
        """Wait for so many calls to end."""
        require_process(self._pid)
        found, least = self._found, min(least, self.pending)
        while True:
            for helper in self._helpers:
                helper.take_singles(found)
            if len(found) >= least or not self._under_way() or has_fault(found):
                self._found = []
                return [self._with_action(outcome) for outcome in found]
            if self._own_todo:
                found.append(self._made(*self._own_todo.popleft()))
            else:
                self._wait(least - len(found))

    def _made(self, i: int, function: Callable[..., Any], args: tuple[Any, ...]) -> Outcome:
        answer, fault = outcome_of(function, args)
        if fault is not None:
            self._patience.hurry(fault)
        return Outcome(i, bool(answer), fault, self._own.drain_what_there_is())

    def _wait(self, missing: int) -> None:
        """Wait until as many calls may have ended. Helpers whose env takes longer than it may are given up."""
        busy = [helper for helper in self._helpers if helper.under_way]
        each = -(-missing // len(busy))  # one of them has made so many, by the time that all have made enough
        left = self._patience.left()
        seconds = min(left, _LOOK_S, *(helper.where.slice for helper in busy))
        try:
            TurnLock.wait_for_any([helper.turn(each) for helper in busy], seconds)
        except BaseException as fault:  # of a signal handler, as that of Ctrl-C
            self._patience.lose(fault)
            raise
        for helper in busy:
            helper.take_singles(self._found)
            helper.look_after(self._found, is_late=left <= 0)

    def _with_action(self, outcome: Outcome) -> Outcome:
        """Add the action to what is said of an env that hung, or died: it cannot."""
        fault = outcome.fault
        if isinstance(fault, EnvError) and not fault.after_step and fault.action is None:
            actions = self._given.get(outcome.env_index)
            fault.action = None if actions is None else copy.deepcopy(actions[0])
        if fault is None or self._with_lost is None:
            return outcome
        return outcome._replace(fault=self._with_lost(fault))

    def hurry(self, fault: BaseException, /) -> None:
        """Wait only half a minute from now on, or less."""
        self._patience.hurry(fault)

    def rest(self) -> None:
        """Let go of the helpers."""
        self._own_todo.clear()
        self._found = []
        for helper in () if is_fork(self._pid) else self._helpers:
            helper.call_off()
