"""DQN (Mnih et al., 2015) with double Q-learning (van Hasselt et al., 2016), on CartPole::

    python dqn.py --steps 50000 --seed 0

`runner.stream` collects a few steps of each env at a time. They go into a replay buffer, from which the network learns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

import runnerkit
from runnerkit import EnvKey
from runnerkit.history import ArrayHistory

Observations = NDArray[np.float32]
Actions = NDArray[np.int64]

CARTPOLE: EnvKey[Observations, Actions] = EnvKey("CartPole-v1")

N_ENVS, STEPS_PER_BATCH, UPDATES_PER_BATCH, SAMPLES_PER_UPDATE = 8, 32, 128, 64
GAMMA, LEARNING_RATE, CAPACITY, FIRST_UPDATE = 0.99, 1e-3, 100_000, 1_000


class QAgent:
    """Chooses the action of the highest value, or a random one with probability epsilon."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = torch.nn.Sequential(
            *(torch.nn.Linear(4, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU()),
            torch.nn.Linear(256, 2),
        )
        self.epsilon = 0.0
        self.random = np.random.default_rng(seed)

    def act(self, observations: Observations) -> Actions:
        """Return an action for each env."""
        with torch.no_grad():
            values: torch.Tensor = self.network(torch.from_numpy(observations))
        best: Actions = values.argmax(dim=1).numpy()
        explores = self.random.random(len(best)) < self.epsilon
        return np.where(explores, self.random.integers(0, 2, len(best)), best)


class Sample(NamedTuple):
    """Transitions that were drawn from the buffer, `[n, ...]`."""

    observations: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    next_observations: torch.Tensor
    terminated: torch.Tensor


class ReplayBuffer:
    """The last transitions, in arrays that are written in a circle."""

    def __init__(self, capacity: int, seed: int) -> None:
        self.observations = np.zeros((capacity, 4), np.float32)
        self.actions = np.zeros(capacity, np.int64)
        self.rewards = np.zeros(capacity, np.float32)
        self.next_observations = np.zeros((capacity, 4), np.float32)
        self.terminated = np.zeros(capacity, np.bool_)
        self.added = 0
        self.random = np.random.default_rng(seed)

    def add(self, batch: ArrayHistory[Observations, Actions]) -> None:
        """Copy all transitions of a batch of the stream."""
        new = runnerkit.transitions(batch)
        rows = np.arange(self.added, self.added + len(new)) % len(self.rewards)
        self.observations[rows] = new.observations
        self.actions[rows] = new.actions
        self.rewards[rows] = new.rewards
        self.next_observations[rows] = new.next_observations
        self.terminated[rows] = new.terminated
        self.added += len(rows)

    def sample(self, n: int) -> Sample:
        """Draw n transitions."""
        rows = self.random.integers(0, min(self.added, len(self.rewards)), n)
        columns = (self.observations, self.actions, self.rewards, self.next_observations, self.terminated)
        return Sample(*(torch.from_numpy(column[rows]) for column in columns))


def loss_of(sample: Sample, network: torch.nn.Module, target: torch.nn.Module) -> torch.Tensor:
    """Return the error of the values. A truncated episode is not `terminated`: its final observation has a value."""
    values: torch.Tensor = network(sample.observations)
    chosen = values.gather(1, sample.actions[:, None])[:, 0]
    with torch.no_grad():
        best: torch.Tensor = network(sample.next_observations)
        following: torch.Tensor = target(sample.next_observations)
        following = following.gather(1, best.argmax(dim=1, keepdim=True))[:, 0]
        expected = sample.rewards + GAMMA * following * ~sample.terminated
    return functional.smooth_l1_loss(chosen, expected)


def train(agent: QAgent, steps: int, seed: int) -> Iterator[int]:
    """Train the agent for so many steps of all envs together, and tell after each batch how many were made."""
    target = QAgent(seed).network
    optimizer = torch.optim.Adam(agent.network.parameters(), LEARNING_RATE)
    buffer = ReplayBuffer(CAPACITY, seed)
    with runnerkit.make(CARTPOLE, n_envs=N_ENVS, seed=seed) as runner:
        for batch in runner.stream(agent, steps=STEPS_PER_BATCH):
            buffer.add(batch)
            progress = buffer.added / steps
            agent.epsilon = max(0.04, 1 - progress / 0.16)
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * max(0.0, 1 - progress)
            if buffer.added >= FIRST_UPDATE:
                target.load_state_dict(agent.network.state_dict())
                for _ in range(UPDATES_PER_BATCH):
                    optimizer.zero_grad()
                    torch.autograd.backward(loss_of(buffer.sample(SAMPLES_PER_UPDATE), agent.network, target))
                    optimizer.step()
            yield buffer.added
            if buffer.added >= steps:
                break


def mean_return(agent: QAgent, episodes: int = 20) -> float:
    """Play without exploration, on the same episodes each time."""
    epsilon, agent.epsilon = agent.epsilon, 0.0
    found = runnerkit.evaluate(agent, CARTPOLE, episodes=episodes, seed=1)
    agent.epsilon = epsilon
    return found.mean


@click.command(help="Train DQN on CartPole, and print the learning curve.")
@click.option("--steps", default=50_000, show_default=True, help="steps of all envs together")
@click.option("--seed", default=0, show_default=True)
@click.option("--every", default=5_000, show_default=True, help="steps between two evaluations")
def main(steps: int, seed: int, every: int) -> None:
    """Train, and evaluate from time to time."""
    agent, due = QAgent(seed), every
    for made in train(agent, steps, seed):
        if made >= due or made >= steps:
            click.echo(f"{made:>7} steps: mean return {mean_return(agent):.1f}")
            due += every


if __name__ == "__main__":
    main()
