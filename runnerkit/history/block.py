"""The block: the arrays of one rollout, `[T + 1, N]` for observations and `[T, N]` for everything else.

Executors write observations, rewards and flags into it; the runner writes the actions. After the rollout, histories
use its arrays without a copy. Every rollout has its own block, so histories never change later.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Generic, Self, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from runnerkit._core.spaces import Column, Layout
from runnerkit.history import compaction, extras
from runnerkit.history.layout import BlockLayout, Mark, Span
from runnerkit.history.log import EpisodeLog, reason_of
from runnerkit.records import EndReason, EnvFault, Episode, EpisodeSchedule, EpisodeStart, MadeBy, Seeding

__all__ = ["Block"]

T = TypeVar("T")


class _worked_out(Generic[T]):
    """A property of a block that is worked out of its log once, and kept with that log.

    `cached_property` would keep it in the `__dict__` of the block, after which CPython finds all its attributes slowly.
    """

    def __init__(self, work_out: Callable[[Any], T]) -> None:
        self.__doc__ = work_out.__doc__
        self._work_out, self._name = work_out, work_out.__name__

    @overload
    def __get__(self, block: None, kind: type | None = None) -> Self: ...
    @overload
    def __get__(self, block: Block, kind: type | None = None) -> T: ...
    def __get__(self, block: Block | None, kind: type | None = None) -> Self | T:
        if block is None:
            return self
        known = block.log.worked_out
        if self._name not in known:
            known[self._name] = self._work_out(block)
        found: T = known[self._name]
        return found


class Block:
    """The arrays of one rollout of T steps in N envs::

        for i in range(block.n_envs):
            rewards = block.rewards[: block.lengths[i], i]
            records = block.episodes(i)

    Step t leads from observation row t to row t + 1. If an episode ends with step t, row t + 1 holds the first
    observation of the next episode; `final_at(i)` then says where in `final_columns` the final observation is.

    Observations and actions are lists of columns, one per leaf of the space, in the order of `layout.*.leaves`. The
    columns of an object space have dtype object. A block with `window=True` keeps only the last step (T is 1), for
    runners that make their own history from transitions.

    Attributes:
        layout: what the columns are.
        n_envs: the number of envs, N.
        steps: the number of steps for which the block has rows, T.
        observations: what the agent saw, `[T + 1, N, *shape]` per leaf, of the leaf's dtype.
        actions: what the agent chose, `[T, N, *shape]` per leaf, of the leaf's dtype.
        rewards: the rewards of the env, float64 `[T, N]`.
        processed_rewards: rewards after reward processors, float64 `[T, N]`. Without them it is `rewards` itself.
        terminated: bool `[T, N]`.
        truncated: bool `[T, N]`.
        raw: observations before preprocessors, `[T + 1, N, *shape]` per leaf. Without preprocessors it is
            `observations` itself. With preprocessors, but without `keep_raw`, it has two rows.
        env_actions: actions after postprocessors, `[T, N, *shape]` per leaf. Without postprocessors it is `actions`.
        extras: what the agent gave beside its actions, by name: `[T, N, *shape]`. They are there from its first answer
            on.
        env_indices: for each column, the env of its runner.
        lengths: for each env, the number of its steps; rows after them mean nothing.
        tails: for each env, the end reason of its last episode, unless a flag of its last step says it.
        first_marks: for each env that took part, the episode to which its first row belongs.
        log: the episodes that began later, with the final observations before them, and infos.
        raw_log: the same, with final observations before preprocessors; None if they are not kept.
        schedule: says how the episodes of the log began, except those in `given`.
        faults: the envs that failed and were made anew, in order.
        given: how episodes began, by (env index, episode index), if a schedule of the user says so.
        seeding: which facts about the envs are known.
        made_by: the parts of the runner.

    """

    def __init__(self, layout: BlockLayout, steps: int, *, window: bool = False) -> None:
        self.layout: BlockLayout = layout
        self.n_envs: int = layout.n_envs
        self.steps: int = steps
        self.env_indices: list[int] = list(range(layout.n_envs))
        self.lengths: list[int] = [0] * layout.n_envs
        self.tails: list[EndReason] = [EndReason.CUT] * layout.n_envs
        self.first_marks: dict[int, Mark] = {}
        self.log: EpisodeLog = EpisodeLog(layout.observation)
        self.raw_log: EpisodeLog | None = EpisodeLog(layout.raw) if layout.preprocessed and layout.keep_raw else None
        self.schedule: EpisodeSchedule | None = None
        self.given: dict[tuple[int, int], EpisodeStart] = {}
        self.faults: list[EnvFault] = []
        self.seeding: Seeding = Seeding()
        self.made_by: MadeBy = MadeBy()
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
        self.processed_rewards: NDArray[np.float64] = self.rewards
        if layout.reward_processed:
            self.processed_rewards = self._zeros((rows, n), np.dtype(np.float64))
        self.terminated: NDArray[np.bool_] = self._zeros((rows, n), np.dtype(np.bool_))
        self.truncated: NDArray[np.bool_] = self._zeros((rows, n), np.dtype(np.bool_))

        self.extras: dict[str, Column] = {}

    def _allocate(self, layout: Layout, rows: int) -> list[Column]:
        return layout.allocate(rows, self.n_envs)

    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
        return np.zeros(shape, dtype)

    @property
    def nbytes(self) -> int:
        """The bytes of all columns."""
        return sum(column.nbytes for column in self.columns())

    @property
    def bytes_per_step(self) -> int:
        """The bytes that one step of all envs takes."""
        return self.layout.bytes_per_step + sum(column[:1].nbytes for column in self.extras.values())

    def at(self, t: int) -> int:
        """Return the row with the actions, rewards and flags of step t."""
        return 0 if self._window else t

    def row(self, t: int) -> int:
        """Return the row with observation t."""
        return t & 1 if self._window else t

    def raw_row(self, t: int) -> int:
        """Return the row of `raw` with observation t."""
        return t & 1 if self._window or (self.layout.preprocessed and not self.layout.keep_raw) else t

    @property
    def keeps_raw(self) -> bool:
        """Whether there is a row of `raw` for each observation."""
        return self.raw_row(2) == 2

    def resize(self, steps: int) -> None:
        """Grow or shrink to `steps` steps in place. Arrays may move, but are never held twice.

        Allowed only while nobody has a view of the block.
        """
        more = steps - self.steps
        for column in self.columns():
            column.resize((len(column) + more, *column.shape[1:]), refcheck=False)
        self.steps = steps

    def renew(self) -> None:
        """Go on with copies of all columns: an env that was left behind may still write into those before."""
        raw, env_actions, rewards = self.raw, self.env_actions, self.rewards
        observations, actions = [column.copy() for column in self.observations], [c.copy() for c in self.actions]
        self.raw = observations if raw is self.observations else [column.copy() for column in raw]
        self.env_actions = actions if env_actions is self.actions else [column.copy() for column in env_actions]
        self.observations, self.actions, self.rewards = observations, actions, rewards.copy()
        is_one = self.processed_rewards is rewards
        self.processed_rewards = self.rewards if is_one else self.processed_rewards.copy()
        self.terminated, self.truncated = self.terminated.copy(), self.truncated.copy()

    def trim(self, steps: int, *, release: bool = True) -> None:
        """Forget what comes after the given number of steps; `release` its rows, unless somebody may have a view."""
        self.log.infos = [entry for entry in self.log.infos if entry[1] < steps]
        if release and steps < self.steps:
            self.resize(steps)

    def rewind(self, t: int) -> None:
        """Let observation t be the first one, and forget what led to it: the same arrays serve the next steps.

        All envs go on: of each episode that ended, the log has the one that follows.
        """
        row = self.row(t)
        for column in self.observations:
            column[0] = column[row]
        if self.raw is not self.observations:
            row = self.raw_row(t)
            for column in self.raw:
                column[0] = column[row]
        if self.log.is_empty:  # so that no flag is set
            self.log.worked_out.clear()  # a batch in which no episode ended was read, too
        else:
            self.forget_steps()

    def forget_steps(self) -> None:
        """Forget all steps, so that the same arrays serve the next ones. Observations stay as they are."""
        self.terminated[:], self.truncated[:] = False, False
        self.given.clear()
        self.log = EpisodeLog(self.layout.observation)
        if self.raw_log is not None:
            self.raw_log = EpisodeLog(self.layout.raw)

    def episode(self, record: Episode, mark: Mark, stop: int, earlier: Block | None = None) -> Block:
        """Return a block of one env with a copy of an episode that ended with row `stop`, the last row written.

        `mark` says where it begins; if it is so many rows before the first one, `earlier` has them. The final
        observation is in the log, if the next episode has taken its row.
        """
        i, start, before = record.env_index, mark.row, max(0, -mark.row)
        part = Block(replace(self.layout, n_envs=1), stop - start)
        part.made_by = self.made_by
        part.extras = extras.allocated(self.extras, stop - start, 1)
        for into, of in zip(part.columns(), self.columns(), strict=True):
            into[before:, 0] = of[start + before : start + len(into), i]
        if earlier is not None:
            for into, of in zip(part.columns(), earlier.columns(), strict=True):
                into[:before] = of[:before]
        entry = self.log.find(i, stop)
        if entry is not None:
            _put_last(part.observations, self.log.finals(self.layout.observation, entry))
            if self.raw_log is not None:
                _put_last(part.raw, self.raw_log.finals(self.layout.raw, entry))
        part.clear_raw()
        part.env_indices, part.lengths, part.tails = [self.env_indices[i]], [stop - start], [record.end_reason]
        part.first_marks = {0: mark._replace(row=0)}
        if (i, stop) in self.log.unknown:
            part.log.unknown = [(0, stop - start)]
        part.log.infos = [(0, row - start, info) for k, row, info in self.log.infos if k == i and start <= row < stop]
        index = record.episode_index
        part.log.reset_infos = [(0, index, info) for k, which, info in self.log.reset_infos if (k, which) == (i, index)]
        if earlier is not None:
            part.log.infos = [*earlier.log.infos, *part.log.infos]
            part.log.reset_infos = earlier.log.reset_infos
        return part

    def clear_raw(self) -> None:
        """Overwrite what the memory of raw observations happens to hold, if none are kept."""
        if self.layout.preprocessed and not self.layout.keep_raw:
            for column in self.raw:
                column[...] = np.zeros((), column.dtype)

    def columns(self) -> list[Column]:
        """Return each column once, except a `raw` that is not kept."""
        columns = [self.rewards, self.terminated, self.truncated, *self.observations, *self.actions]
        if self.raw is not self.observations and self.layout.keep_raw:
            columns += self.raw
        if self.env_actions is not self.actions:
            columns += self.env_actions
        if self.processed_rewards is not self.rewards:
            columns.append(self.processed_rewards)
        return columns + list(self.extras.values())

    def drop(self, rows: NDArray[np.intp], env_indices: NDArray[np.intp]) -> None:
        """Drop the steps `(rows[k], env_indices[k])`, in which envs rested, and close the gaps. `rows` is sorted.

        A new episode begins after each of these steps. The log gets it, except after row 0, where it is the first
        episode. `lengths` and the rows of infos change. Allowed only while nobody has a view of the block.
        """
        self._log_after_rests(rows, env_indices)
        rests_of = {i: rows[env_indices == i] for i in {i for i, _, _ in self.log.infos}}
        self.log.infos = [(i, row - int(rests_of[i].searchsorted(row)), info) for i, row, info in self.log.infos]
        compaction.drop(self.columns(), rows, env_indices)
        counts = np.bincount(env_indices, minlength=self.n_envs)
        self.lengths = [length - count for length, count in zip(self.lengths, counts.tolist(), strict=True)]

    def close_gaps(self, rows: NDArray[np.intp], env_indices: NDArray[np.intp]) -> None:
        """Drop the steps `(rows[k], env_indices[k])`, in which envs failed. `rows` is sorted.

        The log has the episodes that began after them; what it says of later rows is corrected. Allowed only while
        nobody has a view of the block.
        """
        gaps = {i: rows[env_indices == i] for i in set(env_indices.tolist())}

        def moved(i: int, row: int) -> int:
            return row - int(gaps[i].searchsorted(row)) if i in gaps else row

        log = self.log
        log.infos = [(i, moved(i, row), info) for i, row, info in log.infos if row not in gaps.get(i, ())]
        log.unknown = [(i, moved(i, row)) for i, row in log.unknown]
        for one in (log, self.raw_log):
            if one is not None:
                one.move_rows(moved)
        compaction.drop(self.columns(), rows, env_indices)
        self.lengths = [moved(i, length) for i, length in enumerate(self.lengths)]

    def _log_after_rests(self, rows: NDArray[np.intp], envs: NDArray[np.intp]) -> None:
        """Log the episodes that began after rests, with the final observations before them."""
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
        """Return the steps of an env whose next observation is unknown."""
        return [row - 1 for i, row in self.log.unknown if i == env_index and row <= self.lengths[env_index]]

    def start_of(self, env_index: int, episode_index: int) -> EpisodeStart:
        """Return the seed and options with which an episode of the log began."""
        given = self.given.get((env_index, episode_index))
        if given is None and self.schedule is not None:
            return self.schedule(env_index, episode_index)
        return given or EpisodeStart()

    @_worked_out
    def begun(self) -> NDArray[np.int64]:
        """The episodes that began after the first rows: `EpisodeLog.table`, int64 `[n, 4]`."""
        return self.log.table()

    @_worked_out
    def final_columns(self) -> list[Column]:
        """For each row of `begun`, the final observation of the episode before: `[n, *shape]` per leaf."""
        return self.log.finals(self.layout.observation)

    @_worked_out
    def raw_final_columns(self) -> list[Column]:
        """The same before preprocessors; empty if they are not kept."""
        if not self.layout.preprocessed:
            return self.final_columns
        return [] if self.raw_log is None else self.raw_log.finals(self.layout.raw)

    def begun_of(self, env_index: int) -> NDArray[np.int64]:
        """Return the rows of `begun` that belong to an env and lie within its steps."""
        mine = (self.begun[:, 0] == env_index) & (self.begun[:, 1] <= self.lengths[env_index])
        return np.flatnonzero(mine)

    def ends_of(self, env_index: int) -> NDArray[np.int64]:
        """Return the rows of `begun` after an episode with steps. After a crash, an episode may have none."""
        ends = self.ends
        mine: NDArray[np.int64] = ends[0, ends[1] == env_index]
        return mine

    @_worked_out
    def ends(self) -> NDArray[np.int64]:
        """Where an episode with steps ends and another follows, env by env.

        Int64 `[3, n]`: the row of `begun` that has the next one, the env, and the last step.
        """
        if len(self.log) <= _FEW:  # as in short batches, where NumPy's calls would take most of the time
            return np.array(self._few_ends(), np.int64).reshape(-1, 3).T
        envs, rows = self.begun[:, 0], self.begun[:, 1]
        lengths = np.array(self.lengths)
        which = np.flatnonzero(rows <= lengths[envs])
        which = which[np.argsort(envs[which], kind="stable")]
        envs, rows = envs[which], rows[which]
        before = np.concatenate([[0], rows[:-1]])
        before[1:][envs[1:] != envs[:-1]] = 0
        return np.stack([which, envs, rows - 1])[:, rows > before]

    def _few_ends(self) -> list[tuple[int, int, int]]:
        last: dict[int, int] = {}  # by env: where its last episode began
        found: list[tuple[int, int, int]] = []
        for entry, (i, row) in enumerate(self.log.rows()):
            if row <= self.lengths[i]:
                if row > last.get(i, 0):
                    found.append((entry, i, row - 1))
                last[i] = row
        return sorted(found, key=operator.itemgetter(1))

    def final_at(self, env_index: int) -> dict[int, int]:
        """Return where in `final_columns` the final observations of an env are, by step.

        Of steps that are missing, the next row has the next observation.
        """
        which = self.ends_of(env_index)
        return dict(zip((self.begun[which, 1] - 1).tolist(), which.tolist(), strict=True))

    def marks(self, env_index: int) -> list[Mark]:
        """Return where an env's episodes begin, in order."""
        return [span.mark for span in self.spans(env_index)]

    def spans(self, env_index: int) -> list[Span]:
        """Return each episode with a step, in order."""
        return [span for span in self.all_spans(env_index) if span.mark.row < span.stop]

    def all_spans(self, env_index: int) -> list[Span]:
        """Return each episode in order, also those that have no step in this block."""
        if env_index not in self.first_marks:
            return []
        found, mark = [], self.first_marks[env_index]
        which = self.begun_of(env_index)
        for entry, (_, row, episode_index, number) in zip(which.tolist(), self.begun[which].tolist(), strict=True):
            found.append(Span(mark, row, reason_of(number), entry))
            mark = Mark(row, episode_index, self.start_of(env_index, episode_index))
        found.append(Span(mark, self.lengths[env_index], self.tails[env_index], None))
        return found

    def reason(self, env_index: int, span: Span) -> EndReason:
        """Return why the rows of an episode end where they do."""
        if span.mark.row >= span.stop:
            return span.otherwise or EndReason.CUT
        if self.terminated[span.stop - 1, env_index]:
            return EndReason.TERMINATED
        if self.truncated[span.stop - 1, env_index]:
            return EndReason.TRUNCATED
        return span.otherwise or EndReason.CUT

    def episodes(self, env_index: int) -> list[Episode]:
        """Return the records of an env's episodes, in order."""
        return [self._episode(env_index, span) for span in self.spans(env_index)]

    @_worked_out
    def has_broken_off(self) -> bool:
        """Whether an episode ended within the rollout, but without a flag."""
        return bool(self.begun[:, 3].any())

    def broken_off(self, env_index: int) -> list[int]:
        """Return the last steps of the episodes that ended within the rollout, but without a flag."""
        if not self.has_broken_off:
            return []
        which = self.ends_of(env_index)
        steps = self.begun[which[self.begun[which, 3] > 0], 1] - 1
        over = self.terminated[steps, env_index] | self.truncated[steps, env_index]
        return [step for step, was_over in zip(steps.tolist(), over.tolist(), strict=True) if not was_over]

    def _episode(self, env_index: int, span: Span) -> Episode:
        mark, stop = span.mark, span.stop
        return Episode(
            env_index=self.env_indices[env_index],
            episode_index=mark.episode_index,
            seed=mark.start.seed,
            options=mark.start.options,
            start=mark.row,
            length=stop - mark.row,
            return_=float(self.rewards[mark.row : stop, env_index].sum()),
            end_reason=self.reason(env_index, span),
            steps_before=mark.steps_before,
            return_before=mark.return_before,
        )


def _put_last(columns: Sequence[Column], finals: Sequence[Column]) -> None:
    for column, final in zip(columns, finals, strict=True):
        column[-1, 0] = final[0]


_FEW: Final = 16  # episodes for which a loop is faster than NumPy
