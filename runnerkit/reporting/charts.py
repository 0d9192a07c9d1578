"""The charts of a report, each a `<figure>` with a text for who cannot see it, and its numbers in a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runnerkit.reporting.curves import Curve, evenly
from runnerkit.reporting.markup import Markup, Node, joined, tag
from runnerkit.reporting.numbers import NOTHING, number, tick
from runnerkit.reporting.svg import COLOURS, Plot, band, colour, polyline, scale_over

__all__ = ["Bar", "Dots", "Line", "Range", "bars", "curve_chart", "histogram", "legend", "quantile_chart", "ranges"]

_TABLE_ROWS: Final = 12
_BINS: Final = 40
_MOST_CHOICES: Final = 60  # that have a bin each

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A curve with its name; `series` is its colour."""

    name: str
    series: int
    curve: Curve


@dataclass(frozen=True)
class Dots:
    """Single episodes: points, with a text for each; `is_fault` marks those that broke off."""

    x: Floats
    y: Floats
    texts: Sequence[str]
    series: int
    is_fault: bool = False


def figure(title: str, said: str, picture: Node, *, table: Node = None, wide: bool = False) -> Markup:
    """Return a chart with its title and what is said of it."""
    heading = tag(
        "figcaption", tag("strong", title), tag("span", said.replace(" %", "\N{NO-BREAK SPACE}%")) if said else None
    )
    return tag("figure", heading, picture, table, class_="chart wide" if wide else "chart")


def numbers_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """Return the numbers of a chart, folded up."""
    head = tag("tr", *(tag("th", column, scope="col") for column in columns))
    body = joined(tag("tr", *(tag("td", cell) for cell in row)) for row in rows)
    table = tag("table", tag("thead", head), tag("tbody", body))
    return tag("details", tag("summary", "Numbers"), tag("div", table, class_="scroll"))


def legend(names: Sequence[tuple[str, int]]) -> Markup | None:
    """Return what the colours mean; nothing for one."""
    if len(names) < 2:
        return None
    items = (tag("li", tag("svg", _sample_of(k), viewBox="0 0 28 12", aria_hidden="true"), name) for name, k in names)
    return tag("ul", *items, class_="legend")


def _sample_of(series: int) -> Markup:
    return tag("path", class_=f"line {colour(series, dashed=True)}", d="M1 6h26")


# ---- curves


def curve_chart(
    title: str, said: str, lines: Sequence[Line], dots: Sequence[Dots], *, x_label: str, y_name: str
) -> Markup:
    """Return a chart of curves with bands; arrow keys and the pointer read their values."""
    xs = [line.curve.x for line in lines] + [part.x for part in dots]
    ys = [part for line in lines for part in (line.curve.low, line.curve.high, line.curve.y)]
    plot = Plot.over(xs, ys + [part.y for part in dots])
    parts = [plot.axes(x_label)]
    parts += [band(plot, line.curve.x, line.curve.low, line.curve.high, line.series) for line in lines]
    parts += [_dots(plot, part) for part in dots]
    parts += [polyline(plot, line.curve.x, line.curve.y, line.series) for line in lines]
    parts.append(tag("g", class_="cursor", hidden=""))
    ends = ", ".join(f"{line.name} ends at {number(float(line.curve.y[-1]))}" for line in lines)
    picture = plot.picture(*parts, label=f"{title}. {said} {ends}.")
    reading = tag(
        "div",
        picture,
        tag("p", class_="readout", aria_live="polite"),
        class_="plot",
        tabindex="0",
        role="group",
        aria_label=f"{title}: left and right arrow keys read the values",
        data_curves=json.dumps(_data(lines, plot, x_label, y_name), separators=(",", ":"), allow_nan=False),
    )
    rows = [
        [line.name, number(float(line.curve.x[k])), *_at(line.curve, k)]
        for line in lines
        for k in evenly(len(line.curve.x), _TABLE_ROWS)
    ]
    table = numbers_table(["run", x_label, y_name, "from", "to"], rows)
    keys = legend([(line.name, line.series) for line in lines])
    return figure(title, said, joined([keys, reading]), table=table)


def _at(curve: Curve, k: int) -> list[str]:
    return [number(float(part[k])) for part in (curve.y, curve.low, curve.high)]


def _dots(plot: Plot, dots: Dots) -> Markup:
    kind = "fault" if dots.is_fault else f"dot {colour(dots.series)}"
    shapes = []
    for x, y, said in zip(dots.x.tolist(), dots.y.tolist(), dots.texts, strict=True):
        a, b = plot.x(x), plot.y(y)
        if dots.is_fault:
            shape = tag("path", tag("title", said), d=f"M{a - 3:.1f} {b - 3:.1f}l6 6m0-6l-6 6")
        else:
            shape = tag("circle", tag("title", said), cx=round(a, 1), cy=round(b, 1), r="2.2")
        shapes.append(shape)
    return tag("g", *shapes, class_=kind)


