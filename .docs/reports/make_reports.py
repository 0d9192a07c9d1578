"""Makes the reports in this folder anew::

    python .docs/reports/make_reports.py cartpole ppo

They take a few minutes, most of them for PPO.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "examples")]

import ppo  # noqa: E402
from shaky import shaky_cartpole  # noqa: E402

import runnerkit  # noqa: E402
from runnerkit.agents import ActiveRows  # noqa: E402
from runnerkit.history.torch import TorchHistory  # noqa: E402

STEPS = 20_480  # of each PPO run, of all envs together


class Careless:
    """Pushes the cart to where the pole falls, and every fifth time anywhere."""

    def set_rows(self, rows: ActiveRows) -> None:
        """Take the source of random numbers."""
        self.rows = rows

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """Choose an action for each env."""
        right = (observations[:, 2] + 0.3 * observations[:, 3] > 0).astype(np.float64)
        chances = 0.8 * np.stack([1 - right, right], axis=1) + 0.1
        return self.rows.choice(chances)


def cartpole(target: Path) -> None:
    """Roll out 200 episodes of envs that fail, which are made anew, and write them to a folder."""
    with runnerkit.make(
        shaky_cartpole,
        n_envs=8,
        seed=0,
        history=runnerkit.use("npz", path="runs/cartpole"),
        on_env_error="restart",
        max_restarts=50,
        timings=True,
    ) as runner:
        runner.rollout(Careless(), episodes=200)
        title = "200 episodes of CartPole, with faults"
        runnerkit.report("runs/cartpole", target / "cartpole.html", title=title, timings=runner.timings)


def three_ppo_runs(target: Path) -> None:
    """Train PPO with three seeds."""
    torch.set_num_threads(1)
    runs = {f"seed {seed}": _trained(STEPS, seed) for seed in range(3)}
    runnerkit.report(runs, target / "ppo.html", title="Three runs of PPO on CartPole")


def _trained(steps: int, seed: int) -> Sequence[TorchHistory]:
    """Return the histories of a training run: the loop of `ppo.train`."""
    agent, histories = ppo.ActorCritic(seed), list[TorchHistory]()
    optimizer = torch.optim.Adam(agent.parameters, ppo.LEARNING_RATE)
    with runnerkit.make(ppo.CARTPOLE, n_envs=ppo.N_ENVS, seed=seed, history="torch") as runner:
        for _ in range(steps // (ppo.N_ENVS * ppo.STEPS_PER_ROLLOUT)):
            found = runner.rollout(agent, steps=ppo.STEPS_PER_ROLLOUT)
            ppo.update(agent, optimizer, runnerkit.stack(found), ppo.CLIP)
            histories += found
    return histories


REPORTS = {"cartpole": cartpole, "ppo": three_ppo_runs}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(REPORTS)))
@click.option("--to", "target", default=HERE, type=click.Path(path_type=Path, exists=True), help="The folder.")
def main(names: Sequence[str], target: Path) -> None:
    """Make these reports, or all of them."""
    target = target.resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in names or sorted(REPORTS):
            REPORTS[name](target)
            click.echo(f"{name}.html is there")


if __name__ == "__main__":
    main()
