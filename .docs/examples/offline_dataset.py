"""Offline learning: record a Minari data set, then learn from it alone by behaviour cloning (Pomerleau, 1989)::

    python offline_dataset.py --steps 20000 --seed 0 --folder datasets

A hand-written policy that often acts at random records whole episodes. The best of them are shown to a network, which
learns to choose what was chosen, and is then evaluated in the env.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import click
import numpy as np
import torch
from numpy.typing import NDArray
from runnerkit_minari import Dataset, MinariFormat
from torch.nn import functional

import runnerkit
from runnerkit import EnvKey

Observations = NDArray[np.float32]
Actions = NDArray[np.int64]

CARTPOLE: EnvKey[Observations, Actions] = EnvKey("CartPole-v1")

N_ENVS, STEPS_PER_ROLLOUT, BEST, ROWS_PER_UPDATE, LEARNING_RATE = 8, 500, 0.3, 256, 1e-2


class Clumsy:
    """Pushes the cart to where the pole is falling, and in one of three steps anywhere."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def act(self, observations: Observations) -> Actions:
        """Return an action for each env."""
        good = (observations[:, 2] + 0.5 * observations[:, 3] > 0).astype(np.int64)
        slips = self.random.random(len(good)) < 1 / 3
        return np.where(slips, self.random.integers(0, 2, len(good)), good)


class Clone:
    """A network that learns which action was chosen after which observation."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))

    def act(self, observations: Observations) -> torch.Tensor:
        """Return the most likely action for each env."""
        with torch.no_grad():
            logits: torch.Tensor = self.network(torch.from_numpy(observations))
        return logits.argmax(dim=1)


def record(name: str, steps: int, seed: int) -> Dataset:
    """Record at least so many steps of all envs together, in whole rollouts, and return the data set."""
    data = MinariFormat(name, description="CartPole by a clumsy policy", algorithm_name="Clumsy")
    agent = Clumsy(seed)
    with runnerkit.make(CARTPOLE, n_envs=N_ENVS, seed=seed, history=data) as runner:
        history, *_ = runner.rollout(agent, steps=STEPS_PER_ROLLOUT)
        for _ in range(STEPS_PER_ROLLOUT, steps // N_ENVS, STEPS_PER_ROLLOUT):
            history, *_ = runner.rollout(agent, steps=STEPS_PER_ROLLOUT)
    return history.load()  # after the runner has closed, the episodes that were under way are in it, too


def best_episodes(dataset: Dataset, fraction: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the observations `[n, 4]` and actions `[n]` of the episodes with the highest returns."""
    ranked = sorted(dataset.iterate_episodes(), key=lambda episode: -episode.rewards.sum())
    chosen = ranked[: max(1, round(fraction * len(ranked)))]
    observations = np.concatenate([episode.observations[:-1] for episode in chosen])  # the final one has no action
    return torch.from_numpy(observations), torch.from_numpy(np.concatenate([episode.actions for episode in chosen]))


def learn(clone: Clone, observations: torch.Tensor, actions: torch.Tensor, epochs: int) -> Iterator[float]:
    """Train the clone, and tell the mean loss of each epoch."""
    optimizer = torch.optim.Adam(clone.network.parameters(), LEARNING_RATE)
    for _ in range(epochs):
        losses = []
        for rows in torch.randperm(len(actions)).chunk(max(1, len(actions) // ROWS_PER_UPDATE)):
            logits: torch.Tensor = clone.network(observations[rows])
            loss = functional.cross_entropy(logits, actions[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        yield float(np.mean(losses))


@click.command(help="Record a Minari data set of CartPole, and learn from it.")
@click.option("--steps", default=20_000, show_default=True, help="steps of all envs together")
@click.option("--seed", default=0, show_default=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--folder", default="datasets", show_default=True, help="where Minari keeps data sets")
def main(steps: int, seed: int, epochs: int, folder: str) -> None:
    """Record, learn, and compare both agents on common episodes."""
    os.environ["MINARI_DATASETS_PATH"] = os.path.abspath(folder)
    dataset = record(f"cartpole/clumsy{seed}-v0", steps, seed)
    click.echo(f"recorded {dataset.total_steps} steps in {dataset.total_episodes} episodes")
    clone = Clone(seed)
    for epoch, loss in enumerate(learn(clone, *best_episodes(dataset, BEST), epochs)):
        click.echo(f"epoch {epoch + 1}: loss {loss:.3f}")
    found = runnerkit.compare({"clumsy": Clumsy(seed), "clone": clone}, CARTPOLE, episodes=20, seed=1)
    for name, evaluation in found.evaluations.items():
        click.echo(f"{name}: mean return {evaluation.mean:.1f}")


if __name__ == "__main__":
    main()
