"""Histories that are columns: one array per quantity, over the rows of one env, or of all envs stacked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Self, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar, override

from runnerkit._core.spaces import Column, Layout
from runnerkit._core.types import ActT, ObsT
from runnerkit.errors import ArgumentError
from runnerkit.history.block import Block
from runnerkit.records import Episode, Provenance

__all__ = ["ColumnHistory", "EpisodeColumns", "stack"]

RewardsT = TypeVar("RewardsT", default=NDArray[np.float64])
FlagsT = TypeVar("FlagsT", default=NDArray[np.bool_])

StackableT = TypeVar("StackableT", bound="ColumnHistory[Any, Any, Any, Any]")

Info: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EpisodeColumns(Generic[ObsT, ActT, RewardsT, FlagsT]):
    """One episode, or the part of it in one rollout: T + 1 observations, the final one included, T of the rest."""

    record: Episode
    observations: ObsT
    actions: ActT
    env_actions: ActT
    rewards: RewardsT
    terminated: FlagsT
    truncated: FlagsT
    raw_observations: ObsT | None
    infos: Mapping[int, Info]
    """The infos that were kept and not empty, by step of the episode."""
    reset_info: Info | None
    next_known: FlagsT
    """Whether the observation after each step is known, see `ColumnHistory.next_known`."""


class ColumnHistory(Generic[ObsT, ActT, RewardsT, FlagsT]):
    """What one env did in one rollout, as columns of T rows each (`len(history)` is T).

    Row t is one transition: `observations[t]`, `actions[t]`, `rewards[t]`, `next_observations[t]`,
    `terminated[t]`, `truncated[t]`. Observations are as the agent saw them and actions as it chose them;
    `env_actions` are what postprocessors made of them, `raw_observations` what preprocessors were given.

    A history of several envs, as `stack` returns it, has columns `[T, N]` instead.

    Pickle and `copy` take along its own rows only, and not those of the other envs of the rollout.
    """

    def __init__(self, block: Block, index: int | slice, length: int) -> None:
        self._block = block
        self._index = index
        self._length = length

    def __len__(self) -> int:
        return self._length

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        block, index = self._block, self._index
        if isinstance(index, int):  # the rows of one env: the block has those of all
            block, index = Block.merged([(block, index)], self._length), 0
        return type(self), (block, index, self._length)

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
        """What the agent saw: `[T, *shape]` of the observation space's dtype, nested as the space is."""
        return cast(ObsT, self._present(self._block.layout.observation, self._rows(self._block.observations)))

    @property
    def actions(self) -> ActT:
        """What the agent chose: `[T, *shape]` of the dtype of the space it acts in."""
        return cast(ActT, self._present(self._block.layout.action, self._rows(self._block.actions)))

    @property
    def env_actions(self) -> ActT:
        """What the env was given; the same as `actions` where there are no postprocessors."""
        return cast(ActT, self._present(self._block.layout.env_action, self._rows(self._block.env_actions)))

    @property
    def rewards(self) -> RewardsT:
        """The rewards of the env, float64 `[T]`."""
        return cast(RewardsT, self._array(self._block.rewards[: self._length, self._index]))

    @property
    def terminated(self) -> FlagsT:
        """Whether the env reached a terminal state with this step, bool `[T]`."""
        return cast(FlagsT, self._array(self._block.terminated[: self._length, self._index]))

    @property
    def truncated(self) -> FlagsT:
        """Whether the env cut the episode short with this step, bool `[T]`."""
        return cast(FlagsT, self._array(self._block.truncated[: self._length, self._index]))

    @cached_property
    def next_observations(self) -> ObsT:
        """Where each step led, `[T, *shape]`: at the end of an episode its final observation, never the next's first.

        Made on first use; takes memory of its own only if an episode ended before the last row.
        """
        return cast(ObsT, self._present(self._block.layout.observation, self._next_columns))

    @property
    def next_known(self) -> FlagsT:
        """Whether `next_observations[t]` is known, bool `[T]`: it always is, but for some vector envs.

        Those begin the next episode without saying how the last one ended (see `provenance`). There, floats are
        NaN, other numbers 0 and objects None; `bootstrap` is False, so that a truncated episode has no value target.
        """
        return cast(FlagsT, self._array(self._next_known))

    @property
    def provenance(self) -> Provenance:
        """What is exact here, and what the env did not tell."""
        exact = all(not self._block.unknown_after(i) for i in self._env_indices)
        return replace(self._block.provenance, final_observations=exact)

    @property
    def raw_observations(self) -> ObsT | None:
        """What the env returned, before preprocessors; None if there are some and `keep_raw` was not set."""
        if not self._has_raw:
            return None
        return cast(ObsT, self._present(self._block.layout.raw, self._rows(self._block.raw)))

    # ---- episodes

    @cached_property
    def episodes(self) -> list[Episode]:
        """The records of the episodes in these rows, in order (of a stacked history: env by env)."""
        return [episode for i in self._env_indices for episode in self._block.episodes(i)]

    @property
    def infos(self) -> Mapping[int, Info]:
        """The non-empty infos by row, if the runner was built with `keep_infos`."""
        i = self._single("infos")
        return {row: info for env, row, info in self._block.log.infos if env == i}

    @property
    def reset_infos(self) -> Mapping[int, Info]:
        """The non-empty infos that came with first observations, by the row in which the episode begins."""
        i = self._single("reset_infos")
        rows = {mark.episode_index: mark.row for mark in self._block.marks(i) if mark.steps_before == 0}
        infos = self._block.log.reset_infos
        return {rows[episode]: info for env, episode, info in infos if env == i and episode in rows}

    def split(self) -> list[EpisodeColumns[ObsT, ActT, RewardsT, FlagsT]]:
        """Return each episode by itself, with T + 1 observations and T of the rest."""
        if not isinstance(self._index, int):
            return [part for i in self._env_indices for part in self._of(i).split()]
        finals, infos, reset_infos = self._block.final_at(self._index), self.infos, self.reset_infos
        return [self._episode(self._index, record, finals, infos, reset_infos) for record in self.episodes]

    # ---- for value targets

    @property
    def bootstrap(self) -> FlagsT:
        """Where the rows break off though the episode does not end in a terminal state, bool `[T]`.

        There, and only there, a value target needs the value of `next_observations[t]` from outside of the
        rows: at every truncation, and at the last row of an episode that the rollout cut, or that broke off since its
        env crashed (if `next_known`). A target is then
        `rewards[t] + gamma * (0 if terminated[t] else V(next_observations[t]))` at every break.
        """
        return cast(FlagsT, self._array(self._bootstrap))

    @property
    def last_observations(self) -> ObsT:
        """The next observations where `bootstrap` is set, `[bootstrap.sum(), *shape]`, in the order of the rows."""
        where = self._bootstrap
        return cast(ObsT, self._present(self._block.layout.observation, [c[where] for c in self._next_columns]))

    def parts(self) -> list[tuple[Block, int]]:
        """Return the block and the env index in it, for each env that this history is of."""
        return [(self._block, i) for i in self._env_indices]

    def as_column(self, array: NDArray[Any]) -> RewardsT:
        """Return a column of your own, such as advantages, as this kind of history has them: a tensor for tensors."""
        return cast(RewardsT, self._array(array))

    # ---- inside

    def _array(self, array: Column) -> Any:
        """Return what this kind of history hands out for an array."""
        raise NotImplementedError

    def _present(self, layout: Layout, columns: Sequence[Column]) -> object:
        values = [
            c.tolist() if leaf.is_object else self._array(c) for leaf, c in zip(layout.leaves, columns, strict=True)
        ]
        return layout.join(values)

    def _rows(self, columns: Sequence[Column]) -> list[Column]:
        return [column[: self._length, self._index] for column in columns]

    @property
    def _env_indices(self) -> Sequence[int]:
        return [self._index] if isinstance(self._index, int) else range(self._block.n_envs)

    @property
    def _has_raw(self) -> bool:
        return self._block.layout.keep_raw or not self._block.layout.preprocessed

    def _single(self, what: str) -> int:
        if not isinstance(self._index, int):
            raise ArgumentError(f"{what} belong to one env. Ask each history for its own, before stacking.")
        return self._index

    def _of(self, env_index: int) -> Self:
        return type(self)(self._block, env_index, self._length)

    @cached_property
    def _next_columns(self) -> list[Column]:
        shifted = [column[1 : self._length + 1, self._index] for column in self._block.observations]
        block = self._block
        which = np.concatenate([block.ends_of(i) for i in self._env_indices])
        if not len(which):
            return shifted
        envs, rows, _, _ = block.begun[which].T
        where = rows - 1 if isinstance(self._index, int) else (rows - 1, envs)
        columns = [np.array(column) for column in shifted]
        for column, finals in zip(columns, block.final_columns, strict=True):
            column[where] = finals[which]
        return columns

    @property
    def _bootstrap(self) -> NDArray[np.bool_]:
        terminated = self._block.terminated[: self._length, self._index]
        where = self._block.truncated[: self._length, self._index] & ~terminated
        if self._length:
            where[-1] = ~terminated[-1]
        for i in self._env_indices:  # what ended without a flag, in the middle
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
    ) -> EpisodeColumns[ObsT, ActT, RewardsT, FlagsT]:
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
        )


