"""`runnerkit evaluate`: agents on common episodes, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runnerkit._cli.frame import explained, print_json, results
from runnerkit._cli.numbers import AT_LEAST_1, SEED
from runnerkit._cli.options import AGENT, Parts, executor_option, takes_parts

if TYPE_CHECKING:
    from runnerkit.evaluation import Comparison

__all__ = ["evaluate"]


@click.command(
    epilog="""\b
Examples:
  runnerkit evaluate CartPole-v1 --agent my_agents:Old --agent my_agents:New
  runnerkit evaluate CartPole-v1 --agent sb3:model.zip --json
"""
)
@click.argument("env")
@click.option(
    "--agent",
    "agents",
    metavar=AGENT,
    multiple=True,
    default=("random",),
    show_default=True,
    help="Who acts, as for `runnerkit rollout`. Repeat it to compare agents on the same episodes; the first one is the "
    "baseline.",
)
@click.option("--episodes", metavar="K", type=AT_LEAST_1, default=20, show_default=True, help="How many.")
@click.option(
    "--seed",
    metavar="S",
    type=SEED,
    default=0,
    show_default=True,
    help="Of the evaluation: episode k begins with its k-th seed.",
)
@click.option(
    "--n-envs",
    metavar="N",
    type=AT_LEAST_1,
    help="How many envs are stepped side by side; the episodes are the same.  [default: four per core]",
)
@executor_option
@takes_parts
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with each agent's returns and seeds.")
def evaluate(
    env: str,
    agents: tuple[str, ...],
    episodes: int,
    seed: int,
    n_envs: int | None,
    executor: str,
    parts: Parts,
    as_json: bool,
) -> None:
    """Play whole episodes in ENV with agents, and show their returns.

    All agents play the same episodes. The table shows the mean return with its 95 % bootstrap interval, and for each
    agent but the first the mean difference to the first, episode by episode.
    """
    if len(set(agents)) < len(agents):
        raise click.UsageError("Each --agent may be given once.", click.get_current_context())
    with explained(), results(as_json) as out:
        from runnerkit import evaluation
        from runnerkit._cli import spelling
        from runnerkit._cli.agents import agent_maker
        from runnerkit._cli.terminal import print_records

        parts.register()
        makers = {name: agent_maker(name) for name in agents}  # before the first one plays
        found = {
            name: evaluation.evaluate(
                None,
                env,
                episodes,
                seed,
                make_agent=make_agent,
                n_envs=n_envs,
                executor=spelling.part(executor, "--executor"),
                **parts.keywords(),
            )
            for name, make_agent in makers.items()
        }
        comparison = evaluation.Comparison(found)
        if as_json:
            print_json({"env": env, "seed": seed, "episodes": episodes, **comparison.to_json()}, out)
        else:
            columns = ["agent", "mean return", "std", "mean length", "against the first"]
            print_records(_rows(comparison), columns if len(agents) > 1 else columns[:-1], out)


def _rows(comparison: Comparison) -> list[dict[str, str]]:
    differences = {difference.agent: difference for difference in comparison.differences}
    rows = []
    for name, found in comparison.evaluations.items():
        difference = differences.get(name)
        rows.append(
            {
                "agent": name,
                "mean return": f"{found.mean:.4g} {_interval(found.interval())}",
                "std": f"{found.std:.4g}" if len(found.episodes) > 1 else "-",
                "mean length": f"{found.lengths.mean():.4g}",
                "against the first": ""
                if difference is None
                else f"{difference.mean:+.4g} {_interval(difference.interval())}",
            }
        )
    return rows


def _interval(bounds: tuple[float, float] | None) -> str:
    return "(one episode gives no interval)" if bounds is None else f"[{bounds[0]:.4g}, {bounds[1]:.4g}]"
