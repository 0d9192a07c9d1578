"""What `make`, `build` and `GymRunner` return, as type checkers see it. Also executed."""

from __future__ import annotations

import tempfile
from typing import Any, assert_type

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

import runnerkit
from runnerkit import Contribution, EnvKey, GymRunner, HistoryKey, Registry, Transition
from runnerkit.evaluation import Evaluation
from runnerkit.history import TransitionBatch
from runnerkit.history.arrays import ArrayFormat, ArrayHistory
from runnerkit.history.torch import TorchHistory
from runnerkit.typing import Agent, Runner, SupportsRollout

Obs = NDArray[np.float32]
Act = NDArray[np.int64]

CARTPOLE: EnvKey[Obs, Act] = EnvKey("CartPole-v1")
Hand = tuple[Act, Act, Act]
BLACKJACK: EnvKey[Hand, Act] = EnvKey("Blackjack-v1")
PENDULUM: EnvKey[Obs, Obs] = EnvKey("Pendulum-v1")
TORCH: HistoryKey[TorchHistory] = HistoryKey("torch")


class Left:
    def act(self, observations: Obs) -> Act:
        return np.zeros(len(observations), np.int64)


class Stick:
    def act(self, observations: Hand) -> Act:
        return np.zeros(len(observations[0]), np.int64)


class TensorLeft:
    def act(self, observations: Obs) -> torch.Tensor:
        return torch.zeros(len(observations), dtype=torch.int64)


class ListLeft:
    def act(self, observations: Obs) -> list[int]:
        return [0] * len(observations)


def make_cartpole(seed: int | None) -> gymnasium.Env[Any, Any]:
    env: gymnasium.Env[Any, Any] = gymnasium.make("CartPole-v1")
    return env


def keys_carry_the_types_of_batches() -> None:
    with runnerkit.make(CARTPOLE, n_envs=2) as runner:
        assert_type(runner, GymRunner[Obs, Act, ArrayHistory[Obs, Act]])
        histories = runner.rollout(Left(), steps=3)
        assert_type(histories, list[ArrayHistory[Obs, Act]])
        assert_type(histories[0].observations, Obs)
        assert_type(histories[0].actions, Act)
        assert_type(histories[0].rewards, NDArray[np.float64])
        assert_type(histories[0].terminated, NDArray[np.bool_])
        assert_type(histories[0].split()[0].observations, Obs)
        assert_type(runnerkit.stack(histories), ArrayHistory[Obs, Act])
        runner.rollout(TensorLeft(), steps=3)
        runner.rollout(ListLeft(), steps=3)
        runner.rollout(Left().act, steps=3)
        runner.rollout(lambda observations: np.zeros(len(observations), np.int64), steps=3)


def make_indexed(seed: int | None, env_index: int) -> gymnasium.Env[Any, Any]:
    return make_cartpole(seed)


