"""From what the user gives to a file: names, groups, and the page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from runnerkit._rollout.config import is_count
from runnerkit.errors import ArgumentError
from runnerkit.evaluation import Comparison
from runnerkit.history.npz import StoredRuns
from runnerkit.records import Timings
from runnerkit.reporting.page import page
from runnerkit.reporting.runs import Run, Source, gathered
from runnerkit.reporting.table import Thumbnails, check_thumbnails

__all__ = ["Sources", "check_place", "report"]

Sources: TypeAlias = "Source | Comparison | Mapping[str, Source | Sequence[str | os.PathLike[str] | StoredRuns]]"
"""One run, or several by name. A list of folders under one name is one method with several training runs."""

_Named: TypeAlias = "tuple[str, str, object]"


def report(
    runs: Sources,
    path: str | os.PathLike[str] = "report.html",
    *,
    title: str | None = None,
    last: int = 100,
    timings: Timings | Mapping[str, Timings] | None = None,
    thumbnails: Thumbnails | None = None,
) -> Path:
    """Write a page about one run, or about several side by side, and return its path::

        with runnerkit.make("CartPole-v1", n_envs=8, seed=0, timings=True) as runner:
            histories = runner.rollout(agent, episodes=200)
            runnerkit.report(histories, "report.html", timings=runner.timings)

    It has returns and lengths, how episodes ended, actions and observations, faults, and a table of the episodes with
    their seeds and the commands that replay them. Several runs are compared: the interquartile mean with bootstrap
    intervals, and the probability of improvement (Agarwal et al., 2021, arXiv:2108.13264), with a rank test.

    Args:
        runs: a folder that `history="npz"` wrote, the histories of one or more rollouts in their order, or an
            `Evaluation`; or a dict of them by name, or a `Comparison`. A list of folders under one name is one method
            with several training runs.
        path: where the page is written.
        title: its title.
        last: a score is the return of the last so many complete episodes.
        timings: `runner.timings`; for several runs, by their names.
        thumbnails: pictures, PNG or JPEG, by (env index, episode index); for several runs, by (name, env index,
            episode index).

    Raises:
        ArgumentError: a source is none, a file of a folder cannot be read, a folder is given twice under one name,
            a thumbnail is of an episode that is not there, or the page cannot be written.

    """
    for what, given, kind, needed in (
        ("path", path, str | os.PathLike, "that of a file, such as 'report.html'"),
        ("timings", timings, Timings | Mapping | None, "runner.timings, or those of several runs by their names"),
        ("thumbnails", thumbnails, Mapping | None, "a dict of pictures"),
    ):
        if not isinstance(given, kind):
            raise ArgumentError(f"{what} must be {needed}, not {given!r:.80}.")
    if not is_count(last, least=1):
        raise ArgumentError(f"last must be a whole number of at least 1, not {last!r}.")
    named = list(_named(runs))
    if not named:
        raise ArgumentError("A report needs at least one run, but the dict is empty.")
    target = Path(path)
    check_place(target)
    _check_once(named)
    _check_names(timings, named)
    found: list[Run] = []
    for name, group, source in named:
        found += gathered(name, group, source, _timings_of(timings, name, group, is_one=len(named) == 1))
    check_thumbnails(thumbnails or {}, found)
    heading = title or _title(list(dict.fromkeys(group for _, group, _ in named)))
    text = page(found, heading, last, thumbnails or {})
    try:
        target.write_text(text, "utf-8")
    except OSError as error:
        raise ArgumentError(f"{target} cannot be written: {error.strerror}. Choose another path.") from error
    return target


def check_place(target: Path) -> None:
    """Refuse a page that has no place, before any file of a run is read."""
    if target.is_dir():
        raise ArgumentError(f"The page cannot be written to {target}, which is a folder. Give the name of a file.")
    if not target.parent.is_dir():
        raise ArgumentError(
            f"The page cannot be written to {target}: there is no folder {target.parent}. Make it, or choose another "
            "path."
        )
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise ArgumentError(f"The page cannot be written to {target}: you may not write there. Choose another path.")


def _check_once(named: Sequence[_Named]) -> None:
    """Refuse a run that would be counted twice, as if it were two training runs."""
    seen: set[tuple[str, str]] = set()
    for _, group, source in named:
        folder = source.path if isinstance(source, StoredRuns) else source
        if isinstance(folder, str | os.PathLike):
            key = (group, os.path.realpath(folder))
            if key in seen:
                raise ArgumentError(f"{os.fspath(folder)} is given twice under the name {group!r}. Give it once.")
            seen.add(key)


def _check_names(timings: Timings | Mapping[str, Timings] | None, named: Sequence[_Named]) -> None:
    names = list(dict.fromkeys(name for run, group, _ in named for name in (group, run)))
    for name in timings if isinstance(timings, Mapping) else ():
        if name not in names:
            raise ArgumentError(f"timings has {name!r}, but there is no such run. The runs are {', '.join(names)}.")


def _named(runs: Sources) -> Iterator[_Named]:
    """Yield (name, group, source), with a name of its own for each run."""
    if isinstance(runs, Comparison):
        runs = dict(runs.evaluations)
    if not isinstance(runs, Mapping):
        name = _name_of(runs)
        yield name, name, runs
        return
    for group, value in runs.items():
        members = _members(value)
        for k, source in enumerate(members):
            yield (group if len(members) == 1 else f"{group} {k}"), group, source


def _members(value: object) -> list[object]:
    """Return the items of a list of folders, and anything else as the only item."""
    if not isinstance(value, Sequence) or isinstance(value, str | StoredRuns) or not value:
        return [value]
    items: list[object] = list(value)
    return items if all(isinstance(item, str | os.PathLike | StoredRuns) for item in items) else [value]


def _name_of(source: object) -> str:
    if isinstance(source, StoredRuns):
        return source.path.name
    if isinstance(source, str | os.PathLike):
        return os.path.basename(os.path.normpath(os.fspath(source))) or "run"
    return "run"


def _timings_of(
    timings: Timings | Mapping[str, Timings] | None, name: str, group: str, *, is_one: bool
) -> Sequence[Timings]:
    if isinstance(timings, Timings):
        if not is_one:
            raise ArgumentError("Give the timings of several runs by their names: timings={'name': runner.timings}.")
        return (timings,)
    found = None if timings is None else timings.get(name, timings.get(group))
    return () if found is None else (found,)


def _title(names: Sequence[str]) -> str:
    return f"Report: {', '.join(names[:4])}" + (f" and {len(names) - 4} more" if len(names) > 4 else "")
