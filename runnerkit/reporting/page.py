"""The page: all sections in one document that needs nothing else, not even a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Final

import numpy as np

from runnerkit._core.wording import count
from runnerkit.reporting import sections
from runnerkit.reporting.charts import histogram
from runnerkit.reporting.comparing import Group, grouped
from runnerkit.reporting.distributions import Kind
from runnerkit.reporting.markup import Markup, Node, joined, tag
from runnerkit.reporting.numbers import interval, number
from runnerkit.reporting.provenance import provenance
from runnerkit.reporting.runs import MOST, Run
from runnerkit.reporting.table import Thumbnails, episode_table, thumbnail_of
from runnerkit.reporting.verdicts import comparison, scores_table

__all__ = ["page"]

_MOST_PICTURES = 12
_KINDS: Final[tuple[Kind, ...]] = ("action", "observation")


def page(runs: Sequence[Run], title: str, last: int, thumbnails: Thumbnails) -> str:
    """Return the whole document."""
    groups = grouped(runs, last)
    parts = [part for part in _sections(runs, groups, last, thumbnails) if part is not None]
    links = (tag("li", tag("a", name, href=f"#{_anchor(name)}")) for name, _ in parts)
    body = tag(
        "body",
        tag("a", "To the content", href="#content", class_="skip"),
        tag("header", tag("h1", title), tag("p", _subtitle(runs), class_="said"), _tiles(runs, groups)),
        tag("nav", tag("ul", *links), aria_label="Sections"),
        tag("main", *(_section(name, content) for name, content in parts), id="content"),
        tag("footer", _footer(runs)),
        tag("p", class_="hidden", id="said", role="status"),
        tag("script", Markup(_asset("script.js"))),
    )
    return "<!doctype html>\n" + tag("html", _head(title), body, lang="en") + "\n"


def _head(title: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(_asset("script.js").encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),  # nothing from elsewhere, no other script
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Markup(_asset("palette.css") + _asset("style.css"))),
    )


def _asset(name: str) -> str:
    return resources.files("runnerkit.reporting").joinpath(name).read_text("utf-8")


def _anchor(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _section(name: str, content: Node) -> Markup:
    anchor = _anchor(name)
    return tag("section", tag("h2", name, id=anchor), content, aria_labelledby=anchor)


# ---- the head of the page


def _subtitle(runs: Sequence[Run]) -> str:
    envs = list(dict.fromkeys(run.env for run in runs))
    steps, episodes = sum(run.total_steps for run in runs), sum(len(run.episodes) for run in runs)
    what = ", ".join(envs[:4]) + (f" and {len(envs) - 4} more" if len(envs) > 4 else "")
    return f"{what} · {count(episodes, 'episode')} · {count(steps, 'step')}" + (
        f" · {count(len(runs), 'run')}" if len(runs) > 1 else ""
    )


def _tiles(runs: Sequence[Run], groups: Sequence[Group]) -> Markup | None:
    """Return the numbers of a single run that one looks for first."""
    if len(runs) != 1:
        return None
    (run,) = runs
    values = run.returns[run.drawn]
    found: list[tuple[str, str, str]] = []
    if len(values):
        found.append(("mean return", number(float(values.mean())), f"median {number(float(np.median(values)))}"))
        recent = groups[0]
        if len(recent.scores) < len(values):
            said = f"95 %: {interval(recent.mean_interval)}"
            found.append((f"mean of the last {len(recent.scores)}", number(recent.mean), said))
        else:
            found.append(("IQM", number(recent.iqm), f"95 %: {interval(recent.iqm_interval)}"))
        found.append(("best · worst", f"{number(float(values.max()))} · {number(float(values.min()))}", "return"))
        lengths = run.lengths[run.drawn]
        found.append(
            ("mean length", number(float(lengths.mean())), f"{int(lengths.min()):,} to {int(lengths.max()):,} steps")
        )
    complete = int(run.complete.sum())
    found.append(("episodes", f"{complete:,}", f"complete, of {len(run.episodes):,}"))
    found.append(("faults", f"{len(run.faults):,}", "envs made anew"))
    tiles = (tag("div", tag("dt", name), tag("dd", tag("b", value), tag("small", said))) for name, value, said in found)
    return tag("dl", *tiles, class_="tiles")


# ---- the sections


def _sections(
    runs: Sequence[Run], groups: Sequence[Group], last: int, thumbnails: Thumbnails
) -> Iterator[tuple[str, Node] | None]:
    envs = list(dict.fromkeys(run.env for run in runs))
    colours = {group: k for k, group in enumerate(dict.fromkeys(run.group for run in runs))}
    notes = list(_notes(runs, envs))
    if notes:
        yield "Please note", tag("ul", *(tag("li", note) for note in notes), class_="notes")
    if len(runs) > 1:
        compared = comparison(groups, last)
        yield ("Which is better", compared) if compared is not None else ("Scores", scores_table(groups, last))
    yield _charts("Learning", list(_learning(runs, groups, envs, colours)))
    if len(runs) == 1:
        yield _charts("Envs", list(sections.per_env(runs[0])))
    yield _charts("Ends", list(sections.ends(runs, colours)))
    yield _distributions(runs, envs, colours)
    yield _charts("Time", [chart for run in runs for chart in sections.times(run)])
    faults = sections.faults(runs)
    yield None if faults is None else ("Faults", faults)
    yield _pictures(runs, thumbnails)
    yield "Episodes", joined([tag("p", _said_of_episodes(runs), class_="said"), episode_table(runs, thumbnails)])
    yield "What made the data", provenance(runs)
    yield "How to read this", _explained(last)


def _notes(runs: Sequence[Run], envs: Sequence[str]) -> Iterator[str]:
    if len(envs) > 1:
        yield (
            f"These runs are of {len(envs)} different envs: {', '.join(envs)}. Their returns have other scales, so "
            "that each env has its own charts, and only runs of the same env are compared."
        )
    for run in runs:
        if not run.episodes:
            yield f"{run.name} is empty: it has no episode."
        elif not run.complete.any():
            yield f"{run.name} has no complete episode, and so no curves and no score."
        if run.left_out:
            odd = count(run.left_out, "episode")
            yield f"{run.name}: charts and scores leave out {odd} whose return is no number below {MOST:g}."


def _charts(name: str, charts: Sequence[Markup]) -> tuple[str, Node] | None:
    return (name, tag("div", *charts, class_="charts")) if charts else None


def _learning(
    runs: Sequence[Run], groups: Sequence[Group], envs: Sequence[str], colours: dict[str, int]
) -> Iterator[Markup]:
    for env in envs:
        mine = [run for run in runs if run.env == env and len(run.drawn)]
        if len(envs) > 1 and mine:
            yield tag("h3", env)
        yield from sections.learning([group for group in groups if group.env == env], mine)
        if mine:
            samples = [(run.name, colours[run.group], run.returns[run.drawn]) for run in mine[:4]]
            yield histogram("How often returns occur", "% of the complete episodes.", samples, is_discrete=False)
            lengths = [(run.name, colours[run.group], run.lengths[run.drawn]) for run in mine[:4]]
            yield histogram("How often lengths occur", "% of the complete episodes.", lengths, is_discrete=False)


def _distributions(runs: Sequence[Run], envs: Sequence[str], colours: dict[str, int]) -> tuple[str, Node] | None:
    found: list[Markup] = []
    silent: list[str] = []
    for env in envs:
        mine = [run for run in runs if run.env == env and run.episodes]
        kinds = [sections.distributions(kind, mine, colours) for kind in _KINDS]
        charts = [chart for drawn, _ in kinds for chart in drawn]
        found += [tag("h3", env)] * bool(len(envs) > 1 and charts) + charts
        silent += [word for _, words in kinds for word in words]
    if not found and not silent:
        return None
    said = tag("p", f"Not drawn: {', '.join(dict.fromkeys(silent))}.", class_="said") if silent else None
    return "Actions and observations", joined([said, tag("div", *found, class_="charts")])


def _pictures(runs: Sequence[Run], thumbnails: Thumbnails) -> tuple[str, Node] | None:
    """Return the first pictures, each with what it shows."""
    figures: list[Markup] = []
    for run in runs if thumbnails else ():
        for k, record in enumerate(run.episodes):
            picture = thumbnail_of(
                thumbnails, (run.name, record.env_index, record.episode_index), is_one=len(runs) == 1
            )
            if picture is not None and len(figures) < _MOST_PICTURES:
                said = f"episode {record.episode_index} of env {record.env_index}: return {number(run.returns[k])}"
                figures.append(tag("figure", picture, tag("figcaption", said), class_="picture"))
    return ("Pictures", tag("div", *figures, class_="pictures")) if figures else None


def _said_of_episodes(runs: Sequence[Run]) -> Markup:
    said = "A click on a heading sorts, on a seed or a command copies it. "
    if any(run.folder for run in runs):
        more = "The command makes the episode once more from its seed and actions, and compares it bit by bit."
        return joined([said, more])
    return joined(
        [
            said,
            "These histories are in memory: record with ",
            tag("code", "history='npz'"),
            ", or with ",
            tag("code", "runnerkit rollout -o DIR"),
            ", and the table has the command that replays each episode.",
        ]
    )


def _explained(last: int) -> Markup:
    sentences = (
        "An episode that a rollout cut goes on in the next one and counts once. Curves and scores are of complete "
        "episodes: those that the env itself ended.",
        f"Scores are of the last {last:,} complete episodes. The interquartile mean (IQM) leaves out the lowest and "
        "the highest quarter of the scores, so that a few runs of chance do not decide.",
        "The 95 % intervals are percentile bootstrap intervals: scores are drawn anew, with replacement, within each "
        "run or env (stratified), and 95 % of the results lie between the bounds.",
        "The probability of improvement is how likely a score of one is higher than a score of the other, both drawn "
        "at random; equal ones count one half.",
        "p is that of the two-sided test of Mann and Whitney: how often the mean ranks of scores that are shuffled "
        "between the two differ as much. With several comparisons it is corrected for their number (Holm). Below "
        "0.05, the page says that they differ.",
    )
    paper = "https://arxiv.org/abs/2108.13264"
    return joined(
        [
            *(tag("p", sentence) for sentence in sentences),
            tag(
                "p",
                "These aggregates are those of R. Agarwal, M. Schwarzer, P. S. Castro, A. Courville and "
                "M. G. Bellemare, ",
                tag("cite", "Deep Reinforcement Learning at the Edge of the Statistical Precipice"),
                ", NeurIPS 2021, ",
                tag("a", "arXiv:2108.13264", href=paper),
                ".",
            ),
        ]
    )


def _footer(runs: Sequence[Run]) -> str:
    versions = dict.fromkeys(made.packages.get("runnerkit", "") for run in runs for made in run.made_by)
    recorded = ", ".join(version for version in versions if version)
    return "Made by RunnerKit" + (f"; the data were recorded with {recorded}." if recorded else ".")
