"""Agents that return extra columns beside their actions. Also executed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, assert_type

import numpy as np
from numpy.typing import NDArray

import runnerkit
from runnerkit import EnvKey, gae, stack

Obs = NDArray[np.float32]
Act = NDArray[np.int64]

CARTPOLE: EnvKey[Obs, Act] = EnvKey("CartPole-v1")


class Extras(TypedDict):
    log_prob: NDArray[np.float64]
    value: NDArray[np.float64]


class Actor:
    def act(self, observations: Obs) -> tuple[Act, Extras]:
        zeros = np.zeros(len(observations))
        return (observations[:, 2] > 0).astype(np.int64), {"log_prob": zeros, "value": zeros + 0.5}


def critic(observations: Obs) -> NDArray[np.float64]:
    return np.full(len(observations), 0.5)


def balance(observations: Obs) -> tuple[Act, dict[str, Obs]]:
    return (observations[:, 2] > 0).astype(np.int64), {"seen": observations}


with runnerkit.make(CARTPOLE, n_envs=2, seed=0) as runner:
    batch = stack(runner.rollout(Actor(), steps=16))
    assert_type(batch.extras, Mapping[str, NDArray[Any]])
    assert_type(batch.split()[0].extras["value"], NDArray[Any])
    assert gae(batch, value=critic, values="value").values[0, 0] == 0.5
    for window in runner.stream(balance, steps=4):
        assert window.extras["seen"].shape == (4, 2, 4)
        break
