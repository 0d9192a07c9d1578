"""Rollouts of envs that step all at once and begin episodes by themselves: native vector envs."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit._core.interrupts import Interrupt
from runnerkit._core.spaces import Rows
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.loop import Rollout
from runnerkit._rollout.plan import Plan
from runnerkit._rollout.rendering import Screen
from runnerkit.errors import EnvError
from runnerkit.executors.base import LockstepExecutor
from runnerkit.records import EndReason, EpisodeStart

__all__ = ["LockstepRollout", "rollout_of"]


def rollout_of(parts: Assembly, standing: EnvStates, plan: Plan, agent: object, *more: Any) -> Rollout:
    """Return the kind of rollout that the executor needs."""
    if standing.lockstep is not None:
        return LockstepRollout(standing.lockstep, parts, standing, plan, agent, *more)
    return Rollout(parts, standing, plan, agent, *more)


class LockstepRollout(Rollout):
    """A rollout with a `LockstepExecutor`.

    Where envs rest before they begin another episode, they are left out of a batch and leave a gap in their rows, which
    is closed when the rollout is over. Where single envs cannot begin alone, a rollout that leaves some of them out
    at its end gives the episodes of the others up, so that the next one can begin them all.
    """

    def __init__(
        self, executor: LockstepExecutor, parts: Assembly, standing: EnvStates, plan: Plan, *more: Any
    ) -> None:
        super().__init__(parts, standing, plan, *more)
        self._executor = executor
        self._gaps: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []  # steps in which envs rested, and which
        self._woken: list[int] = []  # envs that rested in the step that is under way

    # ---- life

    @override
    def _start(self) -> None:
        super()._start()
        self._resting = list(self._standing.resting)
        for i in self._resting:
            self._begin(i)

    def _begin(self, i: int) -> None:
        env = self._standing.envs[i]
        env.begin(env.episode_index + 1, EpisodeStart())
        env.running = True

    @override
    def _goes_on(self) -> bool:
        return bool(self._active or self._resting) and self._t < self._plan.limit

    @override
    def _finish(self, tail: EndReason) -> list[object]:
        if tail is EndReason.CUT and self._plan.is_open_ended and not self._executor.begins_alone:
            tail = EndReason.INTERRUPTED  # as the others cannot begin before these end, and are not to wait
        for i in self._resting:
            self._block.lengths[i] = self._t
        self._block.provenance = self._executor.provenance
        return super()._finish(tail)

    @override
    def _close_gaps(self) -> None:
        if self._own is not None:
            return
        rows = np.concatenate([rows for rows, _ in self._gaps] or [np.empty(0, np.intp)])
        count = int(rows.searchsorted(self._t))  # a fault may have broken the last step off
        if not count:
            return
        envs = np.concatenate([envs for _, envs in self._gaps])
        self._block.drop(rows[:count], envs[:count])
        for i, _, episode_index in self._block.log.last():
            self._standing.envs[i].begin(episode_index, EpisodeStart())

    @override
    def _hand_over(self) -> None:
        super()._hand_over()
        fresh = {i: self._standing.envs[i].episode_index for i in self._active if not self._standing.envs[i].steps}
        self._standing.untold = list(fresh)
        infos = self._block.log.reset_infos
        self._standing.reset_infos = [(i, k, info) for i, k, info in infos if fresh.get(i) == k]

    # ---- a step

    @override
    def _run_plainly(self, interrupt: Interrupt) -> None:
        read = self._plain_reader()
        if not self._executor.rests:
            super()._run_plainly(interrupt)
            return
        if read is None or self._parts.spec.options.keep_infos:
            return
        block, choose, executor = self._block, self._plan.compute_action, self._executor
        advance, any_actions = executor.stepper(), executor.any_actions()
        observations, recorded = block.observations[0], block.actions[0]
        active, resting = np.array(self._active, np.intp), np.zeros(block.n_envs, np.bool_)
        resting[self._resting] = True
        first, at_first, n_envs, told = self._t, self._resting, block.n_envs, self._row_aware
        try:
            for t in range(first, self._last_restart):
                if interrupt.requested:
                    return
                n = len(active)
                actions = any_actions.copy()  # the env's own, to keep or to spoil
                try:
                    if n == n_envs:
                        actions[:] = read(choose(observations[t].copy()), n)
                    elif n:
                        actions[active] = read(choose(observations[t].take(active, 0)), n)
                except Exception as error:
                    self._turn_to(active, resting)
                    raise self._agent_error(error) from error
                recorded[t] = actions
                try:
                    over, _ = advance(t, t + 1, actions)
                except EnvError as fault:
                    self._count_faulty_step(fault)
                    raise
                self._t = t + 1
                resting, active = over, (~over).nonzero()[0]
                if told is not None and not n == len(active) == n_envs:
                    self._tell(told.set_active_envs, active.tolist())
        finally:
            self._turn_to(active, resting)
            if self._t > first:
                self._note_gap(first, at_first)
                self._note_gaps(first, self._t)

    def _note_gap(self, t: int, env_indices: Sequence[int]) -> None:
        if env_indices:
            self._gaps.append((np.full(len(env_indices), t), np.array(env_indices, np.intp)))

    def _note_gaps(self, first: int, stop: int) -> None:
        """Note gaps after the step `first`, where each env that ended rested in the next step."""
        over = self._block.terminated[first:stop] | self._block.truncated[first:stop]
        rows, envs = over[:-1].nonzero()
        rows += 1
        self._gaps.append((rows + first, envs))
        twice = rows[over[rows, envs]]
        if len(twice):
            self._t = first + int(twice[0])
            raise self._executor.never_rested()

    def _turn_to(self, active: NDArray[np.intp], resting: NDArray[np.bool_]) -> None:
        """Note which envs are active, and which rest, for those who look at it later."""
        self._active, self._resting = active.tolist(), resting.nonzero()[0].tolist()
        self._rows = ... if len(active) == self._block.n_envs else self._active

    @override
    def _act(self, row: int, at: int) -> Rows:
        return super()._act(row, at) if self._active else ()

    @override
    def _end(self, ended: Sequence[int], restarted: bool) -> None:
        if not self._executor.rests:
            super()._end(ended, restarted)
            return
        again = ended if restarted else self._to_begin_again(ended)
        if self._to_start is not None:
            self._to_start -= len(again)
        for i in set(ended) - set(again):
            self._standing.envs[i].running = False
            self._block.lengths[i] = self._t + 1
        self._woken, self._resting = self._resting, list(again)
        self._note_gap(self._t, self._woken)
        self._began = sorted({*self._began, *self._woken})
        if self._own is not None and self._t:  # what rests in the first step has been counted
            for i in self._woken:
                self._begin(i)
        active = sorted({*self._active, *self._woken} - set(ended))
        if self._t + 1 < self._plan.limit:
            self._activate(active)
        else:  # nobody is asked any more
            self._active = active

    @override
    def _draw(self, env_indices: Sequence[int], screen: Screen) -> None:
        super()._draw(sorted({*env_indices, *self._active}), screen)

    @override
    def _observed(self, rows: EllipsisType | list[int]) -> EllipsisType | list[int]:
        woken, self._woken = self._woken, []
        return rows if rows is ... else sorted({*rows, *woken})
