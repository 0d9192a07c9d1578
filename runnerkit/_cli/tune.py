"""`runnerkit tune`: which executor is the fastest, in a terminal."""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING

import click

from runnerkit._cli.frame import current_stop, explained, print_json, results, tell_of_stop
from runnerkit._cli.numbers import AT_LEAST_1, SECONDS
from runnerkit._cli.options import (
    AGENT,
    PART,
    Parts,
    min_batch_option,
    no_progress_option,
    takes_parts,
)

if TYPE_CHECKING:
    from runnerkit._cli.advice import TuningSummary

__all__ = ["tune"]


@click.command(
    epilog="""\b
Examples:
  runnerkit tune CartPole-v1
  runnerkit tune Pendulum-v1 --n-envs 8 --n-envs 32 --seconds 30 --json
"""
)
@click.argument("env")
@click.option(
    "--n-envs",
    metavar="N",
    type=AT_LEAST_1,
    multiple=True,
    default=(8,),
    show_default=True,
    help="How many envs are stepped side by side; repeat it to measure several numbers.",
)
@click.option(
    "--agent",
    "agent_name",
    metavar=AGENT,
    default="random",
    show_default=True,
    help="Who acts, as for `runnerkit rollout`.",
)
@click.option(
    "--executor",
    "executors",
    metavar=PART,
    multiple=True,
    help="Who is measured besides serial; repeat it for several.  [default: all that are built in]",
)
@click.option(
    "--workers",
    metavar="W",
    type=AT_LEAST_1,
    multiple=True,
    help="With how many workers; repeat it for several.  [default: 2, 4, 8, ... up to the number of cores]",
)
@click.option(
    "--steps",
    metavar="T",
    type=AT_LEAST_1,
    default=256,
    show_default=True,
    help="Steps per env of each rollout, as in your training. Slow envs make fewer.",
)
@click.option(
    "--seconds",
    metavar="S",
    type=SECONDS,
    default=15,
    show_default=True,
    help="How long all of it takes, about.",
)
@min_batch_option
@takes_parts
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with what each round gave.")
@no_progress_option
def tune(
    env: str,
    n_envs: tuple[int, ...],
    agent_name: str,
    executors: tuple[str, ...],
    workers: tuple[int, ...],
    steps: int,
    seconds: float,
    min_batch: int | None,
    parts: Parts,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Measure which executor is the fastest for ENV and an agent.

    On this machine, serial, threads and processes take turns with several numbers of workers. Printed are the steps of
    all envs together per second (the median of some rounds), the ratio to serial, and what to use, as Python and as a
    command.

    With --min-batch, processes are also measured with fewer envs for the calling process, which asks the agent.

    Measure while nothing else runs. Ctrl-C (exit code 130) or SIGTERM (143) ends it early and shows what was
    measured until then.
    """
    with explained(), results(as_json) as out:
        from runnerkit._cli import spelling
        from runnerkit._cli.advice import TuningSummary
        from runnerkit._cli.agents import agent_maker
        from runnerkit._cli.terminal import share_bar
        from runnerkit.tuning import measure

        parts.register()
        with share_bar(not (as_json or no_progress)) as progress:
            began = time.perf_counter()
            tuning = measure(
                env,
                agent_maker(agent_name),
                n_envs=n_envs,
                executors=[spelling.part(text, "--executor") for text in executors] or None,
                workers=workers or None,
                seconds=seconds,
                steps=steps,
                min_batch=min_batch,
                progress=progress,
                **parts.keywords(),
            )
        summary = TuningSummary(
            env=env,
            agent=agent_name,
            parts=parts,
            seconds=time.perf_counter() - began,
            tuning=tuning,
            min_batch=min_batch,
        )
        _print_tuning(summary, as_json, out)
    if tuning.interrupted:
        click.get_current_context().exit(current_stop().code)


def _print_tuning(summary: TuningSummary, as_json: bool, out: IO[str]) -> None:
    from runnerkit._cli.terminal import print_pairs, print_records

    if as_json:
        print_json(summary.document(), out)
        return
    print_records(summary.records(), summary.columns, out)
    click.echo(file=out)
    print_pairs(summary.rows(), out)
    if summary.tuning.interrupted:
        tell_of_stop("measured", out)
