"""The commands about who offers what: `runnerkit why` and `runnerkit lock`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from runnerkit._cli import own_plugins
from runnerkit._cli.frame import env_option, explained, post_option, pre_option, print_json, results
from runnerkit._core.wording import count

if TYPE_CHECKING:
    from gymnasium import Space

__all__ = ["lock", "why"]


@click.command(
    epilog="""\b
Examples:
  runnerkit why normalize
  runnerkit why flatten --env Blackjack-v1 --pre flatten --pre normalize
"""
)
@click.argument("name")
@click.option("--env", metavar="ENV", help="Build a runner of this env, and show the space at each of its links.")
@pre_option
@post_option
@env_option
@own_plugins.takes_plugins
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def why(
    name: str,
    env: str | None,
    pre: tuple[str, ...],
    post: tuple[str, ...],
    env_options: tuple[str, ...],
    modules: tuple[str, ...],
    plugin_folders: tuple[str, ...],
    as_json: bool,
) -> None:
    """Explain what NAME means: who offers it, who else does, its options, and what its import costs.

    With --env, --pre and --post, the spaces are shown from the env to the agent and back.
    """
    with explained(), results(as_json) as out:
        from runnerkit._cli.agents import import_from_current_directory
        from runnerkit._plugins.explain import explain, import_cost
        from runnerkit._plugins.manager import installed_plugins

        import_from_current_directory()
        own_plugins.register(modules, plugin_folders)
        answers = explain(installed_plugins(), name)
        for answer in answers:
            answer["import"] = _cost(import_cost(answer["module"]))
        links = _links(env, pre, post, env_options) if env is not None else []
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
    yield "import", f"{answer['module']}{costs}"
    if answer["error"]:
        yield "error", answer["error"]
    for problem in answer["problems"]:
        yield "problem", problem


def _links(
    env: str, pre: Sequence[str], post: Sequence[str], env_options: Sequence[str]
) -> list[tuple[str, Space[Any]]]:
    from runnerkit._cli import spelling
    from runnerkit._rollout.gym_runner import GymRunner

    with GymRunner(
        env,
        executor="serial",
        preprocessors=[spelling.part(text, "--pre") for text in pre],
        postprocessors=[spelling.part(text, "--post") for text in post],
        env_options=spelling.env_options(env_options),
    ) as runner:
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
    """Write down what each name means now, and which versions are installed.

    `runnerkit rollout --lock FILE` and `runnerkit.make(..., lock=FILE)` refuse a run whose parts or versions differ.
    """
    with explained():
        from pathlib import Path

        from runnerkit._cli.agents import import_from_current_directory
        from runnerkit._plugins.lock import write_lock
        from runnerkit._plugins.manager import installed_plugins

        import_from_current_directory()
        own_plugins.register(modules, plugin_folders)
        write_lock(installed_plugins(), Path(output))
        click.echo(f"Wrote {output}.")
