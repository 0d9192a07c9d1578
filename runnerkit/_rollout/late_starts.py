"""Episodes that begin a step late: vector envs in the auto-reset mode NEXT_STEP."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.interrupts import Interrupt
from runnerkit._rollout.agent_port import AgentPort
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.cursor import Cursor
from runnerkit._rollout.ends import Ends
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.ledger import Ledger
from runnerkit._rollout.starts import Read
from runnerkit.errors import EnvError
from runnerkit.executors.vector.executor import VectorExecutor
from runnerkit.executors.vector.faults import never_rested
from runnerkit.executors.vector.rests import rests_in, rests_twice
from runnerkit.history.block import Block
from runnerkit.records import EpisodeStart

__all__ = ["LateStarts"]


class LateStarts:
    """An env rests for a step before its next episode: the agent is not asked, and the row is dropped at the end."""

    def __init__(
        self,
        executor: VectorExecutor,
        parts: Assembly,
        standing: EnvStates,
        block: Block,
        ledger: Ledger,
        at: Cursor,
    ) -> None:
        self._executor, self._keeps_infos = executor, parts.spec.options.keep_infos
        self._begin_processing = parts.preprocess.begin_episodes
        self._standing, self._block, self._ledger, self._at = standing, block, ledger, at
        self.waiting: Sequence[int] = ()
        """The envs that rest in the next step."""
        self._rest_first: Sequence[int] = ()

    def start(self) -> None:
        """Note which envs rest in the first step."""
        self._rest_first = self.waiting = list(self._standing.resting)
        for i in self.waiting:
            self._begin(i)

    def turn(self) -> None:
        """Note which envs rest in the first step of the next window."""
        self._rest_first = self.waiting
        for i in self.waiting:
            self._begin(i)

    def _begin(self, i: int) -> None:
        env = self._standing.envs[i]
        env.begin(env.episode_index + 1, EpisodeStart())
        env.running = True

    def begin(self, env_indices: Sequence[int], restarted: bool, /) -> Sequence[int]:
        """Let these envs rest, and return those that rested in this step."""
        begun, self.waiting = self.waiting, list(env_indices)
        self._begin_processing(begun)
        if self._ledger.makes_own and self._at.t:  # what rests in the first step has been counted
            for i in begun:
                self._begin(i)
        return begun

    def run_plainly(self, port: AgentPort, read: Read, last: int, interrupt: Interrupt, ends: Ends | None, /) -> None:
        """As with prompt starts, but for a batch of active envs that changes from step to step."""
        if self._keeps_infos:
            return
        at, block, executor = self._at, self._block, self._executor
        advance, any_actions = executor.stepper(), executor.any_actions()
        observations, recorded = block.observations[0], block.actions[0]
        active, resting = np.array(at.active, np.intp), np.zeros(block.n_envs, np.bool_)
        resting[self.waiting] = True
        first, n_envs, is_told = at.t, block.n_envs, port.row_aware is not None
        try:
            for t in range(first, last):
                if interrupt.stops:
                    return
                n = len(active)
                actions = any_actions.copy()  # the env's own, to keep or to spoil
                try:
                    if n == n_envs:
                        actions[:] = read(port.choose(observations[t].copy()), n)
                    elif n:
                        actions[active] = read(port.choose(observations[t].take(active, 0)), n)
                except Exception as error:
                    self._turn_to(active, resting)
                    raise port.error(error) from error
                recorded[t] = actions
                try:
                    over, _ = advance(t, t + 1, actions)
                except EnvError as fault:
                    if fault.after_step:
                        at.t = t + 1
                        self._ledger.note_fault_after(t + 1)
                        if ends is not None:
                            ends.report_before(fault, t, active.tolist())
                    raise
                at.t = t + 1
                if ends is not None and over.any():
                    ended = over.nonzero()[0].tolist()
                    ends.collect(t, ended)
                    ends.settle(t, ended)
                    ends.report(t)
                if port.rows is not None:
                    begun = resting.nonzero()[0].tolist()
                    port.note_rows(begun, [t + 1] * len(begun), self._standing.envs)
                resting, active = over, (~over).nonzero()[0]
                if not n == len(active) == n_envs:
                    if port.follows_rows:
                        at.turn_to(active.tolist(), n_envs)
                    if is_told:
                        port.tell_active(active.tolist())
        finally:
            self._turn_to(active, resting)
            twice = rests_twice(block, first, at.t)
            if twice is not None:
                at.t = twice
                raise never_rested()

    def _turn_to(self, active: NDArray[np.intp], resting: NDArray[np.bool_]) -> None:
        """Note which envs are active, and which rest, for those who look at it later."""
        self._at.turn_to(active.tolist(), self._block.n_envs)
        self.waiting = resting.nonzero()[0].tolist()

    def close_gaps(self, t: int, /) -> None:
        """Drop the rows in which envs rested."""
        rows, envs = rests_in(self._block, t, self._rest_first)
        if not len(rows):
            return
        self._block.drop(rows, envs)
        for i, _, episode_index in self._block.log.last():
            self._standing.envs[i].begin(episode_index, EpisodeStart())
