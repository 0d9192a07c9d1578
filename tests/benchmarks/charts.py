"""Results as SVG, in the colours and the letters of `runnerkit report`: light or dark, as the reader likes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Final

from results import CellResult, Results
from tables import conditions, is_ours, label

from runnerkit.reporting.markup import Markup, joined, tag

THEIRS: Final = 7
"""The grey of the palette."""
OURS: Final = (0, 2, 1, 3)
PANEL: Final = 190
MARGIN: Final = 16
STYLE: Final = """
svg { color-scheme: light dark; }
text {
  font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: var(--soft);
}
.title { font-weight: 600; fill: var(--ink); }
.ours { font-weight: 600; }
.small { font-size: 11px; }
.off { font-style: italic; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.paper { fill: var(--panel); stroke: var(--hair); }
.grid { stroke: var(--hair); }
.axis { stroke: var(--soft); stroke-opacity: .5; }
.one { stroke: var(--soft); stroke-dasharray: 3 3; }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.d1 { stroke-dasharray: 7 4; }
.d2 { stroke-dasharray: 2 4; }
.d3 { stroke-dasharray: 9 3 2 3; }
.bar, .dot, text.ours { fill: var(--c); }
.bar.s7 { fill-opacity: .7; }
.s0 { --c: var(--c0); }
.s1 { --c: var(--c1); }
.s2 { --c: var(--c2); }
.s3 { --c: var(--c3); }
.s7 { --c: var(--c7); }
"""


class Picture:
    """An SVG under construction."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._size, self._title = (width + 2 * MARGIN, height + 2 * MARGIN), title
        self._parts: list[Markup] = []

    def add(self, name: str, *children: str, **attributes: str | float | None) -> None:
        """Add an element, as `tag` makes it."""
        self._parts.append(tag(name, *children, **attributes))

    def text(self, x: float, y: float, text: str, class_: str | None = None) -> None:
        self.add("text", text, x=float(x), y=float(y), class_=class_)

    def line(self, x1: float, y1: float, x2: float, y2: float, class_: str) -> None:
        self.add("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)

    def render(self) -> str:
        width, height = self._size
        paper = tag("rect", class_="paper", x=0.5, y=0.5, width=width - 1.0, height=height - 1.0, rx=8)
        palette = resources.files("runnerkit.reporting").joinpath("palette.css").read_text("utf-8")
        drawn = tag("g", "\n", joined(self._parts, "\n"), "\n", transform=f"translate({MARGIN} {MARGIN})")
        parts = [tag("title", self._title), tag("style", Markup(palette + STYLE)), paper, drawn]
        attributes = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width:g} {height:g}", "role": "img"}
        return tag("svg", "\n", joined(parts, "\n"), "\n", width=width, height=height, **attributes) + "\n"


def class_of(name: str) -> str:
    return f"s{OURS[0] if is_ours(name) else THEIRS}"


# ---- bars


def bars(results: Results) -> str:
    """Return the bar chart: a panel per cell, a bar per contestant, as long as the ratio of the best times."""
    cells = [result for result in results.cells if result.cell.kind == "single"]
    names = list(dict.fromkeys(label(outcome) for cell in cells for outcome in cell.outcomes[1:]))
    across, left, panel, row = min(4, len(cells)), 210, PANEL, 17
    down = math.ceil(len(cells) / across)
    deep = len(names) * row + 58
    picture = Picture(left + across * panel, down * deep + 40, "Rollout speed as a ratio to the bare Python loop")
    ratios = {(k, name): ratio for k, cell in enumerate(cells) for name, ratio in _bests(cell).items()}
    longest = max([1.25, *(ratio for ratio in ratios.values() if ratio is not None)])
    per_unit = (panel - 62) / longest
    for line in range(down):
        top = line * deep + 44
        for at, name in enumerate(names):
            picture.text(left - 12, top + at * row + 12, name, f"end {_named(name)}")
        for k in range(line * across, min(len(cells), (line + 1) * across)):
            x = left + k % across * panel
            picture.text(x, top - 22, cells[k].cell.title, "title")
            for at, name in enumerate(names):
                if (k, name) in ratios:
                    _bar(picture, x, top + at * row, per_unit, name, ratios[k, name])
            picture.line(x, top - 4, x, top + len(names) * row, "axis")
            one = x + per_unit
            picture.line(one, top - 4, one, top + len(names) * row, "one")
            picture.text(one, top - 8, "1.0", "middle small")
    picture.text(left, down * deep + 12, "Times as fast as the bare loop, which is the line at 1.0 and keeps nothing.")
    picture.text(left, down * deep + 28, f"Longer is better. {conditions(results).partition(';')[0]}.", "small")
    return picture.render()


def _bar(picture: Picture, x: float, y: float, per_unit: float, name: str, ratio: float | None) -> None:
    if ratio is None:
        picture.text(x + 4, y + 12, "failed", "small off")
        return
    picture.add(
        "rect", x=float(x), y=float(y + 2), width=ratio * per_unit, height=13, class_=f"bar {class_of(name)}", rx=2
    )
    picture.text(x + PANEL - 24, y + 12, f"{ratio:.2f}", f"end small {_named(name)}")


def _named(name: str) -> str:
    """Return the classes of a name, or a number, of a contestant."""
    return f"ours {class_of(name)}" if is_ours(name) else "theirs"


def _bests(cell: CellResult) -> dict[str, float | None]:
    return {label(outcome): cell.best(outcome) for outcome in cell.outcomes[1:]}


# ---- lines


def curves(results: Results) -> str:
    """Return the line charts: the median ratio to the bare loop over numbers of envs, and of workers."""
    panels = [*_over_envs(results.over_envs), *_over_workers(results.over_workers)]
    wide, high, across = 480, 340, 2
    picture = Picture(
        wide * across, high * math.ceil(len(panels) / across) + 24, "Rollout speed over numbers of envs and workers"
    )
    names = list(dict.fromkeys(name for _, _, lines in panels for name in lines))
    for k, (title, axis, lines) in enumerate(panels):
        _panel(picture, wide * (k % across) + 45, high * (k // across) + 40, title, axis, lines, _styles(names))
    picture.text(45, high * math.ceil(len(panels) / across) + 12, conditions(results).partition(";")[0] + ".", "small")
    return picture.render()


Lines = Mapping[str, Sequence[tuple[float, float]]]
"""By contestant, the points (number, ratio) of its line."""


def _over_envs(results: Sequence[CellResult]) -> list[tuple[str, str, Lines]]:
    env_ids = dict.fromkeys(result.cell.env_id for result in results)
    return [
        (env_id, "envs", _lines([r for r in results if r.cell.env_id == env_id], lambda r, _: r.cell.n_envs))
        for env_id in env_ids
    ]


def _over_workers(results: Sequence[CellResult]) -> list[tuple[str, str, Lines]]:
    return [(r.cell.title, "workers", _lines([r], lambda _, workers: workers or 1)) for r in results]


def _lines(results: Sequence[CellResult], number: Callable[[CellResult, int | None], int]) -> Lines:
    lines: dict[str, list[tuple[float, float]]] = {}
    for result in results:
        for outcome in result.outcomes[1:]:
            ratio = result.median(outcome)
            if ratio is not None:
                lines.setdefault(outcome.name, []).append((number(result, outcome.workers), ratio))
    return lines


def _styles(names: Sequence[str]) -> dict[str, str]:
    """Give each of ours a colour, each of theirs a dash."""
    ours = [name for name in names if is_ours(name)]
    theirs = [name for name in names if not is_ours(name)]
    styles = {name: f"s{OURS[k % len(OURS)]}" for k, name in enumerate(ours)}
    return styles | {name: f"s{THEIRS} d{1 + k % 3}" for k, name in enumerate(theirs)}


def _panel(
    picture: Picture, left: float, top: float, title: str, axis: str, lines: Lines, styles: Mapping[str, str]
) -> None:
    wide, high = 400, 200
    numbers = sorted({number for points in lines.values() for number, _ in points}) or [1.0]
    highest = max([1.25, *(ratio for points in lines.values() for _, ratio in points)])
    low, span = math.log2(numbers[0]), math.log2(numbers[-1] / numbers[0]) or 1.0

    def place(number: float, ratio: float) -> tuple[float, float]:
        return left + (math.log2(number) - low) / span * wide, top + high * (1 - ratio / highest)

    picture.text(left, top - 14, title, "title")
    for tick in [k / 2 for k in range(int(highest * 2) + 1)]:
        _, y = place(numbers[0], tick)
        picture.line(left, y, left + wide, y, "one" if tick == 1 else "grid")
        picture.text(left - 6, y + 4, f"{tick:g}", "end small")
    for number in numbers:
        picture.text(place(number, 0)[0], top + high + 16, f"{number:g}", "middle small")
    picture.text(left + wide, top + high + 32, axis, "end small")
    for at, (name, points) in enumerate(lines.items()):
        style = styles[name]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in points))
        picture.add("path", d=f"M{path}", class_=f"line {style}")
        for x, y in (place(*point) for point in points):
            picture.add("circle", cx=x, cy=y, r=2.5, class_=f"dot {style}")
        x, y = left + at % 2 * 200, top + high + 48 + at // 2 * 14
        picture.line(x, y - 4, x + 22, y - 4, f"line {style}")
        picture.text(x + 28, y, name, f"small ours {style}" if is_ours(name) else "small")
