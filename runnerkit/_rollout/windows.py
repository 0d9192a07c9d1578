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


class Windows:
    """Chooses the length of each window so that it takes about a quarter of a second, and little memory.

    The lengths cannot be seen in the data.
    """

    def __init__(self, layout: BlockLayout, limit: int) -> None:
        self._limit = limit
        self.most: int = max(1, min(_MOST_STEPS, limit, _BYTES // max(1, layout.bytes_per_step)))
        """The most steps that a window has."""
        self.before: int = 0
        """The steps in earlier windows of the rollout."""
        self.steps: int = min(_FIRST_STEPS, self.most)
        """The steps of this window."""
        self._began = time.monotonic()

    @property
    def is_last(self) -> bool:
        """Whether no window comes after this one."""
        return self.before + self.steps >= self._limit

    def turn(self) -> None:
        """Choose the length of the next window."""
        now = time.monotonic()
        self.before += self.steps
        factor = min(4.0, _SECONDS / max(now - self._began, 1e-3))
        self.steps = max(1, min(self.most, int(self.steps * factor), self._limit - self.before))
        self._began = now
