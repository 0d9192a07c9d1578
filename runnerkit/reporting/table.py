"""The table of episodes: sortable, with seeds and commands to copy, of a bounded number of rows."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from runnerkit.errors import ArgumentError
from runnerkit.reporting.markup import Markup, joined, scrolled, tag
from runnerkit.reporting.numbers import NOTHING, number
from runnerkit.reporting.runs import Run

__all__ = ["EpisodeKey", "Thumbnails", "check_thumbnails", "chosen", "copied", "episode_table", "thumbnail_of"]

EpisodeKey: TypeAlias = "tuple[str, int, int] | tuple[int, int]"
"""An episode: the name of its run, its env index and its episode index; with one run, the name may be left out."""

Thumbnails: TypeAlias = Mapping[EpisodeKey, bytes]
"""Pictures of episodes, each a PNG or a JPEG."""

MOST_ROWS: Final = 800
"""How many episodes the table has at most, of all runs together."""

_MOST_ENVS: Final = 8  # that an error lists
_MAGIC: Final = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


def chosen(run: Run, most: int) -> tuple[list[int], str]:
    """Return which episodes of a run the table has, and a word that says so if they are not all.

    They are the last ones, the best and the worst, and of those that broke off the last.
    """
    n = len(run.episodes)
    if n <= most:
        return list(range(n)), ""
    quarter = most // 4
    ranked = run.drawn[np.argsort(run.returns[run.drawn], kind="stable")]
    broken = [k for k in range(n) if not run.complete[k]][-quarter:]
    found = {*ranked[:quarter].tolist(), *ranked[len(ranked) - quarter :].tolist(), *broken}
    first = n
    while len(found) < most:
        first -= 1
        found.add(first)
    kinds = f"the {quarter} with the lowest and the {quarter} with the highest return, and the last {n - first}"
    if broken:
        kinds += f", and the last {len(broken)} without an end of their own"
    return sorted(found), f"{len(found):,} of {n:,} episodes of {run.name}: {kinds}."


def episode_table(runs: Sequence[Run], thumbnails: Thumbnails) -> Markup:
    """Return the table, with what it leaves out."""
    picked = [chosen(run, max(40, MOST_ROWS // max(1, len(runs)))) for run in runs]
    has_commands, has_pictures = any(run.folder for run in runs), bool(thumbnails)
    columns: list[tuple[str, str]] = [("run", "text")] if len(runs) > 1 else []
    columns += [("no.", "number"), ("env", "number"), ("episode", "number"), ("return", "number"), ("length", "number")]
    columns += [("end", "text"), ("seed", "number")]
    columns += [("picture", "")] * has_pictures + [("replay", "")] * has_commands
    head = tag("tr", *(_header(name, kind) for name, kind in columns))
    body = [
        _row(run, k, is_one=len(runs) == 1, thumbnails=thumbnails, has_commands=has_commands)
        for run, (rows, _) in zip(runs, picked, strict=True)
        for k in rows
    ]
    caption = tag("caption", "Episodes", class_="hidden")
    table = tag("table", caption, tag("thead", head), tag("tbody", *body), class_="sortable")
    left_out = " ".join(f"The table has {said}" for _, said in picked if said)
    said = tag("p", left_out, class_="said") if left_out else None
    return joined([said, scrolled(table, "Table of episodes", is_tall=True)])


def _header(name: str, kind: str) -> Markup:
    if not kind:
        return tag("th", name, scope="col")
    button = tag("button", name, type="button", data_kind=kind)
    return tag("th", button, scope="col", aria_sort="none", class_="n" if kind == "number" else None)


def _row(run: Run, k: int, *, is_one: bool, thumbnails: Thumbnails, has_commands: bool) -> Markup:
    record = run.episodes[k]
    key = (run.name, record.env_index, record.episode_index)
    cells = [] if is_one else [tag("td", run.name)]
    for value in (k + 1, record.env_index, record.episode_index):
        cells.append(tag("td", str(value), class_="n"))
    cells.append(tag("td", number(run.returns[k], 6), class_="n", data_value=repr(float(run.returns[k]))))
    cells.append(tag("td", f"{record.total_length:,}", class_="n", data_value=record.total_length))
    kind = "" if run.complete[k] else "off"
    cells.append(tag("td", run.reason(k), class_=kind or None))
    cells.append(
        tag("td", copied(str(record.seed), "seed"), class_="n", data_value=record.seed)
        if record.seed is not None
        else tag("td", NOTHING, class_="n")
    )
    if thumbnails:
        cells.append(tag("td", thumbnail_of(thumbnails, key, is_one=is_one)))
    if has_commands:
        command = run.command(k)
        cells.append(tag("td", copied(command, "command", is_code=True) if command else NOTHING))
    return tag("tr", *cells)


def copied(value: str, what: str, *, is_code: bool = False) -> Markup:
    """Return a text that a click, or the enter key, copies."""
    shown = tag("code", value) if is_code else value
    return tag("button", shown, type="button", class_="copy", data_copy=value, title=f"Copy the {what}")


def check_thumbnails(thumbnails: Thumbnails, runs: Sequence[Run]) -> None:
    """Refuse pictures of episodes that are not there: the page would leave them out without a word."""
    known: set[EpisodeKey] = {(run.name, one.env_index, one.episode_index) for run in runs for one in run.episodes}
    form = "(name, env index, episode index)"
    if len(runs) == 1:
        known |= {(one.env_index, one.episode_index) for one in runs[0].episodes}
        form = "(env index, episode index)"
    for key in thumbnails:
        if key not in known:
            raise ArgumentError(
                f"thumbnails has {key!r}, but there is no such episode. A key is {form}, and "
                f"{'; '.join(map(_episodes_of, runs))}."
            )


def _episodes_of(run: Run) -> str:
    """Return which episodes a run has, in words."""
    spans: dict[int, tuple[int, int]] = {}
    for one in run.episodes:
        first, last = spans.get(one.env_index, (one.episode_index, one.episode_index))
        spans[one.env_index] = min(first, one.episode_index), max(last, one.episode_index)
    listed = [f"{first} to {last} of env {i}" for i, (first, last) in sorted(spans.items())]
    more = f" and those of {len(listed) - _MOST_ENVS} more envs" if len(listed) > _MOST_ENVS else ""
    return f"{run.name!r} has episodes {', '.join(listed[:_MOST_ENVS])}{more}" if listed else f"{run.name!r} has none"


def thumbnail_of(thumbnails: Thumbnails, key: tuple[str, int, int], *, is_one: bool) -> Markup | None:
    """Return the picture of an episode, if there is one."""
    data = thumbnails.get(key)
    if data is None and is_one:
        data = thumbnails.get(key[1:])
    if data is None:
        return None
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        raise ArgumentError(f"The thumbnail of episode {key[2]} of env {key[1]} is neither a PNG nor a JPEG.")
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return tag("img", src=source, alt=f"Episode {key[2]} of env {key[1]}", loading="lazy", class_="thumbnail")
