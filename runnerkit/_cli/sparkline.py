"""A series of numbers as a row of characters, whatever its length.

For example::

    trace = Trace()
    trace.add(21.0)
    sparkline(trace.values(), width=40)             # ▁▂▂▃▅▇█
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

__all__ = ["ASCII", "BLOCKS", "Trace", "sparkline"]

BLOCKS: Final = "▁▂▃▄▅▆▇█"
ASCII: Final = "_.:-=+*#"
"""For terminals that do not know UTF-8."""


class Trace:
    """A series of any length, of which the means of equally long stretches are kept, the oldest first.

    When there are `most` of them, two become one: memory and the cost of drawing stay the same, however long a run is.
    """

    def __init__(self, most: int = 512) -> None:
        self._most = most
        self._means: list[float] = []
        self._stretch = 1
        self._sum, self._n = 0.0, 0

    def add(self, value: float) -> None:
        """Add a number; those that are infinite, or none at all, have no place in a picture."""
        if not math.isfinite(value):
            return
        self._sum += value
        self._n += 1
        if self._n == self._stretch:
            self._means.append(self._sum / self._n)
            self._sum, self._n = 0.0, 0
            if len(self._means) >= self._most:
                self._means = pooled(self._means, len(self._means) // 2)
                self._stretch *= 2

    def values(self) -> Sequence[float]:
        """Return the means, with that of the last stretch, which is not complete."""
        return [*self._means, self._sum / self._n] if self._n else self._means


def pooled(values: Sequence[float], n: int) -> list[float]:
    """Return the means of n stretches of the values, as equal in length as they get."""
    cuts = [k * len(values) // n for k in range(n + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]


def sparkline(values: Sequence[float], width: int, levels: str = BLOCKS) -> str:
    """Return a character per value, from the lowest level to the highest; of more values than fit, means."""
    shown = pooled(values, width) if len(values) > width > 0 else values[: max(width, 0)]
    halves = [value / 2 for value in shown if math.isfinite(value)]  # of which the span is finite, too
    if not halves:
        return ""
    low, span = min(halves), max(halves) - min(halves)
    if not span > 0:
        return levels[len(levels) // 2] * len(halves)
    top = len(levels) - 1
    return "".join(levels[round((value - low) / span * top)] for value in halves)
