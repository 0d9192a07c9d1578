"""Bringing an env that was lost back to where it was: its episode is executed once more, and compared bit by bit.

An env whose process died because of another one can go on as if nothing had happened, if it is a function of its seed
and its actions. If it is none, this says where it differs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.comparing import digest
from runnerkit._core.spaces import Column
from runnerkit.errors import EnvError
from runnerkit.executors.base import Executor
from runnerkit.executors.reexecution import Course, re_execute
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout

__all__ = ["Recollection", "SupportsRecall", "checksums", "recall"]


@dataclass(frozen=True, slots=True)
class Recollection:
    """What is known of an episode that is under way.

    Attributes:
        course: how it began, and the actions since.
        rewards: the reward of each step, float64 `[T]`.
        observations: a checksum of each of the last observations, uint32 `[n]`, `n <= T + 1`.

    """

    course: Course
    rewards: NDArray[np.float64]
    observations: NDArray[np.uint32]


@runtime_checkable
class SupportsRecall(Protocol):
    """An executor that makes envs anew, and loses others along with an env that fails: they shared a process."""

    def recall(self, i: int, known: Recollection, /) -> str:
        """Bring an env that was made anew to where the one before was; return where it differs, if it does."""
        ...


def checksums(columns: Sequence[Column], rows: range, i: int) -> NDArray[np.uint32]:
    """Return a checksum for the observation of env i in each of these rows."""
    return np.array([_checksum([column[row, i] for column in columns]) for row in rows], np.uint32)


def _checksum(values: Sequence[object]) -> int:
    check = 0
    for value in values:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
            check = zlib.crc32(value.tobytes(), check)
        else:
            check = zlib.crc32(digest(value).to_bytes(4, "big"), check)
    return check


def recall(executor: Executor, layout: BlockLayout, i: int, known: Recollection) -> str:
    """Execute the episode of env i once more; return where it differs from what is known, or nothing."""
    block = Block(layout, 1, window=True)
    steps = known.course.steps
    first = steps + 1 - len(known.observations)  # the first observation of which there is a checksum
    executor.attach(block)
    try:
        for t, ended in re_execute(executor, block, {i: known.course}):
            if ended:
                return f"its episode ended with step {t - 1}"
            if t and block.rewards[0, i].tobytes() != known.rewards[t - 1].tobytes():
                return f"the reward of step {t - 1} is {block.rewards[0, i]} and not {known.rewards[t - 1]}"
            row = block.raw_row(t)
            if t >= first and checksums(block.raw, range(row, row + 1), i)[0] != known.observations[t - first]:
                return f"observation {t} is another one"
    except EnvError as error:
        return f"it {error.args[0]}"
    finally:
        executor.attach(None)
    return ""
