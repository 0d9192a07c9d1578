"""The command line::

    runnerkit rollout CartPole-v1 --n-envs 8 --steps 1000
    runnerkit plugins

Exit codes: 0 all went well, 1 the run failed, 2 what was typed makes no sense, 130 Ctrl-C. Results go to stdout,
everything else to stderr. Whatever is heavy is imported by the command that needs it.
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import json
import math
import operator
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import click
from typing_extensions import override

if TYPE_CHECKING:
    from rich.table import Table

    from runnerkit.gym_runner import GymRunner
    from runnerkit.history.block import Block
    from runnerkit.plugins import Offer, PluginProblem
    from runnerkit.records import Episode, Progress, RunSpec
    from runnerkit.typing import HistoryFormat, ProgressCallback, Recorder

    MakeAgent: TypeAlias = Callable[[GymRunner[Any, Any, Any]], Any]

__all__ = ["main"]

_DEFAULT_STEPS: Final = 1000
_INTERRUPTED: Final = 130  # what a shell reports for a program that Ctrl-C ended
_PIPE_WIDTH: Final = 1000  # columns, where no terminal wraps lines: one row stays one line for grep and awk
_BAR_WIDTH: Final = 20
_AT_LEAST_1: Final = click.IntRange(min=1)


class _Program(click.Group):
    @override
    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; click itself would answer Ctrl-C with exit code 1."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)


@click.group(
    cls=_Program,
    name="runnerkit",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  runnerkit rollout CartPole-v1 --n-envs 8 --steps 1000
  runnerkit plugins
""",
)
@click.version_option(package_name="runnerkit", prog_name="runnerkit", message="%(prog)s %(version)s")
def main() -> None:
    """Roll out agents in Gymnasium environments.

    Exit codes: 0 success, 1 the run failed, 2 wrong usage, 130 Ctrl-C.
    """


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
    metavar="random|MODULE:ATTRIBUTE",
    default="random",
    show_default=True,
    help="Who acts. ATTRIBUTE is an object with act(observations), or a class or function that is called with "
    "(observation_space, action_space) and returns one. MODULE may lie in the current directory.",
)
@click.option("--executor", metavar="NAME", default="serial", show_default=True, help="How the envs are stepped.")
@click.option(
    "--workers",
    metavar="W",
    type=_AT_LEAST_1,
    help="How many workers step them.  [default: what the executor finds best]",
)
@click.option("--history", metavar="NAME", default="arrays", show_default=True, help="The format to record in.")
@click.option("--pre", metavar="NAME", multiple=True, help="A preprocessor of observations; repeat it for a chain.")
@click.option("--post", metavar="NAME", multiple=True, help="A postprocessor of actions; repeat it for a chain.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with the records of all episodes.")
@click.option(
    "--no-progress", is_flag=True, help="Show no progress bar. There is none, either, with --json or in a pipe."
)
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
    as_json: bool,
    no_progress: bool,
) -> None:
    """Roll out an agent in ENV and summarise its episodes.

    ENV is a Gymnasium id such as CartPole-v1 or ALE/Pong-v5, MODULE:ID to import a module first, or FAMILY:ID for
    the envs of a plugin. `runnerkit plugins` lists the names that other options take.

    Ctrl-C stops the run and summarises what was collected (exit code 130).
    """
    if steps is not None and episodes is not None:
        raise click.UsageError("Give --steps or --episodes, not both.", click.get_current_context())
    if steps is None and episodes is None:
        steps = _DEFAULT_STEPS
    with _explained(), _results(as_json) as out:
        from runnerkit.gym_runner import GymRunner
        from runnerkit.plugins import installed_plugins

        _import_from_current_directory()
        make_agent = _agent_maker(agent_name)
        installed = installed_plugins()
        tally = _Tally(installed.get("history_formats", history).make())
        with GymRunner(
            env,
            seed,
            n_envs,
            history=tally,
            executor=executor,
            workers=workers,
            preprocessors=pre,
            postprocessors=post,
            plugins=installed,
        ) as runner:
            agent = make_agent(runner)
            with _progress_bar(not (as_json or no_progress)) as progress:
                began = time.perf_counter()
                runner.rollout(agent, steps, episodes=episodes, progress=progress)
                seconds = time.perf_counter() - began
            interrupted = runner.interrupted
            summary = _Summary(
                env=runner.env_id,
                agent=agent_name,
                seed=runner.seed,
                n_envs=n_envs,
                executor=executor,
                workers=runner.workers,
                history=history,
                preprocessors=pre,
                postprocessors=post,
                steps=tally.steps,
                seconds=seconds,
                interrupted=interrupted,
                episodes=tally.episodes,
            )
            # before the runner closes, so that an env that fails to close does not take the results with it
            if as_json:
                _print_json(summary.document(), out)
            else:
                _print_summary(summary, out)
    if interrupted:
        click.get_current_context().exit(_INTERRUPTED)


