"""How fast rollouts are, as ratios to the bare Python loop over the same envs in the same run::

    python tests/benchmarks/bench.py                                 # everything, for about a quarter of an hour
    python tests/benchmarks/bench.py CartPole-v1:8 Acrobot-v1:8:mlp  # some cells: ENV:N, with :mlp, with :vector
    python tests/benchmarks/bench.py CartPole-v1:64 --contestants RunnerKit gymnasium --repeats 50
    python tests/benchmarks/bench.py --only start idle
    python tests/benchmarks/bench.py --from-json tests/benchmarks/results.json --chart chart.svg

The bare loop steps plain Gymnasium envs, resets them without a seed, and keeps nothing. RunnerKit keeps a history of
arrays and seeds every episode; what peers keep is said in `contestants` and `peers`, who are measured where they are
installed (requirements.txt). Nobody begins anew from one measurement to the next. Contestants take turns, so that a
noisy machine is noisy to all; turns are short, many, and in another order each time. A table shows
`best (median, quartiles)`: the ratio of the best times, and those turn by turn. Above 1 is faster than bare. The limit
is what the cores can do if no loop ever waits for another. Where the bare loop itself varied by more than 1.5 (a tenth
of its turns left out at each end), a cell is measured once more, and then no file is written.

With `:by4`, many short rollouts of 4 steps are compared to a loop written by hand that stores the same. `--only short`
measures these, `--only odd` envs that are uneven, wait, or reset slowly.
"""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import charts
import gymnasium
import tables
from arena import Arena, Entry
from cells import CELLS, ODD, SHORT, Cell, over_envs, parse_cell
from costs import import_times, memory_peaks, standing_costs
from lineup import offered
from results import CellResult, Results

from runnerkit._core.cores import available_cores

KINDS = ["speed", "short", "odd", "scaling", "start", "memory", "idle", "import"]
SCALED = ["CartPole-v1", "HalfCheetah-v5"]
BEGIN, END = "<!-- benchmark: written by tests/benchmarks/bench.py --readme -->", "<!-- end of benchmark -->"


def measure(kinds: Sequence[str], cells: Sequence[Cell], options: argparse.Namespace) -> Results:
    """Return what the kinds of measurements find."""
    results = Results.here()
    chosen = [
        *(cells if "speed" in kinds else []),
        *(SHORT if "short" in kinds else []),
        *(ODD if "odd" in kinds else []),
    ]
    with Arena(options.repeats, options.seconds) as arena:
        for cell in chosen:
            _say(cell.title)
            entries = [(one, None) for one in offered(cell, options.contestants)]
            if len(entries) > 1:
                results.cells.append(_measure(arena, cell, entries, options.tolerance))
    if "scaling" in kinds:
        _scale(results, options)
    if not {"start", "memory", "idle"}.isdisjoint(kinds):
        _say("start-up, memory of helpers, idling")
        idle_seconds = 10.0 if "idle" in kinds else 0.0
        results.costs = standing_costs(min(3, options.repeats), idle_seconds, options.contestants)
    if "memory" in kinds:
        _say("memory of rollouts")
        results.notes.append("Memory of a rollout in RunnerKit:\n\n" + memory_peaks())
    if "import" in kinds:
        _say("imports")
        results.notes.append("Imports:\n\n" + import_times(min(5, options.repeats)))
    return results


def _measure(arena: Arena, cell: Cell, entries: Sequence[Entry], tolerance: float) -> CellResult:
    """Return the quieter one of up to two measurements."""
    first = arena.measure(cell, entries)
    if first.variation <= tolerance:
        return first
    _say(f"{cell.title} again, as the bare loop itself varied by {first.variation:.2f}")
    return min(first, arena.measure(cell, entries), key=lambda result: result.variation)


def _scale(results: Results, options: argparse.Namespace) -> None:
    """Measure over 1 to 256 envs, then over 1 to (cores + 1) workers."""
    repeats = min(10, options.repeats)
    for env_id in SCALED:
        with Arena(repeats, options.seconds) as arena:
            for cell in over_envs(env_id):
                _say(cell.title)
                entries = [(one, None) for one in offered(cell, options.contestants or ["RunnerKit", "gymnasium"])]
                results.over_envs.append(arena.measure(cell, entries))
        with Arena(repeats, options.seconds) as arena:
            cell = over_envs(env_id)[4]
            _say(f"{cell.title}, workers")
            bare, *chosen = offered(cell, ["RunnerKit threads", "RunnerKit processes"])
            counts = range(1, available_cores() + 2)
            results.over_workers.append(
                arena.measure(cell, [(bare, None), *((one, workers) for one in chosen for workers in counts)])
            )


def write(results: Results, options: argparse.Namespace) -> None:
    """Print the tables; write the files that were asked for."""
    print(tables.report(results))
    if options.json is not None:
        results.write(options.json)
    noise = tables.noisy([*results.cells, *results.over_envs, *results.over_workers], options.tolerance)
    if noise and (options.chart is not None or options.readme is not None):
        sys.exit("\n".join(["No file is written: the machine was too noisy.", *noise]))
    if options.chart is not None:
        if results.cells:
            options.chart.write_text(charts.bars(results))
        if results.over_envs or results.over_workers:
            options.chart.with_stem(f"{options.chart.stem}-scaling").write_text(charts.curves(results))
    if options.readme is not None:
        options.readme.write_text(with_results(options.readme.read_text(), results))


def with_results(document: str, results: Results) -> str:
    """Return a document with these results between its two marks; exits where it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"The document needs a line {BEGIN!r} and, after it, a line {END!r}.")
    return f"{before}{begin}\n\n{tables.summary(results)}\n\n{end}{after}"


def _say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _cell(text: str) -> Cell:
    try:
        return parse_cell(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", type=_cell, help="ENV:N, all of the table if none is given")
    parser.add_argument("--only", nargs="+", choices=KINDS, help="all by default; speed, if cells are given")
    parser.add_argument(
        "--contestants", nargs="+", default=[], metavar="NAME", help="those whose names have this in them"
    )
    parser.add_argument("--repeats", type=_count, default=25, help="turns of each contestant (default: 25)")
    parser.add_argument("--seconds", type=float, default=0.04, help="about what a turn takes (default: 0.04)")
    parser.add_argument("--tolerance", type=float, default=1.5, help="how much the bare loop may vary (default: 1.5)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all times there")
    parser.add_argument("--chart", type=Path, metavar="PATH.svg", help="draw bars, and curves in PATH-scaling.svg")
    parser.add_argument(
        "--readme", type=Path, metavar="PATH", help="write the table between the marks of that document"
    )
    parser.add_argument(
        "--from-json", nargs="+", type=Path, metavar="PATH", help="measure nothing, take the times from there"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    if options.from_json is not None:
        write(Results.read(*options.from_json), options)
        return
    if options.readme is not None:
        with_results(options.readme.read_text(), Results.here())  # rather now than when all is measured
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that contestants are ended, too
    warnings.filterwarnings("ignore")
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    kinds = options.only or (["speed"] if options.cells else KINDS)
    write(measure(kinds, options.cells or CELLS, options), options)


if __name__ == "__main__":
    main()
