"""Runners of one's own, as the 2018 documentation describes them. Also executed."""

from __future__ import annotations

from typing import TypeVar, assert_type

import gymnasium
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import BaseRunner, EnvKey, GymRunner, Transition
from runnerkit.history.arrays import ArrayHistory
from runnerkit.typing import Agent, Answer, AnyEnv

Obs = NDArray[np.float32]
Act = NDArray[np.int64]
O = TypeVar("O")  # noqa: E741
A = TypeVar("A")

CARTPOLE: EnvKey[Obs, Act] = EnvKey("CartPole-v1")


class Up:
    def act(self, observations: Obs) -> Act:
        return (observations[:, 2] > 0).astype(np.int64)


class Returns(GymRunner[Obs, Act, float]):
    @override
    def process_transition(self, history: float | None, transition: Transition[Obs, np.int64]) -> float:
        return (history or 0.0) + transition.reward


class Counts(GymRunner[O, A, int]):
    @override
    def process_transition(self, history: int | None, transition: Transition[O, A]) -> int:
        return (history or 0) + 1


class Plain(GymRunner[Obs, Act]):
    pass


class Halves(GymRunner[Obs, Act, list[Obs]]):
    @override
    def compute_action(self, agent: Agent[Obs, Answer[Act]], obs_list: Obs) -> Answer[Act]:
        return agent.act(obs_list / np.float32(2))

    @override
    def process_transition(self, history: list[Obs] | None, transition: Transition[Obs, np.int64]) -> list[Obs]:
        return [*(history or []), transition.observation]

    @override
    def empty_history(self) -> list[Obs]:
        return []


class OneEnv(BaseRunner[Obs, Act, list[float]]):
    def __init__(self) -> None:
        self.env = self.make_env()

    @override
    def make_env(self, seed: int | None = None) -> AnyEnv:
        return gymnasium.make("CartPole-v1")

    @override
    def process_transition(self, history: list[float] | None, transition: Transition[Obs, np.int64]) -> list[float]:
        return [*(history or []), transition.reward]

    @override
    def compute_action(self, agent: Agent[Obs, Act], obs_list: Obs) -> Act:
        return agent.act(obs_list)

    @override
    def rollout(
        self, agent: Agent[Obs, Act], steps: int | None = None, render: bool = False, fps: int = 30
    ) -> list[list[float]]:
        observation, _ = self.env.reset(seed=0)
        history: list[float] | None = None
        for _ in range(steps or self.MAX_STEPS):
            batch = np.stack([observation])
            (action,) = self.compute_action(agent, batch)
            next_observation, reward, terminated, truncated, info = self.env.step(action)
            transition = Transition(observation, action, float(reward), next_observation, terminated, truncated, info)
            history = self.process_transition(history, transition)
            observation = next_observation
            if terminated or truncated:
                break
        return [history or []]

    @override
    def close(self) -> None:
        self.env.close()


def own_histories_keep_their_type() -> None:
    with Returns("CartPole-v1", n_envs=2) as runner:
        assert_type(runner.rollout(Up(), steps=5), list[float])
    with Returns(CARTPOLE, preprocessors=["normalize"]) as runner:
        assert_type(runner.rollout(Up(), steps=5), list[float])
    with Counts(CARTPOLE) as counts:
        assert_type(counts, Counts[Obs, Act])
        assert_type(counts.rollout(Up(), steps=5), list[int])
    with Counts[Obs, Act]("CartPole-v1") as named:
        assert_type(named.rollout(Up(), steps=5), list[int])
    with Plain(CARTPOLE) as plain:
        assert_type(plain.rollout(Up(), steps=5), list[ArrayHistory[Obs, Act]])
    with Halves(CARTPOLE, n_envs=2) as halves:
        assert_type(halves.rollout(lambda observations: [0] * len(observations), episodes=1), list[list[Obs]])
    with OneEnv() as one:
        assert_type(one.rollout(Up(), steps=5), list[list[float]])


if __name__ == "__main__":
    own_histories_keep_their_type()