class _Tally:
    """A history format that reads the episode records off each block on its way to another format.

    Histories may be anything at all; the block is the one place where the records are for certain.
    """

    def __init__(self, inner: HistoryFormat[Any]) -> None:
        self.steps: int = 0
        self.episodes: list[Episode] = []
        self._inner = inner

    def open(self, spec: RunSpec, /) -> _TallyRecorder:
        """Return a recorder around that of the other format."""
        return _TallyRecorder(self, self._inner.open(spec))


class _TallyRecorder:
    def __init__(self, tally: _Tally, inner: Recorder[Any]) -> None:
        self._tally, self._inner = tally, inner

    def finish(self, block: Block, /) -> Sequence[Any]:
        """Count, then let the other recorder do its work."""
        self._tally.steps += sum(block.lengths)
        for i, length in enumerate(block.lengths):
            if length:  # an env that took no step has no episode to tell of
                self._tally.episodes += block.episodes(i)
        return self._inner.finish(block)

    def close(self) -> None:
        """Close the other recorder."""
        self._inner.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summary:
    """What a rollout was, and what came of it. Returns and lengths are those of the complete episodes."""

    env: str
    agent: str
    seed: int
    n_envs: int
    executor: str
    workers: int
    history: str
    preprocessors: Sequence[str]
    postprocessors: Sequence[str]
    steps: int
    seconds: float
    interrupted: bool
    episodes: Sequence[Episode]

    def document(self) -> dict[str, object]:
        """Return all of it for JSON; what is no number there is None."""
        returns, lengths = self.returns(), self.lengths()
        return {
            "env": self.env,
            "agent": self.agent,
            "seed": self.seed,
            "n_envs": self.n_envs,
            "executor": self.executor,
            "workers": self.workers,
            "history": self.history,
            "preprocessors": list(self.preprocessors),
            "postprocessors": list(self.postprocessors),
            "steps": self.steps,
            "seconds": self.seconds,
            "steps_per_second": self.steps_per_second(),
            "complete_episodes": sum(episode.complete for episode in self.episodes),
            **{f"return_{name}": _finite(value) for name, value in returns.items()},
            "length_mean": lengths.get("mean"),
            "end_reasons": self.end_reasons(),
            "interrupted": self.interrupted,
            "episodes": [_record(episode) for episode in self.episodes],
        }

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield (what, value) line by line for people."""
        yield "env", self.env
        yield "agent", self.agent
        yield "seed", str(self.seed)
        yield "n_envs", str(self.n_envs)
        yield "executor", f"{self.executor}, {_count(self.workers, 'worker')}"
        yield "history", self.history
        if self.preprocessors:
            yield "preprocessors", ", ".join(self.preprocessors)
        if self.postprocessors:
            yield "postprocessors", ", ".join(self.postprocessors)
        rate = self.steps_per_second()
        yield "steps", f"{self.steps:,}"
        yield "seconds", f"{self.seconds:.3g}" if self.seconds < 100 else f"{self.seconds:,.0f}"
        yield "steps/s", "-" if rate is None else f"{rate:,.0f}"
        yield "episodes", f"{sum(episode.complete for episode in self.episodes):,} complete"
        yield "return", _listing(self.returns())
        yield "length", _listing(self.lengths())
        yield "end reasons", ", ".join(f"{n:,} {reason}" for reason, n in self.end_reasons().items()) or "-"

    def steps_per_second(self) -> float | None:
        """Return the steps of all envs together, per second."""
        return self.steps / self.seconds if self.seconds > 0 else None

    def returns(self) -> dict[str, float | None]:
        """Return mean, std (of the population), min and max."""
        return _statistics([episode.total_return for episode in self.episodes if episode.complete])

    def lengths(self) -> dict[str, float | None]:
        """Return the mean."""
        lengths = [float(episode.total_length) for episode in self.episodes if episode.complete]
        return {"mean": _statistics(lengths)["mean"]}

    def end_reasons(self) -> dict[str, int]:
        """Return how many episodes ended for each reason, the most frequent first."""
        return dict(collections.Counter(str(episode.end_reason) for episode in self.episodes).most_common())


def _statistics(values: Sequence[float]) -> dict[str, float | None]:
    import numpy as np

    if not values:
        return dict.fromkeys(("mean", "std", "min", "max"))
    with np.errstate(all="ignore"):  # rewards may be infinite, or no numbers: that is for the reader to see
        return {
            "mean": float(np.mean(values)),
            "std": float(np.std(values)),
            "min": float(np.min(values)),
            "max": float(np.max(values)),
        }


def _record(episode: Episode) -> dict[str, object]:
    return {
        "env_index": episode.env_index,
        "episode_index": episode.episode_index,
        "seed": episode.seed,
        "start": episode.start,
        "length": episode.length,
        "return": _finite(episode.return_),
        "end_reason": str(episode.end_reason),
        "steps_before": episode.steps_before,
        "return_before": _finite(episode.return_before),
        "total_length": episode.total_length,
        "total_return": _finite(episode.total_return),
    }


def _finite(value: float | None) -> float | None:
    """Return the number, or None for those that JSON does not know."""
    return value if value is not None and math.isfinite(value) else None


def _listing(statistics: dict[str, float | None]) -> str:
    known = [f"{name} {value:.6g}" for name, value in statistics.items() if value is not None]
    return ", ".join(known) or "- (no episode was complete)"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _print_summary(summary: _Summary, out: IO[str]) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for what, value in summary.rows():
        table.add_row(what, value)
    _print_table(table, out)
    if summary.interrupted:
        click.secho("Interrupted by Ctrl-C: this is what was collected until then.", file=out, fg="yellow")


@contextlib.contextmanager
def _progress_bar(wanted: bool) -> Iterator[ProgressCallback | None]:
    """Show a bar on stderr as long as the context lasts; gives what moves it, or None where there is no terminal."""
    from rich.console import Console

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if not wanted or not sys.stderr.isatty() or console.is_dumb_terminal:
        yield None
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Display

    display = Display(
        BarColumn(_BAR_WIDTH),
        TextColumn("{task.fields[facts]}", markup=False),
        console=console,
        transient=True,
        auto_refresh=False,  # no thread that takes time from the envs: reports come ten times a second
        redirect_stdout=sys.stdout.isatty(),  # what envs print goes above the bar, but never out of a pipe
    )
    began = time.monotonic()
    with display:
        task = display.add_task("", total=None, facts="0 steps")

        def tell(progress: Progress) -> None:
            counts_episodes = progress.total_episodes is not None
            display.update(
                task,
                total=progress.total_episodes if counts_episodes else progress.total_steps,
                completed=progress.episodes if counts_episodes else progress.steps,
                facts=_fitting(_facts(progress, time.monotonic() - began), console.width - _BAR_WIDTH - 4),
                refresh=True,
            )

        yield tell


def _facts(progress: Progress, seconds: float) -> list[str]:
    rate = progress.steps / seconds if seconds > 0 else 0.0
    episodes = _count(progress.episodes, "episode")
    if progress.total_episodes is not None:
        episodes = f"{progress.episodes:,}/{progress.total_episodes:,} episodes"
    facts = [_count(progress.steps, "step"), f"{rate:,.0f} steps/s", episodes]
    if progress.mean_return is not None:
        facts.append(f"mean return {progress.mean_return:.4g}")
    return facts


def _fitting(facts: Sequence[str], width: int) -> str:
    """Join as many facts as fit: a line that a terminal wraps, or that the ^C does, could not be erased again."""
    line = facts[0]
    for fact in facts[1:]:
        if len(line) + 2 + len(fact) <= width:
            line = f"{line}  {fact}"
    return line


# ---- agents by name


def _import_from_current_directory() -> None:
    """Let modules of the current directory be imported, as `python -m` does and an installed script does not."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)