def stack(histories: Iterable[StackableT]) -> StackableT:
    """Return one history with columns `[T, N]` for N histories of T rows each::

        batch = stack(runner.rollout(agent, steps=128))
        batch.rewards, batch.bootstrap, batch.last_observations

    Without a copy where they are all of one rollout, in order; else with one. Raises ArgumentError where their
    lengths, spaces or kinds differ, and for what is no history of columns.
    """
    given: object = histories  # annotations bind nobody
    if not isinstance(given, Iterable):
        raise ArgumentError(f"stack needs several histories, or [history] for one, not {given!r}.")
    histories = list(histories)
    if not histories:
        raise ArgumentError("stack needs at least one history.")
    kinds = {type(history) for history in histories}
    names = " and ".join(sorted(kind.__name__ for kind in kinds))
    if not all(issubclass(kind, ColumnHistory) for kind in kinds):
        raise ArgumentError(f"stack needs histories of columns, such as of 'arrays' or 'torch', not {names}.")
    if len(kinds) > 1:
        raise ArgumentError(f"stack needs histories of one kind, not {names}.")
    kind, lengths = type(histories[0]), [len(history) for history in histories]
    if len(set(lengths)) > 1:
        raise ArgumentError(f"stack needs histories of equal length, not {lengths}. See split() for ragged ones.")
    parts = [part for history in histories for part in history.parts()]
    block = parts[0][0]
    if [i for of, i in parts if of is block] == list(range(block.n_envs)) and len(parts) == block.n_envs:
        return kind(block, slice(None), lengths[0])
    return kind(Block.merged(parts, lengths[0]), slice(None), lengths[0])


def _closed(
    columns: Sequence[Column], env_index: int, rows: slice, finals: Sequence[Column], final: int | None
) -> list[Column]:
    """Return the rows of an episode and the observation after them, number `final` of the final ones if not None."""
    if final is None:
        return [column[rows.start : rows.stop + 1, env_index] for column in columns]
    closed = []
    for column, values in zip(columns, finals, strict=True):
        whole = np.empty((rows.stop - rows.start + 1, *column.shape[2:]), column.dtype)
        whole[:-1] = column[rows, env_index]
        whole[-1] = values[final]
        closed.append(whole)
    return closed
