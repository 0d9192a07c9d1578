"""What type checkers must refuse. Never executed; an ignore that is not needed is an error."""

from __future__ import annotations

import gymnasium
import numpy as np
from numpy.typing import NDArray

import runnerkit
from runnerkit import BaseRunner, Contribution, EnvKey, GymRunner, HistoryKey, Transition
from runnerkit.history.arrays import ArrayHistory
from runnerkit.typing import ActionPreprocessor, Agent, HistoryFormat

Obs = NDArray[np.float32]
Act = NDArray[np.int64]

CARTPOLE: EnvKey[Obs, Act] = EnvKey("CartPole-v1")
PENDULUM: EnvKey[Obs, Obs] = EnvKey("Pendulum-v1")
BLACKJACK: EnvKey[tuple[Act, Act, Act], Act] = EnvKey("Blackjack-v1")
NUMBERS: HistoryKey[int] = HistoryKey("numbers")


class WrongAction:
    def act(self, observations: Obs) -> NDArray[np.float32]:
        return np.zeros(len(observations), np.float32)


class WrongObservation:
    def act(self, observations: NDArray[np.uint8]) -> Act:
        return np.zeros(len(observations), np.int64)


class NoAct:
    def action(self, observations: Obs) -> Act:
        return np.zeros(len(observations), np.int64)


class Incomplete(BaseRunner[Obs, Act, float]):
    def close(self) -> None:  # type: ignore[explicit-override]
        pass


class NoBind:
    def __call__(self, observations: Obs) -> Obs:
        return observations


class NoOpen:
    name = "none"


class Returns(GymRunner[Obs, Act, float]):
    def process_transition(  # type: ignore[explicit-override]
        self, history: float | None, transition: Transition[Obs, np.int64]
    ) -> float:
        return (history or 0.0) + transition.reward


class Plain(GymRunner[Obs, Act]):
    pass


class TakesArraysOnly(GymRunner[Obs, Act]):
    def compute_action(  # type: ignore[override, explicit-override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, agent: Agent[Obs, Act], obs_list: Obs
    ) -> Act:
        return agent.act(obs_list)


def runners_of_ones_own_with_the_key_of_another_env() -> None:
    Returns(PENDULUM)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    Plain(PENDULUM)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    Plain(BLACKJACK, 0, 2)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    GymRunner[Obs, Obs](CARTPOLE)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]


def other_types_than_those_declared() -> None:
    built: GymRunner[Obs, Obs] = GymRunner(CARTPOLE)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    made: GymRunner[Obs, Obs] = runnerkit.make(CARTPOLE)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    numbers: GymRunner[Obs, Act] = runnerkit.make(CARTPOLE, history=NUMBERS)  # type: ignore[arg-type]  # pyright: ignore
    print(built, made, numbers)


def agents_of_the_wrong_batch_type() -> None:
    runner = runnerkit.make(CARTPOLE)
    runner.rollout(WrongAction())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    runner.rollout(WrongObservation())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    runner.rollout(NoAct())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    runner.rollout(WrongAction().act)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    runner.rollout(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def agents_of_the_wrong_batch_type_that_are_evaluated() -> None:
    runnerkit.evaluate(WrongAction(), CARTPOLE)  # type: ignore[arg-type]  # pyright: ignore
    runnerkit.evaluate(WrongObservation(), CARTPOLE)  # type: ignore[arg-type]  # pyright: ignore
    runnerkit.evaluate(NoAct(), CARTPOLE)  # type: ignore[call-overload]  # pyright: ignore


def make_named(seed: int | None, name: str) -> gymnasium.Env[Obs, np.int64]:
    raise NotImplementedError


def factories_of_the_wrong_shape() -> None:
    runnerkit.make(make_named)  # type: ignore[arg-type]  # pyright: ignore


def histories_of_the_wrong_type() -> list[ArrayHistory[Act, Act]]:
    runner = runnerkit.make(CARTPOLE)
    return runner.rollout(runnerkit.RandomAgent(runner.action_space))  # type: ignore[return-value]  # pyright: ignore


def names_and_options_that_are_not_there() -> None:
    runnerkit.make(CARTPOLE, n_env=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    runnerkit.mak(CARTPOLE)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    GymRunner("CartPole-v1", n_envs="2")  # type: ignore[call-overload]  # pyright: ignore


def things_of_the_wrong_shape() -> None:
    Incomplete()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
    preprocessor: ActionPreprocessor = NoBind()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    offer: Contribution[HistoryFormat[object]] = Contribution("none", NoOpen)  # type: ignore[arg-type]  # pyright: ignore
    bare: BaseRunner | None = None  # type: ignore[type-arg]
    print(preprocessor, offer, bare)
