"""Histories as columns: one array per quantity, for one env or for several stacked envs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, NoReturn, Self, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar, override

from runnerkit._core.spaces import Column, Layout
from runnerkit._core.types import ActT, ObsT
from runnerkit.errors import ArgumentError
from runnerkit.history.block import Block
from runnerkit.history.episode_table import as_table
from runnerkit.history.rows import copied, starts_of
from runnerkit.records import EnvFault, Episode, MadeBy, Seeding

__all__ = ["ColumnHistory", "EpisodeColumns"]

RewardsT = TypeVar("RewardsT", default=NDArray[np.float64])
FlagsT = TypeVar("FlagsT", default=NDArray[np.bool_])
ExtraT = TypeVar("ExtraT", default=Any)

Info: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EpisodeColumns(Generic[ObsT, ActT, RewardsT, FlagsT, ExtraT]):
    """One episode, or its part in one rollout: T + 1 observations and T rows of everything else.

    Attributes:
        record: the record of the episode.
        observations: `[T + 1, *shape]`; the last one is the final observation.
        actions: what the agent chose, `[T, *shape]`.
        env_actions: what the env got, `[T, *shape]`.
        rewards: the rewards of the env, float64 `[T]`.
        processed_rewards: rewards after reward processors, float64 `[T]`.
        terminated: bool `[T]`.
        truncated: bool `[T]`.
        raw_observations: observations before preprocessors, `[T + 1, *shape]`; None if they were not kept.
        infos: the infos that were kept, by step of the episode. Empty ones are left out.
        reset_info: the info of the reset, or None.
        next_known: bool `[T]`: whether the observation after each step is known, see `ColumnHistory.next_known`.
        extras: what the agent gave beside its actions, by name: `[T, *shape]`, see `ColumnHistory.extras`.

    """

    record: Episode
    observations: ObsT
    actions: ActT
    env_actions: ActT
    rewards: RewardsT
    processed_rewards: RewardsT
    terminated: FlagsT
    truncated: FlagsT
    raw_observations: ObsT | None
    infos: Mapping[int, Info]
    reset_info: Info | None
    next_known: FlagsT
    extras: Mapping[str, ExtraT] = field(default_factory=dict)


class ColumnHistory(Generic[ObsT, ActT, RewardsT, FlagsT, ExtraT]):
    """The steps of one env in one rollout, as columns of T rows::

        history, *others = runner.rollout(agent, steps=1000)
        len(history)                        # T
        history.observations[t], history.actions[t], history.rewards[t], history.next_observations[t]
        history.terminated[t], history.truncated[t]
        for episode in history.split():
            episode.observations            # the final one is included

    Row t is one transition. Observations are as the agent saw them, and actions are as the agent chose them. Processors
    add two columns: `raw_observations` are the observations before preprocessors, and `env_actions` are the actions
    after postprocessors. `episodes` has a record of each episode. `bootstrap` and `last_observations` serve learners.

    `stack` makes one history of several envs; its columns are `[T, N]` instead of `[T]`. To pickle or copy a history
    copies its own rows only, not those of the other envs of the rollout.
    """

    def __init__(self, block: Block, index: int | slice, length: int) -> None:
        self._block = block
        self._index = index
        self._length = length
        # No cached_property: it would have CPython find all attributes slowly, of each batch of a stream.
        self._episodes: list[Episode] | None = None
        self._next: list[Column] | None = None

    def __len__(self) -> int:
        return self._length

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        block, index = self._block, self._index
        if isinstance(index, int):  # the rows of one env: the block has those of all
            block, index = copied([(block, index)], 0, self._length), 0
        return type(self), (block, index, self._length)

    def __getitem__(self, rows: slice) -> Self:
        """Return the rows `history[start:stop]` as a history of their own, copied.

        The records of its episodes tell of its rows only: an episode that began before them is `continued`, and one
        that goes on after them is `cut`.
        """
        given: object = rows  # the value may differ from the annotation
        if not isinstance(given, slice) or given.step not in (None, 1):
            raise ArgumentError(
                f"history[start:stop] selects rows that follow each other, which {given!r} does not. For one row, or "
                "for every k-th, index a column: history.rewards[3]."
            )
        start, stop, _ = given.indices(self._length)
        block = copied(self.parts(), start, max(start, stop))
        return type(self)(block, 0 if isinstance(self._index, int) else slice(None), block.steps)

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # the arrays of a stream's batch soon serve the next one

    @override
    def __repr__(self) -> str:
        envs = (
            f"env_index={self._block.env_indices[self._index]}"
            if isinstance(self._index, int)
            else f"n_envs={self._block.n_envs}"
        )
        return f"<{type(self).__name__} {envs} steps={self._length} episodes={len(self.episodes)}>"

    # ---- columns

    @property
    def observations(self) -> ObsT:
        """What the agent saw: `[T, *shape]`, of the observation space's dtype and nested as the space is."""
        found: ObsT = self._read(self._block.layout.observation, self._block.observations)
        return found

    @property
    def actions(self) -> ActT:
        """What the agent chose: `[T, *shape]`, of the dtype of `runner.action_space` and nested as the space is."""
        found: ActT = self._read(self._block.layout.action, self._block.actions)
        return found

    @property
    def env_actions(self) -> ActT:
        """What the env got: `[T, *shape]`. Without postprocessors, this is `actions`."""
        found: ActT = self._read(self._block.layout.env_action, self._block.env_actions)
        return found

    @property
    def rewards(self) -> RewardsT:
        """The rewards of the env, float64 `[T]`."""
        found: RewardsT = self._array(self._block.rewards[: self._length, self._index])
        return found

    @property
    def processed_rewards(self) -> RewardsT:
        """The rewards after reward processors, float64 `[T]`: what a learner learns from. Without them, `rewards`."""
        found: RewardsT = self._array(self._block.processed_rewards[: self._length, self._index])
        return found

    @property
    def extras(self) -> Mapping[str, ExtraT]:
        """What the agent gave beside its actions, by name: `[T, *shape]`. Empty if it gave nothing::

            class Actor:
                def act(self, observations):
                    ...
                    return actions, {"log_prob": log_probs, "value": values}

            history.extras["value"]

        Dtypes and shapes are those of the first answer in the rollout.
        """
        extras = self._block.extras.items()
        return {name: cast(ExtraT, self._array(column[: self._length, self._index])) for name, column in extras}

    @property
    def terminated(self) -> FlagsT:
        """Whether the env reached a terminal state in this step, bool `[T]`."""
        found: FlagsT = self._array(self._block.terminated[: self._length, self._index])
        return found

    @property
    def truncated(self) -> FlagsT:
        """Whether the env cut the episode short in this step, bool `[T]`."""
        found: FlagsT = self._array(self._block.truncated[: self._length, self._index])
        return found

    @property
    def done(self) -> FlagsT:
        """Whether the env ended the episode in this step, for either reason, bool `[T]`."""
        block = self._block
        ended = block.terminated[: self._length, self._index] | block.truncated[: self._length, self._index]
        found: FlagsT = self._array(ended)
        return found

    @property
    def starts(self) -> FlagsT:
        """Whether an episode begins with this row, bool `[T]`: recurrent learners clear their state there."""
        found: FlagsT = self._array(starts_of(self._block, self._length)[:, self._index])
        return found

    @property
    def next_observations(self) -> ObsT:
        """The observation after each step, `[T, *shape]`; at the end of an episode it is the final observation.

        The array is made on first use. It needs memory of its own only if an episode ended before the last row.
        """
        layout, columns = self._block.layout.observation, self._next or self._shifted()
        found: ObsT = self._array(columns[0]) if layout.is_array else self._present(layout, columns)
        return found

    @property
    def next_known(self) -> FlagsT:
        """Whether `next_observations[t]` is known, bool `[T]`. All are known, except with some vector envs.

        Such a vector env does not provide final observations (see `seeding`). In their place, floats are NaN, other
        numbers are 0 and objects are None. `bootstrap` is False there, so a truncated episode has no value target.
        """
        found: FlagsT = self._array(self._next_known)
        return found

    @property
    def seeding(self) -> Seeding:
        """Which facts about the envs are known: seeds, final observations, steps."""
        exact = all(not self._block.unknown_after(i) for i in self._env_indices)
        return replace(self._block.seeding, final_observations=exact)

    @property
    def made_by(self) -> MadeBy:
        """The parts of the runner that recorded these rows, with distributions, versions and options.

        Stacked histories may be of several runners; then these are the parts of the first one.
        """
        return self._block.made_by

    @property
    def raw_observations(self) -> ObsT | None:
        """The env's own observations, `[T, *shape]`, before preprocessors.

        Without preprocessors they are `observations`. With preprocessors they are None, unless `keep_raw` was set.
        """
        if not self._has_raw:
            return None
        found: ObsT = self._read(self._block.layout.raw, self._block.raw)
        return found

    # ---- episodes

    @property
    def episodes(self) -> list[Episode]:
        """The records of the episodes in these rows, in order. A stacked history has them env by env."""
        if self._episodes is None:
            self._episodes = [episode for i in self._env_indices for episode in self._block.episodes(i)]
        return self._episodes

    @property
    def episodes_array(self) -> NDArray[np.void]:
        """The records of `episodes` as a structured array, one field per attribute::

            history.episodes_array["return_"].mean()
            history.episodes_array[history.episodes_array["end_reason"] == "terminated"]

        Seeds and options are in `episodes` only: they may be larger than an array can hold.
        """
        return as_table(self.episodes)

    @property
    def faults(self) -> list[EnvFault]:
        """The faults after which an env was made anew in this rollout, in order; see `on_env_error="restart"`.

        The step that failed has no row: nothing is known of what it led to.
        """
        envs = {self._block.env_indices[i] for i in self._env_indices}
        return [fault for fault in self._block.faults if fault.env_index in envs]

    @property
    def infos(self) -> Mapping[int, Info]:
        """The infos that are not empty, by row; none without `keep_infos`."""
        i = self._single("infos")
        return {row: info for env, row, info in self._block.log.infos if env == i}

    @property
    def reset_infos(self) -> Mapping[int, Info]:
        """The infos of resets that are not empty, by the first row of the episode; none without `keep_infos`."""
        i = self._single("reset_infos")
        rows = {mark.episode_index: mark.row for mark in self._block.marks(i) if mark.steps_before == 0}
        infos = self._block.log.reset_infos
        return {rows[episode]: info for env, episode, info in infos if env == i and episode in rows}

    def split(self) -> list[EpisodeColumns[ObsT, ActT, RewardsT, FlagsT, ExtraT]]:
        """Return the episodes one by one, each with T + 1 observations and T rows of everything else."""
        if not isinstance(self._index, int):
            return [part for i in self._env_indices for part in self._of(i).split()]
        finals, infos, reset_infos = self._block.final_at(self._index), self.infos, self.reset_infos
        return [self._episode(self._index, record, finals, infos, reset_infos) for record in self.episodes]

    # ---- for value targets

    @property
    def bootstrap(self) -> FlagsT:
        """Where an episode's rows end without a terminal state, bool `[T]`.

        In these rows a value target needs the value V of the next observation::

            target[t] = rewards[t] + gamma * (0 if terminated[t] else V(next_observations[t]))

        They are the rows of a truncation, and the last rows of episodes that the rollout cut or that a fault ended.
        Rows whose next observation is unknown (see `next_known`) are not among them.
        """
        found: FlagsT = self._array(self._bootstrap)
        return found

    @property
    def last_observations(self) -> ObsT:
        """The next observations in the rows of `bootstrap`, in order: `[bootstrap.sum(), *shape]`."""
        where = self._bootstrap
        return cast(
            ObsT, self._present(self._block.layout.observation, [c[where] for c in self._next or self._shifted()])
        )

    @property
    def is_of_one_env(self) -> bool:
        """Whether columns are `[T]`, of one env, and not `[T, N]`."""
        return isinstance(self._index, int)

    def parts(self) -> list[tuple[Block, int]]:
        """Return (block, env index in it) for each env of this history."""
        return [(self._block, i) for i in self._env_indices]

    def expire(self) -> None:
        """Let go of the arrays, which now serve the next batch of a stream."""
        self._block, self._episodes, self._next = _OVER, None, None

    def as_column(self, array: NDArray[Any]) -> RewardsT:
        """Return your own array, such as advantages, in the form of this history's columns: an array or a tensor."""
        found: RewardsT = self._array(array)
        return found

    # ---- inside

    def _array(self, array: Column) -> Any:
        """Return an array in the form that this kind of history has: the array itself, or a tensor."""
        raise NotImplementedError

    def _present(self, layout: Layout, columns: Sequence[Column]) -> Any:
        if layout.is_array:
            return self._array(columns[0])
        values = [
            c.tolist() if leaf.is_object else self._array(c) for leaf, c in zip(layout.leaves, columns, strict=True)
        ]
        return layout.join(values)

    def _read(self, layout: Layout, columns: Sequence[Column]) -> Any:
        """Return the rows of columns in the form that this kind of history has."""
        length, index = self._length, self._index
        if layout.is_array:  # the usual case, for batches that are read every few steps
            return self._array(columns[0][:length, index])
        return self._present(layout, [column[:length, index] for column in columns])

    @property
    def _env_indices(self) -> Sequence[int]:
        return [self._index] if isinstance(self._index, int) else range(self._block.n_envs)

    @property
    def _has_raw(self) -> bool:
        return self._block.layout.keep_raw or not self._block.layout.preprocessed

    def _single(self, what: str) -> int:
        if not isinstance(self._index, int):
            raise ArgumentError(f"{what} belong to one env. Ask each history for its {what} before you stack them.")
        return self._index

    def _of(self, env_index: int) -> Self:
        return type(self)(self._block, env_index, self._length)

    def _shifted(self) -> list[Column]:
        """Make, and keep, the columns of next observations."""
        block = self._block
        columns = [column[1 : self._length + 1, self._index] for column in block.observations]
        if not block.log.is_empty:
            entries, envs, steps = block.ends
            where: Any = (steps, envs)
            if isinstance(self._index, int):
                mine = envs == self._index
                entries, where = entries[mine], steps[mine]
            if len(entries):
                columns = [np.array(column) for column in columns]
                for column, finals in zip(columns, block.final_columns, strict=True):
                    column[where] = finals[entries]
        self._next = columns  # not before they are right: another thread may look
        return columns

    @property
    def _bootstrap(self) -> NDArray[np.bool_]:
        terminated = self._block.terminated[: self._length, self._index]
        where = self._block.truncated[: self._length, self._index] & ~terminated
        if self._length:
            where[-1] = ~terminated[-1]
        for i in self._env_indices if self._block.has_broken_off else ():
            broken = self._block.broken_off(i)
            if broken:
                (where if isinstance(self._index, int) else where[:, i])[broken] = True
        if self._block.log.unknown:
            where &= self._next_known
        return where

    @property
    def _next_known(self) -> NDArray[np.bool_]:
        known = np.ones(self._block.terminated[: self._length, self._index].shape, np.bool_)
        for i in self._env_indices if self._block.log.unknown else ():
            (known if isinstance(self._index, int) else known[:, i])[self._block.unknown_after(i)] = False
        return known

    def _episode(
        self,
        i: int,
        record: Episode,
        finals: Mapping[int, int],
        infos: Mapping[int, Info],
        reset_infos: Mapping[int, Info],
    ) -> EpisodeColumns[ObsT, ActT, RewardsT, FlagsT, ExtraT]:
        block = self._block
        rows = slice(record.start, record.start + record.length)
        last = rows.stop - 1
        final = finals.get(last)

        def present(layout: Layout, columns: Sequence[Column]) -> Any:
            return self._present(layout, [column[rows, i] for column in columns])

        return EpisodeColumns(
            record=record,
            observations=cast(
                ObsT,
                self._present(
                    block.layout.observation, _closed(block.observations, i, rows, block.final_columns, final)
                ),
            ),
            actions=cast(ActT, present(block.layout.action, block.actions)),
            env_actions=cast(ActT, present(block.layout.env_action, block.env_actions)),
            rewards=cast(RewardsT, self._array(block.rewards[rows, i])),
            processed_rewards=cast(RewardsT, self._array(block.processed_rewards[rows, i])),
            terminated=cast(FlagsT, self._array(block.terminated[rows, i])),
            truncated=cast(FlagsT, self._array(block.truncated[rows, i])),
            raw_observations=cast(
                ObsT, self._present(block.layout.raw, _closed(block.raw, i, rows, block.raw_final_columns, final))
            )
            if self._has_raw
            else None,
            infos={row - rows.start: info for row, info in infos.items() if rows.start <= row <= last},
            reset_info=reset_infos.get(record.start) if not record.continued else None,
            next_known=cast(FlagsT, self._array(self._next_known[rows])),
            extras={name: cast(ExtraT, self._array(column[rows, i])) for name, column in block.extras.items()},
        )


class _Over:
    """Stands where the block of a batch was that is over."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ArgumentError(
            "This batch is over: the stream uses its arrays for the next one. Read what you need before you ask for "
            "the next batch, and copy what you keep."
        )


_OVER: Final[Any] = _Over()


def _closed(
    columns: Sequence[Column], env_index: int, rows: slice, finals: Sequence[Column], final: int | None
) -> list[Column]:
    """Return an episode's rows and the observation after them: row `final` of `finals`, or the next row if None."""
    if final is None:
        return [column[rows.start : rows.stop + 1, env_index] for column in columns]
    closed = []
    for column, values in zip(columns, finals, strict=True):
        whole = np.empty((rows.stop - rows.start + 1, *column.shape[2:]), column.dtype)
        whole[:-1] = column[rows, env_index]
        whole[-1] = values[final]
        closed.append(whole)
    return closed
