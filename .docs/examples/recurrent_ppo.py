"""Recurrent PPO on CartPole without velocities, in which the agent must remember where the pole was::

    python recurrent_ppo.py --steps 150000 --seed 0

A preprocessor hides the velocities. The agent has a memory per env, which it clears in `begin_episodes`. It returns the
memory that it acted with beside each action, so that training can begin anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray

import runnerkit
from runnerkit.errors import SpaceError
from runnerkit.history.torch import TorchHistory

Observations = NDArray[np.float32]

N_ENVS, STEPS_PER_ROLLOUT, STEPS_PER_SEQUENCE, EPOCHS, SIZE = 8, 128, 32, 10, 64
GAMMA, LAMBDA, LEARNING_RATE, CLIP, MOST_GRADIENT = 0.99, 0.95, 1e-3, 0.2, 0.5


class Positions:
    """Hides the velocities: of the four numbers of CartPole, the cart's position and the pole's angle remain."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the space of the observations without velocities."""
        if not isinstance(space, spaces.Box) or space.shape != (4,):
            raise SpaceError(f"Positions needs the observations of CartPole, not {space}.")
        return spaces.Box(space.low[::2], space.high[::2], dtype=np.float32)

    def __call__(self, observations: Observations, /) -> Observations:
        """Return a batch without velocities."""
        return observations[:, ::2].copy()


class RecurrentActorCritic(torch.nn.Module):
    """A policy and a critic that see the memory of a recurrent cell."""

    def __init__(self, n_envs: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder, self.cell = torch.nn.Linear(2, SIZE), torch.nn.GRUCell(SIZE, SIZE)
        self.policy, self.critic = torch.nn.Linear(SIZE, 2), torch.nn.Linear(SIZE, 1)
        self.memory = torch.zeros(n_envs, SIZE)
        self.generator = torch.Generator().manual_seed(seed)

    def begin_episodes(self, env_indices: Sequence[int]) -> None:
        """Forget the last episodes of these envs."""
        self.memory[list(env_indices)] = 0

    def remember(self, observations: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Return the memory `[n, SIZE]` after one more observation."""
        after: torch.Tensor = self.cell(self.encoder(observations).tanh(), memory)
        return after

    def judge(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logarithms of the actions' probabilities `[..., 2]`, and values `[...]`."""
        logits: torch.Tensor = self.policy(memory)
        values: torch.Tensor = self.critic(memory)
        return logits.log_softmax(dim=-1), values[..., 0]

    def act(self, observations: Observations) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Sample an action for each env."""
        with torch.no_grad():
            before, self.memory = self.memory, self.remember(torch.from_numpy(observations), self.memory)
            log_probabilities, values = self.judge(self.memory)
            actions = torch.multinomial(log_probabilities.exp(), 1, generator=self.generator)
            chosen = log_probabilities.gather(1, actions)[:, 0]
        return actions[:, 0], {"log_prob": chosen, "value": values, "memory": before}


def sequences(column: torch.Tensor) -> torch.Tensor:
    """Cut columns `[steps, envs, ...]` into short sequences `[steps, sequences, ...]`."""
    return column.reshape(-1, STEPS_PER_SEQUENCE, *column.shape[1:]).transpose(0, 1).flatten(1, 2)


def update(agent: RecurrentActorCritic, optimizer: torch.optim.Optimizer, batch: TorchHistory, clip: float) -> None:
    """Improve the agent with one rollout, whose columns are `[steps, envs]`."""
    memory, breaks = batch.extras["memory"], batch.bootstrap

    def value(finals: torch.Tensor) -> torch.Tensor:
        """Return the values of the observations after the rows of `breaks`, with the memory of these rows."""
        after = agent.remember(batch.observations[breaks], memory[breaks])
        return agent.judge(agent.remember(finals, after))[1]

    with torch.no_grad():
        targets = runnerkit.gae(batch, GAMMA, LAMBDA, value=value, values="value")
    observations, goes_on, actions = sequences(batch.observations), ~sequences(batch.starts), sequences(batch.actions)
    before, first = sequences(batch.extras["log_prob"]), sequences(memory)[0]
    advantages, returns = sequences(targets.advantages.float()), sequences(targets.returns.float())
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(first.shape[0], generator=agent.generator).chunk(2):
            state, after = first[chosen], []
            for t in range(STEPS_PER_SEQUENCE):
                state = agent.remember(observations[t, chosen], state * goes_on[t, chosen, None])
                after.append(state)
            log_probabilities, values = agent.judge(torch.stack(after))
            now = log_probabilities.gather(2, actions[:, chosen, None])[..., 0]
            ratio, advantage = (now - before[:, chosen]).exp(), advantages[:, chosen]
            gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()
            optimizer.zero_grad()
            torch.autograd.backward(0.5 * (values - returns[:, chosen]).square().mean() - gain)
            torch.nn.utils.clip_grad_norm_(agent.parameters(), MOST_GRADIENT)
            optimizer.step()


@click.command(help="Train recurrent PPO. Prints the learning curve: the mean return of the last 100 episodes.")
@click.option("--steps", default=150_000, show_default=True, help="steps of all envs together")
@click.option("--seed", default=0, show_default=True)
@click.option("--every", default=10_000, show_default=True, help="steps between two lines of the curve")
def main(steps: int, seed: int, every: int) -> None:
    """Train, and evaluate the agent at the end."""
    agent = RecurrentActorCritic(N_ENVS, seed)
    optimizer = torch.optim.Adam(agent.parameters(), LEARNING_RATE)
    last, made = deque[float](maxlen=100), 0
    with runnerkit.make(
        "CartPole-v1",
        n_envs=N_ENVS,
        seed=seed,
        history="torch",
        preprocessors=[Positions()],
        reward_processors=[runnerkit.use("scale", factor=0.05)],  # as the critic shares the memory with the policy
    ) as runner:
        for batch in runner.stream(agent, steps=STEPS_PER_ROLLOUT):
            left = max(0.0, 1 - made / steps)
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * left
            update(agent, optimizer, batch, CLIP * left)
            last.extend(record.total_return for record in batch.episodes if record.complete)
            made += batch.rewards.numel()
            if made % every < batch.rewards.numel():
                click.echo(f"{made:>7} steps: mean return {np.mean(last):.1f}")
            if made >= steps:
                break
    found = runnerkit.evaluate(agent, "CartPole-v1", 20, seed=1, n_envs=N_ENVS, preprocessors=[Positions()])
    click.echo(f"the trained agent: mean return {found.mean:.1f}, lowest {found.returns.min():.0f}")


if __name__ == "__main__":
    main()
