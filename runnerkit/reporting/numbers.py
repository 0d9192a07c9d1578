"""Numbers as people read them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

import numpy as np

from runnerkit.statistics import Interval

__all__ = ["NOTHING", "duration", "interval", "number", "percent", "tick"]


NOTHING: Final = "\N{EN DASH}"
"""What stands where there is no number."""


def number(value: float, digits: int = 4) -> str:
    """Return a number with a few digits: 1,234, 0.01235, 1.2e-07; a dash where there is none."""
    if not math.isfinite(value):
        return NOTHING if math.isnan(value) else str(value).replace("inf", "\N{INFINITY}")
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.3g}"
    return f"{value:.{digits}g}"


def tick(value: float) -> str:
    """Return a round number as short as it can be: 0.25, 500, 2.5k, 20k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1e15:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def interval(bounds: Interval | None) -> str:
    """Return an interval."""
    return NOTHING if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"


def percent(share: float) -> str:
    """Return a share in percent, never a 0 or 100 that is none."""
    if 0 < share < 0.001:
        return "< 0.1\N{NO-BREAK SPACE}%"
    if 0.999 < share < 1:
        return "> 99.9\N{NO-BREAK SPACE}%"
    return f"{np.round(100 * share, 1):g}\N{NO-BREAK SPACE}%"


def duration(seconds: float) -> str:
    """Return a time: 12 µs, 3.4 ms, 5.6 s, 0:03:20."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size and seconds < 100:
            return f"{seconds / size:.3g} {unit}"
    return f"{timedelta(seconds=round(seconds))}" if seconds >= 100 else f"{seconds / 1e-6:.2g} µs"
