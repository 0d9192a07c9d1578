"""Agents of third parties with one fault each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit import EnvKey, GymRunner, Transition
from runnerkit.history.arrays import ArrayHistory

Obs = NDArray[np.float32]
Act = NDArray[np.int64]

CARTPOLE: EnvKey[Obs, Act] = EnvKey("CartPole-v1")
BLACKJACK: EnvKey[tuple[Act, Act, Act], Act] = EnvKey("Blackjack-v1")


class Left:
    def act(self, observations: Obs) -> Act:
        return np.zeros(len(observations), np.int64)


class Forces:
    def act(self, observations: Obs) -> NDArray[np.float32]:
        return np.zeros(len(observations), np.float32)


class Doubles:
    def act(self, observations: Obs) -> NDArray[np.float64]:
        return np.zeros(len(observations))


class Flags:
    def act(self, observations: Obs) -> NDArray[np.bool_]:
        return np.zeros(len(observations), np.bool_)


class Nothing:
    def act(self, observations: Obs) -> None:
        """Forget to return the actions."""


class Word:
    def act(self, observations: Obs) -> str:
        return "left"


class Pixels:
    def act(self, observations: NDArray[np.uint8]) -> Act:
        return np.zeros(len(observations), np.int64)


class Indices:
    def act(self, observations: NDArray[np.int64]) -> Act:
        return np.zeros(len(observations), np.int64)


class Parts:
    def act(self, observations: dict[str, Obs]) -> Act:
        return np.zeros(len(observations), np.int64)


class NoAgent:
    def choose(self, observations: Obs) -> Act:
        return np.zeros(len(observations), np.int64)


class Misspelt:
    def acts(self, observations: Obs) -> Act:
        return np.zeros(len(observations), np.int64)


class Recurrent:
    def act(self, observations: Obs, state: Obs) -> Act:
        return np.zeros(len(observations), np.int64)


class Blind:
    def act(self) -> Act:
        return np.zeros(1, np.int64)


class ByKeyword:
    def act(self, *, observations: Obs) -> Act:
        return np.zeros(len(observations), np.int64)


class Async:
    async def act(self, observations: Obs) -> Act:
        return np.zeros(len(observations), np.int64)


class Forgetful(Left):
    def begin_episodes(self) -> None:
        """Ask for nothing."""


class Attentive(Left):
    def set_active_envs(self, env_indices: Sequence[int], now: int) -> None:
        """Ask for too much."""


def actions_that_are_forces() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Forces(), steps=1)  # FAULT


def actions_that_are_doubles() -> None:
    with GymRunner(CARTPOLE, 0, 2) as runner:
        runner.rollout(Doubles(), steps=1)  # FAULT


def actions_that_are_flags() -> None:
    with runnerkit.make(CARTPOLE, history="torch") as runner:
        runner.rollout(Flags(), steps=1)  # FAULT


def no_actions() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Nothing(), steps=1)  # FAULT


def a_word_for_an_action() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Word(), steps=1)  # FAULT


def an_agent_for_pixels() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Pixels(), steps=1)  # FAULT


def an_agent_for_indices() -> None:
    with runnerkit.make(CARTPOLE, history="transitions") as runner:
        runner.rollout(Indices(), steps=1)  # FAULT


def an_agent_for_dicts() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Parts(), steps=1)  # FAULT


def an_agent_for_arrays_where_there_are_tuples() -> None:
    with runnerkit.make(BLACKJACK) as runner:
        runner.rollout(Indices(), steps=1)  # FAULT


def no_agent() -> None:
    with runnerkit.make("CartPole-v1") as runner:
        runner.rollout(NoAgent(), steps=1)  # FAULT


def a_misspelt_act() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Misspelt(), steps=1)  # FAULT


def an_agent_class() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Left, steps=1)  # FAULT


def act_with_a_state() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Recurrent(), steps=1)  # FAULT


def act_without_observations() -> None:
    with runnerkit.make("CartPole-v1") as runner:
        runner.rollout(Blind(), steps=1)  # FAULT


def act_by_keyword() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(ByKeyword(), steps=1)  # FAULT


def an_async_agent() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Async(), steps=1)  # FAULT


def an_agent_that_begins_without_envs() -> None:
    with runnerkit.make(CARTPOLE) as runner:
        runner.rollout(Forgetful(), steps=1)  # FAULT


class ReturnsOnly(GymRunner[Obs, Act, float]):
    """A runner of one's own."""

    @override
    def process_transition(self, history: float | None, transition: Transition[Obs, np.int64]) -> float:
        return (history or 0.0) + transition.reward


def an_agent_of_the_wrong_type_for_a_runner_of_ones_own() -> None:
    with ReturnsOnly("CartPole-v1") as runner:
        runner.rollout(Pixels(), steps=1)  # FAULT


def an_agent_for_a_runner_that_was_handed_over() -> None:
    def evaluate(runner: GymRunner[Obs, Act, ArrayHistory[Obs, Act]]) -> None:
        runner.rollout(Forces(), steps=1)  # FAULT

    with runnerkit.make(CARTPOLE) as runner:
        evaluate(runner)
