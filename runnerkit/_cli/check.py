"""`runnerkit check`: the conformance kit in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Final

import click

from runnerkit.errors import ArgumentError
from runnerkit.testing import Outcome, PartOptions, Report, check_plugin

__all__ = ["check_target", "print_report"]

_COLORS: Final = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "red",
    Outcome.SKIPPED: "yellow",
    Outcome.EXPECTED: "green",
    Outcome.UNEXPECTED: "red",
}


def check_target(target: str, envs: Sequence[str], expected: Sequence[str], *, mypy: bool) -> Report:
    """Check a module, distribution or folder; `envs` are texts NAME:ENV, `expected` texts CHECK=REASON."""
    ids: dict[str, list[str]] = {}
    for name, env_id in (_split(text, ":", "--env", "lake:Small") for text in envs):
        ids.setdefault(name, []).append(env_id)
    reasons = dict(
        _split(text, "=", "--expect-failure", "'preprocessor/mine/row-independence=why'") for text in expected
    )
    return check_plugin(target, PartOptions(envs=ids), mypy=mypy, expected_failures=reasons)


def _split(text: str, mark: str, option: str, example: str) -> tuple[str, str]:
    before, found, after = text.partition(mark)
    if not found or not before or not after:
        raise ArgumentError(f"{option} needs a value such as {example}, not {text!r}.")
    return before, after


def print_report(report: Report, out: IO[str]) -> None:
    """Print one line for each check, with what is wrong below it, and a summary at the end."""
    width = max(len(result.id) for result in report.results)
    for result in report.results:
        outcome = click.style(result.outcome.value, fg=_COLORS[result.outcome])
        click.echo(f"{result.id:<{width}}  {outcome}", file=out)
        if not result.ok:
            click.echo(f"    Checked: {result.checked}\n    {result.message}", file=out)
        elif result.message:
            click.echo(click.style(f"    {result.message}", dim=True), file=out)
    click.echo(f"\n{str(report).splitlines()[0]}", file=out)
