"""Telling a caller how far a rollout is, without slowing it down."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

from runnerkit.history.ended import EndedEpisode
from runnerkit.records import Progress, ProgressCallback

__all__ = ["Reporter"]

_INTERVAL = 0.1  # seconds between two reports
_WINDOW: Final = 100  # episodes of the recent means


class Reporter:
    """Counts steps and episodes of one rollout and calls back ten times a second at most."""

    def __init__(self, callback: ProgressCallback) -> None:
        self._callback = callback
        self._restarts = 0
        self._total_steps: int | None = None
        self._total_episodes: int | None = None
        self._steps = 0
        self._episodes = 0
        self._sum_of_returns = 0.0
        self._recent: deque[tuple[float, int]] = deque(maxlen=_WINDOW)
        self._began = time.monotonic()
        self._next_report = self._began + _INTERVAL

    def start(self, total_steps: int | None, total_episodes: int | None) -> None:
        """Note how long the rollout will be, as the first step comes."""
        self._total_steps, self._total_episodes = total_steps, total_episodes
        self._began = time.monotonic()

    def count_steps(self, steps: int) -> None:
        """Count steps of envs."""
        self._steps += steps

    def count_episode(self, ended: EndedEpisode[Any, Any]) -> None:
        """Count an episode that has ended."""
        record = ended.record
        self._episodes += 1
        self._sum_of_returns += record.total_return
        self._recent.append((record.total_return, record.total_length))

    def count_restarts(self, restarts: int) -> None:
        """Note how often envs were made anew since the rollout began."""
        self._restarts = restarts

    def is_due(self) -> bool:
        """Whether it is time for a report."""
        return time.monotonic() >= self._next_report

    def report(self) -> None:
        """Call back now."""
        n = len(self._recent)
        returns, lengths = zip(*self._recent, strict=True) if n else ((), ())
        progress = Progress(
            steps=self._steps,
            total_steps=self._total_steps,
            episodes=self._episodes,
            total_episodes=self._total_episodes,
            mean_return=self._sum_of_returns / self._episodes if self._episodes else None,
            recent_return=sum(returns) / n if n else None,
            recent_length=sum(lengths) / n if n else None,
            seconds=time.monotonic() - self._began,
            restarts=self._restarts,
        )
        self._callback(progress)
        self._next_report = time.monotonic() + _INTERVAL
