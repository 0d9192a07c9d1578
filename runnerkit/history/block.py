"""The block: the arrays of one rollout, `[T + 1, N]` observations and `[T, N]` of the rest.

Executors write into it in place, the runner writes the actions, and when the rollout is over it is handed
to the histories as it is, without a copy. Every rollout gets a block of its own, so that nothing handed out
changes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column, Layout
from runnerkit.errors import ArgumentError
from runnerkit.history import compaction
from runnerkit.history.log import EpisodeLog, reason_of
from runnerkit.records import EndReason, Episode, EpisodeSchedule, EpisodeStart, Provenance

__all__ = ["Block", "BlockLayout", "Mark"]


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """What the columns of a block are, for one runner.

    `raw` and `env_action` are the env's own spaces; `observation` and `action` the agent's. Where nothing
    processes observations or actions the two are the same and are stored once.
    """

    n_envs: int
    raw: Layout
    observation: Layout
    action: Layout
    env_action: Layout
    preprocessed: bool = False
    postprocessed: bool = False
    keep_raw: bool = False

    @property
    def signature(self) -> tuple[object, ...]:
        """What must be equal for blocks to be put together."""
        spaces = (self.raw.space, self.observation.space, self.action.space, self.env_action.space)
        return (*spaces, self.preprocessed, self.postprocessed, self.keep_raw)

    @property
    def bytes_per_step(self) -> int:
        """Bytes that one step of all envs takes."""
        size = self.observation.nbytes + self.action.nbytes + 8 + 1 + 1
        if self.preprocessed and self.keep_raw:
            size += self.raw.nbytes
        if self.postprocessed:
            size += self.env_action.nbytes
        return size * self.n_envs


@dataclass(frozen=True, slots=True)
class Mark:
    """Where an episode, or the rest of one, begins in an env's rows."""

    row: int
    episode_index: int
    start: EpisodeStart
    steps_before: int = 0
    return_before: float = 0.0


