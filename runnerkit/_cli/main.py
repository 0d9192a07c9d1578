"""The command line::

    runnerkit rollout CartPole-v1 --n-envs 8 --steps 1000
    runnerkit tune CartPole-v1 --n-envs 8
    runnerkit plugins
    runnerkit new scale-image --kind preprocessor
    runnerkit check runnerkit-scale-image

Exit codes: 0 all went well, 1 the run failed, 2 what was typed makes no sense, 130 Ctrl-C, 143 SIGTERM. Results go to
stdout, everything else to stderr. Whatever is heavy is imported by the command that needs it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, cast

import click
from typing_extensions import override

from runnerkit._cli import own_plugins
from runnerkit._cli.authors import check, new
from runnerkit._cli.evaluate import evaluate
from runnerkit._cli.frame import PART, env_option, explained, post_option, pre_option, print_json, results
from runnerkit._cli.provenance import lock, why
from runnerkit._cli.stopping import Stop, stoppable
from runnerkit._cli.stored import ls, verify
from runnerkit._core.wording import count
from runnerkit.errors import EnvError, RolloutInterrupted

if TYPE_CHECKING:
    from runnerkit._cli.advice import TuningSummary
    from runnerkit._cli.reports import Summary
    from runnerkit._plugins.sources import PluginProblem

__all__ = ["main"]

_DEFAULT_STEPS: Final = 1000
_AT_LEAST_1: Final = click.IntRange(min=1)
_FACTS: Final = ("name", "kind", "distribution", "version", "summary")
_COLUMNS: Final = ("kind", "name", "distribution", "version", "summary")


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

    Exit codes: 0 success, 1 the run failed, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
    """


# ---- what several commands take

_no_progress = click.option(
    "--no-progress", is_flag=True, help="Show no progress bar. There is none, either, with --json or in a pipe."
)


# ---- runnerkit rollout


