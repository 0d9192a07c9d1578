"""A policy in torch: what it takes and returns is checked. Also executed."""

from __future__ import annotations

from typing import assert_type, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributions.categorical import Categorical

import runnerkit
from runnerkit import EnvKey

Obs = NDArray[np.float32]
Act = NDArray[np.int64]

CARTPOLE: EnvKey[Obs, Act] = EnvKey("CartPole-v1")


class Policy:
    """Samples from a softmax over two actions."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))

    def distribution(self, observations: Obs) -> Categorical:
        logits = cast(torch.Tensor, self.net(torch.from_numpy(observations)))
        return Categorical(logits=logits)

    def act(self, observations: Obs) -> torch.Tensor:
        with torch.no_grad():
            actions = self.distribution(observations).sample()
        assert_type(actions, torch.Tensor)
        return actions


def a_torch_policy_acts_and_its_history_is_of_tensors() -> None:
    with runnerkit.make(CARTPOLE, n_envs=4, seed=0, history="torch") as runner:
        batch = runnerkit.stack(runner.rollout(Policy(), steps=16))
    assert_type(batch.rewards, torch.Tensor)
    assert_type(batch.observations, torch.Tensor)
    assert batch.observations.shape == (16, 4, 4)


if __name__ == "__main__":
    a_torch_policy_acts_and_its_history_is_of_tensors()
