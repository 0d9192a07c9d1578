"""The section that compares runs: scores with intervals, and in plain words whether they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runnerkit._core.wording import count
from runnerkit.reporting.charts import Range, ranges
from runnerkit.reporting.comparing import Group, Pair, over_envs, pairs
from runnerkit.reporting.markup import Markup, joined, scrolled, tag
from runnerkit.reporting.numbers import NOTHING, interval, number, percent
from runnerkit.reporting.svg import colour

__all__ = ["comparison", "scores_table"]

_MOST_PAIRS = 15
_SURE = 0.05


def scores_table(groups: Sequence[Group], last: int) -> Markup:
    """Return the scores of groups with their intervals."""
    head = tag(
        "tr",
        *(
            tag("th", name, scope="col", class_="n" if k > 2 else None)
            for k, name in enumerate(("run", "env", "scores", "IQM", "95 % interval", "mean", "95 % interval"))
        ),
    )
    rows = [
        tag(
            "tr",
            tag(
                "th", tag("span", class_=f"swatch {colour(group.series)}", aria_hidden="true"), group.name, scope="row"
            ),
            tag("td", group.env),
            tag("td", count(len(group.scores), "run" if group.of_runs else "episode")),
            *(tag("td", cell, class_="n") for cell in (number(group.iqm), interval(group.iqm_interval))),
            *(tag("td", cell, class_="n") for cell in (number(group.mean), interval(group.mean_interval))),
        )
        for group in groups
    ]
    table = tag("table", tag("caption", "Scores", class_="hidden"), tag("thead", head), tag("tbody", *rows))
    unit = (
        f"The score of a run is the mean return of its last {last:,} complete episodes."
        if groups and groups[0].of_runs
        else f"The scores are the returns of the last {last:,} complete episodes of each run."
    )
    return joined(
        [
            tag("p", unit, class_="said"),
            scrolled(table, "Table of scores"),
        ]
    )


def comparison(groups: Sequence[Group], last: int) -> Markup | None:
    """Return what can be said of the differences between groups; None if there is nothing to compare."""
    found = pairs(groups)
    if not found:
        return None
    verdicts = tag("ul", *(tag("li", _verdict(pair)) for pair in found[:_MOST_PAIRS]), class_="verdicts")
    more = f"The first {_MOST_PAIRS} of {len(found)} pairs are told." if len(found) > _MOST_PAIRS else None
    overall = tag("ul", *_overall(groups), class_="verdicts") if len({group.env for group in groups}) > 1 else None
    return joined(
        [
            verdicts,
            tag("p", more, class_="said") if more else None,
            overall,
            *_caveats(found),
            tag("div", *_charts(groups, found), class_="charts"),
            scores_table(groups, last),
        ]
    )


def _verdict(pair: Pair) -> Markup:
    better, worse, probability, bounds = pair.second, pair.first, pair.probability, pair.interval
    if probability < 0.5:
        better, worse, probability = worse, better, 1 - probability
        bounds = None if bounds is None else (1 - bounds[1], 1 - bounds[0])
    unit = "run" if better.of_runs else "episode"
    chance = f"{percent(probability)} (95 % interval: {_shares(bounds)})"
    test = f"p = {_p(pair.p_value)}"
    where = f" in {pair.first.env}"
    if pair.p_value <= _SURE:
        return joined(
            [
                tag("strong", better.name),
                " is better than ",
                tag("strong", worse.name),
                f"{where}: a random {unit} of it has a higher return with a probability of {chance}, {test}.",
            ]
        )
    return joined(
        [
            "No significant difference between ",
            tag("strong", pair.first.name),
            " and ",
            tag("strong", pair.second.name),
            f"{where}: a random {unit} of {better.name} has the higher return with a probability of {chance}, {test}.",
        ]
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def _shares(bounds: tuple[float, float] | None) -> str:
    return NOTHING if bounds is None else f"{percent(bounds[0])} to {percent(bounds[1])}"


def _overall(groups: Sequence[Group]) -> Iterator[Markup]:
    for first, second, n, probability, bounds in over_envs(groups):
        yield tag(
            "li",
            f"Over {n} envs, a random score of {second} is higher than one of {first} with a mean probability of "
            f"{percent(probability)} (95 % interval: {_shares(bounds)}); 50 % would be no difference.",
        )


def _caveats(found: Sequence[Pair]) -> Iterator[Markup]:
    of_runs = found[0].first.of_runs
    if not of_runs:
        yield tag(
            "p",
            "Each of these is compared by the episodes that it has. This says how certain the returns of these very "
            "runs are, and not how other training runs of the same method would turn out: for that, give several runs "
            "with other seeds one name, as in NAME=DIR NAME=DIR.",
            class_="said",
        )
    elif not all(pair.can_differ for pair in found):
        yield tag(
            "p",
            "With so few runs, the test cannot reach p = 0.05, however much they differ. Add runs with "
            "other seeds: four of each are enough for one comparison.",
            class_="said warning",
        )


def _charts(groups: Sequence[Group], found: Sequence[Pair]) -> Iterator[Markup]:
    for env in dict.fromkeys(group.env for group in groups):
        mine = [group for group in groups if group.env == env]
        if len(mine) < 2:
            continue
        scores = [_score(group) for group in mine]
        yield ranges(f"Scores: {env}", "Interquartile mean with its 95 % interval.", scores, what="IQM")
    rows = [_improvement(pair) for pair in found[:_MOST_PAIRS]]
    said = "How likely a score of the first is higher than one of the second, in %. At 50 % there is no difference."
    yield ranges("Probability of improvement", said, rows, marker=50.0, what="%")


def _score(group: Group) -> Range:
    low, high = group.iqm_interval or (None, None)
    return Range(group.name, group.iqm, low, high, group.series)


def _improvement(pair: Pair) -> Range:
    low, high = (None, None) if pair.interval is None else (100 * pair.interval[0], 100 * pair.interval[1])
    return Range(f"{pair.second.name} > {pair.first.name}", 100 * pair.probability, low, high, pair.second.series)
