"""What all commands have in common: where results go, and what becomes of errors."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import IO, Final

import click

from runnerkit._core.wording import where
from runnerkit.errors import ArgumentError, RunnerKitError, UnknownNameError

__all__ = ["PART", "env_option", "explained", "post_option", "pre_option", "print_json", "results"]

PART: Final = "NAME[:OPTION=VALUE,...]"
"""How a part is written."""

pre_option = click.option(
    "--pre", metavar=PART, multiple=True, help="A preprocessor of observations; repeat it for a chain."
)
post_option = click.option(
    "--post", metavar=PART, multiple=True, help="A postprocessor of actions; repeat it for a chain."
)
env_option = click.option(
    "--env-option",
    "env_options",
    metavar="OPTION=VALUE",
    multiple=True,
    help="A keyword argument for the env, or for the factory that makes it; repeat it for several.",
)


@contextlib.contextmanager
def results(as_json: bool) -> Iterator[IO[str]]:
    """Give where results go; with JSON, what envs, agents and plugins print goes to stderr meanwhile."""
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield out


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn RunnerKit's errors into a message and an exit code."""
    try:
        yield
    except (ArgumentError, UnknownNameError) as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
    except RunnerKitError as error:
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        place = where(error.__cause__)
        raise click.ClickException(f"{error}{notes}" + (f"\n  at {place}" if place else "")) from error


def print_json(document: object, out: IO[str]) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(document, indent=2, allow_nan=False), file=out)
