"""`runnerkit report`: one page about stored runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runnerkit._cli.frame import explained
from runnerkit._cli.numbers import AT_LEAST_1
from runnerkit.errors import ArgumentError

if TYPE_CHECKING:
    from runnerkit.reporting import Thumbnails

__all__ = ["report"]


@click.command(
    epilog="""\b
Examples:
  runnerkit rollout CartPole-v1 --episodes 200 -o runs
  runnerkit report runs -o report.html
  runnerkit report old=runs/0 old=runs/1 new=runs/2 new=runs/3
"""
)
@click.argument("runs", metavar="[NAME=]DIR...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "path",
    metavar="FILE",
    default="report.html",
    show_default=True,
    type=click.Path(dir_okay=False),
    help="Where the page is written; a file that is there is replaced.",
)
@click.option("--title", metavar="TEXT", help="The title of the page.")
@click.option(
    "--last",
    metavar="K",
    type=AT_LEAST_1,
    default=100,
    show_default=True,
    help="Scores are of the last K complete episodes of each run.",
)
@click.option(
    "--thumbnails",
    "has_pictures",
    is_flag=True,
    help="Show pictures of the best, the worst and the last episode of each DIR, which is made once more for that. It "
    "needs runnerkit-video.",
)
def report(runs: tuple[str, ...], path: str, title: str | None, last: int, has_pictures: bool) -> None:
    """Write a page about one or more runs.

    DIR is a folder that `runnerkit rollout -o DIR`, or a runner with history="npz", wrote. Several stand side by side
    on the page and are compared; NAME= gives one a name. The page needs no network and no other file.

    Runs with the same NAME are training runs of one method with other seeds: they are drawn as one curve with its
    confidence band, and methods are compared by their runs.
    """
    with explained():
        from runnerkit.reporting import report as write
        from runnerkit.reporting.writing import check_place

        named = _named(runs)
        check_place(Path(path))  # before pictures are made, which may take a while
        thumbnails = _pictures(named) if has_pictures else None
        click.echo(f"Wrote {write(named, path, title=title, last=last, thumbnails=thumbnails)}.")


def _pictures(named: dict[str, list[str]]) -> Thumbnails:
    from runnerkit._cli.own_plugins import import_from_current_directory
    from runnerkit._cli.thumbnails import thumbnails_of

    import_from_current_directory()  # where envs may be
    pictures, missing = thumbnails_of(named)
    for why in missing:
        click.echo(why, err=True)
    return pictures


def _named(runs: tuple[str, ...]) -> dict[str, list[str]]:
    """Return folders by name: NAME, or the folder itself where there is none."""
    found: dict[str, list[str]] = {}
    for text in runs:
        name, equals, folder = text.partition("=")
        if not equals or os.path.exists(text):
            name, folder = os.path.normpath(text), text
        elif not name.strip():
            raise ArgumentError(f"{text} has no name before the '='. Write NAME=DIR, or DIR alone.")
        elif not folder:
            raise ArgumentError(f"{text} names no folder. Write NAME=DIR.")
        found.setdefault(name, []).append(folder)
    return found
