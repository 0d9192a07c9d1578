"""One rollout, step by step, and where the envs stand between two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runnerkit.assembly import Assembly
from runnerkit.errors import AgentError, EnvError, RolloutError
from runnerkit.history.block import Block, Mark
from runnerkit.history.transitions import transition
from runnerkit.memory import require_bytes
from runnerkit.progress import Reporter
from runnerkit.records import EndReason, EpisodeStart, Transition
from runnerkit.rendering import Screen
from runnerkit.spaces import Column, Layout, MisfitError
from runnerkit.typing import EpisodeSchedule, ProgressCallback, StatefulAgent, SupportsActiveEnvs

__all__ = ["Plan", "Rollout", "Standing"]

_FIRST_STEPS = 256
_GROWTH = 1.125  # a block of unknown length grows by so much; a greater factor would touch memory never used


@dataclass(slots=True)
class _Going:
    """What goes on in one env."""

    running: bool = False
    episode_index: int = -1
    start: EpisodeStart = EpisodeStart()
    steps: int = 0
    return_: float = 0.0

    def begin(self, start: EpisodeStart) -> None:
        self.running, self.start = True, start
        self.episode_index += 1
        self.steps, self.return_ = 0, 0.0


class Standing:
    """Where the envs of a runner stand: which episode each is in, and the observation to act on next."""

    def __init__(self, parts: Assembly, schedule: EpisodeSchedule | None) -> None:
        self.schedule: EpisodeSchedule = schedule or parts.schedule
        self.restarts_in_step: bool = schedule is None  # workers know the default schedule, but no other
        self.envs: list[_Going] = [_Going() for _ in range(parts.spec.n_envs)]
        self._parts = parts
        self._observations = parts.layout.observation.allocate(parts.spec.n_envs)
        self._raw = parts.layout.raw.allocate(parts.spec.n_envs)

    def begin(self, block: Block, env_indices: Iterable[int]) -> list[int]:
        """Fill the first row of a block: envs go on where they stand, the others begin; return these."""
        fresh = []
        for i in env_indices:
            if not self.envs[i].running:
                fresh.append(i)
                continue
            _put(block.raw, (0, i), [column[i] for column in self._raw])
            _put(block.observations, (0, i), [column[i] for column in self._observations])
            self._mark(block, i, 0)
        self.restart(block, fresh, at_row=0, raw_row=0)
        if self._parts.preprocess and fresh:
            raw = [column[0, fresh] for column in block.raw]
            _put(block.observations, (0, fresh), self._parts.preprocess(raw, self._parts.layout.raw))
        return fresh

    def restart(self, block: Block, env_indices: Sequence[int], *, at_row: int, raw_row: int) -> None:
        """Begin the next episode of some envs, as the schedule says, in the order given."""
        if not env_indices:
            return
        starts = {}
        for i in env_indices:
            episode_index = self.envs[i].episode_index + 1
            starts[i] = episode_index, self.schedule(i, episode_index)
        self._parts.executor.reset(raw_row, starts)
        self.began(block, {i: start for i, (_, start) in starts.items()}, at_row)

    def began(self, block: Block, starts: dict[int, EpisodeStart], row: int) -> None:
        """Note that envs have begun their next episodes."""
        for i, start in starts.items():
            self.envs[i].begin(start)
            self._mark(block, i, row)

    def keep(self, block: Block, t: int) -> None:
        """Remember observation t, for the next rollout to go on from."""
        for columns, kept, row in (
            (block.raw, self._raw, block.raw_row(t)),
            (block.observations, self._observations, block.row(t)),
        ):
            for column, into in zip(columns, kept, strict=True):
                into[...] = column[row]

    def abandon(self) -> None:
        """Give up all episodes that are going."""
        for env in self.envs:
            env.running = False

    def _mark(self, block: Block, i: int, row: int) -> None:
        env = self.envs[i]
        block.envs[i].marks.append(Mark(row, env.episode_index, env.start, env.steps, env.return_))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollout is to do."""

    limit: int
    """Steps per env at the most."""
    episodes: int | None
    auto_reset: bool
    compute_action: Callable[[Any], object]
    process_transition: Callable[[Any, Transition[Any, Any]], object] | None
    """None, if the history format takes the whole block."""

    @property
    def is_open_ended(self) -> bool:
        """Whether it may end before the limit, so that its length is not known."""
        return self.episodes is not None or not self.auto_reset


