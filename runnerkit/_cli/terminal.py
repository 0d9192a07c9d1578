"""Tables, progress bars and live views in a terminal, and what stands for them in a pipe.

No other module drives rich.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Display
from rich.table import Table
from rich.text import Text

from runnerkit._cli.run_view import Line, RunView, duration, fitting
from runnerkit._cli.sparkline import ASCII, BLOCKS
from runnerkit._core.wording import count
from runnerkit.records import Progress, ProgressCallback

__all__ = ["Canvas", "canvas", "print_options", "print_pairs", "print_records", "progress_bar", "share_bar"]

_PIPE_WIDTH: Final = 1000  # columns, where no terminal wraps lines: one row stays one line for grep and awk
_LEAST_ROOM: Final = 20  # columns in which words can be wrapped
_BAR_WIDTH: Final = 20
_VIEW_WIDTH: Final = 100  # of a view where there is no terminal
_NAME_WIDTH: Final = 10
_FRAME_S: Final = 0.5  # a frame takes a millisecond: more of them could be felt
_LINE_S: Final = 5.0


def print_pairs(pairs: Iterable[tuple[str, str]], out: IO[str]) -> None:
    """Print (what, value) line by line; the terminal alone may wrap them, so that a command is copied as one line."""
    lines = list(pairs)
    width = max((len(what) for what, _ in lines), default=0)
    console = Console(file=out, color_system="auto" if out.isatty() else None)
    for what, value in lines:
        indented = value.replace("\n", f"\n{'':{width + 2}}")
        console.print(Text.assemble((what.ljust(width), "cyan"), "  ", indented), soft_wrap=True)
    out.flush()  # what is printed must not be lost should the program crash later


def print_records(records: Iterable[Mapping[str, str]], columns: Sequence[str], out: IO[str]) -> None:
    """Print these columns of the records under their names; where values of the first one repeat, they are set apart.

    In a terminal, only the last column is wrapped. If there is no room for it, each record is a line, as in a pipe.
    """
    rows = [[record[column] for column in columns] for record in records]
    is_drawn = out.isatty() and _room(rows, columns, Console(file=out).width) >= _LEAST_ROOM
    table = Table(box=box.SIMPLE_HEAD if is_drawn else None, pad_edge=False, padding=(0, 1 if is_drawn else 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != columns[-1])
    is_grouped = len({row[0] for row in rows}) < len(rows)
    for row, following in itertools.zip_longest(rows, rows[1:]):
        table.add_row(*row, end_section=is_grouped and following is not None and row[0] != following[0])
    _print(table, out, is_drawn=is_drawn)


def _room(rows: Sequence[Sequence[str]], columns: Sequence[str], width: int) -> float:
    """Return how many columns of a terminal are left for the last column of a table; more than enough if all fit."""
    *others, last = (max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True))
    left = width - sum(others) - 2 * len(columns)
    return math.inf if left >= last else left


def print_options(options: Iterable[Mapping[str, Any]], out: IO[str]) -> None:
    """Print the options of a part, as `catalogue.described` has them."""
    rows = [{**option, "default": option["default"] or "(must be given)"} for option in options]
    if rows:
        print_records(rows, ("option", "type", "default", "doc"), out)
    else:
        print("It has no options.", file=out)


def _print(table: Table, out: IO[str], *, is_drawn: bool) -> None:
    """Print to a terminal, or as plain lines; texts are taken literally, whatever brackets and colons they have."""
    if is_drawn:
        Console(file=out, markup=False, emoji=False, highlight=False).print(table)
        return
    console = Console(file=out, markup=False, emoji=False, highlight=False, width=_PIPE_WIDTH, color_system=None)
    with console.capture() as plain:
        console.print(table)
    for line in plain.get().splitlines():
        print(line.rstrip(), file=out)
    out.flush()  # as above


@contextmanager
def progress_bar(wanted: bool = True) -> Iterator[ProgressCallback | None]:
    """Show a bar on stderr as long as the context lasts::

        with progress_bar() as progress:
            runner.rollout(agent, steps=1000, progress=progress)

    Gives what moves the bar, or None where none is wanted or stderr is no terminal that could show one.
    """
    with _display(wanted) as display:
        yield None if display is None else _callback(display)


@contextmanager
def share_bar(wanted: bool = True) -> Iterator[Callable[[float, str], None] | None]:
    """Show a bar like `progress_bar` that is moved by (share that is done, from 0 to 1, what is being done)."""
    with _display(wanted) as display:
        if display is None:
            yield None
            return
        task = display.add_task("", total=1.0, facts="")
        yield lambda share, what: display.update(task, completed=share, facts=what, refresh=True)


@contextmanager
def _display(wanted: bool) -> Iterator[Display | None]:
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if not wanted or not sys.stderr.isatty() or console.is_dumb_terminal:
        yield None
        return
    display = Display(
        BarColumn(_BAR_WIDTH),
        TextColumn("{task.fields[facts]}", markup=False),
        console=console,
        transient=True,
        auto_refresh=False,  # no thread that takes time from the envs: reports come ten times a second
        redirect_stdout=sys.stdout.isatty(),  # what envs print goes above the bar, but never out of a pipe
    )
    with display:
        yield display


def _callback(display: Display) -> ProgressCallback:
    """Return what shows a report in a new line of the display."""
    task = display.add_task("", total=None, facts="0 steps")

    def tell(progress: Progress) -> None:
        counts_episodes = progress.total_episodes is not None
        width = display.console.width - _BAR_WIDTH - 4  # terminals change their size
        display.update(
            task,
            total=progress.total_episodes if counts_episodes else progress.total_steps,
            completed=progress.episodes if counts_episodes else progress.steps,
            facts=fitting(_facts(progress), width),
            refresh=True,
        )

    return tell


def _facts(progress: Progress) -> list[str]:
    rate = progress.steps / progress.seconds if progress.seconds > 0 else 0.0
    episodes = count(progress.episodes, "episode")
    if progress.total_episodes is not None:
        episodes = f"{progress.episodes:,}/{progress.total_episodes:,} episodes"
    facts = [count(progress.steps, "step"), f"{rate:,.0f} steps/s", episodes]
    if progress.mean_return is not None:
        facts.append(f"mean return {progress.mean_return:.4g}")
    if progress.restarts:
        facts.append(count(progress.restarts, "restart"))
    if progress.seconds_left is not None:
        facts.append(f"{duration(progress.seconds_left)} left")
    return facts


class Canvas:
    """Where a view of a run is shown again and again: in the same place of a terminal, or line by line in a file.

    Attributes:
        every: the seconds from one time to the next.

    """

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console, self._live = console, live
        self.every: float = _LINE_S if live is None else _FRAME_S

    def show(self, view: RunView) -> None:
        """Show how far the run is now. Raises OSError if the terminal, or who read the lines, is gone."""
        if self._live is None:
            self._write([view.line()])
        else:
            size = self._console.size  # terminals change it
            lines = view.lines(size.width, size.height, self._levels)
            self._live.update(_drawn(lines), refresh=True)

    def leave(self, view: RunView) -> None:
        """Show the whole view a last time, for it to stay."""
        if self._live is not None:
            self.show(view)
        else:
            lines = view.lines(_VIEW_WIDTH, _VIEW_WIDTH, self._levels)
            self._write(
                [f"{line.name:{_NAME_WIDTH}}{line.text}".rstrip() if line.name else line.text for line in lines]
            )

    def _write(self, lines: Iterable[str]) -> None:
        file = self._console.file
        for line in lines:
            print(line, file=file)
        file.flush()

    @property
    def _levels(self) -> str:
        return BLOCKS if self._console.encoding.lower().startswith("utf") else ASCII


@contextmanager
def canvas(out: IO[str], *, stays: bool = False) -> Iterator[Canvas]:
    """Give a canvas as long as the context lasts::

        with canvas(sys.stderr) as drawn:
            drawn.show(view)

    What it shows `stays`, or is erased at the end.
    """
    console = Console(file=out, markup=False, emoji=False, highlight=False)
    if not (out.isatty() and console.is_terminal) or console.is_dumb_terminal:
        yield Canvas(console, None)
        return
    live = Live(
        console=console,
        auto_refresh=False,  # no thread that takes time from the envs
        transient=not stays,
        redirect_stdout=sys.stdout.isatty(),  # what envs print goes above the view, but never out of a pipe
        vertical_overflow="crop",
    )
    live.start()
    try:
        yield Canvas(console, live)
    finally:
        with contextlib.suppress(OSError):  # the terminal is gone, and with it what there was to restore
            live.stop()


def _drawn(lines: Iterable[Line]) -> Text:
    text = Text(no_wrap=True, overflow="crop", end="")
    for k, line in enumerate(lines):
        text.append("\n" if k else "")
        if line.name:
            text.append(f"{line.name:{_NAME_WIDTH}}", "dim")
        elif k:
            text.append(" " * _NAME_WIDTH)
        text.append(line.text, line.style)
    return text