def _agent_maker(name: str) -> MakeAgent:
    """Return a function runner -> agent. What is wrong with the name is found before any env is made."""
    if name == "random":
        return _random_agent
    found = _attribute(name)
    if not isinstance(found, type) and callable(getattr(found, "act", None)):
        return lambda _: found
    if not callable(found):
        _refuse_agent(name, f"{_shown(found)} has no act(observations), nor can it be called to make an agent")

    def make(runner: GymRunner[Any, Any, Any]) -> Any:
        try:
            agent = found(runner.observation_space, runner.action_space)
        except Exception as error:
            said = f"--agent {name}: called with (observation_space, action_space), it raised {_said(error)}"
            raise click.ClickException(said + _where(error)) from error
        if not callable(getattr(agent, "act", None)):
            _refuse_agent(
                name,
                f"called with (observation_space, action_space), it returned {_shown(agent)}, "
                "which has no act(observations)",
            )
        return agent

    return make


def _random_agent(runner: GymRunner[Any, Any, Any]) -> Any:
    from runnerkit import RandomAgent

    return RandomAgent(runner.action_space, runner.seed)  # so that the seed shown repeats the run, drawn or not


def _attribute(name: str) -> Any:
    """Import what `module:attribute` names."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        _refuse_agent(name, "write 'random' or MODULE:ATTRIBUTE, such as my_agents:Greedy for Greedy in my_agents.py")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _import_failed(name, error) from error
        py = " Leave out the '.py'." if module_name.endswith(".py") else ""
        _refuse_agent(name, f"there is no module {module_name}, neither in {os.getcwd()} nor installed.{py}")
    except Exception as error:
        raise _import_failed(name, error) from error
    try:
        return operator.attrgetter(attribute)(module)
    except AttributeError:
        there = ", ".join(sorted(key for key in vars(module) if not key.startswith("_"))) or "nothing"
        _refuse_agent(name, f"module {module_name} has no {attribute}. It has: {there}")


def _import_failed(name: str, error: Exception) -> click.ClickException:
    return click.ClickException(f"--agent {name}: its module could not be imported: {_said(error)}{_where(error)}")


def _refuse_agent(name: str, why: str) -> NoReturn:
    raise click.UsageError(f"--agent {name}: {why.rstrip('.')}.", click.get_current_context())


# ---- runnerkit plugins


@main.command(
    epilog="""\b