class Rollout:
    """One rollout: `run` returns the histories, or raises RolloutError with what there is of them."""

    def __init__(
        self,
        parts: Assembly,
        standing: Standing,
        plan: Plan,
        agent: object,
        screen: Screen | None,
        progress: ProgressCallback | None,
    ) -> None:
        self._parts, self._standing, self._plan, self._screen = parts, standing, plan, screen
        self._stateful = agent if isinstance(agent, StatefulAgent) else None
        self._row_aware = agent if isinstance(agent, SupportsActiveEnvs) else None
        self._block = self._allocate()
        self._histories: list[object] = [None] * parts.spec.n_envs
        self._t = 0
        self._to_start = plan.episodes  # episodes still to begin; None if there is no end to them
        self._began: list[int] = []
        self._active: Sequence[int] = ()
        self._rows: slice | Sequence[int] = slice(None)
        self._progress = progress
        self._reporter: Reporter | None = None

    # ---- life

    def run(self) -> tuple[list[object], bool]:
        """Return one history per env, and whether Ctrl-C ended the rollout early."""
        self._parts.executor.attach(self._block)
        try:
            self._start()
            while self._active and self._t < self._plan.limit:
                self._step()
        except KeyboardInterrupt:
            return self._finish(EndReason.INTERRUPTED), True
        except RolloutError as error:
            self._locate(error)
            error.histories = self._finish(EndReason.INTERRUPTED)
            raise
        except BaseException:
            self._finish(EndReason.INTERRUPTED)
            raise
        return self._finish(EndReason.CUT), False

    def _allocate(self) -> Block:
        layout, plan = self._parts.layout, self._plan
        if plan.process_transition is not None:
            return Block(layout, 1, window=True)
        steps = min(plan.limit, _FIRST_STEPS) if plan.is_open_ended else plan.limit
        require_bytes(layout.bytes_per_step * steps, steps, layout.n_envs)
        return Block(layout, steps)

    def _start(self) -> None:
        n = self._parts.spec.n_envs
        indices: Sequence[int] = range(n)
        if self._to_start is not None:
            self._standing.abandon()
            indices = range(min(n, self._to_start))
            self._to_start -= len(indices)
        self._began = self._standing.begin(self._block, indices)
        self._activate(indices)
        if self._progress is not None:
            total = None if self._plan.is_open_ended else self._plan.limit * n
            self._reporter = Reporter(self._progress, self._block, total, self._plan.episodes)

    def _finish(self, tail: EndReason) -> list[object]:
        """Close the block after step `t` and hand it to the history format."""
        executor, block, t = self._parts.executor, self._block, self._t
        block.log = executor.drain()
        executor.attach(None)
        for i in self._active:
            block.envs[i].length = t
        for env in block.envs:
            env.tail = env.tail if env.tail is EndReason.CRASHED else tail
        if tail is EndReason.CUT:
            self._hand_over()
        else:
            self._standing.abandon()
        if self._reporter is not None:
            self._reporter.report()
        if self._plan.process_transition is not None:
            return self._histories
        block.trim(t)
        return list(self._parts.recorder.finish(block))

    def _hand_over(self) -> None:
        self._standing.keep(self._block, self._t)
        if self._plan.process_transition is not None:
            return  # steps and returns were counted on the way
        for going, env, i in zip(self._standing.envs, self._block.envs, range(self._block.n_envs), strict=True):
            if going.running and env.marks:
                mark = env.marks[-1]
                going.steps = mark.steps_before + env.length - mark.row
                rewards = self._block.rewards[mark.row : env.length, i]
                going.return_ = mark.return_before + float(rewards.sum())

    def _locate(self, error: RolloutError) -> None:
        """Complete what an error says with what only the rollout knows."""
        if not isinstance(error, EnvError) or not 0 <= error.env_index < self._block.n_envs:
            return
        env, going = self._block.envs[error.env_index], self._standing.envs[error.env_index]
        env.tail = EndReason.CRASHED
        if error.action is not None and env.marks:
            error.step = env.marks[-1].steps_before + self._t - env.marks[-1].row
        if error.episode_index is not None:
            # an episode that could not even begin is over, too: its seed would only fail again
            going.episode_index = max(going.episode_index, error.episode_index)

    # ---- a step

    def _step(self) -> None:
        t, block, active = self._t, self._block, self._active
        if t == block.steps and self._plan.process_transition is None:
            self._grow()
        at, parts = block.at(t), self._parts
        actions = self._act(block.row(t), at)
        restart = self._may_restart_in_step(len(active))
        ended = parts.executor.step(at, block.raw_row(t + 1), actions, active, restart)
        if self._plan.process_transition is not None:
            self._count(at)
        was_active, rows = active, self._rows
        if ended:
            self._end(ended, restart)
        if parts.preprocess:
            raw = [column[block.raw_row(t + 1)][rows] for column in block.raw]
            _put_rows(block.observations, block.row(t + 1), rows, parts.preprocess(raw, parts.layout.raw))
        if self._plan.process_transition is not None:
            self._process_transitions(was_active)
        if self._screen is not None:
            self._draw(was_active)
        self._t = t + 1
        if self._reporter is not None:
            self._reporter.step(block, at, was_active, ended)

    def _act(self, row: int, at: int) -> Sequence[Any]:
        """Ask the agent, record what it chose, and return one env action per active env."""
        block, parts, rows, n = self._block, self._parts, self._rows, len(self._active)
        if self._began:
            if self._stateful is not None:
                self._stateful.begin_episodes(self._began)
            self._began = []
        every = isinstance(rows, slice)
        observations = parts.layout.observation.batch(block.observations, row if every else (row, rows))
        try:
            result = self._plan.compute_action(observations)
            columns = parts.read_actions(result, n)
        except MisfitError as error:
            raise self._agent_error(error) from None
        except Exception as error:
            raise AgentError(
                f"The agent raised {type(error).__name__} at step {self._t} of the rollout: {error}"
            ) from error
        _put_rows(block.actions, at, rows, columns)
        if parts.postprocess:
            columns = self._postprocessed(columns, n)
            _put_rows(block.env_actions, at, rows, columns)
        return parts.layout.env_action.rows(columns, n)

    def _postprocessed(self, columns: list[Column], n: int) -> list[Column]:
        parts = self._parts
        columns = parts.postprocess(columns, parts.layout.action)
        try:
            return parts.read_env_actions(parts.layout.env_action.present(columns), n)
        except MisfitError as error:
            raise self._agent_error(error, " after the postprocessors") from None

    def _agent_error(self, error: MisfitError, where: str = "") -> AgentError:
        of = "" if error.row is None else f" for env {self._active[error.row]}"
        n = len(self._active)
        return AgentError(
            f"The agent's actions{of}{where} do not fit (step {self._t} of the rollout, {n} active envs): {error}. "
            f"act() must return one action of {self._parts.spec.action_space} per row"
            " (runner.action_space); postprocessors such as 'clip' and 'rescale' can make others fit."
        )

    def _may_restart_in_step(self, n: int) -> bool:
        """Whether every env that ends with this step begins again, so that no worker needs to ask."""
        enough = self._to_start is None or self._to_start >= n
        return enough and self._plan.auto_reset and self._standing.restarts_in_step and self._t + 1 < self._plan.limit

    def _end(self, ended: Sequence[int], restarted: bool) -> None:
        """Begin new episodes where old ones ended, or let the envs rest."""
        again: Sequence[int] = ended if restarted else self._to_begin_again(ended)
        if again:
            self._begin_again(again, restarted)
        if len(again) < len(ended):
            rest = set(ended) - set(again)
            for i in rest:
                self._standing.envs[i].running = False
                self._block.envs[i].length = self._t + 1
            self._activate([i for i in self._active if i not in rest])

    def _to_begin_again(self, ended: Sequence[int]) -> Sequence[int]:
        if not self._plan.auto_reset or self._t + 1 >= self._plan.limit:
            return ()
        return ended if self._to_start is None else ended[: self._to_start]

    def _begin_again(self, again: Sequence[int], restarted: bool) -> None:
        block, standing, t = self._block, self._standing, self._t
        row = block.raw_row(t + 1)
        if not restarted:
            for slot, column in zip(block.final_slots, block.raw, strict=True):
                slot[again] = column[row][again]
        self._keep_finals(again)
        if restarted:
            starts = {i: standing.schedule(i, standing.envs[i].episode_index + 1) for i in again}
            standing.began(block, starts, t + 1)
        else:
            standing.restart(block, again, at_row=t + 1, raw_row=row)
        if self._to_start is not None:
            self._to_start -= len(again)
        self._began = list(again)

    def _keep_finals(self, env_indices: Sequence[int]) -> None:
        """Keep the final observations whose row in the block a first observation takes."""
        parts, block = self._parts, self._block
        raw = [slot[env_indices] for slot in block.final_slots]
        seen = parts.preprocess(raw, parts.layout.raw) if parts.preprocess else raw
        for k, i in enumerate(env_indices):
            block.envs[i].finals[self._t] = [column[k] for column in seen]
            if parts.layout.preprocessed and parts.layout.keep_raw:
                block.envs[i].raw_finals[self._t] = [column[k] for column in raw]

    def _activate(self, env_indices: Sequence[int]) -> None:
        self._active = list(env_indices)
        self._rows = slice(None) if len(self._active) == self._parts.spec.n_envs else self._active
        if self._row_aware is not None:
            self._row_aware.set_active_envs(self._active)

    def _grow(self) -> None:
        block = self._block
        steps = min(self._plan.limit, int(block.steps * _GROWTH) + 1)
        more = steps - block.steps
        require_bytes(block.layout.bytes_per_step * more, more, block.n_envs)
        self._parts.executor.attach(None)
        block.resize(steps)
        self._parts.executor.attach(block)

    # ---- what only some rollouts do

    def _count(self, at: int) -> None:
        """Count steps and returns here, as a window of one step forgets the rewards."""
        for i in self._active:
            going = self._standing.envs[i]
            going.steps += 1
            going.return_ += float(self._block.rewards[at, i])

    def _process_transitions(self, env_indices: Sequence[int]) -> None:
        assert self._plan.process_transition is not None
        block = self._block
        infos = {i: info for i, _, info in self._parts.executor.drain().infos}
        for i in env_indices:
            step = transition(block, i, self._t, infos.get(i, {}))
            self._histories[i] = self._plan.process_transition(self._histories[i], step)
        for i in env_indices:
            block.envs[i].finals.clear()
            block.envs[i].marks[:-1] = []
        block.terminated[:], block.truncated[:] = False, False

    def _draw(self, env_indices: Sequence[int]) -> None:
        assert self._screen is not None
        self._screen.wait()
        if self._screen.needs_frames:
            self._screen.show(self._parts.executor.render(env_indices))


def _put(columns: Sequence[Column], index: Any, values: Sequence[Any]) -> None:
    for column, value in zip(columns, values, strict=True):
        column[index] = value


def _put_rows(columns: Sequence[Column], row: int, rows: slice | Sequence[int], values: Sequence[Column]) -> None:
    """Write a batch into a row; `rows` are the envs that it is of, a slice if it is of all."""
    for column, value in zip(columns, values, strict=True):
        column[row][rows] = value
