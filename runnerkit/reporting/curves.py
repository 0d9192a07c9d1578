"""Learning curves: smoothed, with their spread or how certain they are, in a bounded number of points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runnerkit.statistics import interquartile_mean

__all__ = ["Curve", "aggregated", "evenly", "smoothed", "window_of"]

_MOST_POINTS: Final = 160
_RESAMPLES: Final = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A curve with a band around it, all float64 `[points]`."""

    x: Floats
    y: Floats
    low: Floats
    high: Floats


def window_of(n: int) -> int:
    """Return over how many episodes a curve of n episodes is smoothed: a tenth, at most 100."""
    return min(100, max(1, n // 10))


def evenly(n: int, most: int) -> NDArray[np.intp]:
    """Return at most so many of the numbers below n, evenly, the first and the last one among them."""
    return np.unique(np.linspace(0, max(0, n - 1), min(n, most)).round().astype(np.intp))


def smoothed(x: Floats, values: Floats, window: int, *, confident: bool) -> Curve:
    """Return the mean over the last `window` values, at some of the places x.

    The band is the spread, from the 10th to the 90th percentile of these values; or if `confident`, the 95 % bootstrap
    interval of their mean.
    """
    places = evenly(len(values), _MOST_POINTS)
    parts = [values[max(0, k + 1 - window) : k + 1] for k in places]
    if confident:
        rng = np.random.default_rng(0)
        bands = [_of_mean(part, rng) for part in parts]
    else:
        bands = [np.quantile(part, [0.1, 0.9]) for part in parts]
    low, high = np.array(bands).reshape(-1, 2).T
    return Curve(x[places], np.array([part.mean() for part in parts]), low, high)


def _of_mean(values: Floats, rng: np.random.Generator) -> Floats:
    drawn = values[rng.integers(0, len(values), (_RESAMPLES, len(values)))]
    return np.asarray(np.quantile(drawn.mean(axis=1), [0.025, 0.975]))


def aggregated(curves: Sequence[Curve]) -> Curve:
    """Return the interquartile mean of the curves of several runs, with its 95 % bootstrap interval over the runs.

    It goes from where the last one begins to where the first one ends: further on, other runs would be averaged.
    """
    start, stop = max(curve.x[0] for curve in curves), min(curve.x[-1] for curve in curves)
    if stop <= start:
        start, stop = min(curve.x[0] for curve in curves), max(curve.x[-1] for curve in curves)
    x = np.linspace(start, stop, _MOST_POINTS)
    scores = np.array([np.interp(x, curve.x, curve.y) for curve in curves]).T  # [points, runs]
    rng = np.random.default_rng(0)
    drawn = scores[:, rng.integers(0, len(curves), (_RESAMPLES, len(curves)))]  # [points, resamples, runs]
    low, high = np.quantile(interquartile_mean(drawn), [0.025, 0.975], axis=1)
    return Curve(x, interquartile_mean(scores), low, high)
