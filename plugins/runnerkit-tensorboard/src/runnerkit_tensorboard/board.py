"""Ended episodes as points of TensorBoard's curves."""

from __future__ import annotations

import os
import time
from collections import Counter
from types import TracebackType
from typing import Any, Final, Self

from runnerkit import Episode
from runnerkit.errors import ArgumentError
from runnerkit.history import EndedEpisode
from runnerkit_tensorboard.scalars import SupportsScalars

__all__ = ["EpisodeBoard"]

_SECONDS: Final = 1.0  # between two points of the speed


class EpisodeBoard:
    """Writes ended episodes to TensorBoard. Pass it to each rollout of one runner::

        with EpisodeBoard("runs/ppo", every=10) as board:
            for _ in range(100):
                runner.rollout(agent, steps=1000, on_episode=board)

    All curves are over the steps of all envs since the runner was built:

    | tag | point |
    |---|---|
    | `episodes/return`, `episodes/length` | the mean of the last `every` episodes, since their resets |
    | `end_reasons/terminated`, `end_reasons/truncated`, ... | the share of the last `every` episodes that ended so |
    | `speed/steps_per_second` | steps since the last point by the time since then, once a second at most |

    Args:
        to: a folder, in which a new event file is opened, or a `SummaryWriter` of your own, which stays open.
        every: how many episodes make a point. A point costs some 0.1 ms, so choose more for short episodes.
        prefix: is put before each tag, such as "evaluation/".

    Raises:
        ArgumentError: an argument has an invalid value.

    """

    def __init__(self, to: str | os.PathLike[str] | SupportsScalars, *, every: int = 1, prefix: str = "") -> None:
        if isinstance(every, bool) or every < 1:
            raise ArgumentError(f"every must be a whole number of at least 1, not {every!r}.")
        if isinstance(to, (str, os.PathLike)):
            from runnerkit_tensorboard.writer import open_writer  # the only way by which tensorboardX gets imported

            own = open_writer(to)
            self._close = own.close
            self._writer: SupportsScalars = own
        else:
            if not callable(getattr(to, "add_scalar", None)):
                raise ArgumentError(f"to must be a folder or a SummaryWriter, not {to!r}.")
            self._close = to.flush
            self._writer = to
        self._every: int = every
        self._prefix: str = prefix
        self._records: list[Episode] = []
        self._reasons: set[str] = set()
        self._last_steps: int = 0
        self._last_time: float = time.monotonic()

    def __call__(self, ended: EndedEpisode[Any, Any], /) -> None:
        """Count an episode, and write a point if it is time for one."""
        self._records.append(ended.record)
        if len(self._records) == self._every:
            self._write_episodes(ended.steps)
        now = time.monotonic()
        if now - self._last_time >= _SECONDS and ended.steps > self._last_steps:
            self._add("speed/steps_per_second", (ended.steps - self._last_steps) / (now - self._last_time), ended.steps)
            self._last_steps, self._last_time = ended.steps, now

    def _write_episodes(self, steps: int) -> None:
        records, self._records = self._records, []
        n = len(records)
        self._add("episodes/return", sum(record.total_return for record in records) / n, steps)
        self._add("episodes/length", sum(record.total_length for record in records) / n, steps)
        reasons = Counter(str(record.end_reason) for record in records)
        self._reasons |= {*reasons}
        for reason in sorted(self._reasons):  # one that was seen before has a point, 0, too
            self._add(f"end_reasons/{reason.replace(' ', '_')}", reasons[reason] / n, steps)

    def _add(self, tag: str, value: float, steps: int) -> None:
        self._writer.add_scalar(f"{self._prefix}{tag}", value, steps)

    def close(self) -> None:
        """Write what is left to the file, and close it if the board has opened it."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