Examples:
  runnerkit plugins
  runnerkit plugins --json
"""
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document: {contributions: [...], problems: [...]}."
)
def plugins(as_json: bool) -> None:
    """List what RunnerKit and installed plugins offer.

    These are the names that `runnerkit rollout` takes for --executor, --history, --pre and --post, and the families
    of envs. Plugins that could not be loaded are listed on stderr, with the reason.
    """
    with _explained(), _results(as_json) as out:
        from runnerkit.plugins import KINDS, installed_plugins

        installed = installed_plugins()
        installed.discover()
        offers = [offer for kind in KINDS for offer in installed.offers(kind).values()]
        if as_json:
            contributions, problems = [*map(_offer, offers)], [*map(_problem, installed.problems)]
            _print_json({"contributions": contributions, "problems": problems}, out)
        else:
            _print_offers(offers, out)
            _print_problems(installed.problems)


def _offer(offer: Offer[Any]) -> dict[str, str]:
    from runnerkit.plugins import KINDS

    return {
        "kind": KINDS[offer.kind],
        "name": offer.name,
        "plugin": offer.plugin,
        "distribution": offer.distribution,
        "version": offer.version,
        "summary": offer.contribution.summary,
    }


def _problem(problem: PluginProblem) -> dict[str, str]:
    return {
        "plugin": problem.plugin,
        "distribution": problem.distribution,
        "version": problem.version,
        "stage": problem.stage,
        "error": _said(problem.error),
    }


def _print_offers(offers: Iterable[Offer[Any]], out: IO[str]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if out.isatty() else None, pad_edge=False)
    columns = ("kind", "name", "distribution", "version", "summary")
    for column in columns:
        table.add_column(column, overflow="fold")
    last = None
    for offer in offers:
        if last is not None and offer.kind != last:
            table.add_section()
        last = offer.kind
        facts = _offer(offer)
        table.add_row(*(facts[column] for column in columns))
    _print_table(table, out)


def _print_problems(problems: Sequence[PluginProblem]) -> None:
    if not problems:
        return
    click.echo(f"{_count(len(problems), 'problem')}; what these plugins offer was left out:", err=True)
    for problem in problems:
        click.echo(f"  {problem}", err=True)


# ---- what goes in and out


@contextlib.contextmanager
def _results(as_json: bool) -> Iterator[IO[str]]:
    """Give where results go; with JSON, what envs, agents and plugins print goes to stderr meanwhile."""
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield out


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn RunnerKit's errors into a message and an exit code."""
    from runnerkit.errors import ArgumentError, RunnerKitError, UnknownNameError

    try:
        yield
    except (ArgumentError, UnknownNameError) as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
    except RunnerKitError as error:
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        raise click.ClickException(f"{error}{notes}{_where(error.__cause__)}") from error


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _where(error: BaseException | None) -> str:
    """Return a line that says where other people's code raised; nothing if it was ours."""
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    frames = [] if error is None else traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"\n  at {error.filename}:{error.lineno}"
    if not frames or frames[-1].filename.startswith(("<", os.path.dirname(__file__) + os.sep)):
        return ""
    return f"\n  at {frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _print_json(document: object, out: IO[str]) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False), file=out)


def _print_table(table: Table, out: IO[str]) -> None:
    """Print to a terminal, or as plain lines; texts are taken literally, whatever brackets and colons they have."""
    from rich.console import Console

    literally: Any = {"file": out, "markup": False, "emoji": False, "highlight": False}
    if out.isatty():
        Console(**literally).print(table)
        return
    console = Console(**literally, width=_PIPE_WIDTH, color_system=None)
    with console.capture() as plain:
        console.print(table)
    for line in plain.get().splitlines():
        click.echo(line.rstrip(), file=out)
