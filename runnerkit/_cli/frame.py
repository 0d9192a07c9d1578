"""What all commands have in common: where results go, and what becomes of errors."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import IO

import click

from runnerkit._cli.stopping import Stop
from runnerkit._core.wording import where
from runnerkit.errors import ArgumentError, RunnerKitError, UnknownNameError

__all__ = ["current_stop", "explained", "print_json", "results", "tell_of_stop"]


@contextlib.contextmanager
def results(as_json: bool) -> Iterator[IO[str]]:
    """Give where results go; with JSON, what envs, agents and plugins print goes to stderr meanwhile."""
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield out


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn RunnerKit's errors into a message and an exit code: 2 for what should be typed otherwise, else 1."""
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


def current_stop() -> Stop:
    """Return who asked the running command to stop, should there be one."""
    return click.get_current_context().ensure_object(Stop)


def tell_of_stop(what: str, out: IO[str]) -> None:
    """Say by whom the command was stopped, and that results are only of what was `collected` until then."""
    click.secho(f"Interrupted by {current_stop().cause}: this is what was {what} until then.", file=out, fg="yellow")
