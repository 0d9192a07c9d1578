"""Telling a caller how far a rollout is, without slowing it down."""

from __future__ import annotations

import time
from collections.abc import Sequence

from runnerkit.history.block import Block
from runnerkit.records import Progress, ProgressCallback

__all__ = ["Reporter"]

_INTERVAL = 0.1  # seconds between two reports


class Reporter:
    """Counts steps and episodes of one rollout and calls back ten times a second at most."""

    def __init__(
        self, callback: ProgressCallback, block: Block, total_steps: int | None, total_episodes: int | None
    ) -> None:
        self._callback = callback
        self._total_steps = total_steps
        self._total_episodes = total_episodes
        marks = block.first_marks
        self._returns = [marks[i].return_before if i in marks else 0.0 for i in range(block.n_envs)]
        self._steps = 0
        self._episodes = 0
        self._sum_of_returns = 0.0
        self._next_report = time.monotonic() + _INTERVAL

    def step(self, block: Block, at: int, active: Sequence[int], ended: Sequence[int]) -> None:
        """Count one step of the active envs."""
        self._steps += len(active)
        rewards = block.rewards[at].tolist()
        for i in active:
            self._returns[i] += rewards[i]
        for i in ended:
            self._episodes += 1
            self._sum_of_returns += self._returns[i]
            self._returns[i] = 0.0

    def is_due(self) -> bool:
        """Whether it is time for a report."""
        return time.monotonic() >= self._next_report

    def report(self) -> None:
        """Call back now."""
        mean = self._sum_of_returns / self._episodes if self._episodes else None
        self._callback(Progress(self._steps, self._total_steps, self._episodes, self._total_episodes, mean))
        self._next_report = time.monotonic() + _INTERVAL
