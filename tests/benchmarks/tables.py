"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cells import ODD
from results import CellResult, Cost, Outcome, Results

IDLE_LIMIT = 0.05
"""CPU time of a contestant without a turn, in cores, above which it is remarked."""


def is_ours(name: str) -> bool:
    return name.startswith("RunnerKit")


def label(outcome: Outcome) -> str:
    """Return the contestant's name, with its number of workers if that was given."""
    if outcome.workers is None:
        return outcome.name
    return f"{outcome.name}, {outcome.workers} worker{'s' if outcome.workers > 1 else ''}"


def report(results: Results) -> str:
    """Return all that was measured."""
    parts = [conditions(results), *(speed(cells) for cells in _groups(results))]
    if results.cells:
        parts.append("Memory of all processes, in MiB:\n\n" + memory(results.cells))
    if results.costs:
        parts.append("8 CartPole envs, opened:\n\n" + costs(results.costs))
    if results.over_envs:
        parts.append("Over the number of envs:\n\n" + curves(results.over_envs))
    if results.over_workers:
        parts.append("Over the number of workers:\n\n" + speed(results.over_workers))
    parts += results.notes
    return "\n\n".join(parts)


def summary(results: Results) -> str:
    """Return the tables of speed, for a document that shows the charts."""
    return "\n\n".join([*map(speed, _groups(results)), conditions(results)])


def conditions(results: Results) -> str:
    """Return when, where and with which versions it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return f"Measured on {results.date}: {results.machine}; {versions}."


def speed(results: Sequence[CellResult]) -> str:
    """Return the ratios to the bare loop, a column per cell, and what there is to remark below.

    Each is `best (median, lower quartile-upper quartile)`: by the best times, and turn by turn.
    """
    bare = [f"{results[0].outcomes[0].name}, per env and step", *map(_micros, results)]
    table = markdown(["", *(result.cell.title for result in results)], [bare, *_rows(results, _ratio)])
    return "\n".join([table, *_remarks(results)])


def curves(results: Sequence[CellResult]) -> str:
    """Return a table of medians for each env, a column per number of envs."""
    tables = []
    for env_id in dict.fromkeys(result.cell.env_id for result in results):
        own = [result for result in results if result.cell.env_id == env_id]
        table = markdown([env_id, *(f"N={result.cell.n_envs}" for result in own)], _rows(own, _median))
        tables.append("\n".join([table, *_remarks(own)]))
    return "\n\n".join(tables)


def costs(found: Sequence[Cost]) -> str:
    """Return what it takes to open envs, and to have them."""
    rows = [
        [
            _named(cost.name),
            f"{cost.opening[0]:.2f} s" if cost.opening else "failed",
            f"{min(cost.opening):.2f} s" if cost.opening else "",
            str(cost.helpers),
            f"{cost.helpers_bytes / 2**20:.0f} MiB" if cost.helpers else "",
            "" if cost.idle is None else f"{cost.idle:.1%}",
        ]
        for cost in found
    ]
    table = markdown(["", "start-up, first", "best", "helpers", "their memory (PSS)", "idle, of a core"], rows)
    failures = [f"- {cost.name}: failed: {cost.failure}" for cost in found if cost.failure is not None]
    return "\n".join([table, *([""] if failures else []), *failures])


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def memory(results: Sequence[CellResult]) -> str:
    """Return what each contestant had in memory after its last turn."""

    def entry(result: CellResult, outcome: Outcome) -> str:
        return "" if outcome.memory is None else f"{outcome.memory / 2**20:.0f}"

    bare = [results[0].outcomes[0].name, *(entry(result, result.outcomes[0]) for result in results)]
    return markdown(["", *(result.cell.title for result in results)], [bare, *_rows(results, entry)])


def noisy(results: Sequence[CellResult], tolerance: float) -> list[str]:
    """Say in which cells the machine was too noisy for a table."""
    return [
        f"{result.cell.title}: the {result.outcomes[0].name} itself varied by {result.variation:.2f}"
        for result in results
        if result.variation > tolerance
    ]


def _groups(results: Results) -> list[list[CellResult]]:
    """Return the cells of each table: those of one kind, with plain envs or odd ones."""
    groups: dict[tuple[str, bool], list[CellResult]] = {}
    for result in results.cells:
        groups.setdefault((result.cell.kind, result.cell in ODD), []).append(result)
    return list(groups.values())


def _rows(results: Sequence[CellResult], entry: Callable[[CellResult, Outcome], str]) -> list[list[str]]:
    """Return a row per contestant, an entry per cell where it took part."""
    names = dict.fromkeys(label(outcome) for result in results for outcome in result.outcomes[1:])
    by_name = [{label(outcome): entry(result, outcome) for outcome in result.outcomes} for result in results]
    return [[_named(name), *(entries.get(name, "") for entries in by_name)] for name in names]


def _named(name: str) -> str:
    return f"**{name}**" if is_ours(name) else name


def _micros(result: CellResult) -> str:
    bare = result.outcomes[0]
    return "failed" if bare.failure is not None else f"{min(bare.per_step) / result.cell.n_envs * 1e6:.1f} µs"


def _ratio(result: CellResult, outcome: Outcome) -> str:
    median, best, quartiles = result.median(outcome), result.best(outcome), result.quartiles(outcome)
    if median is None or best is None or quartiles is None:
        return "failed"
    return f"{best:.2f} ({median:.2f}, {quartiles[0]:.2f}-{quartiles[1]:.2f})"


def _median(result: CellResult, outcome: Outcome) -> str:
    median = result.median(outcome)
    return "failed" if median is None else f"{median:.2f}"


def _remarks(results: Sequence[CellResult]) -> list[str]:
    """Return a line for each one who failed, or may have slowed the others down."""
    lines = []
    for result in results:
        for outcome in result.outcomes:
            where = f"- {label(outcome)}, {result.cell.title}"
            if outcome.failure is not None:
                lines.append(f"{where}: failed: {outcome.failure}")
            elif outcome.idle is not None and outcome.idle > IDLE_LIMIT:
                lines.append(f"{where}: took {outcome.idle:.0%} of a core while nobody had a turn")
    return ["", *lines] if lines else []
