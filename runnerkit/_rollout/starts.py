"""How episodes begin within a rollout. Here kinds of envs differ; the loop is the same for all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from runnerkit._core.interrupts import Interrupt
from runnerkit._core.spaces import Column
from runnerkit._rollout.agent_port import AgentPort
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.cursor import Cursor
from runnerkit._rollout.ends import Ends
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.ledger import Ledger
from runnerkit.errors import EnvError
from runnerkit.history.block import Block
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EndReason

__all__ = ["PromptStarts", "Read", "Starts"]

Read = Callable[[Any, int], Column]
"""Checks the actions for so many envs, and returns them as one array."""


class Starts(Protocol):
    """How the envs of one kind begin new episodes.

    For example::

        starts.start()                          # when the first observations are there
        ended = executor.step(...)
        begun = starts.begin(ended, ...)        # after each step in which an env ended, or waited
        ...and at the end of the rollout:
        starts.close_gaps(t)
    """

    @property
    def waiting(self) -> Sequence[int]:
        """The envs that skip the next step; their next episode begins with it."""
        ...

    def start(self) -> None:
        """Note which envs wait as the rollout begins."""
        ...

    def turn(self) -> None:
        """Note which envs wait as the next window of the rollout begins."""
        ...

    def begin(self, env_indices: Sequence[int], restarted: bool, /) -> Sequence[int]:
        """Begin new episodes in these envs, and return the envs that have a first observation now.

        With `restarted`, the executor has already reset the envs within the step.
        """
        ...

    def run_plainly(self, port: AgentPort, read: Read, last: int, interrupt: Interrupt, ends: Ends | None, /) -> None:
        """Make steps in a tight loop up to step `last`, or none at all; the general loop makes the rest."""
        ...

    def close_gaps(self, t: int, /) -> None:
        """Drop the rows of steps that envs skipped; the rollout made `t` steps."""
        ...


class PromptStarts:
    """Episodes begin in the step in which those before them end: single envs, and most vector envs."""

    waiting: Sequence[int] = ()

    def __init__(self, parts: Assembly, standing: EnvStates, block: Block, ledger: Ledger, at: Cursor) -> None:
        self._parts, self._standing, self._block, self._ledger, self._at = parts, standing, block, ledger, at

    def start(self) -> None:
        """Do nothing: nobody waits."""

    def turn(self) -> None:
        """Do nothing: nobody waits."""

    def begin(self, env_indices: Sequence[int], restarted: bool, /) -> Sequence[int]:
        """Reset the envs, unless the executor has."""
        if not env_indices or (restarted and not self._ledger.is_awaited):
            return env_indices
        next_t = self._at.t + 1
        self._ledger.take(upto=next_t)
        if not restarted:
            self._reset(env_indices, next_t)
        return env_indices

    def _reset(self, env_indices: Sequence[int], next_t: int) -> None:
        row, raw = self._block.raw_row(next_t), self._block.raw
        restarts = self._standing.restarts
        failed = restarts.failed if restarts is not None else {}
        starts = self._standing.next_starts(self._block, env_indices)
        log = EpisodeLog(self._parts.layout.raw)
        for i in env_indices:
            if i in failed:
                self._ledger.note_failed(i, starts[i][0], failed[i])
            else:
                log.begin(i, next_t, starts[i][0], raw, (row, i))
        self._ledger.note(log, upto=next_t)  # before a first observation takes the final one's row
        begun = {i: [start] for i, start in starts.items()}
        if restarts is None:
            self._standing.reset_envs(row, starts)
        else:
            begun = restarts.reset(self._block, row, starts, functools.partial(self._standing.start_after, self._block))
        for i, some in begun.items():
            for episode_index, _ in some[1:]:  # those before failed in reset
                self._ledger.note_failed(i, episode_index, EndReason.CRASHED)
            self._standing.envs[i].begin(*some[-1])

    def run_plainly(self, port: AgentPort, read: Read, last: int, interrupt: Interrupt, ends: Ends | None, /) -> None:
        """Ask, step, ask: for envs of a few microseconds the general step would cost a tenth of the speed."""
        at, block = self._at, self._block
        observations, recorded, active, n = block.observations[0], block.actions[0], at.active, len(at.active)
        step, is_awaited = self._standing.step_envs, ends is not None or port.rows is not None
        for t in range(at.t, last):
            if interrupt.stops:
                return
            try:
                actions = read(port.choose(observations[t].copy()), n)
            except Exception as error:
                raise port.error(error) from error
            recorded[t] = actions
            try:
                ended = step(t, t + 1, actions, active, True)
            except EnvError as fault:
                if fault.after_step:
                    at.t = t + 1
                    self._ledger.note_fault_after(t + 1)
                    if ends is not None:
                        self._ledger.take(upto=t + 1)
                        ends.report_before(fault, t, active)
                raise
            at.t = t + 1
            if ended and is_awaited:
                port.note_rows(ended, [t + 1] * len(ended), self._standing.envs)
                if ends is not None:
                    ends.collect(t, ended)
                    self._ledger.take(upto=t + 1)
                    ends.settle(t)
                    ends.report(t)

    def close_gaps(self, t: int, /) -> None:
        """Drop the rows of steps in which an env failed."""
        if self._standing.restarts is not None:
            self._standing.restarts.close_gaps(self._block, t)
