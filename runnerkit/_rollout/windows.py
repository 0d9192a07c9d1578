"""How long the windows are in which a rollout is handed to a history format that takes it in parts."""

from __future__ import annotations

import time
from typing import Final

from runnerkit.history.layout import BlockLayout

__all__ = ["Windows"]

_BYTES: Final = 32 * 2**20  # of the rows of a window, unless one step has more
_MOST_STEPS: Final = 2**13
_FIRST_STEPS: Final = 16
_SECONDS: Final = 0.25  # so much of a rollout may be lost if the program is killed
_MOST_BYTES: Final = 2**28  # of windows that are to have a number of steps at least


class Windows:
    """Chooses the length of each window so that it takes about a quarter of a second, and little memory.

    The lengths cannot be seen in the data. Where the end of a window costs a wait, each has `least` steps if 256 MiB
    hold them.
    """

    def __init__(self, layout: BlockLayout, limit: int, least: int = 1) -> None:
        self._limit = limit
        nbytes = max(1, layout.bytes_per_step)
        self._least = max(1, min(least, limit, _MOST_BYTES // nbytes))
        self.most: int = max(self._least, min(_MOST_STEPS, limit, _BYTES // nbytes))
        """The most steps that a window has."""
        self.before: int = 0
        """The steps in earlier windows of the rollout; of the env that made the fewest, if they differ."""
        self.steps: int = max(self._least, min(_FIRST_STEPS, self.most))
        """The steps of this window."""
        self._began = time.monotonic()

    @property
    def is_last(self) -> bool:
        """Whether no window comes after this one."""
        return self.before + self.steps >= self._limit

    def turn(self, before: int) -> None:
        """Choose the length of the next window, after `before` steps of the rollout."""
        now = time.monotonic()
        self.before = before
        factor = min(4.0, _SECONDS / max(now - self._began, 1e-3))
        wanted = max(self._least, int(self.steps * factor))
        self.steps = max(1, min(self.most, wanted, self._limit - before))
        self._began = now
