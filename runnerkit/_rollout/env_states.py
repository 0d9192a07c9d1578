"""Where the envs of a runner stand between two rollouts."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runnerkit._core.bounds import outside
from runnerkit._core.faults import describe
from runnerkit._core.wording import FIX_ENV, warn
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.restarts import Restarts
from runnerkit._rollout.stopwatch import Stopwatch
from runnerkit._rollout.trail import Trail
from runnerkit.errors import EnvError, EnvSpaceError, EnvSpaceWarning, RolloutError
from runnerkit.executors.vector.executor import VectorExecutor
from runnerkit.history.block import Block
from runnerkit.history.layout import Mark
from runnerkit.history.log import InfoEntry
from runnerkit.records import EpisodeSchedule, EpisodeStart

__all__ = ["EnvState", "EnvStates"]


@dataclass(slots=True)
class EnvState:
    """What goes on in one env."""

    running: bool = False
    episode_index: int = -1
    start: EpisodeStart = field(default_factory=EpisodeStart)
    steps: int = 0
    return_: float = 0.0

    def begin(self, episode_index: int, start: EpisodeStart) -> None:
        """Take note of a new episode."""
        self.episode_index, self.start = episode_index, start
        self.steps, self.return_ = 0, 0.0


class EnvStates:
    """Which episode each env is in, and the observation to act on next."""

    def __init__(self, parts: Assembly, schedule: EpisodeSchedule | None) -> None:
        n = parts.spec.n_envs
        # Workers know the default schedule, but no other; where envs are made anew, all episodes begin after the step.
        self.restarts_in_step: bool = schedule is None and not parts.spec.options.restarts
        self.told_of_infos: bool = False
        """Whether the user was told that the histories have no infos."""
        self.untold: list[int] = []
        """Envs whose new episode, begun by `maybe_reset`, the agent has not been told about."""
        self.reset_infos: list[InfoEntry] = []
        """The infos of these."""
        self.unseen: set[int] = set(range(n))
        """Envs of which no step was seen yet: the bounds of their first observations are checked."""
        self.resting: list[int] = []
        """Envs whose next episode begins with the next step, as they are reset by a vector env in it."""
        self.envs: list[EnvState] = [EnvState() for _ in range(n)]
        executor = parts.executor
        self.vector: VectorExecutor | None = executor if isinstance(executor, VectorExecutor) else None
        """The executor, if a vector env steps all envs at once."""
        self.steps: int = 0
        """The steps of all envs in the rollouts that are over."""
        self.stopwatch: Stopwatch | None = Stopwatch() if parts.spec.options.timings else None
        """What measures where the time goes; None if nobody wants to know."""
        self.restarts: Restarts | None = Restarts(parts) if parts.spec.options.restarts else None
        """What makes envs anew that fail; None if a fault ends the rollout."""
        self.step_envs: Callable[..., Sequence[int]] = executor.step if self.restarts is None else self.restarts.step
        self.reset_envs: Callable[..., None] = executor.reset
        if self.stopwatch is not None:
            self.step_envs = self.stopwatch.around_step(self.step_envs)
            self.reset_envs = self.stopwatch.around_executor(executor.reset)
        self._oddities: dict[str, str] = {}
        self._warned: set[str] = set()
        self._parts = parts
        self.trail: Trail | None = None if self.vector is not None else Trail(parts.layout.env_action, n)
        """The actions of the running episodes, for those who save them; None if that is no use."""
        self._schedule: EpisodeSchedule = schedule or parts.schedule
        self._observations = parts.layout.observation.allocate(n)
        self._raw = parts.layout.raw.allocate(n)

    def begin(self, block: Block, env_indices: Sequence[int]) -> list[int]:
        """Fill the first row of a block: envs go on where they stand, the others begin.

        Returns those that begin, and those that have begun since the last rollout.
        """
        fresh = [i for i in env_indices if not self.envs[i].running]
        going = [i for i in env_indices if self.envs[i].running]
        if going:
            rows = ... if len(going) == len(self.envs) else going
            _put(block.raw, (0, rows), [column[rows] for column in self._raw])
            if block.observations is not block.raw:
                _put(block.observations, (0, rows), [column[rows] for column in self._observations])
        self._begin_anew(block, fresh)
        self.resting = [i for i in fresh if not self.envs[i].running]
        fresh = [i for i in fresh if self.envs[i].running]
        self.untold = [i for i in env_indices if i in fresh or i in self.untold]
        for i in env_indices:
            env = self.envs[i]
            block.first_marks[i] = Mark(0, env.episode_index, env.start, env.steps, env.return_)
        for i in self.resting:
            block.first_marks[i] = Mark(0, self.envs[i].episode_index + 1, EpisodeStart())
        self._preprocess(block, fresh)
        return self.untold

    def _preprocess(self, block: Block, fresh: Sequence[int]) -> None:
        """Process the first observations of new episodes."""
        chain = self._parts.preprocess
        if chain and fresh:
            raw = [column[0, fresh] for column in block.raw]
            chain.begin_episodes(fresh)
            _put(block.observations, (0, fresh), chain(raw, self._parts.layout.raw, fresh))

    def _begin_anew(self, block: Block, env_indices: Sequence[int]) -> None:
        if not env_indices:
            return
        starts = self.next_starts(block, env_indices)
        try:
            begun = self._reset(
                block, starts, alone=len(starts) == len(self.envs) or not any(e.running for e in self.envs)
            )
        except EnvError as error:
            self.skip(error)
            raise
        for i, start in begun.items():
            self.envs[i].begin(*start)
            self.envs[i].running = True
        self.check_bounds(block, 0, list(begun), "reset")

    def _reset(
        self, block: Block, starts: Mapping[int, tuple[int, EpisodeStart]], *, alone: bool
    ) -> dict[int, tuple[int, EpisodeStart]]:
        """Begin episodes, and return how those began that need not rest first."""
        if self.vector is not None:
            return {i: (starts[i][0], start) for i, start in self.vector.begin(0, starts, alone).items()}
        if self.restarts is not None:
            begun = self.restarts.reset(block, 0, starts, functools.partial(self.start_after, block))
            return {i: some[-1] for i, some in begun.items()}
        self.reset_envs(0, starts)
        return dict(starts)

    def start_after(self, block: Block, i: int, episode_index: int) -> tuple[int, EpisodeStart]:
        """Ask the schedule how an episode begins, as the one before could not even begin."""
        self.envs[i].episode_index = episode_index
        return self.next_starts(block, [i])[i]

    def next_starts(self, block: Block, env_indices: Iterable[int]) -> dict[int, tuple[int, EpisodeStart]]:
        """Ask the schedule how the next episodes of some envs begin, in the order given."""
        starts = {}
        for i in env_indices:
            episode_index = self.envs[i].episode_index + 1
            start = self._start(i, episode_index)
            if not self.restarts_in_step:
                block.given[i, episode_index] = start
            starts[i] = episode_index, start
        return starts

    def _start(self, i: int, episode_index: int) -> EpisodeStart:
        if self.restarts_in_step:
            return self._schedule(i, episode_index)
        where = f"The schedule, for env {i}, episode {episode_index},"
        try:
            start = self._schedule(i, episode_index)
        except Exception as error:
            raise RolloutError(f"{where} raised {describe(error)}") from error
        if not isinstance(start, EpisodeStart):
            raise RolloutError(f"{where} must return an EpisodeStart(seed, options), not {start!r}.")
        if start.seed is None and self._parts.spec.options.spare_envs:
            raise RolloutError(f"{where} returned no seed, which spare_envs needs. Return EpisodeStart(seed=...).")
        try:
            return EpisodeStart(start.seed, copy.deepcopy(start.options))  # it may use its options again
        except Exception as error:
            raise RolloutError(f"{where} returned options that cannot be copied: {describe(error)}") from error

    def skip(self, error: EnvError) -> None:
        """Count an episode that could not even begin as over: its seed would only fail again."""
        if error.episode_index is not None:
            env = self.envs[error.env_index]
            env.episode_index = max(env.episode_index, error.episode_index)

    def check_bounds(
        self,
        block: Block,
        raw_row: int,
        env_indices: Sequence[int],
        where: str,
        actions: Mapping[int, Any] | None = None,
    ) -> None:
        """Warn, once, or raise EnvSpaceError if first observations lie outside of their space.

        Their dtype and shape always fit.
        """
        if "bounds" in self._warned:
            return
        for i in env_indices:
            if i not in self.unseen:
                continue
            pairs = zip(self._parts.layout.raw.leaves, block.raw, strict=True)
            found = [what for leaf, column in pairs if (what := outside(leaf, leaf.as_sample(column[raw_row, i])))]
            if found:
                self._handle_outside(i, f"returned from {where} what does not fit: {'; '.join(found)}", actions)
                return

    def _handle_outside(self, i: int, what: str, actions: Mapping[int, Any] | None) -> None:
        if not self._parts.spec.options.strict_spaces:
            self.note({"bounds": f"Env {i} {what}"})
            self.warn()
            return
        env = self.envs[i]
        raise EnvSpaceError(
            f"{what}. {FIX_ENV} (gymnasium.wrappers.TransformObservation).",
            env_index=i,
            episode_index=env.episode_index,
            seed=env.start.seed,
            action=None if actions is None else copy.deepcopy(actions[i]),
        )

    def note(self, oddities: Mapping[str, str]) -> None:
        """Note what broke the contract of an env but lost nothing, to be warned of later."""
        self._oddities = {**oddities, **self._oddities}

    def warn(self) -> None:
        """Warn of what was noted, once of each kind."""
        if not self._oddities:
            return
        for kind, what in self._oddities.items():
            if kind not in self._warned:
                warn(f"{what}. It is recorded as it is. {FIX_ENV}; strict_spaces=True refuses it.", EnvSpaceWarning)
                self._warned.add(kind)
        self._oddities = {}

    def keep(self, block: Block, t: int) -> None:
        """Remember observation t, for the next rollout to go on from."""
        kept = [(block.raw, self._raw, block.raw_row(t))]
        if block.observations is not block.raw:
            kept.append((block.observations, self._observations, block.row(t)))
        for columns, into, row in kept:
            for column, last in zip(columns, into, strict=True):
                last[...] = copy.deepcopy(column[row]) if column.dtype == object else column[row]

    def keep_rows(self, block: Block, rows: Sequence[int]) -> None:
        """Remember observation `rows[i]` of each env i."""
        kept = [(block.raw, self._raw, [block.raw_row(row) for row in rows])]
        if block.observations is not block.raw:
            kept.append((block.observations, self._observations, list(rows)))
        for columns, into, where in kept:
            for column, last in zip(columns, into, strict=True):
                values = column[where, range(len(rows))]
                last[...] = copy.deepcopy(values) if column.dtype == object else values

    def resume(self, block: Block) -> None:
        """Write what `keep` remembered into the first row."""
        _put(block.raw, 0, self._raw)
        if block.observations is not block.raw:
            _put(block.observations, 0, self._observations)

    def abandon(self) -> None:
        """Give up all episodes that are going."""
        for env in self.envs:
            env.running = False
        if self.restarts is not None:
            self.restarts.abandon()
        self.untold, self.reset_infos = [], []
        if self.trail is not None:
            self.trail.clear()

    def last_observations(self, i: int) -> tuple[list[Any], list[Any]]:
        """Return what an env observed last, and what the agent is to see of it, one value per leaf each."""
        return [column[i] for column in self._raw], [column[i] for column in self._observations]

    def put_observations(self, i: int, raw: Sequence[Any], observations: Sequence[Any]) -> None:
        """Let an env have observed this last; without preprocessors, the agent sees the same."""
        for columns, values in ((self._raw, raw), (self._observations, observations or raw)):
            for column, value in zip(columns, values, strict=True):
                column[i] = copy.deepcopy(value)

    def note_actions(self, block: Block, lengths: Sequence[int]) -> None:
        """Keep the actions of the running episodes, whose steps are counted by now."""
        if self.trail is not None:
            self.trail.add(block.env_actions, lengths, [env.steps if env.running else 0 for env in self.envs])


def _put(columns: Sequence[Any], index: Any, values: Sequence[Any]) -> None:
    for column, value in zip(columns, values, strict=True):
        column[index] = value
