"""One rollout, step by step, and where the envs stand between two of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any

from runnerkit.assembly import Assembly
from runnerkit.errors import AgentError, EnvError, RolloutError
from runnerkit.history.arrays import ArrayRecorder
from runnerkit.history.block import Block, Mark
from runnerkit.history.log import EpisodeLog, InfoEntry
from runnerkit.history.transitions import transition
from runnerkit.interrupts import Interrupt
from runnerkit.memory import require_bytes
from runnerkit.progress import Reporter
from runnerkit.records import EndReason, EpisodeStart, Transition
from runnerkit.rendering import Screen
from runnerkit.spaces import Column, MisfitError, Rows
from runnerkit.typing import EpisodeSchedule, ProgressCallback, StatefulAgent, SupportsActiveEnvs

__all__ = ["Plan", "Rollout", "Standing"]

_FIRST_STEPS = 256
_GROWTH = 1.125  # a block of unknown length grows by so much; a greater factor would touch memory never used


@dataclass(slots=True)
class _Going:
    """What goes on in one env."""

    running: bool = False
    episode_index: int = -1
    start: EpisodeStart = field(default_factory=EpisodeStart)
    steps: int = 0
    return_: float = 0.0

    def begin(self, episode_index: int, start: EpisodeStart) -> None:
        self.episode_index, self.start = episode_index, start
        self.steps, self.return_ = 0, 0.0


class Standing:
    """Where the envs of a runner stand: which episode each is in, and the observation to act on next."""

    def __init__(self, parts: Assembly, schedule: EpisodeSchedule | None) -> None:
        self.schedule: EpisodeSchedule = schedule or parts.schedule
        self.restarts_in_step: bool = schedule is None  # workers know the default schedule, but no other
        self.untold: list[int] = []
        """Envs that `maybe_reset` began an episode in, of which no agent was told yet."""
        self.reset_infos: list[InfoEntry] = []
        """The infos of these."""
        self.envs: list[_Going] = [_Going() for _ in range(parts.spec.n_envs)]
        self._parts = parts
        self._observations = parts.layout.observation.allocate(parts.spec.n_envs)
        self._raw = parts.layout.raw.allocate(parts.spec.n_envs)

    def begin(self, block: Block, env_indices: Sequence[int]) -> list[int]:
        """Fill the first row of a block: envs go on where they stand, the others begin.

        Returns those that begin, and those that have begun since the last rollout.
        """
        fresh = []
        for i in env_indices:
            if not self.envs[i].running:
                fresh.append(i)
                continue
            _put(block.raw, (0, i), [column[i] for column in self._raw])
            _put(block.observations, (0, i), [column[i] for column in self._observations])
        starts = self.next_starts(block, fresh)
        if starts:
            self._parts.executor.reset(0, starts)
        for i, (episode_index, start) in starts.items():
            self.envs[i].begin(episode_index, start)
            self.envs[i].running = True
        self.untold = [i for i in env_indices if i in fresh or i in self.untold]
        for i in env_indices:
            env = self.envs[i]
            block.first_marks[i] = Mark(0, env.episode_index, env.start, env.steps, env.return_)
        if self._parts.preprocess and fresh:
            raw = [column[0, fresh] for column in block.raw]
            _put(block.observations, (0, fresh), self._parts.preprocess(raw, self._parts.layout.raw))
        return self.untold

    def next_starts(self, block: Block, env_indices: Iterable[int]) -> dict[int, tuple[int, EpisodeStart]]:
        """Ask the schedule how the next episodes of some envs begin, in the order given."""
        starts = {}
        for i in env_indices:
            episode_index = self.envs[i].episode_index + 1
            start = self.schedule(i, episode_index)
            if not self.restarts_in_step:  # a user's schedule may use its options again
                start = block.given[i, episode_index] = EpisodeStart(start.seed, copy.deepcopy(start.options))
            starts[i] = episode_index, start
        return starts

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
        self.untold, self.reset_infos = [], []


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
        self._began: Sequence[int] = ()
        self._active: list[int] = []
        self._rows: EllipsisType | list[int] = ...  # which rows of a column the active envs are: all of them
        self._own = plan.process_transition
        # Up to here envs may begin again within a step: at the last one it is left to the next rollout.
        self._last_restart = plan.limit - 1 if plan.auto_reset and standing.restarts_in_step else 0
        self._crashed: int | None = None
        # Episodes that begin in a step are looked at when the rollout is over, unless someone waits for them.
        self._needs_log = bool(parts.preprocess) or plan.process_transition is not None
        self._progress = progress
        self._reporter: Reporter | None = None

    # ---- life

    def run(self, interrupt: Interrupt) -> tuple[list[object], bool]:
        """Return one history per env, and whether Ctrl-C ended the rollout early."""
        self._parts.executor.attach(self._block)
        try:
            self._start()
            self._run_plainly(interrupt)
            while self._active and self._t < self._plan.limit and not interrupt.requested:
                self._step()
        except KeyboardInterrupt:
            if interrupt.forced:  # anything may be half done
                self._abandon()
                raise
            return self._finish(EndReason.INTERRUPTED), True
        except RolloutError as error:
            if isinstance(error, EnvError):
                self._locate(error)
            error.histories = self._finish(EndReason.INTERRUPTED)
            raise
        except BaseException:
            self._abandon()
            raise
        early = interrupt.requested
        return self._finish(EndReason.INTERRUPTED if early else EndReason.CUT), early

    def _abandon(self) -> None:
        """Leave the runner fit for another rollout, and this one behind."""
        self._standing.abandon()
        self._parts.executor.drain()
        self._parts.executor.attach(None)

    def _allocate(self) -> Block:
        layout, plan = self._parts.layout, self._plan
        if plan.process_transition is not None:
            return self._block_of(1, window=True)
        steps = min(plan.limit, _FIRST_STEPS) if plan.is_open_ended else plan.limit
        require_bytes(layout.bytes_per_step * steps, steps, layout.n_envs)
        return self._block_of(steps)

    def _block_of(self, steps: int, *, window: bool = False) -> Block:
        block = Block(self._parts.layout, steps, window=window)
        block.schedule = self._parts.schedule
        return block

    def _start(self) -> None:
        n = self._parts.spec.n_envs
        indices: Sequence[int] = range(n)
        if self._to_start is not None:
            self._standing.abandon()
            indices = range(min(n, self._to_start))
            self._to_start -= len(indices)
        self._began = self._standing.begin(self._block, indices)
        self._block.log.reset_infos += self._standing.reset_infos
        self._standing.untold, self._standing.reset_infos = [], []
        self._activate(indices)
        if self._progress is not None:
            total = None if self._plan.is_open_ended else self._plan.limit * n
            self._reporter = Reporter(self._progress, self._block, total, self._plan.episodes)

    def _finish(self, tail: EndReason) -> list[object]:
        """Close the block after step `t` and hand it to the history format."""
        executor, block, t = self._parts.executor, self._block, self._t
        self._take(executor.drain(), upto=t)
        executor.attach(None)
        for i in self._active:
            block.lengths[i] = t
        block.tails = [tail if i != self._crashed else EndReason.CRASHED for i in range(block.n_envs)]
        if tail is EndReason.CUT:
            self._hand_over()
        else:
            self._standing.abandon()
        if self._reporter is not None:
            self._reporter.report()
        if self._own is not None:
            return self._histories
        block.trim(t)
        return self._record(block)

    def _record(self, block: Block) -> list[object]:
        """Hand the block to the history format; should that fail, the error has the arrays."""
        try:
            return list(self._parts.recorder.finish(block))
        except Exception as error:
            fault = RolloutError(f"The history format failed to take the rollout: {type(error).__name__}: {error}")
            fault.histories = list(ArrayRecorder().finish(block))
            raise fault from error

    def _hand_over(self) -> None:
        """Tell the runner where its envs stand now."""
        self._standing.keep(self._block, self._t)
        if self._own is not None:
            return  # steps and returns were counted on the way
        block, standing = self._block, self._standing
        last = {i: (mark.row, mark.steps_before, mark.return_before) for i, mark in block.first_marks.items()}
        last.update({i: (row, 0, 0.0) for i, row, _ in block.log.last()})
        for i, (row, steps_before, return_before) in last.items():
            length = block.lengths[i]
            standing.envs[i].steps = steps_before + length - row
            standing.envs[i].return_ = return_before + float(block.rewards[row:length, i].sum())

    def _locate(self, error: EnvError) -> None:
        """Complete what an error says with what only the rollout knows."""
        if self._active and error.action is None and not self._parts.preprocess:
            self._t += 1  # the step itself was made, what failed is what comes after it
        if error.episode_index is None:
            return
        i = self._crashed = error.env_index
        going, first = self._standing.envs[i], self._block.first_marks.get(i)
        self._take(self._parts.executor.drain(), upto=self._t)
        if error.action is not None and first is not None:
            row = next((row for env, row, _ in self._block.log.last() if env == i), -first.steps_before)
            error.step = going.steps if self._own is not None else self._t - row
        # an episode that could not even begin is over, too: its seed would only fail again
        going.episode_index = max(going.episode_index, error.episode_index)

    # ---- a step

    def _run_plainly(self, interrupt: Interrupt) -> None:
        """`_step` in a tight loop, all but the last step, for what most rollouts are.

        One array in and one out for a fixed number of steps, nothing in between and nobody to tell: for envs
        of a few microseconds the general step would cost a tenth of the speed.
        """
        parts, plan, block = self._parts, self._plan, self._block
        read = parts.read_actions.read_single
        if (
            read is None
            or plan.is_open_ended
            or self._last_restart == 0
            or not parts.layout.observation.is_array
            or not parts.layout.action.is_array
            or parts.layout.preprocessed
            or parts.layout.postprocessed
            or any((self._own, self._screen, self._reporter, self._stateful))
        ):
            return
        observations, recorded, active, n = block.observations[0], block.actions[0], self._active, len(self._active)
        choose, step = plan.compute_action, parts.executor.step
        for t in range(self._last_restart):
            if interrupt.requested:
                return
            try:
                actions = read(choose(observations[t].copy()), n)
            except Exception as error:
                raise self._agent_error(error) from error
            recorded[t] = actions
            step(t, t + 1, actions, active, True)
            self._t = t + 1

    def _step(self) -> None:
        t, block, active, parts = self._t, self._block, self._active, self._parts
        if t == block.steps and self._own is None:
            self._grow()
        at, raw_row = block.at(t), block.raw_row(t + 1)
        actions = self._act(block.row(t), at)
        restart = t < self._last_restart and (self._to_start is None or self._to_start >= len(active))
        ended = parts.executor.step(at, raw_row, actions, active, restart)
        rows = self._rows
        if self._own is not None:
            self._count(at)
        if ended:
            self._end(ended, restart)
        if parts.preprocess:
            raw = [column[raw_row].copy() if rows is ... else column[raw_row, rows] for column in block.raw]
            _put_rows(block.observations, block.row(t + 1), rows, parts.preprocess(raw, parts.layout.raw))
        if self._own is not None:
            self._process_transitions(active, self._own)
        if self._screen is not None:
            self._draw(active, self._screen)
        self._t = t + 1
        if self._reporter is not None:
            self._reporter.step(block, at, active, ended)

    def _act(self, row: int, at: int) -> Rows:
        """Ask the agent, record what it chose, and return one env action per active env."""
        block, parts, rows, n = self._block, self._parts, self._rows, len(self._active)
        self._tell_of_episodes()
        observations = parts.layout.observation.batch(block.observations, row if rows is ... else (row, rows))
        columns = self._chosen(observations)
        _put_rows(block.actions, at, rows, columns)
        if parts.postprocess:
            columns = self._postprocessed(columns, n)
            _put_rows(block.env_actions, at, rows, columns)
        return parts.layout.env_action.rows(columns, n)

    def _tell_of_episodes(self) -> None:
        if self._stateful is not None and self._began:
            self._tell(self._stateful.begin_episodes, list(self._began))
        self._began = ()

    def _tell(self, tell: Callable[[Sequence[int]], None], env_indices: list[int]) -> None:
        try:
            tell(env_indices)
        except Exception as error:
            raise self._agent_error(error) from error

    def _chosen(self, observations: object) -> list[Column]:
        """Ask the agent and check its answer."""
        try:
            return self._parts.read_actions(self._plan.compute_action(observations), len(self._active))
        except Exception as error:
            raise self._agent_error(error) from error

    def _postprocessed(self, columns: list[Column], n: int) -> list[Column]:
        parts = self._parts
        columns = parts.postprocess(columns, parts.layout.action)
        try:
            return parts.read_env_actions(parts.layout.env_action.present(columns), n)
        except MisfitError as error:
            raise self._agent_error(error, " after the postprocessors") from error

    def _agent_error(self, error: Exception, where: str = "") -> AgentError:
        if not isinstance(error, MisfitError):
            said = f"{type(error).__name__}: {error}"
            return AgentError(f"The agent raised at step {self._t} of the rollout: {said}")
        of = "" if error.row is None else f" for env {self._active[error.row]}"
        n = len(self._active)
        return AgentError(
            f"The agent's actions{of}{where} do not fit (step {self._t} of the rollout, {n} active envs): {error}. "
            f"act() must return one action of {self._parts.spec.action_space} per row"
            " (runner.action_space); postprocessors such as 'clip' and 'rescale' can make others fit."
        )

    def _end(self, ended: Sequence[int], restarted: bool) -> None:
        """Begin new episodes where old ones ended, or let the envs rest."""
        again: Sequence[int] = ended if restarted else self._to_begin_again(ended)
        if again:
            self._begin_again(again, restarted)
        if again is not ended and len(again) < len(ended):
            rest = set(ended) - set(again)
            for i in rest:
                self._standing.envs[i].running = False
                self._block.lengths[i] = self._t + 1
            self._activate([i for i in self._active if i not in rest])

    def _to_begin_again(self, ended: Sequence[int]) -> Sequence[int]:
        if not self._plan.auto_reset or self._t + 1 >= self._plan.limit:
            return ()
        return ended if self._to_start is None else ended[: self._to_start]

    def _begin_again(self, again: Sequence[int], restarted: bool) -> None:
        if self._to_start is not None:
            self._to_start -= len(again)
        self._began = again
        if restarted and not self._needs_log:
            return
        next_t = self._t + 1
        self._take(self._parts.executor.drain(), upto=next_t)
        if not restarted:
            row = self._block.raw_row(next_t)
            starts = self._standing.next_starts(self._block, again)
            log = EpisodeLog(self._parts.layout.raw)
            for i in again:
                log.begin(i, next_t, starts[i][0], self._block.raw, (row, i))
            self._take(log, upto=next_t)
            self._parts.executor.reset(row, starts)

    def _take(self, log: EpisodeLog, upto: int) -> None:
        """Note which episodes began in a step; show the final observations before them to the preprocessors.

        What began after observation `upto` did so in a step that a fault broke off, and never was.
        """
        layout, block = self._parts.layout, self._block
        if self._own is None:
            log = log.until(layout.raw, upto)
        if self._parts.preprocess and len(log):  # as a batch in the order of the envs, whoever stepped them
            log = log.by_env(layout.raw)
            raw = log
            log = raw.with_finals(layout.observation, self._parts.preprocess(raw.finals(layout.raw), layout.raw))
            if block.raw_log is not None:
                block.raw_log.extend(raw)
        block.log.extend(log)
        for i, _, episode_index in log.last():
            self._standing.envs[i].begin(episode_index, block.start_of(i, episode_index))

    def _activate(self, env_indices: Sequence[int]) -> None:
        self._active = list(env_indices)
        self._rows = ... if len(self._active) == self._parts.spec.n_envs else self._active
        if self._row_aware is not None:
            self._tell(self._row_aware.set_active_envs, list(self._active))

    def _grow(self) -> None:
        block = self._block
        steps = min(self._plan.limit, int(block.steps * _GROWTH) + 1)
        more = steps - block.steps
        require_bytes(block.layout.bytes_per_step * more, more, block.n_envs)
        block.resize(steps)
        self._parts.executor.attach(block)

    # ---- what only some rollouts do

    def _count(self, at: int) -> None:
        """Count steps and returns here, as a window of one step forgets the rewards."""
        for i in self._active:
            going = self._standing.envs[i]
            going.steps += 1
            going.return_ += float(self._block.rewards[at, i])

    def _process_transitions(
        self, env_indices: Sequence[int], process: Callable[[Any, Transition[Any, Any]], object]
    ) -> None:
        block = self._block
        self._take(self._parts.executor.drain(), upto=self._t + 1)
        infos = {i: info for i, _, info in block.log.infos}
        columns, table = block.log.finals(block.layout.observation), block.log.table().tolist()
        finals = {i: [column[k] for column in columns] for k, (i, _, _) in enumerate(table)}
        for i in env_indices:
            step = transition(block, i, self._t, finals.get(i), infos.get(i, {}))
            self._histories[i] = process(self._histories[i], step)
        block.log = EpisodeLog(block.layout.observation)
        block.terminated[:], block.truncated[:] = False, False

    def _draw(self, env_indices: Sequence[int], screen: Screen) -> None:
        screen.wait()
        if screen.needs_frames:
            screen.show(self._parts.executor.render(env_indices))


def _put(columns: Sequence[Column], index: Any, values: Sequence[Any]) -> None:
    for column, value in zip(columns, values, strict=True):
        column[index] = value


def _put_rows(columns: Sequence[Column], row: int, rows: EllipsisType | list[int], values: Sequence[Column]) -> None:
    """Write a batch into a row; `rows` are the envs that it is of, an ellipsis if it is of all."""
    if rows is ...:
        for column, value in zip(columns, values):  # noqa: B905  (strict costs as much as the copy)
            column[row] = value
    else:
        for column, value in zip(columns, values, strict=True):
            column[row, rows] = value