def _data(lines: Sequence[Line], plot: Plot, x_label: str, y_name: str) -> dict[str, object]:
    """Return what the script needs to read the curves: places on the chart, and texts."""
    left, right, top, bottom = plot.edges
    return {
        "box": [left, right, top, bottom],
        "x": x_label,
        "y": y_name,
        "lines": [
            {
                "name": line.name,
                "s": line.series % COLOURS,
                "px": [round(plot.x(x), 1) for x in line.curve.x.tolist()],
                "py": [round(plot.y(y), 1) for y in line.curve.y.tolist()],
                "at": [tick(round(x)) if x >= 1e4 else number(x) for x in line.curve.x.tolist()],
                "of": [_in_words(line.curve, k) for k in range(len(line.curve.x))],
            }
            for line in lines
        ],
    }


def _in_words(curve: Curve, k: int) -> str:
    value, low, high = _at(curve, k)
    return f"{value} ({low} to {high})"


# ---- distributions


def histogram(title: str, said: str, samples: Sequence[tuple[str, int, Floats]], *, is_discrete: bool) -> Markup:
    """Return how often values occur, as a share of all, for one or several runs (name, colour, values)."""
    values = [part for _, _, part in samples]
    edges = _edges(values, is_discrete)
    counts = [np.histogram(part, edges)[0] for part in values]
    shares = [100 * found / max(1, found.sum()) for found in counts]
    plot = Plot.over([edges], [np.zeros(1), *shares], height=170)
    ticks = _names(edges) if is_discrete else None
    parts = [plot.axes("", x_ticks=ticks)]
    for k, ((_, series, _), share) in enumerate(zip(samples, shares, strict=True)):
        place = (0.1 + 0.8 * k / len(samples), 0.1 + 0.8 * (k + 1) / len(samples)) if is_discrete else (0.0, 1.0)
        kind = "bar outline" if len(samples) > 1 and not is_discrete else "bar"
        parts.append(tag("path", class_=f"{kind} {colour(series, dashed=True)}", d=_bins(plot, edges, share, place)))
    spans = [f"{name}: {_summary(part)}" for name, _, part in samples]
    picture = plot.picture(*parts, label=f"{title}, in % of all values. {'; '.join(spans)}.")
    rows = [[name, *_facts(part)] for name, _, part in samples]
    table = numbers_table(["run", "values", "mean", "std", "min", "median", "max"], rows)
    return figure(title, said, joined([legend([(name, k) for name, k, _ in samples]), picture]), table=table)


def _facts(values: Floats) -> list[str]:
    if not values.size:
        return ["0", *[NOTHING] * 5]
    facts = (values.mean(), values.std(), values.min(), np.median(values), values.max())
    return [f"{len(values):,}", *(number(float(fact)) for fact in facts)]


def _summary(values: Floats) -> str:
    if not values.size:
        return "no values"
    return f"mean {number(float(values.mean()))}, from {number(float(values.min()))} to {number(float(values.max()))}"


