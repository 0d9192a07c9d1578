"""The command line::

    runnerkit rollout CartPole-v1 --n-envs 8 --steps 1000
    runnerkit tune CartPole-v1 --n-envs 8
    runnerkit plugins
    runnerkit new scale-image --kind preprocessor
    runnerkit check runnerkit-scale-image

Results go to stdout, everything else to stderr. Whatever is heavy is imported by the command that needs it.
"""

from __future__ import annotations

from typing import Any

import click
from typing_extensions import override

from runnerkit._cli.authors import check, new
from runnerkit._cli.evaluate import evaluate
from runnerkit._cli.provenance import lock, plugins, why
from runnerkit._cli.replay import replay
from runnerkit._cli.report import report
from runnerkit._cli.rollout import rollout
from runnerkit._cli.stopping import stoppable
from runnerkit._cli.stored import convert, ls, show, verify
from runnerkit._cli.tune import tune
from runnerkit._cli.videos import video
from runnerkit._cli.watch import watch

__all__ = ["main"]


class _Program(click.Group):
    @override
    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; click itself would answer Ctrl-C with exit code 1."""
        with stoppable() as stop:
            ctx.obj = stop
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                click.echo(f"Interrupted by {stop.cause}.", err=True)
                ctx.exit(stop.code)


@click.group(
    cls=_Program,
    name="runnerkit",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  runnerkit rollout CartPole-v1 --n-envs 8 --steps 1000
  runnerkit tune CartPole-v1 --n-envs 8
  runnerkit plugins
""",
)
@click.version_option(package_name="runnerkit", prog_name="runnerkit", message="%(prog)s %(version)s")
def main() -> None:
    """Roll out agents in Gymnasium environments.

    Exit codes: 0 success; 1 the command failed, or the package that it needs is not installed; 2 wrong usage, such as
    an unknown name, or a folder that cannot be written to; 130 Ctrl-C; 143 SIGTERM.
    """


main.add_command(rollout)
main.add_command(evaluate)
main.add_command(tune)
main.add_command(plugins)
main.add_command(why)
main.add_command(lock)
main.add_command(check)
main.add_command(new)
main.add_command(ls)
main.add_command(show)
main.add_command(verify)
main.add_command(replay)
main.add_command(report)
main.add_command(convert)
main.add_command(watch)
main.add_command(video)
