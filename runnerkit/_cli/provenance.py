"""The commands about who offers what: `runnerkit plugins`, `runnerkit why` and `runnerkit lock`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

import click

from runnerkit._cli import own_plugins
from runnerkit._cli.frame import explained, print_json, results
from runnerkit._cli.options import Parts, takes_parts
from runnerkit._core.wording import count

if TYPE_CHECKING:
    from gymnasium import Space

    from runnerkit._plugins.sources import PluginProblem

__all__ = ["lock", "plugins", "why"]

_FACTS: Final = ("name", "kind", "distribution", "version", "summary")
_COLUMNS: Final = ("kind", "name", "distribution", "version", "summary")


@click.command(
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
    """List what RunnerKit and installed plugins offer.

    These are the names that `runnerkit rollout` takes for --executor, --history, --pre, --post and --reward, and the
    families of envs. With NAME, the options of that part are listed, with their defaults.

    Plugins that could not be loaded are listed on stderr, with the reason.
    """
    if strict and name is not None:
        raise click.UsageError("--strict is about all plugins: leave NAME out.", click.get_current_context())
    with explained(), results(as_json) as out:
        from runnerkit._cli.terminal import print_records
        from runnerkit._plugins.catalogue import contributions, options, problems, unusable
        from runnerkit._plugins.manager import installed_plugins

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


@click.command(
    epilog="""\b
Examples:
  runnerkit why normalize
  runnerkit why flatten --env Blackjack-v1 --pre flatten --pre normalize
"""
)
@click.argument("name")
@click.option("--env", metavar="ENV", help="Build a runner of this env, and show the space at each of its links.")
@takes_parts
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def why(name: str, env: str | None, parts: Parts, as_json: bool) -> None:
    """Explain what NAME means, and who offers it.

    It tells who else offers a part of this name, its options, and what its import costs.

    With --env, --pre and --post, the spaces are shown from the env to the agent and back.
    """
    with explained(), results(as_json) as out:
        from runnerkit._plugins.explain import explain, import_cost
        from runnerkit._plugins.manager import installed_plugins

        parts.register()
        answers = explain(installed_plugins(), name)
        for answer in answers:
            answer["import"] = _cost(import_cost(answer["module"]))
        links = _links(env, parts) if env is not None else []
        if as_json:
            document = {"answers": answers, "links": [{"link": link, "space": str(space)} for link, space in links]}
            print_json(document, out)
            return
        from runnerkit._cli.terminal import print_options, print_pairs

        for answer in answers:
            print_pairs(_rows(answer), out)
            if not answer["error"]:
                print_options(answer["options"], out)
        if links:
            print_pairs([(link, str(space)) for link, space in links], out)


def _cost(cost: tuple[float, int] | None) -> dict[str, float | int] | None:
    return None if cost is None else {"seconds": round(cost[0], 4), "modules": cost[1]}


def _rows(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "name", answer["asked_as"]
    yield "kind", answer["kind"]
    yield "meaning", answer["meaning"]
    source = f"{answer['distribution']} {answer['version']}".strip()
    yield "offered by", f"{source} (plugin {answer['plugin']})" if source else f"plugin {answer['plugin']}"
    if answer["summary"]:
        yield "summary", answer["summary"]
    cost = answer["import"]
    costs = "" if cost is None else f": {cost['seconds']:.3f} s, {count(cost['modules'], 'module')}"
    costs = ": imported with RunnerKit itself" if cost is not None and not cost["modules"] else costs
    yield "import", f"{answer['module']}{costs}"
    if answer["error"]:
        yield "error", answer["error"]
    for problem in answer["problems"]:
        yield "problem", problem


def _links(env: str, parts: Parts) -> list[tuple[str, Space[Any]]]:
    from runnerkit._rollout.gym_runner import GymRunner

    with GymRunner(env, executor="serial", **parts.keywords()) as runner:
        return runner.links()


@click.command(
    epilog="""\b
Examples:
  runnerkit lock
  runnerkit lock -o run.lock && runnerkit rollout CartPole-v1 --lock run.lock
"""
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default="run.lock",
    show_default=True,
    type=click.Path(dir_okay=False),
    help="Where to write the lock; a file that is there is replaced.",
)
@own_plugins.takes_plugins
def lock(output: str, modules: tuple[str, ...], plugin_folders: tuple[str, ...]) -> None:
    """Write down what names mean now, and which versions there are.

    `runnerkit rollout --lock FILE` and `runnerkit.make(..., lock=FILE)` refuse a run whose parts or versions differ.
    """
    with explained():
        from pathlib import Path

        from runnerkit._plugins.lock import write_lock
        from runnerkit._plugins.manager import installed_plugins

        own_plugins.register(modules, plugin_folders)
        write_lock(installed_plugins(), Path(output))
        click.echo(f"Wrote {output}.")
