"""From a folder of the format `npz` to any other format."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from typing_extensions import TypeVar

from runnerkit.history import extras
from runnerkit.history.base import HistoryFormat
from runnerkit.history.block import Block
from runnerkit.history.npz.manifest import Row
from runnerkit.history.npz.stored import StoredRuns

__all__ = ["convert"]

HistoryT = TypeVar("HistoryT")


def convert(runs: StoredRuns, to: HistoryFormat[HistoryT]) -> Iterator[HistoryT]:
    """Hand the episodes of a folder to another format, and yield its histories::

        for history in convert(runnerkit.load("runs"), TorchFormat()):
            history.observations

    In memory are no more than the next episode of each env at a time. What the format writes is complete when the
    iterator is exhausted.
    """
    if not len(runs):
        return
    n_envs = max(run.spec.n_envs for run in runs.runs)
    recorder = to.open(replace(runs.runs[0].spec, n_envs=n_envs))
    try:
        for _, rows in itertools.groupby(enumerate(runs.rows), key=lambda pair: (pair[1].run, pair[1].rollout)):
            by_env: dict[int, list[int]] = {}
            for index, row in rows:
                by_env.setdefault(row.episode.env_index, []).append(index)
            for indices in itertools.zip_longest(*by_env.values()):
                yield from recorder.finish(_block(runs, [index for index in indices if index is not None], n_envs))
    finally:
        recorder.close()


def _block(runs: StoredRuns, indices: Sequence[int], n_envs: int) -> Block:
    """Return a block with one episode of each of some envs; the others have no steps."""
    sources = [(runs.rows[index], *runs[index].parts()[0]) for index in indices]
    first = sources[0][1]
    block = Block(replace(first.layout, n_envs=n_envs), max(row.episode.length for row, _, _ in sources))
    block.made_by, block.seeding = first.made_by, first.seeding
    block.extras = extras.allocated(first.extras, block.steps, n_envs)
    for row, source, _ in sources:
        _put(block, row, source)
    return block


def _put(block: Block, row: Row, source: Block) -> None:
    i = row.episode.env_index
    for into, of in zip(block.columns(), source.columns(), strict=True):
        into[: len(of), i] = of[:, 0]
    block.lengths[i], block.tails[i] = row.episode.length, source.tails[0]
    block.first_marks[i] = source.first_marks[0]
    block.faults += source.faults
    log = source.log
    block.log.infos += [(i, t, info) for _, t, info in log.infos]
    block.log.reset_infos += [(i, episode, info) for _, episode, info in log.reset_infos]
    block.log.unknown += [(i, t) for _, t in log.unknown]