def _edges(values: Sequence[Floats], is_discrete: bool) -> Floats:
    """Return the edges of bins that hold all values; choices have a bin each, if there are not too many."""
    scale = scale_over(values, 0, 1, is_padded=False)
    found = [part for part in values if part.size]
    if not found or not all(bool((part == np.floor(part)).all()) for part in found) or scale.high - scale.low > 1e12:
        return np.linspace(scale.low, scale.high, _BINS + 1)
    low, high = min(float(part.min()) for part in found), max(float(part.max()) for part in found)
    span = high - low + 1  # whole numbers: as many of them in each bin
    width = 1 if is_discrete and span <= _MOST_CHOICES else -(-span // _BINS)
    return np.asarray(np.arange(low - 0.5, high + 0.5 + width, width), np.float64)


def _names(edges: Floats) -> list[tuple[float, str]] | None:
    """Return the names of choices below their bins, as many as fit."""
    middles = (edges[:-1] + edges[1:]) / 2
    if len(middles) > _MOST_CHOICES:
        return None
    every = -(-len(middles) // 12)
    return [(float(value), f"{value:g}") for value in middles[::every]]


def _bins(plot: Plot, edges: Floats, shares: Floats, place: tuple[float, float]) -> str:
    """Return the path of the bars, each of them in this part of its bin."""
    base, width, parts = plot.bottom, float(edges[1] - edges[0]), ["M0 0"]
    for left, share in zip(edges[:-1].tolist(), shares.tolist(), strict=True):
        a, b = (plot.x(left + part * width) for part in place)
        parts.append(f"M{a:.1f} {base:.1f}V{plot.y(share):.1f}H{b:.1f}V{base:.1f}" if share else "")
    return "".join(parts)


def quantile_chart(title: str, said: str, rows: Floats) -> Markup:
    """Return the spread of each of many components, `[rows, components]`: one place each, side by side."""
    quantiles = np.quantile(rows, [0, 0.1, 0.5, 0.9, 1], axis=0)
    x = np.arange(rows.shape[1], dtype=np.float64)
    plot = Plot.over([np.array([-0.5, len(x) - 0.5])], [quantiles[0], quantiles[4]], height=200)
    whole, inner, middle = [], [], []
    for k in range(len(x)):
        a = plot.x(k)
        lowest, low, median, high, highest = (plot.y(float(value)) for value in quantiles[:, k])
        whole.append(f"M{a:.1f} {lowest:.1f}V{highest:.1f}")
        inner.append(f"M{a:.1f} {low:.1f}V{high:.1f}")
        middle.append(f"M{a - 1:.1f} {median:.1f}h2")
    paths = [
        tag("path", class_=f"{kind} s0", d="".join(d))
        for kind, d in (("whisker", whole), ("inner", inner), ("median", middle))
    ]
    label = f"{title}: the range, the 10th to 90th percentile and the median of each of {len(x)} components"
    picture = plot.picture(plot.axes("component"), *paths, label=label)
    shown = [[f"{k}", *(number(float(value)) for value in quantiles[:, k])] for k in evenly(len(x), _TABLE_ROWS)]
    return figure(
        title, said, picture, table=numbers_table(["component", "min", "10 %", "median", "90 %", "max"], shown)
    )


# ---- ranges and bars


@dataclass(frozen=True)
class Range:
    """A value with an interval, if there is one, and its name."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    series: int = 0


def ranges(title: str, said: str, rows: Sequence[Range], *, marker: float | None = None, what: str) -> Markup:
    """Return values with their intervals, one below the other; `marker` is a value to compare them with."""
    found = [value for row in rows for value in (row.low, row.value, row.high) if value is not None]
    height, left = 46 + 24 * len(rows), 132
    plot = Plot.over([np.array([*found, *([] if marker is None else [marker])])], [np.zeros(1)], height, left=left)
    x = scale_over([np.array([*found, *([] if marker is None else [marker])])], left, 448, is_padded=True)
    parts = []
    bottom = plot.bottom
    for value in x.ticks():
        parts.append(tag("line", class_="grid", x1=x(value), x2=x(value), y1=6, y2=bottom))
        parts.append(tag("text", tick(value), x=x(value), y=bottom + 16, class_="middle"))
    if marker is not None:
        parts.append(tag("line", class_="marker", x1=x(marker), x2=x(marker), y1=6, y2=bottom))
    for k, row in enumerate(rows):
        y = 20 + 24 * k
        parts.append(tag("text", _short(row.name), tag("title", row.name), x=left - 8, y=y + 4, class_="end"))
        if row.low is not None and row.high is not None:
            parts.append(tag("line", class_=f"inner {colour(row.series)}", x1=x(row.low), x2=x(row.high), y1=y, y2=y))
        said_of = f"{row.name}: {number(row.value)}"
        parts.append(
            tag("circle", tag("title", said_of), class_=f"mean {colour(row.series)}", cx=x(row.value), cy=y, r="4.5")
        )
    label = f"{title}. " + "; ".join(_said(row) for row in rows[:20]) + "."
    table = numbers_table(
        ["", what, "from", "to"],
        [[row.name, *(NOTHING if v is None else number(v) for v in (row.value, row.low, row.high))] for row in rows],
    )
    return figure(title, said, plot.picture(*parts, label=label), table=table)


def _said(row: Range) -> str:
    bounds = "" if row.low is None or row.high is None else f" ({number(row.low)} to {number(row.high)})"
    return f"{row.name} {number(row.value)}{bounds}"


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:8]}…{name[-9:]}"


@dataclass(frozen=True)
class Bar:
    """A part of a whole: its name, its size, what is written beside it, and its colour."""

    name: str
    size: float
    said: str
    series: int = 0


def bars(title: str, said: str, rows: Sequence[Bar], *, whole: float | None = None, wide: bool = False) -> Markup:
    """Return parts as bars in a table, which needs no other text."""
    most = max((row.size for row in rows), default=0.0) if whole is None else whole
    body = []
    for row in rows:
        share = row.size / most if most else 0.0
        strip = tag("span", class_=f"strip {colour(row.series)}", style=f"width:{100 * share:.2f}%")
        cells = (tag("td", strip, class_="strips", aria_hidden="true"), tag("td", row.said))
        body.append(tag("tr", tag("th", row.name, scope="row"), *cells))
    return figure(title, said, tag("table", tag("tbody", *body), class_="bars", aria_label=title), wide=wide)
