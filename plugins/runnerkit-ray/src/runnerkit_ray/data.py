"""The data of a unit on its way: from the block of an actor to a block of the driver, without a copy."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runnerkit import Seeding
from runnerkit.executors import SeedSchedule
from runnerkit.history import Block, BlockLayout, EndReason, EnvFault, EpisodeStart, Mark, RunSpec
from runnerkit_ray.units import Unit

__all__ = ["WEIGHTS_VERSION", "UnitData", "data_of", "joined", "spread"]

Column = NDArray[Any]

WEIGHTS_VERSION = "weights_version"
"""The extra column that says which weights chose the action of each step."""


@dataclass(slots=True)
class UnitData:
    """What a block of one env holds, as plain arrays, with the numbers of env and episodes that hold in the whole run.

    Columns are `[T, 1, *shape]`, observations `[T + 1, 1, *shape]`. Those that a block has but once are None the second
    time.
    """

    unit: Unit
    first: Mark
    steps: int
    observations: list[Column]
    raw: list[Column] | None
    actions: list[Column]
    env_actions: list[Column] | None
    rewards: NDArray[np.float64]
    processed_rewards: NDArray[np.float64] | None
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    extras: dict[str, Column]
    begun: NDArray[np.int64]
    finals: list[Column]
    raw_finals: list[Column] | None
    infos: list[tuple[int, dict[str, Any]]]
    reset_infos: list[tuple[int, dict[str, Any]]]
    faults: list[EnvFault]
    starts: dict[int, EpisodeStart]
    seeding: Seeding
    tail: EndReason

    def owned(self) -> UnitData:
        """Return the same with copies of all columns, so that the object store need not keep it."""
        return copy.deepcopy(self)


def data_of(block: Block, unit: Unit, shift: int, *, own_schedule: bool) -> UnitData:
    """Return what a block of an actor holds, whose episodes are `shift` lower than those of the run."""
    layout, log, raw_log, first = block.layout, block.log, block.raw_log, block.first_marks[0]
    begun = log.table()
    begun[:, 0], begun[:, 2] = unit.env_index, begun[:, 2] + shift
    steps, tail = _end_of(block, unit, first.episode_index + shift, begun)
    is_within = begun[:, 1] < steps if steps < block.lengths[0] else np.ones(len(begun), np.bool_)

    def ours(episode_index: int | None) -> bool:
        return episode_index is None or episode_index + shift < unit.episode_indices.stop

    return UnitData(
        unit=unit,
        first=first._replace(episode_index=first.episode_index + shift),
        steps=steps,
        observations=[column[: steps + 1] for column in block.observations],
        raw=[column[: steps + 1] for column in block.raw] if layout.preprocessed and layout.keep_raw else None,
        actions=[column[:steps] for column in block.actions],
        env_actions=[column[:steps] for column in block.env_actions] if layout.postprocessed else None,
        rewards=block.rewards[:steps],
        processed_rewards=block.processed_rewards[:steps] if layout.reward_processed else None,
        terminated=block.terminated[:steps],
        truncated=block.truncated[:steps],
        extras={name: column[:steps] for name, column in block.extras.items()},
        begun=begun[is_within],
        finals=[column[is_within] for column in log.finals(layout.observation)],
        raw_finals=None if raw_log is None else [column[is_within] for column in raw_log.finals(layout.raw)],
        infos=[(row, info) for _, row, info in log.infos if row < steps],
        reset_infos=[(episode + shift, info) for _, episode, info in log.reset_infos if ours(episode)],
        faults=[_shifted(fault, unit.env_index, shift) for fault in block.faults if ours(fault.episode_index)],
        starts={k + shift: start for (_, k), start in block.given.items() if ours(k)} if own_schedule else {},
        seeding=block.seeding,
        tail=tail,
    )


def _end_of(block: Block, unit: Unit, first: int, begun: NDArray[np.int64]) -> tuple[int, EndReason]:
    """Return how many steps a unit has, and how its last episode ends.

    A runner that makes envs anew begins a further episode for each that fails in its reset, and so may run into the
    episodes of the next unit.
    """
    late = np.flatnonzero(begun[:, 2] >= unit.episode_indices.stop)
    if first < unit.episode_indices.stop and not len(late):
        return block.lengths[0], block.tails[0]
    steps = int(begun[late[0], 1]) if first < unit.episode_indices.stop else 0
    for columns, log, layout in (
        (block.observations, block.log, block.layout.observation),
        (block.raw, block.raw_log, block.layout.raw),
    ):
        if log is not None and steps:
            (entry,) = np.flatnonzero(begun[:, 1] == steps)[:1].tolist()
            for column, finals in zip(columns, log.finals(layout), strict=True):
                column[steps, 0] = finals[entry]
    return steps, EndReason.CRASHED


def _shifted(fault: EnvFault, env_index: int, shift: int) -> EnvFault:
    index = None if fault.episode_index is None else fault.episode_index + shift
    return replace(fault, env_index=env_index, episode_index=index)


# ---- blocks of the driver


def spread(data: UnitData, spec: RunSpec, layout: BlockLayout, version: int, *, owned: bool) -> Block:
    """Return a block of all envs, of which only that of the unit has steps.

    Its columns are those of the unit, seen once per env, so that they take no memory. They are read-only, unless they
    are to be `owned`.
    """
    n, i = spec.n_envs, data.unit.env_index

    def seen(columns: Sequence[Column]) -> list[Column]:
        return [_seen(column, n, owned=owned) for column in columns]

    block = Block(layout, 0)
    block.steps = data.steps
    block.observations, block.actions = seen(data.observations), seen(data.actions)
    if not layout.preprocessed:
        block.raw = block.observations
    elif data.raw is not None:
        block.raw = seen(data.raw)
    block.env_actions = block.actions if data.env_actions is None else seen(data.env_actions)
    block.rewards, block.terminated, block.truncated = seen([data.rewards, data.terminated, data.truncated])
    block.processed_rewards = block.rewards
    if data.processed_rewards is not None:
        (block.processed_rewards,) = seen([data.processed_rewards])
    block.extras = dict(zip(data.extras, seen([*data.extras.values()]), strict=True))
    if version:
        block.extras[WEIGHTS_VERSION] = _seen(np.full((data.steps, 1), version), n, owned=owned)
    block.made_by, block.schedule = spec.made_by, SeedSchedule(spec.seed)
    _log(block, data, 0)
    block.lengths[i], block.tails[i] = data.steps, data.tail
    return block


def _seen(column: Column, n_envs: int, *, owned: bool) -> Column:
    if owned:
        column = column.copy()
    if n_envs == 1:
        return column
    shape, strides = (len(column), n_envs, *column.shape[2:]), (column.strides[0], 0, *column.strides[2:])
    return np.lib.stride_tricks.as_strided(column, shape, strides, writeable=owned)


def joined(units: Sequence[UnitData], spec: RunSpec, layout: BlockLayout, version: int) -> Block:
    """Return a block with copies of the rows of all units: those of an env one after another, by episode."""
    units = sorted(units, key=lambda data: (data.unit.env_index, data.unit.first))
    lengths = [0] * spec.n_envs
    for data in units:
        lengths[data.unit.env_index] += data.steps
    block = Block(layout, max(lengths))
    block.made_by, block.schedule = spec.made_by, SeedSchedule(spec.seed)
    for data in units:
        for name, column in data.extras.items():
            if name not in block.extras:
                block.extras[name] = np.zeros((block.steps, spec.n_envs, *column.shape[2:]), column.dtype)
    if version:
        block.extras[WEIGHTS_VERSION] = np.full((block.steps, spec.n_envs), version)
    for data in units:
        i = data.unit.env_index
        row = block.lengths[i]
        _log(block, data, row)
        _copy(block, data, row)
        block.lengths[i], block.tails[i] = row + data.steps, data.tail
    block.clear_raw()
    return block


def _copy(block: Block, data: UnitData, row: int) -> None:
    i, pairs = data.unit.env_index, [(block.rewards, data.rewards)]
    pairs += [(block.terminated, data.terminated), (block.truncated, data.truncated)]  # type: ignore[list-item]
    pairs += [*zip(block.observations, data.observations, strict=True), *zip(block.actions, data.actions, strict=True)]
    if data.raw is not None:
        pairs += zip(block.raw, data.raw, strict=True)
    if data.env_actions is not None:
        pairs += zip(block.env_actions, data.env_actions, strict=True)
    if data.processed_rewards is not None:
        pairs.append((block.processed_rewards, data.processed_rewards))
    pairs += [(block.extras[name], column) for name, column in data.extras.items()]
    for into, column in pairs:
        into[row : row + len(column), i] = column[:, 0]


def _log(block: Block, data: UnitData, row: int) -> None:
    """Note the episodes of a unit that begins in this row; call it before its rows are copied."""
    i, first = data.unit.env_index, data.first.episode_index
    if row:
        reason = None if block.terminated[row - 1, i] or block.truncated[row - 1, i] else block.tails[i]
        block.log.begin(i, row, first, block.observations, (row, i), reason)
        if block.raw_log is not None:
            block.raw_log.begin(i, row, first, block.raw, (row, i), reason)
    else:
        block.first_marks[i] = data.first
    begun = data.begun + np.array([0, row, 0, 0])
    block.log.begin_many(begun, data.finals)
    if block.raw_log is not None and data.raw_finals is not None:
        block.raw_log.begin_many(begun, data.raw_finals)
    block.log.infos += [(i, row + at, info) for at, info in data.infos]
    block.log.reset_infos += [(i, episode, info) for episode, info in data.reset_infos]
    block.given |= {(i, episode): start for episode, start in data.starts.items()}
    block.faults += data.faults
    block.seeding = block.seeding.and_(data.seeding)
