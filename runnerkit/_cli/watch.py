"""`runnerkit watch`: a view of a run of another program, from the folder that it writes to."""

from __future__ import annotations

import math
import time
from typing import Final

import click

from runnerkit._cli.frame import explained, results
from runnerkit._cli.numbers import AT_LEAST_1

__all__ = ["watch"]

_POLL_S: Final = 0.5  # a run lists its episodes as often


@click.command(
    epilog="""\b
Examples:
  runnerkit rollout CartPole-v1 --episodes 2000 -o runs
  runnerkit watch runs --episodes 2000
"""
)
@click.argument("folder")
@click.option(
    "--episodes", metavar="K", type=AT_LEAST_1, help="How many episodes the run will have: shows the time left."
)
@click.option("--steps", metavar="T", type=AT_LEAST_1, help="The same in steps per env.")
def watch(folder: str, episodes: int | None, steps: int | None) -> None:
    """Watch a run that writes to FOLDER, until it ends.

    FOLDER is that of `runnerkit rollout -o FOLDER`, or of a runner with history="npz". An episode is seen when it ends.
    Without a terminal there is a line every few seconds. Ctrl-C (exit code 130) ends the view, not the run.
    """
    if episodes is not None and steps is not None:
        raise click.UsageError("Give --episodes or --steps, not both.", click.get_current_context())
    with explained(), results(False) as out:
        from runnerkit._cli.followed import FollowedRun
        from runnerkit._cli.terminal import canvas

        run = FollowedRun(folder, episodes, steps)
        shown = -math.inf
        with canvas(out, stays=True) as drawn:
            try:
                while run.take():
                    if run.seconds >= shown + drawn.every:
                        drawn.show(run.view)
                        shown = run.seconds
                    time.sleep(_POLL_S)
            finally:
                drawn.leave(run.view)
