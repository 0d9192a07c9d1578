"""The types of runnerkit-ray: a runner of a key, what it collects, and what a learner asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from runnerkit_ray import Collected, RayRunner

import runnerkit
from runnerkit import EnvKey, HistoryKey
from runnerkit.history import ArrayHistory
from runnerkit.typing import SupportsRollout

Obs = NDArray[np.float32]
Act = NDArray[np.int64]

CARTPOLE: EnvKey[Obs, Act] = EnvKey("CartPole-v1")
MINE: HistoryKey[int] = HistoryKey("mine")


def zeros(observations: Obs) -> Act:
    return np.zeros(len(observations), np.int64)


class Zeros:
    def act(self, observations: Obs) -> Act:
        return zeros(observations)


def learn(runner: SupportsRollout[Obs, Act, ArrayHistory[Obs, Act]]) -> None:
    assert_type(runner.rollout(Zeros(), episodes=20), Sequence[ArrayHistory[Obs, Act]])
    runner.close()


def uses() -> None:  # which is not called, as it needs a cluster
    runner = RayRunner(CARTPOLE, 0, actors=2, in_flight=3)
    assert_type(runner, RayRunner[Obs, Act, ArrayHistory[Obs, Act]])
    for collected in runner.collect(3, zeros):
        assert_type(collected, Collected[ArrayHistory[Obs, Act]])
    learn(runner)
    learn(runnerkit.make(CARTPOLE))
    assert_type(RayRunner(CARTPOLE, actors=2, history=MINE), RayRunner[Obs, Act, int])
    RayRunner("CartPole-v1", n_envs=4, actors=2, history=("npz", {"path": "runs"}))
