"""The commands for authors of plugins: `runnerkit check` and `runnerkit new`."""

from __future__ import annotations

from typing import Final

import click

from runnerkit._cli.frame import explained, print_json, results
from runnerkit._cli.own_plugins import import_from_current_directory

__all__ = ["check", "new"]

_KINDS: Final = ("env-factory", "preprocessor", "postprocessor", "reward-processor", "history-format", "executor")


@click.command(
    epilog="""\b
Examples:
  runnerkit check .
  runnerkit check runnerkit-atari --env atari:Pong --json
"""
)
@click.argument("target")
@click.option("--env", "envs", metavar="NAME:ENV", multiple=True, help="An env to check of an env factory; repeat it.")
@click.option(
    "--expect-failure",
    "expected",
    metavar="CHECK=REASON",
    multiple=True,
    help="A check that is meant to fail, and why; repeat it. It is strict: if the check passes, the command fails.",
)
@click.option(
    "--mypy/--no-mypy", default=True, show_default=True, help="Run mypy --strict on the package, if mypy is installed."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check(target: str, envs: tuple[str, ...], expected: tuple[str, ...], mypy: bool, as_json: bool) -> None:
    """Check a plugin and all that it offers with the conformance kit.

    TARGET is a module, an installed distribution, or a folder with a pyproject.toml, which need not be installed.
    The exit code is 1 if a check fails.
    """
    with explained(), results(as_json) as out:
        from runnerkit._cli.check import check_target, print_report

        import_from_current_directory()
        report = check_target(target, envs, expected, mypy=mypy)
        if as_json:
            print_json(report.document(), out)
        else:
            print_report(report, out)
    if not report.ok:
        click.get_current_context().exit(1)


@click.command(
    epilog="""\b
Examples:
  runnerkit new scale-image --kind preprocessor
  runnerkit new lake --kind env-factory -o ~/projects
"""
)
@click.argument("name")
@click.option(
    "--kind",
    metavar="KIND",
    type=click.Choice(_KINDS),
    required=True,
    help=f"What the plugin offers: {', '.join(_KINDS)}.",
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    default=".",
    type=click.Path(exists=True, file_okay=False),
    help="Where to write the package.  [default: here]",
)
def new(name: str, kind: str, output: str) -> None:
    """Write a new plugin package, runnerkit-NAME.

    It works, passes its tests and is completely typed.
    """
    with explained():
        from pathlib import Path

        from runnerkit._cli.new import command_for, write_package

        folder = write_package(name, kind, Path(output))
        steps = [f"pip install -e '{folder}[test]'", f"runnerkit check {folder}", command_for(name, kind)]
        click.echo("\n  ".join([f"{folder} is there. Next:", *steps]))