class Block:
    """The arrays of one rollout.

    Time is the leading axis, `[row, env_index, *shape]`; nested spaces have one column per leaf, in the order
    of `layout.*.leaves`. Step `t` leads from observation row `t` to row `t + 1`; where an episode ended in
    between, row `t + 1` may be the first observation of the next one; then `final_at(i)` tells where the final one is.

    A `window` block keeps the last step only, for runners that make their own history from transitions.
    """

    def __init__(self, layout: BlockLayout, steps: int, *, window: bool = False) -> None:
        self.layout: BlockLayout = layout
        self.n_envs: int = layout.n_envs
        self.steps: int = steps
        self.env_indices: list[int] = list(range(layout.n_envs))
        """Which env of its runner each column is of."""
        self.lengths: list[int] = [0] * layout.n_envs
        """How many steps each env took."""
        self.tails: list[EndReason] = [EndReason.CUT] * layout.n_envs
        """How the last episode of each env ends, if neither terminated nor truncated; for others, the log says it."""
        self.first_marks: dict[int, Mark] = {}
        """The episodes that the first rows are of, by env."""
        self.log: EpisodeLog = EpisodeLog(layout.observation)
        """What came after them, with final observations as the agent saw them."""
        self.raw_log: EpisodeLog | None = EpisodeLog(layout.raw) if layout.preprocessed and layout.keep_raw else None
        """The same with final observations as they were before preprocessors, if these are kept."""
        self.schedule: EpisodeSchedule | None = None
        """Tells how the episodes of the log began, but for those in `given`."""
        self.given: dict[tuple[int, int], EpisodeStart] = {}
        """How episodes began of which a user's schedule said so, by (env index, episode index)."""
        self.provenance: Provenance = Provenance()
        """What can be told of the envs."""
        self._window: bool = window
        n, rows = layout.n_envs, 1 if window else steps
        self.observations: list[Column] = self._allocate(layout.observation, rows + 1)
        self.raw: list[Column] = self.observations
        if layout.preprocessed:
            self.raw = self._allocate(layout.raw, rows + 1 if layout.keep_raw else 2)
        self.actions: list[Column] = self._allocate(layout.action, rows)
        self.env_actions: list[Column] = self.actions
        if layout.postprocessed:
            self.env_actions = self._allocate(layout.env_action, rows)
        self.rewards: NDArray[np.float64] = self._zeros((rows, n), np.dtype(np.float64))
        self.terminated: NDArray[np.bool_] = self._zeros((rows, n), np.dtype(np.bool_))
        self.truncated: NDArray[np.bool_] = self._zeros((rows, n), np.dtype(np.bool_))

    def _allocate(self, layout: Layout, rows: int) -> list[Column]:
        return layout.allocate(rows, self.n_envs)

    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
        return np.zeros(shape, dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column.nbytes for column in self._columns())

    def at(self, t: int) -> int:
        """Return the row that holds actions, reward and flags of step t."""
        return 0 if self._window else t

    def row(self, t: int) -> int:
        """Return the row that holds observation t."""
        return t & 1 if self._window else t

    def raw_row(self, t: int) -> int:
        """Return the row that holds the env's own observation t."""
        return t & 1 if self._window or (self.layout.preprocessed and not self.layout.keep_raw) else t

    def resize(self, steps: int) -> None:
        """Grow or shrink to `steps` steps, in place: the memory moves, it is not held twice.

        Only for a block of which nobody has a view yet.
        """
        more = steps - self.steps
        for column in self._columns():
            column.resize((len(column) + more, *column.shape[1:]), refcheck=False)
        self.steps = steps

    def trim(self, steps: int) -> None:
        """Let go of all rows after the given number of steps."""
        self.log.infos = [entry for entry in self.log.infos if entry[1] < steps]
        if steps < self.steps:
            self.resize(steps)

    @classmethod
    def merged(cls, parts: Sequence[tuple[Block, int]], steps: int) -> Block:
        """Return a block of copies: its env k is env `parts[k][1]` of `parts[k][0]`, for the first `steps` steps."""
        block = cls(replace(parts[0][0].layout, n_envs=len(parts)), steps)
        for k, (source, i) in enumerate(parts):
            if source.layout.signature != block.layout.signature:
                raise ArgumentError("Histories can only be stacked if they are of the same spaces and processors.")
            for into, of in zip(block._columns(), source._columns(), strict=True):
                into[:, k] = of[: len(into), i]
            block.provenance = block.provenance.and_(source.provenance)
            block._take_episodes(k, source, i, steps)
        if block.layout.preprocessed and not block.layout.keep_raw:
            for column in block.raw:  # of which nothing is kept; not what the memory happens to hold
                column[...] = np.zeros((), column.dtype)
        return block

    def _columns(self) -> list[Column]:
        """Return all columns whose rows are kept, each once."""
        columns = [self.rewards, self.terminated, self.truncated, *self.observations, *self.actions]
        if self.raw is not self.observations and self.layout.keep_raw:
            columns += self.raw
        if self.env_actions is not self.actions:
            columns += self.env_actions
        return columns

    def drop(self, rows: NDArray[np.intp], env_indices: NDArray[np.intp]) -> None:
        """Drop steps in which envs rested, `(rows[k], env_indices[k])` in the order of the rows, and close the gaps.

        After each of them but in row 0 an episode begins, which is noted in the log. Lengths and the rows of infos
        change. Only for a block of which nobody has a view yet.
        """
        self._log_after_rests(rows, env_indices)
        rests_of = {i: rows[env_indices == i] for i in {i for i, _, _ in self.log.infos}}
        self.log.infos = [(i, row - int(rests_of[i].searchsorted(row)), info) for i, row, info in self.log.infos]
        compaction.drop(self._columns(), rows, env_indices)
        counts = np.bincount(env_indices, minlength=self.n_envs)
        self.lengths = [length - count for length, count in zip(self.lengths, counts.tolist(), strict=True)]

    def _log_after_rests(self, rows: NDArray[np.intp], envs: NDArray[np.intp]) -> None:
        """Note the episodes that began after rests, with the observations in which those before them ended."""
        before = compaction.rank(envs, self.n_envs)
        late = set(envs[rows == 0].tolist())  # what begins after row 0 is the first episode of the env
        marks = self.first_marks
        first = np.array([marks[i].episode_index + (i not in late) if i in marks else 0 for i in range(self.n_envs)])
        which = rows > 0
        rows, envs, before = rows[which], envs[which], before[which]
        table = np.stack([envs, rows - before, first[envs] + before, np.zeros_like(rows)], axis=1)
        where = rows * self.n_envs + envs
        self.log.begin_many(table, [compaction.as_items(column)[where] for column in self.observations])
        if self.raw_log is not None:
            self.raw_log.begin_many(table, [compaction.as_items(column)[where] for column in self.raw])

    def unknown_after(self, env_index: int) -> list[int]:
        """Return the steps of an env of which nobody knows where they led."""
        return [row - 1 for i, row in self.log.unknown if i == env_index and row <= self.lengths[env_index]]

    def start_of(self, env_index: int, episode_index: int) -> EpisodeStart:
        """Return how an episode of the log began."""
        given = self.given.get((env_index, episode_index))
        if given is None and self.schedule is not None:
            return self.schedule(env_index, episode_index)
        return given or EpisodeStart()

    @cached_property
    def begun(self) -> NDArray[np.int64]:
        """The episodes that began after the first rows, `[n, 4]`, as `EpisodeLog.table` has them."""
        return self.log.table()

    @cached_property
    def final_columns(self) -> list[Column]:
        """The final observations of the episodes before these, one array `[n, *shape]` per leaf."""
        return self.log.finals(self.layout.observation)

    @cached_property
    def raw_final_columns(self) -> list[Column]:
        """The same before preprocessors."""
        if not self.layout.preprocessed:
            return self.final_columns
        return [] if self.raw_log is None else self.raw_log.finals(self.layout.raw)

    def begun_of(self, env_index: int) -> NDArray[np.int64]:
        """Return which rows of `begun` are of one env, and lie within its steps."""
        mine = (self.begun[:, 0] == env_index) & (self.begun[:, 1] <= self.lengths[env_index])
        return np.flatnonzero(mine)

    def ends_of(self, env_index: int) -> NDArray[np.int64]:
        """Return which rows of `begun` tell of the end of an episode that had steps: after a crash it may have none."""
        which = self.begun_of(env_index)
        has_steps: NDArray[np.bool_] = np.diff(self.begun[which, 1], prepend=0) > 0
        return which[has_steps]

    def final_at(self, env_index: int) -> dict[int, int]:
        """Return where in `final_columns` the final observations of an env are, by step.

        Of steps that are missing, the next row has the next observation.
        """
        which = self.ends_of(env_index)
        return dict(zip((self.begun[which, 1] - 1).tolist(), which.tolist(), strict=True))

    def marks(self, env_index: int) -> list[Mark]:
        """Return where an env's episodes begin, in order."""
        return [mark for mark, _, _ in self._spans(env_index)]

    def _spans(self, env_index: int) -> list[tuple[Mark, int, EndReason | None]]:
        """Return where each episode begins and ends, and how if no flag says so; those without a step are none."""
        if env_index not in self.first_marks:
            return []
        marks, reasons = [self.first_marks[env_index]], []
        for _, row, episode_index, number in self.begun[self.begun_of(env_index)].tolist():
            marks.append(Mark(row, episode_index, self.start_of(env_index, episode_index)))
            reasons.append(reason_of(number))
        stops = [*(mark.row for mark in marks[1:]), self.lengths[env_index]]
        spans = zip(marks, stops, [*reasons, self.tails[env_index]], strict=True)
        return [(mark, stop, reason) for mark, stop, reason in spans if mark.row < stop]

    def episodes(self, env_index: int) -> list[Episode]:
        """Return the records of an env's episodes, in order."""
        return [self._episode(env_index, *span) for span in self._spans(env_index)]

    def broken_off(self, env_index: int) -> list[int]:
        """Return the last steps of an env's episodes that ended in the middle of the rollout without a flag."""
        if not self.begun[:, 3].any():
            return []
        which = self.ends_of(env_index)
        steps = self.begun[which[self.begun[which, 3] > 0], 1] - 1
        over = self.terminated[steps, env_index] | self.truncated[steps, env_index]
        return [step for step, was_over in zip(steps.tolist(), over.tolist(), strict=True) if not was_over]

    def _take_episodes(self, env_index: int, source: Block, source_index: int, steps: int) -> None:
        """Take over what is known of the episodes of another block's env."""
        self.env_indices[env_index] = source.env_indices[source_index]
        self.lengths[env_index], self.tails[env_index] = steps, source.tails[source_index]
        if source_index in source.first_marks:
            self.first_marks[env_index] = source.first_marks[source_index]
        for k in source.begun_of(source_index).tolist():
            _, row, episode_index, number = source.begun[k].tolist()
            self.given[env_index, episode_index] = source.start_of(source_index, episode_index)
            self.log.begin(env_index, row, episode_index, source.final_columns, k, reason_of(number))
            if self.raw_log is not None:
                self.raw_log.begin(env_index, row, episode_index, source.raw_final_columns, k)
        self.log.unknown += [(env_index, row) for i, row in source.log.unknown if i == source_index]
        for entries, others in (
            (self.log.infos, source.log.infos),
            (self.log.reset_infos, source.log.reset_infos),
        ):
            entries += [(env_index, row, info) for i, row, info in others if i == source_index]

    def _episode(self, env_index: int, mark: Mark, stop: int, otherwise: EndReason | None) -> Episode:
        if self.terminated[stop - 1, env_index]:
            reason = EndReason.TERMINATED
        elif self.truncated[stop - 1, env_index]:
            reason = EndReason.TRUNCATED
        else:
            reason = otherwise or EndReason.CUT
        return Episode(
            env_index=self.env_indices[env_index],
            episode_index=mark.episode_index,
            seed=mark.start.seed,
            options=mark.start.options,
            start=mark.row,
            length=stop - mark.row,
            return_=float(self.rewards[mark.row : stop, env_index].sum()),
            end_reason=reason,
            steps_before=mark.steps_before,
            return_before=mark.return_before,
        )
