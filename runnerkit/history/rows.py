"""Rows of blocks, copied into a block of their own: a part of them, or those of several rollouts in a row."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runnerkit.errors import ArgumentError
from runnerkit.history import extras
from runnerkit.history.block import Block
from runnerkit.history.layout import Mark
from runnerkit.history.log import reason_of
from runnerkit.records import EndReason

__all__ = ["Part", "chained", "copied", "starts_of", "totals"]

Part: TypeAlias = tuple[Block, int]
"""An env of a block."""

_FEW: Final = 8  # below, NumPy adds one by one, too, but takes longer


def copied(parts: Sequence[Part], start: int, stop: int) -> Block:
    """Return a block with copies of the rows from `start` to `stop`; its env k is `parts[k]`."""
    block = _empty(parts[0][0], len(parts), stop - start)
    for k, (source, i) in enumerate(parts):
        _check_same(source, block)
        for into, of in zip(block.columns(), source.columns(), strict=True):
            into[:, k] = of[start : start + len(into), i]
        block.seeding = block.seeding.and_(source.seeding)
        _take_episodes(block, k, source, i, start, stop)
    block.clear_raw()
    return block


def chained(blocks: Sequence[Block]) -> Block:
    """Return a block with the rows of each of these after those of the one before.

    All envs of a block have rows up to its last step. Raises ArgumentError if an episode would have a gap.
    """
    first = blocks[0]
    block = _empty(first, first.n_envs, sum(one.steps for one in blocks))
    block.env_indices = list(first.env_indices)
    offset = 0
    for number, source in enumerate(blocks):
        _check_same(source, block)
        if source.env_indices != block.env_indices:
            raise ArgumentError(
                f"concatenate needs histories of the same envs, not of {block.env_indices} and {source.env_indices}. "
                "Use stack for different envs."
            )
        for into, of in zip(block.columns(), source.columns(), strict=True):
            into[offset : offset + len(of)] = of
        block.seeding = block.seeding.and_(source.seeding)
        for k in range(block.n_envs):
            _append_episodes(block, k, blocks[number - 1] if number else None, source, offset)
        block.faults += source.faults
        offset += source.steps
    block.lengths, block.tails = [offset] * block.n_envs, list(blocks[-1].tails)
    block.clear_raw()
    return block


def starts_of(block: Block, length: int) -> NDArray[np.bool_]:
    """Return which rows are the first of an episode, bool `[length, N]`."""
    starts = np.zeros((length, block.n_envs), np.bool_)
    if length:
        for i, mark in block.first_marks.items():
            starts[0, i] = not mark.steps_before
        envs, rows, _, _ = block.begun[block.begun[:, 1] < length].T
        starts[rows, envs] = True
    return starts


def totals(rewards: NDArray[np.float64]) -> list[float]:
    """Return the sum of each column of `[T, N]`, to the last bit that of the column alone."""
    if len(rewards) >= _FEW:
        sums: list[float] = np.add.reduce(np.ascontiguousarray(rewards.T), axis=1).tolist()
        return sums
    sums, *others = rewards.tolist()
    for row in others:
        sums = list(map(operator.add, sums, row))
    return sums


def _empty(like: Block, n_envs: int, steps: int) -> Block:
    block = Block(replace(like.layout, n_envs=n_envs), steps)
    block.made_by = like.made_by
    block.extras = extras.allocated(like.extras, steps, n_envs)
    return block


def _check_same(source: Block, block: Block) -> None:
    if source.layout.signature != block.layout.signature:
        raise ArgumentError("Histories can only be put together if they have the same spaces and processors.")
    extras.check_same(source.extras, block.extras)


def _take_episodes(block: Block, k: int, source: Block, i: int, start: int, stop: int) -> None:
    """Copy what a block knows of the episodes of an env in these rows."""
    block.env_indices[k], block.lengths[k] = source.env_indices[i], stop - start
    block.tails[k] = source.tails[i] if stop == source.lengths[i] else EndReason.CUT
    mark = _mark_at(source, i, start)
    if mark is not None:
        block.first_marks[k] = mark
    _log_episodes(block, k, source, i, start, stop, -start)
    block.faults += [fault for fault in source.faults if fault.env_index == source.env_indices[i]]


def _log_episodes(block: Block, k: int, source: Block, i: int, start: int, stop: int, shift: int) -> None:
    """Log the episodes that began after row `start`, up to row `stop`, and what is said of these rows."""
    for entry in source.begun_of(i).tolist():
        _, row, episode_index, number = source.begun[entry].tolist()
        if start < row <= stop:
            block.given[k, episode_index] = source.start_of(i, episode_index)
            block.log.begin(k, row + shift, episode_index, source.final_columns, entry, reason_of(number))
            if block.raw_log is not None:
                block.raw_log.begin(k, row + shift, episode_index, source.raw_final_columns, entry)
    log, of = block.log, source.log
    log.unknown += [(k, row + shift) for j, row in of.unknown if j == i and start < row <= stop]
    log.infos += [(k, row + shift, info) for j, row, info in of.infos if j == i and start <= row < stop]
    log.reset_infos += [(k, episode_index, info) for j, episode_index, info in of.reset_infos if j == i]


def _mark_at(block: Block, i: int, row: int) -> Mark | None:
    """Return the episode that a row belongs to, as if the block began there."""
    mark = block.first_marks.get(i)
    if mark is None:
        return None
    for _, begun, episode_index, _ in block.begun[block.begun_of(i)].tolist():
        if begun <= row:
            mark = Mark(begun, episode_index, block.start_of(i, episode_index))
    before = block.rewards[mark.row : row, i]
    steps, total = mark.steps_before + len(before), mark.return_before + float(before.sum())
    return mark._replace(row=0, steps_before=steps, return_before=total)


def _append_episodes(block: Block, k: int, before: Block | None, source: Block, offset: int) -> None:
    """Log the episodes of env k of a block whose rows come after those of another one."""
    here = source.first_marks.get(k)
    there = None if before is None else _mark_at(before, k, before.steps)
    if here is not None and (before is None or there is None):
        block.first_marks.setdefault(k, here)
    elif before is not None and here is not None and there is not None and not _goes_on(there, here):
        _log_junction(block, k, before, here, offset)
    _log_episodes(block, k, source, k, 0, source.steps, offset)


def _goes_on(there: Mark, here: Mark) -> bool:
    return (there.episode_index, there.steps_before) == (here.episode_index, here.steps_before)


def _log_junction(block: Block, k: int, before: Block, here: Mark, offset: int) -> None:
    """Log that an episode begins where the rows of a block begin, whose last episode ended with the rows before."""
    last = max((index for env, index in block.given if env == k), default=-1)
    last = max(last, block.first_marks[k].episode_index)
    if here.steps_before or here.episode_index <= last:
        raise ArgumentError(
            f"concatenate needs histories in their order, without a gap: what follows begins with step "
            f"{here.steps_before} of episode {here.episode_index} of env {block.env_indices[k]}, but episode {last} "
            "came before. Use the histories of one runner, rollout after rollout."
        )
    t = before.steps - 1
    over = before.steps and (before.terminated[t, k] or before.truncated[t, k])
    reason = None if over else before.tails[k]
    block.given[k, here.episode_index] = here.start
    block.log.begin(k, offset, here.episode_index, before.observations, (before.steps, k), reason)
    if block.raw_log is not None:
        block.raw_log.begin(k, offset, here.episode_index, before.raw, (before.steps, k))
