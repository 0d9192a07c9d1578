"""Results as SVG, in colours that can be read on white and on black, as nobody knows what is behind the chart."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from results import CellResult, Results
from tables import conditions, is_ours, label

TEXT, LINE = "#7d8590", "#7d859066"
THEIRS = "#8b949e"
OURS = ["#2f81f7", "#1a9c74", "#b5651d", "#a05ad6"]
PANEL = 190
FONT = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"


class Picture:
    """An SVG under construction."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {width:g} {height:g}",
                "width": f"{width:g}",
                "height": f"{height:g}",
                "role": "img",
                "font-family": FONT,
                "font-size": "12",
                "stroke": "none",
            },
        )
        ET.SubElement(self._root, "title").text = title

    def add(self, tag: str, text: str | None = None, **attributes: Any) -> None:
        """Add an element; numbers are written short, and `_` in names stands for `-`."""
        given = {
            key.replace("_", "-"): f"{value:.5g}" if isinstance(value, float) else str(value)
            for key, value in attributes.items()
        }
        ET.SubElement(self._root, tag, given).text = text

    def text(self, x: float, y: float, text: str, colour: str = TEXT, anchor: str = "start", **attributes: Any) -> None:
        self.add("text", text, x=float(x), y=float(y), fill=colour, text_anchor=anchor, **attributes)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = LINE, **attributes: Any) -> None:
        self.add("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), stroke=colour, **attributes)

    def render(self) -> str:
        ET.indent(self._root)
        return ET.tostring(self._root, encoding="unicode") + "\n"


def colour_of(name: str) -> str:
    return OURS[0] if is_ours(name) else THEIRS


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
            weight = {"font_weight": "bold"} if is_ours(name) else {}
            picture.text(left - 12, top + at * row + 12, name, _named_colour(name), "end", **weight)
        for k in range(line * across, min(len(cells), (line + 1) * across)):
            x = left + k % across * panel
            picture.text(x, top - 22, cells[k].cell.title, font_weight="bold")
            for at, name in enumerate(names):
                if (k, name) in ratios:
                    _bar(picture, x, top + at * row, per_unit, name, ratios[k, name])
            picture.line(x, top - 4, x, top + len(names) * row)
            one = x + per_unit
            picture.line(one, top - 4, one, top + len(names) * row, TEXT, stroke_dasharray="3 3")
            picture.text(one, top - 8, "1.0", anchor="middle", font_size=10)
    picture.text(left, down * deep + 12, "Times as fast as the bare loop, which is the line at 1.0 and keeps nothing.")
    picture.text(left, down * deep + 28, f"Longer is better. {conditions(results).partition(';')[0]}.", font_size=11)
    return picture.render()


def _bar(picture: Picture, x: float, y: float, per_unit: float, name: str, ratio: float | None) -> None:
    if ratio is None:
        picture.text(x + 4, y + 12, "failed", font_size=11, font_style="italic")
        return
    picture.add("rect", x=float(x), y=float(y + 2), width=ratio * per_unit, height=13, fill=colour_of(name), rx=2)
    picture.text(x + PANEL - 24, y + 12, f"{ratio:.2f}", _named_colour(name), "end", font_size=11)


def _named_colour(name: str) -> str:
    return colour_of(name) if is_ours(name) else TEXT


def _bests(cell: CellResult) -> dict[str, float | None]:
    return {label(outcome): cell.best(outcome) for outcome in cell.outcomes[1:]}


# ---- lines


def curves(results: Results) -> str:
    """Return the line charts: the median ratio to the bare loop over numbers of envs, and of workers."""
    panels = [*_over_envs(results.over_envs), *_over_workers(results.over_workers)]
    wide, high, across = 480, 330, 2
    picture = Picture(
        wide * across, high * math.ceil(len(panels) / across) + 24, "Rollout speed over numbers of envs and workers"
    )
    names = list(dict.fromkeys(name for _, _, lines in panels for name in lines))
    for k, (title, axis, lines) in enumerate(panels):
        _panel(picture, wide * (k % across) + 45, high * (k // across) + 40, title, axis, lines, _styles(names))
    picture.text(
        45, high * math.ceil(len(panels) / across) + 12, conditions(results).partition(";")[0] + ".", font_size=11
    )
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


def _styles(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Give each of ours a colour, each of theirs a dash."""
    ours = [name for name in names if is_ours(name)]
    theirs = [name for name in names if not is_ours(name)]
    styles = {name: {"stroke": OURS[k % len(OURS)], "stroke_width": "2.5"} for k, name in enumerate(ours)}
    dashes = ["6 3", "2 3", "8 3 2 3", "1 4"]
    for k, name in enumerate(theirs):
        styles[name] = {"stroke": THEIRS, "stroke_width": "2", "stroke_dasharray": dashes[k % len(dashes)]}
    return styles


def _panel(
    picture: Picture, left: float, top: float, title: str, axis: str, lines: Lines, styles: Mapping[str, dict[str, str]]
) -> None:
    wide, high = 400, 200
    numbers = sorted({number for points in lines.values() for number, _ in points}) or [1.0]
    highest = max([1.25, *(ratio for points in lines.values() for _, ratio in points)])
    low, span = math.log2(numbers[0]), math.log2(numbers[-1] / numbers[0]) or 1.0

    def place(number: float, ratio: float) -> tuple[float, float]:
        return left + (math.log2(number) - low) / span * wide, top + high * (1 - ratio / highest)

    picture.text(left, top - 14, title, font_weight="bold")
    for tick in [k / 2 for k in range(int(highest * 2) + 1)]:
        _, y = place(numbers[0], tick)
        picture.line(
            left, y, left + wide, y, *([TEXT] if tick == 1 else []), stroke_dasharray="3 3" if tick == 1 else "none"
        )
        picture.text(left - 6, y + 4, f"{tick:g}", anchor="end", font_size=11)
    for number in numbers:
        picture.text(place(number, 0)[0], top + high + 16, f"{number:g}", anchor="middle", font_size=11)
    picture.text(left + wide, top + high + 32, axis, anchor="end", font_size=11)
    for at, (name, points) in enumerate(lines.items()):
        style = styles[name]
        path = " L ".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in points))
        picture.add("path", d=f"M {path}", fill="none", stroke_linejoin="round", **style)
        for x, y in (place(*point) for point in points):
            picture.add("circle", cx=x, cy=y, r=2.5, fill=style["stroke"])
        x, y = left + at % 2 * 200, top + high + 36 + at // 2 * 14
        picture.line(x, y - 4, x + 22, y - 4, style["stroke"], **{k: v for k, v in style.items() if k != "stroke"})
        picture.text(x + 28, y, name, style["stroke"] if is_ours(name) else TEXT, font_size=11)
