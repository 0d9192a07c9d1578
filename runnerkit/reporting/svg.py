"""The pieces of charts: scales with round ticks, axes, lines and bands, as SVG without any style of its own.

Colours, fonts and strokes are those of the page's style sheet: `.s0` to `.s7` are the colours of series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runnerkit.reporting.markup import Markup, joined, tag
from runnerkit.reporting.numbers import tick

__all__ = ["COLOURS", "Plot", "Scale", "band", "colour", "polyline", "scale_over"]

COLOURS: Final = 8
"""How many colours there are; series after them take the first ones again, with other dashes."""

_DASHES: Final = 4

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 46, 12, 12, 34

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """From numbers to places."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Return the place of a number."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round numbers on the scale."""
        step = _step(self.high - self.low, most)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return [(first + k) * step for k in range(count)]


def _step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is needed at most `most` times."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(power * k for k in (1, 2, 2.5, 5, 10) if power * k * most >= span * (1 - 1e-9))


def scale_over(values: Sequence[Floats], start: float, stop: float, *, is_padded: bool = True) -> Scale:
    """Return a scale over all of these values; one value alone gets room around it."""
    finite = [part[np.isfinite(part)] for part in values]
    low = min((float(part.min()) for part in finite if part.size), default=0.0)
    high = max((float(part.max()) for part in finite if part.size), default=1.0)
    low, high = max(low, -1e300), min(high, 1e300)
    least = 1e-9 * max(abs(low), abs(high))  # below this, ticks would all have the same name
    if high - low <= least:
        low, high = low - max(0.5, abs(low) * 0.1), high + max(0.5, abs(high) * 0.1)
    room = 0.04 * (high - low) if is_padded else 0.0
    return Scale(low if low == 0 and is_padded else low - room, high + room, start, stop)


@dataclass(frozen=True)
class Plot:
    """Where a chart draws: its two scales."""

    x: Scale
    y: Scale
    height: int
    left: float = _LEFT

    @classmethod
    def over(
        cls,
        xs: Sequence[Floats],
        ys: Sequence[Floats],
        height: int = 230,
        *,
        left: float = _LEFT,
        is_padded: bool = True,
    ) -> Plot:
        """Return a plot with room for these values."""
        x = scale_over(xs, left, _WIDTH - _RIGHT, is_padded=False)
        return cls(x, scale_over(ys, height - _BOTTOM, _TOP, is_padded=is_padded), height, left)

    def axes(self, x_label: str, *, x_ticks: Sequence[tuple[float, str]] | None = None) -> Markup:
        """Return grid lines and ticks; what y is stands above the chart."""
        edge, bottom = _WIDTH - _RIGHT, self.height - _BOTTOM
        parts = []
        for value in self.y.ticks():
            y = self.y(value)
            parts.append(tag("line", class_="grid", x1=self.left, x2=edge, y1=y, y2=y))
            parts.append(tag("text", tick(value), x=self.left - 6, y=y + 4, class_="end"))
        named = [(value, tick(value)) for value in self.x.ticks()] if x_ticks is None else x_ticks
        for value, name in named:
            x = self.x(value)
            parts.append(tag("line", class_="axis", x1=x, x2=x, y1=bottom, y2=bottom + 4))
            parts.append(tag("text", name, x=x, y=bottom + 16, class_="middle"))
        parts.append(tag("line", class_="axis", x1=self.left, x2=edge, y1=bottom, y2=bottom))
        parts.append(tag("text", x_label, x=edge, y=self.height - 4, class_="end label"))
        return joined(parts)

    def picture(self, *parts: Markup, label: str) -> Markup:
        """Return the chart; `label` is said instead of it."""
        return tag("svg", *parts, viewBox=f"0 0 {_WIDTH} {self.height}", role="img", aria_label=label)

    @property
    def bottom(self) -> float:
        """The place of the horizontal axis."""
        return self.height - _BOTTOM

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, right, top and bottom of what is drawn."""
        return self.left, _WIDTH - _RIGHT, _TOP, self.bottom


def colour(series: int, *, dashed: bool = False) -> str:
    """Return the classes of a series: its colour, and for lines its dashes, so that colours alone do not tell."""
    return f"s{series % COLOURS}" + (f" d{(series + series // COLOURS) % _DASHES}" if dashed else "")


def _points(plot: Plot, x: Floats, y: Floats) -> list[str]:
    return [f"{plot.x(a):.1f} {plot.y(b):.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def polyline(plot: Plot, x: Floats, y: Floats, series: int) -> Markup:
    """Return a line through points."""
    points = _points(plot, x, y)
    path = f"M{points[0]}h0.1" if len(points) == 1 else "M" + "L".join(points)
    return tag("path", class_=f"line {colour(series, dashed=True)}", d=path)


def band(plot: Plot, x: Floats, low: Floats, high: Floats, series: int) -> Markup:
    """Return the area between two lines."""
    points = [*_points(plot, x, low), *reversed(_points(plot, x, high))]
    return tag("path", class_=f"band {colour(series)}", d="M" + "L".join(points) + "Z")
