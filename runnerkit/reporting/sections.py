"""The sections of a report about what happened: curves, ends, distributions, time, faults."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.wording import count
from runnerkit.records import Timings
from runnerkit.reporting.charts import (
    Bar,
    Dots,
    Line,
    Range,
    bars,
    curve_chart,
    histogram,
    quantile_chart,
    ranges,
)
from runnerkit.reporting.comparing import Group
from runnerkit.reporting.curves import Curve, aggregated, evenly, smoothed, window_of
from runnerkit.reporting.distributions import Kind, Sample, sampled
from runnerkit.reporting.markup import Markup, scrolled, tag
from runnerkit.reporting.numbers import NOTHING, duration, percent
from runnerkit.reporting.runs import UNFINISHED, Run, is_drawable
from runnerkit.reporting.table import copied

__all__ = ["distributions", "ends", "faults", "learning", "per_env", "times"]

_MOST_DOTS: Final = 500
_MOST_FAULTS: Final = 100
_MOST_ENVS: Final = 32
_MOST_COMPONENTS: Final = 12
_MOST_CHARTS: Final = 16
_MOST_RUNS: Final = 4  # whose distributions are drawn over each other
_MOST_PLACES: Final = 1024
_MOST_TEXT: Final = 400  # characters of an exception

Floats = NDArray[np.float64]


# ---- curves


def learning(groups: Sequence[Group], runs: Sequence[Run]) -> Iterator[Markup]:
    """Yield the curves of returns and lengths, for the runs of one env."""
    drawn = [run for run in runs if len(run.drawn)]
    if not drawn:
        return
    for what, plural in (("return", "Returns"), ("length", "Lengths")):
        values = [_values(run, what) for run in drawn]
        if len(drawn) == 1:
            yield _one_run(plural, what, drawn[0], values[0], series=groups[0].series)
        elif any(len(group.runs) > 1 for group in groups):
            yield _of_groups(plural, what, groups)
        else:
            yield _side_by_side(plural, what, groups)


def _values(run: Run, what: str) -> Floats:
    return (run.returns if what == "return" else run.lengths)[run.drawn]


def _one_run(title: str, what: str, run: Run, values: Floats, *, series: int) -> Markup:
    x, window = (run.drawn + 1).astype(np.float64), window_of(len(values))
    curve = smoothed(x, values, window, confident=False)
    places = evenly(len(x), _MOST_DOTS)
    texts = [_text_of(run, int(run.drawn[k])) for k in places]
    dots = [Dots(x[places], values[places], texts, series)]
    broken = [k for k in range(len(run.episodes)) if not run.complete[k] and run.reason(k) != UNFINISHED]
    every = run.returns if what == "return" else run.lengths
    marked = [k for k in broken if is_drawable(every[k : k + 1])[0]][-_MOST_FAULTS:]
    if marked:
        at = np.array(marked) + 1.0
        dots.append(Dots(at, every[marked], [_text_of(run, k) for k in marked], series, is_fault=True))
    said = f"Mean and spread (10 % to 90 %) of the last {count(window, 'episode')}."
    if len(places) < len(x):
        said += f" {len(places):,} of {len(x):,} episodes are drawn as dots."
    if marked:
        said += " Crosses are episodes that a fault ended."
    return curve_chart(title, said, [Line(run.name, series, curve)], dots, x_label="episode", y_name=what)


def _text_of(run: Run, k: int) -> str:
    record = run.episodes[k]
    return (
        f"episode {record.episode_index} of env {record.env_index}, seed {record.seed}: "
        f"return {record.total_return:.6g}, {record.total_length} steps, {run.reason(k)}"
    )


def _curve(run: Run, what: str, *, confident: bool) -> Curve:
    values = _values(run, what)
    return smoothed(run.steps[run.drawn].astype(np.float64), values, window_of(len(values)), confident=confident)


def _side_by_side(title: str, what: str, groups: Sequence[Group]) -> Markup:
    lines = [Line(group.name, group.series, _curve(group.runs[0], what, confident=True)) for group in groups]
    windows = sorted({window_of(len(group.runs[0].drawn)) for group in groups})
    span = f"{windows[0]}" if len(windows) == 1 else f"{windows[0]} to {windows[-1]}"
    said = f"Mean of the last {span} episodes, with its 95 % confidence band."
    return curve_chart(title, said, lines, [], x_label="steps of all envs", y_name=f"mean {what}")


def _of_groups(title: str, what: str, groups: Sequence[Group]) -> Markup:
    lines = []
    for group in groups:
        curves = [_curve(run, what, confident=False) for run in group.runs]
        curve = aggregated(curves) if len(curves) > 1 else _curve(group.runs[0], what, confident=True)
        lines.append(Line(f"{group.name} ({count(len(curves), 'run')})", group.series, curve))
    said = "Interquartile mean of the runs, each smoothed over a tenth of its episodes, with its 95 % confidence band."
    return curve_chart(title, said, lines, [], x_label="steps of all envs", y_name=f"IQM of {what}")


# ---- per env, and how episodes ended


def per_env(run: Run) -> Iterator[Markup]:
    """Yield the returns and lengths of each env of a run; nothing if there is one env."""
    envs = np.unique(run.env_indices[run.drawn]) if len(run.drawn) else np.zeros(0, np.int64)
    if len(envs) < 2:
        return
    said = "Mean of the complete episodes, and the range from the 10th to the 90th percentile."
    if len(envs) > _MOST_ENVS:
        said += f" The first {_MOST_ENVS} of {len(envs)} envs are drawn."
    for what, title in (("return", "Returns per env"), ("length", "Lengths per env")):
        values, of = _values(run, what), run.env_indices[run.drawn]
        rows = []
        for env in envs[:_MOST_ENVS].tolist():
            mine = values[of == env]
            low, high = np.quantile(mine, [0.1, 0.9])
            rows.append(Range(f"env {env} ({len(mine):,})", float(mine.mean()), float(low), float(high), 0))
        yield ranges(title, said, rows, what=f"mean {what}")


def ends(runs: Sequence[Run], colours: dict[str, int]) -> Iterator[Markup]:
    """Yield how the episodes of each run ended, the most frequent end first."""
    rows = []
    for run in runs:
        reasons = collections.Counter(run.reason(k) for k in range(len(run.episodes))).most_common()
        for reason, n in reasons:
            name = reason if len(runs) == 1 else f"{run.name}: {reason}"
            share = n / len(run.episodes)
            rows.append(Bar(name, share, f"{n:,} · {percent(share)}", colours[run.group]))
    if rows:
        yield bars("How episodes ended", "", rows, whole=1.0, wide=True)


# ---- distributions


def distributions(kind: Kind, runs: Sequence[Run], colours: dict[str, int]) -> tuple[list[Markup], list[str]]:
    """Return the charts of actions or observations of the runs of one env, and what is not drawn, in words."""
    chosen = [run for run in runs if run.histories][:_MOST_RUNS]
    by_path: dict[str, list[tuple[Run, Sample]]] = {}
    for run in chosen:
        for sample in sampled(run, kind):
            by_path.setdefault(sample.path, []).append((run, sample))
    charts: list[Markup] = []
    silent: list[str] = []
    for path, found in by_path.items():
        sample = found[0][1]
        alike = [(run, other) for run, other in found if other.rows.shape[1:] == sample.rows.shape[1:]]
        if sample.leaf.is_object:
            silent.append(f"{path} ({type(sample.leaf.space).__name__})")
        elif len(charts) >= _MOST_CHARTS:
            silent.append(path)
        elif len(sample.rows):
            charts += _charts_of(path, alike, colours)
    if runs and not chosen:
        silent.append(f"{kind}s, as these sources keep none")
    if len(runs) > len(chosen) > 0:
        silent.append(f"the {kind}s of runs after {chosen[-1].name}")
    return charts, silent


def _charts_of(path: str, found: Sequence[tuple[Run, Sample]], colours: dict[str, int]) -> Iterator[Markup]:
    sample = found[0][1]
    said = _said_of_rows([other for _, other in found])
    size = int(np.prod(sample.rows.shape[1:]))
    flat = [(run, _flat(other.rows)) for run, other in found]
    names = [(run.name, colours[run.group]) for run, _ in flat]
    if size <= _MOST_COMPONENTS:
        for k in range(size):
            title = path if size == 1 else f"{path}[{k}]"
            values = [
                (name, colour, _finite(rows[:, k])) for (name, colour), (_, rows) in zip(names, flat, strict=True)
            ]
            yield histogram(title, said, values, is_discrete=sample.is_discrete)
    elif sample.rows.ndim <= 2 and size <= _MOST_PLACES:
        rows = np.where(is_drawable(flat[0][1]), flat[0][1], 0.0)
        of = "" if len(found) == 1 else f" Of {found[0][0].name}."
        yield quantile_chart(path, f"Range, 10th to 90th percentile and median of {size} components. {said}{of}", rows)
    else:
        values = [(name, colour, _finite(rows.ravel())) for (name, colour), (_, rows) in zip(names, flat, strict=True)]
        shape = " \N{MULTIPLICATION SIGN} ".join(map(str, sample.rows.shape[1:]))
        yield histogram(path, f"All {shape} numbers together. {said}", values, is_discrete=False)


def _said_of_rows(samples: Sequence[Sample]) -> str:
    sample = samples[0]
    if len(samples) > 1:
        is_whole = all(len(one.rows) >= one.total for one in samples)
        return "% of the steps of each run" + ("." if is_whole else ", evenly chosen.")
    if len(sample.rows) >= sample.total:
        return f"% of {count(sample.total, 'step')}."
    return f"% of {len(sample.rows):,} of {sample.total:,} steps, evenly chosen."


def _flat(rows: NDArray[np.generic]) -> Floats:
    return rows.reshape(len(rows), -1).astype(np.float64)


def _finite(values: Floats) -> Floats:
    return values[is_drawable(values)]


# ---- time


def times(run: Run) -> Iterator[Markup]:
    """Yield where the time of a run went, and its slowest envs, if that was measured."""
    for timings in run.timings:
        yield _split(run, timings)
        if len(timings.envs) > 1:
            yield _slowest(timings)


def _split(run: Run, timings: Timings) -> Markup:
    parts = {
        "agent": timings.agent,
        "env.step": timings.env,
        "env.reset": timings.reset,
        "waiting": timings.wait,
        "the rest": timings.other,
    }
    total = sum(parts.values())
    rows = [
        Bar(name, seconds, f"{duration(seconds)} · {percent(seconds / total)}", 0)
        for name, seconds in parts.items()
        if total
    ]
    rate = f", {timings.steps / timings.seconds:,.0f} steps/s" if timings.seconds else ""
    said = f"{duration(timings.seconds)} for {count(timings.steps, 'step')}{rate}."
    workers = len(timings.workers)
    if workers > 1:
        said += f" Steps, resets and waiting are sums over {workers} workers."
    return bars(f"Where the time went: {run.name}", said, rows, whole=total)


def _slowest(timings: Timings) -> Markup:
    ranked = sorted(timings.envs, key=lambda env: env.seconds_per_step, reverse=True)[:10]
    rows = [Bar(f"env {env.env_index}", env.seconds_per_step, f"{duration(env.seconds_per_step)}", 0) for env in ranked]
    median = float(np.median([env.seconds_per_step for env in timings.envs]))
    said = (
        f"Mean time of a step: the {len(rows)} slowest of {len(timings.envs)} envs; the median is {duration(median)}."
    )
    return bars("The slowest envs", said, rows)


# ---- faults


def faults(runs: Sequence[Run]) -> Markup | None:
    """Return the envs that failed and were made anew; None if none did."""
    total = sum(len(run.faults) for run in runs)
    if not total:
        return None
    columns = (["run"] if len(runs) > 1 else []) + [
        "env",
        "episode",
        "step",
        "end",
        "error",
        "action",
        "seed",
        "replay",
    ]
    body, shown = [], 0
    for run in runs:
        numbers = {(e.env_index, e.episode_index, e.seed): k for k, e in enumerate(run.episodes)}
        for fault in run.faults[: max(0, _MOST_FAULTS - shown)]:
            shown += 1
            k = numbers.get((fault.env_index, -1 if fault.episode_index is None else fault.episode_index, fault.seed))
            command = "" if k is None else run.command(k)
            cells = [run.name] if len(runs) > 1 else []
            cells += [
                str(fault.env_index),
                *(NOTHING if value is None else str(value) for value in (fault.episode_index, fault.step)),
                str(fault.end_reason),
                tag("span", _shortened(fault.error), class_="error"),
                NOTHING if fault.action is None else _shortened(str(fault.action), 60),
                NOTHING if fault.seed is None else copied(str(fault.seed), "seed"),
                copied(command, "command", is_code=True) if command else NOTHING,
            ]
            body.append(tag("tr", *(tag("td", cell) for cell in cells)))
    said = f"{count(total, 'fault')}. After each, the env was made anew; no step of another env is lost."
    if shown < total:
        said += f" The first {shown} are listed."
    head = tag("tr", *(tag("th", name, scope="col") for name in columns))
    table = tag("table", tag("caption", "Faults", class_="hidden"), tag("thead", head), tag("tbody", *body))
    return tag(
        "div",
        tag("p", said, class_="said"),
        scrolled(table, "Table of faults", is_tall=True),
    )


def _shortened(text: str, most: int = _MOST_TEXT) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