@main.command(
    epilog="""\b
Examples:
  runnerkit rollout CartPole-v1 --n-envs 8 --steps 1000
  runnerkit rollout Pendulum-v1 --episodes 20 --seed 0 --agent my_agents:Greedy --json
"""
)
@click.argument("env")
@click.option(
    "--n-envs",
    metavar="N",
    type=_AT_LEAST_1,
    default=1,
    show_default=True,
    help="How many envs are stepped side by side.",
)
@click.option(
    "--steps", metavar="T", type=_AT_LEAST_1, help=f"Steps per env.  [default: {_DEFAULT_STEPS}, without --episodes]"
)
@click.option(
    "--episodes",
    metavar="K",
    type=_AT_LEAST_1,
    help="Instead of steps, run so many whole episodes in all: the first ones to start, so that short ones do not "
    "count for more than their share.",
)
@click.option(
    "--seed",
    metavar="S",
    type=click.IntRange(min=0),
    help="Of the envs and the random agent; the same seed gives the same run.  [default: a drawn one, which is shown]",
)
@click.option(
    "--agent",
    "agent_name",
    metavar="random|MODULE:ATTRIBUTE|FAMILY:...",
    default="random",
    show_default=True,
    help="Who acts. ATTRIBUTE is an object with act(observations), a function of observations, or a class or function "
    "that makes an agent: its parameters called observation_space, action_space and runner are filled in. MODULE may "
    "lie in the current directory. FAMILY is offered by a package: sb3:model.zip with runnerkit-sb3.",
)
@click.option("--executor", metavar=PART, default="auto", show_default=True, help="How the envs are stepped.")
@click.option(
    "--workers",
    metavar="W",
    type=_AT_LEAST_1,
    help="How many workers step them.  [default: what the executor finds best]",
)
@click.option("--history", metavar=PART, default="arrays", show_default=True, help="The format to record in.")
@pre_option
@post_option
@click.option(
    "--reward",
    metavar=PART,
    multiple=True,
    help="A processor of rewards for a learner; repeat it for a chain. Returns stay those of the env.",
)
@env_option
@own_plugins.takes_plugins
@click.option(
    "--lock",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Refuse to run if a part or a version differs from this file, which `runnerkit lock` writes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with the records of all episodes.")
@_no_progress
def rollout(
    env: str,
    n_envs: int,
    steps: int | None,
    episodes: int | None,
    seed: int | None,
    agent_name: str,
    executor: str,
    workers: int | None,
    history: str,
    pre: tuple[str, ...],
    post: tuple[str, ...],
    reward: tuple[str, ...],
    env_options: tuple[str, ...],
    modules: tuple[str, ...],
    plugin_folders: tuple[str, ...],
    lock: str | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Roll out an agent in ENV and summarise its episodes.

    ENV is a Gymnasium id such as CartPole-v1 or ALE/Pong-v5, MODULE:ID to import a module first, or FAMILY:ID for
    the envs of a plugin. `runnerkit plugins` lists the names that other options take.

    Ctrl-C (exit code 130) or SIGTERM (143) stops the run and summarises what was collected.
    """
    if steps is not None and episodes is not None:
        raise click.UsageError("Give --steps or --episodes, not both.", click.get_current_context())
    if steps is None and episodes is None:
        steps = _DEFAULT_STEPS
    with explained(), results(as_json) as out:
        from runnerkit._cli import spelling
        from runnerkit._cli.agents import agent_maker, import_from_current_directory
        from runnerkit._cli.reports import Summary, Tally
        from runnerkit._cli.terminal import progress_bar
        from runnerkit._plugins.manager import installed_plugins
        from runnerkit._rollout.gym_runner import GymRunner
        from runnerkit._rollout.parts import find_part

        import_from_current_directory()
        own_plugins.register(modules, plugin_folders)
        make_agent = agent_maker(agent_name)
        installed = installed_plugins()
        recorded = find_part("history_formats", spelling.part(history, "--history"), installed).around(Tally)
        tally = recorded.thing
        with GymRunner(
            env,
            seed,
            n_envs,
            history=cast(Tally, recorded),
            executor=spelling.part(executor, "--executor"),
            workers=workers,
            preprocessors=[spelling.part(text, "--pre") for text in pre],
            postprocessors=[spelling.part(text, "--post") for text in post],
            reward_processors=[spelling.part(text, "--reward") for text in reward],
            env_options=spelling.env_options(env_options),
            lock=lock,
            plugins=installed,
        ) as runner:
            agent = make_agent(runner)
            with progress_bar(not (as_json or no_progress)) as progress:
                began = time.perf_counter()
                # raised all the same if a helper dies with us, as of a signal to the whole process group
                with contextlib.suppress(RolloutInterrupted):
                    runner.rollout(agent, steps, episodes=episodes, progress=progress, on_interrupt="return")
                seconds = time.perf_counter() - began
            summary = Summary(
                env=tally.version if tally.version.startswith(f"{runner.env_id}-v") else runner.env_id,
                agent=agent_name,
                seed=runner.seed,
                n_envs=n_envs,
                executor=runner.executor_report,
                history=history,
                preprocessors=pre,
                postprocessors=post,
                reward_processors=reward,
                steps=tally.steps,
                seconds=seconds,
                made_by=runner.made_by,
                interrupted=runner.interrupted,
                episodes=tally.episodes,
            )
            # before the runner closes, so that an env that fails to close does not take the results with it
            _print_summary(summary, as_json, out)
            if summary.interrupted:
                with contextlib.suppress(EnvError):  # the signal may have ended helpers, too, which then cannot close
                    runner.close()
    if summary.interrupted:
        click.get_current_context().exit(_stop().code)


def _print_summary(summary: Summary, as_json: bool, out: IO[str]) -> None:
    from runnerkit._cli.terminal import print_pairs

    if as_json:
        print_json(summary.document(), out)
        return
    print_pairs(summary.rows(), out)
    if summary.interrupted:
        click.secho(f"Interrupted by {_stop().cause}: this is what was collected until then.", file=out, fg="yellow")


# ---- runnerkit tune


@main.command(
    epilog="""\b
Examples:
  runnerkit tune CartPole-v1
  runnerkit tune Pendulum-v1 --n-envs 8 --n-envs 32 --agent my_agents:Greedy --seconds 30 --json
"""
)
@click.argument("env")
@click.option(
    "--n-envs",
    metavar="N",
    type=_AT_LEAST_1,
    multiple=True,
    default=(8,),
    show_default="8",
    help="How many envs are stepped side by side; repeat it to measure several numbers.",
)
@click.option(
    "--agent",
    "agent_name",
    metavar="random|MODULE:ATTRIBUTE|FAMILY:...",
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
    type=_AT_LEAST_1,
    multiple=True,
    help="With how many workers; repeat it for several.  [default: 2, 4, 8, ... up to the number of cores]",
)
@click.option(
    "--steps",
    metavar="T",
    type=_AT_LEAST_1,
    default=256,
    show_default=True,
    help="Steps per env of each rollout, as in your training. Slow envs make fewer.",
)
@click.option(
    "--seconds",
    metavar="S",
    type=click.FloatRange(min=0, min_open=True),
    default=15.0,
    show_default=True,
    help="How long all of it takes, about.",
)
@pre_option
@post_option
@env_option
@own_plugins.takes_plugins
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with what each round gave.")
@_no_progress
def tune(
    env: str,
    n_envs: tuple[int, ...],
    agent_name: str,
    executors: tuple[str, ...],
    workers: tuple[int, ...],
    steps: int,
    seconds: float,
    pre: tuple[str, ...],
    post: tuple[str, ...],
    env_options: tuple[str, ...],
    modules: tuple[str, ...],
    plugin_folders: tuple[str, ...],
    as_json: bool,
    no_progress: bool,
) -> None:
    """Measure which executor is the fastest for ENV and an agent on this machine.

    Serial, threads and processes take turns with several numbers of workers. Printed are the steps of all envs
    together per second (the median of some rounds), the ratio to serial, and what to use, as Python and as a command.

    Measure while nothing else runs. Ctrl-C (exit code 130) or SIGTERM (143) ends it early and shows what was
    measured until then.
    """
    with explained(), results(as_json) as out:
        from runnerkit._cli import spelling
        from runnerkit._cli.advice import TuningSummary
        from runnerkit._cli.agents import agent_maker, import_from_current_directory
        from runnerkit._cli.terminal import share_bar
        from runnerkit.tuning import measure

        import_from_current_directory()
        own_plugins.register(modules, plugin_folders)
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
                preprocessors=[spelling.part(text, "--pre") for text in pre],
                postprocessors=[spelling.part(text, "--post") for text in post],
                env_options=spelling.env_options(env_options),
                progress=progress,
            )
        summary = TuningSummary(
            env=env,
            agent=agent_name,
            preprocessors=pre,
            postprocessors=post,
            env_options=env_options,
            seconds=time.perf_counter() - began,
            tuning=tuning,
        )
        _print_tuning(summary, as_json, out)
    if tuning.interrupted:
        click.get_current_context().exit(_stop().code)


def _print_tuning(summary: TuningSummary, as_json: bool, out: IO[str]) -> None:
    from runnerkit._cli.terminal import print_pairs, print_records

    if as_json:
        print_json(summary.document(), out)
        return
    print_records(summary.records(), summary.columns, out)
    click.echo(file=out)
    print_pairs(summary.rows(), out)
    if summary.tuning.interrupted:
        click.secho(f"Interrupted by {_stop().cause}: this is what was measured until then.", file=out, fg="yellow")


# ---- runnerkit plugins


@main.command(
    epilog="""\b
Examples:
  runnerkit plugins
  runnerkit plugins normalize
  runnerkit plugins --json
"""
)
@click.argument("name", required=False)
@own_plugins.takes_plugins
@click.option(
    "--strict",
    is_flag=True,
    help="Import all that is offered, too, and end with exit code 1 if any plugin has a problem: for CI.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document: {contributions: [...], problems: [...]}."
)
def plugins(
    name: str | None, modules: tuple[str, ...], plugin_folders: tuple[str, ...], strict: bool, as_json: bool
) -> None:
    """List what RunnerKit and installed plugins offer; of NAME, its options with their defaults.

    These are the names that `runnerkit rollout` takes for --executor, --history, --pre and --post, and the families
    of envs. Plugins that could not be loaded are listed on stderr, with the reason.
    """
    if strict and name is not None:
        raise click.UsageError("--strict is about all plugins: leave NAME out.", click.get_current_context())
    with explained(), results(as_json) as out:
        from runnerkit._cli.agents import import_from_current_directory
        from runnerkit._cli.terminal import print_records
        from runnerkit._plugins.catalogue import contributions, options, problems, unusable
        from runnerkit._plugins.manager import installed_plugins

        import_from_current_directory()
        own_plugins.register(modules, plugin_folders)
        installed = installed_plugins()
        if name is not None:
            _print_parts(options(installed, name), as_json, out)
            return
        installed.discover()
        found = [*installed.problems, *(unusable(installed) if strict else ())]
        if as_json:
            print_json({"contributions": contributions(installed), "problems": problems(found)}, out)
        else:
            print_records(contributions(installed), _COLUMNS, out)
            _print_problems(found)
    if strict and found:
        click.get_current_context().exit(1)


def _print_parts(parts: Sequence[Mapping[str, Any]], as_json: bool, out: IO[str]) -> None:
    from runnerkit._cli.terminal import print_options, print_pairs

    if as_json:
        print_json({"contributions": parts}, out)
        return
    for part in parts:
        print_pairs([(what, part[what]) for what in _FACTS if part[what]], out)
        print_options(part["options"], out)


def _print_problems(problems: Sequence[PluginProblem]) -> None:
    if not problems:
        return
    click.echo(f"{count(len(problems), 'problem')}; what these plugins offer was left out:", err=True)
    for problem in problems:
        click.echo(f"  {problem}", err=True)


main.add_command(check)
main.add_command(lock)
main.add_command(ls)
main.add_command(new)
main.add_command(evaluate)
main.add_command(verify)
main.add_command(why)


# ---- what goes in and out


def _stop() -> Stop:
    return click.get_current_context().ensure_object(Stop)
