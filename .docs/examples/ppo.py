"""PPO (Schulman et al., 2017, arXiv:1707.06347) on CartPole::

    python ppo.py --steps 150000 --seed 0

Each update learns from a short rollout of eight envs. The agent returns log-probabilities and values beside its
actions, and the histories have them. Episodes that a rollout cuts go on in the next one; `runnerkit.gae` knows where.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import click
import numpy as np
import torch
from numpy.typing import NDArray

import runnerkit
from runnerkit import EnvKey
from runnerkit.agents import ActiveRows
from runnerkit.history import EndedEpisode
from runnerkit.history.torch import TorchHistory
from runnerkit.typing import EpisodeCallback

Observations = NDArray[np.float32]
Actions = NDArray[np.int64]

CARTPOLE: EnvKey[Observations, Actions] = EnvKey("CartPole-v1")

N_ENVS, STEPS_PER_ROLLOUT, EPOCHS, MINIBATCHES = 8, 32, 20, 1
GAMMA, LAMBDA, LEARNING_RATE, CLIP, MOST_GRADIENT = 0.98, 0.8, 1e-3, 0.2, 0.5


def network(outputs: int) -> torch.nn.Module:
    """Return a small network from the four numbers of CartPole to as many outputs."""
    return torch.nn.Sequential(
        *(torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh()),
        torch.nn.Linear(64, outputs),
    )


class ActorCritic:
    """A policy that samples actions, and a critic that tells the value of observations."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.policy, self.critic = network(2), network(1)
        self.parameters = [*self.policy.parameters(), *self.critic.parameters()]
        self.generator = torch.Generator().manual_seed(seed)

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of each action's probability, `[n, 2]`."""
        logits: torch.Tensor = self.policy(observations)
        return logits.log_softmax(dim=1)

    def values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the value of each observation, `[n]`."""
        values: torch.Tensor = self.critic(observations)
        return values[:, 0]

    def set_rows(self, rows: ActiveRows) -> None:
        """Take the source of random numbers. They belong to env, episode and step: every executor gives the same."""
        self.rows = rows

    def act(self, observations: Observations) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Sample an action for each env, and tell what the update needs to know."""
        with torch.no_grad():
            batch = torch.from_numpy(observations)
            log_probabilities, values = self.log_probabilities(batch), self.values(batch)
        actions = torch.from_numpy(self.rows.choice(log_probabilities.exp().numpy()))
        return actions, {"log_prob": log_probabilities.gather(1, actions[:, None])[:, 0], "value": values}

    def best(self, observations: Observations) -> torch.Tensor:
        """Choose the most likely action for each env."""
        with torch.no_grad():
            return self.log_probabilities(torch.from_numpy(observations)).argmax(dim=1)


def update(agent: ActorCritic, optimizer: torch.optim.Optimizer, batch: TorchHistory, clip: float) -> None:
    """Improve the agent with one rollout, whose columns are `[steps, envs]`."""
    targets = runnerkit.gae(batch, GAMMA, LAMBDA, value=agent.values, values="value")
    observations, actions = batch.observations.reshape(-1, 4), batch.actions.reshape(-1, 1)
    before = batch.extras["log_prob"].reshape(-1)
    advantages, returns = targets.advantages.reshape(-1).float(), targets.returns.reshape(-1).float()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(actions), generator=agent.generator).chunk(MINIBATCHES):
            now = agent.log_probabilities(observations[rows]).gather(1, actions[rows])[:, 0]
            ratio = (now - before[rows]).exp()
            advantage = (advantages[rows] - advantages[rows].mean()) / (advantages[rows].std() + 1e-8)
            gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()
            error = (agent.values(observations[rows]) - returns[rows]).square().mean()
            optimizer.zero_grad()
            torch.autograd.backward(0.5 * error - gain)
            torch.nn.utils.clip_grad_norm_(agent.parameters, MOST_GRADIENT)
            optimizer.step()


def train(agent: ActorCritic, steps: int, seed: int, on_episode: EpisodeCallback[Observations, Actions]) -> None:
    """Train the agent for so many steps of all envs together."""
    optimizer = torch.optim.Adam(agent.parameters, LEARNING_RATE)
    updates = max(1, steps // (N_ENVS * STEPS_PER_ROLLOUT))
    with runnerkit.make(CARTPOLE, n_envs=N_ENVS, seed=seed, history="torch") as runner:
        for k in range(updates):
            left = 1 - k / updates
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * left
            batch = runnerkit.stack(runner.rollout(agent, steps=STEPS_PER_ROLLOUT, on_episode=on_episode))
            update(agent, optimizer, batch, CLIP * left)


@click.command(help="Train PPO on CartPole. Prints the learning curve: the mean return of the last 100 episodes.")
@click.option("--steps", default=150_000, show_default=True, help="steps of all envs together")
@click.option("--seed", default=0, show_default=True)
@click.option("--every", default=10_000, show_default=True, help="steps between two lines of the curve")
def main(steps: int, seed: int, every: int) -> None:
    """Train, and evaluate the most likely actions at the end."""
    agent = ActorCritic(seed)
    last: deque[float] = deque(maxlen=100)
    printed = 0

    def on_episode(ended: EndedEpisode[Observations, Actions]) -> None:
        nonlocal printed
        last.append(ended.record.total_return)
        if ended.steps >= printed + every:
            printed = ended.steps
            click.echo(f"{ended.steps:>7} steps: mean return {sum(last) / len(last):.1f}")

    train(agent, steps, seed, on_episode)
    found = runnerkit.evaluate(agent.best, CARTPOLE, episodes=20, seed=1)
    click.echo(f"the trained agent: mean return {found.mean:.1f}, 95 % interval {found.interval(0.95)}")


if __name__ == "__main__":
    main()