def make_vector(seed: int | None, *, n_envs: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec("CartPole-v1", n_envs)


def factories_may_ask_for_what_a_runner_knows() -> None:
    runnerkit.make(make_indexed, n_envs=2).close()
    runnerkit.make([make_indexed, make_cartpole], n_envs=2).close()
    GymRunner(make_vector, 0, 2).close()


def agents_are_evaluated_with_keys_names_and_factories() -> None:
    for agent in (Left(), TensorLeft(), Left().act):
        assert_type(runnerkit.evaluate(agent, CARTPOLE, episodes=1, n_envs=1), Evaluation)
    runnerkit.evaluate(Left(), "CartPole-v1", episodes=1)
    runnerkit.evaluate(Left(), make_indexed, episodes=1)
    runnerkit.evaluate(Stick(), BLACKJACK, episodes=1)


def types_may_be_said_where_things_are_made() -> None:
    assert_type(EnvKey[Obs, Act]("CartPole-v1"), EnvKey[Obs, Act])
    assert_type(HistoryKey[TorchHistory]("torch"), HistoryKey[TorchHistory])
    assert_type(Contribution[int]("one", lambda: 1), Contribution[int])
    assert_type(Contribution("one", lambda: 1), Contribution[int])


def histories_are_exact_for_built_in_names_keys_and_objects() -> None:
    registry = Registry()
    with registry.build(CARTPOLE, history="torch") as runner:
        assert_type(runner, GymRunner[Obs, Act, TorchHistory])
        assert_type(runnerkit.transitions(runner.rollout(Left(), steps=2)), TransitionBatch[Any, Any])
        assert_type(runner.rollout(Left(), steps=2)[0].rewards, torch.Tensor)
    with registry.build(CARTPOLE, history="transitions") as transitions:
        assert_type(transitions.rollout(Left(), steps=2), list[list[Transition[Any, Any]]])
    with registry.build(CARTPOLE, history="arrays") as arrays:
        transitions_of_arrays = runnerkit.transitions(arrays.rollout(Left(), steps=2))
        assert_type(transitions_of_arrays, TransitionBatch[Obs, Act])
        assert_type(next(iter(transitions_of_arrays)).next_observations, Obs)
    with registry.build(CARTPOLE, history=TORCH) as by_key:
        assert_type(by_key, GymRunner[Obs, Act, TorchHistory])
    with registry.build(CARTPOLE, history=ArrayFormat()) as by_object:
        assert_type(by_object, GymRunner[Obs, Act, ArrayHistory[Any, Any]])


def postprocessors_leave_what_the_agent_sees() -> None:
    # mypy's plugin says what the agent may do, too
    with runnerkit.make(PENDULUM, postprocessors=["rescale"]) as runner:
        assert_type(runner.rollout(runnerkit.RandomAgent(runner.action_space), steps=2)[0].observations, Obs)
    with GymRunner(PENDULUM, postprocessors=["rescale"]) as by_class:
        assert_type(by_class.rollout(runnerkit.RandomAgent(by_class.action_space), steps=2)[0].observations, Obs)


def folders_are_read_as_arrays(path: str) -> None:
    with runnerkit.make(CARTPOLE, history=("npz", {"path": path})) as runner:
        assert_type(runner, GymRunner[Obs, Act, ArrayHistory[Obs, Act]])
        assert_type(runner.rollout(Left(), steps=2)[0].observations, Obs)
    with GymRunner(CARTPOLE, history=("npz", {"path": path})) as by_class:
        assert_type(by_class, GymRunner[Obs, Act, ArrayHistory[Obs, Act]])
    with runnerkit.make("CartPole-v1", history=runnerkit.use("npz", path=path)) as by_name:
        assert_type(by_name, GymRunner[Any, Any, ArrayHistory[Any, Any]])


def tensors_are_as_nested_as_the_batches_of_the_env() -> None:
    with runnerkit.make(BLACKJACK, history="torch") as runner:
        # mypy's plugin says what is in Any: a tuple of three tensors
        exact: GymRunner[Hand, Act, TorchHistory[Any, Any]] = runner
        assert exact is runner
        assert_type(runner.rollout(Stick(), steps=2)[0].rewards, torch.Tensor)
        observations: tuple[torch.Tensor, ...] = runner.rollout(Stick(), steps=2)[0].observations
        assert isinstance(observations, tuple)
    with runnerkit.make("CartPole-v1", history="torch") as by_name:
        assert_type(by_name, GymRunner[Any, Any, TorchHistory[Any, Any]])


def names_and_factories_leave_the_batches_open() -> None:
    for runner in (runnerkit.make("CartPole-v1"), runnerkit.make(make_cartpole), GymRunner("CartPole-v1", 0, 1)):
        assert_type(runner, GymRunner[Any, Any, ArrayHistory[Any, Any]])
        runner.close()


def the_abc_and_the_protocols_go_together() -> None:
    def as_runner(runner: GymRunner[Obs, Act, ArrayHistory[Obs, Act]]) -> Runner[Obs, Act, ArrayHistory[Obs, Act]]:
        return runner

    def as_supplier(runner: GymRunner[Obs, Act, ArrayHistory[Obs, Act]]) -> SupportsRollout[Obs, Act, object]:
        return runner

    def as_agent(agent: Left) -> Agent[Obs, Act]:
        return agent

    with runnerkit.make(CARTPOLE) as runner:
        assert as_runner(runner) is runner
        assert as_supplier(runner) is runner
        as_agent(Left())


if __name__ == "__main__":
    keys_carry_the_types_of_batches()
    histories_are_exact_for_built_in_names_keys_and_objects()
    postprocessors_leave_what_the_agent_sees()
    with tempfile.TemporaryDirectory() as folder:
        folders_are_read_as_arrays(folder)
    tensors_are_as_nested_as_the_batches_of_the_env()
    names_and_factories_leave_the_batches_open()
    the_abc_and_the_protocols_go_together()
