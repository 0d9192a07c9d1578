"""The history format tensordict: the numbers of `arrays`, under the keys of TorchRL, taken by its replay buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from runnerkit_tensordict import TENSORDICT, TensorDictFormat

import runnerkit
from runnerkit.errors import ArgumentError, SpaceError


def rollout(env: str, history: Any, **options: Any) -> list[Any]:
    with runnerkit.make(env, n_envs=3, seed=0, history=history, **options) as runner:
        return runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=60)


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1"])
def test_the_tensors_have_the_numbers_of_the_arrays(env: str, executor: str) -> None:
    for found, expected in zip(
        rollout(env, TensorDictFormat("float64"), executor=executor), rollout(env, "arrays"), strict=True
    ):
        assert list(found.batch_size) == [60]
        observations, following = found["observation"], found["next", "observation"]
        if isinstance(expected.observations, tuple):
            observations = [observations[str(i)] for i in range(len(expected.observations))]
            following = [following[str(i)] for i in range(len(expected.observations))]
        np.testing.assert_array_equal(np.asarray(observations), np.asarray(expected.observations))
        np.testing.assert_array_equal(np.asarray(following), np.asarray(expected.next_observations))
        np.testing.assert_array_equal(found["action"], expected.actions)
        np.testing.assert_array_equal(found["next", "reward"][:, 0], expected.rewards)
        np.testing.assert_array_equal(found["next", "terminated"][:, 0], expected.terminated)
        np.testing.assert_array_equal(found["next", "truncated"][:, 0], expected.truncated)
        np.testing.assert_array_equal(found["next", "done"][:, 0], expected.terminated | expected.truncated)
        episodes = [record.episode_index for record in expected.episodes for _ in range(record.length)]
        assert found["episode"].tolist() == episodes


def test_rewards_are_float32_unless_told_otherwise() -> None:
    assert rollout("CartPole-v1", TENSORDICT)[0]["next", "reward"].dtype is torch.float32
    with pytest.raises(ArgumentError, match="'float32' or 'float64', not 'float16'"):
        TensorDictFormat("float16")  # type: ignore[arg-type]


def test_a_replay_buffer_of_torchrl_takes_them() -> None:
    data = pytest.importorskip("torchrl.data", reason="pip install torchrl")
    histories = rollout("CartPole-v1", "tensordict")
    buffer = data.TensorDictReplayBuffer(storage=data.LazyTensorStorage(1000), batch_size=32)
    for history in histories:
        buffer.extend(history)
    assert len(buffer) == 180
    sample = buffer.sample()
    assert sample["next", "observation"].shape == (32, 4)
    np.testing.assert_array_equal(buffer[:60]["observation"], histories[0]["observation"])


def test_torchrl_computes_advantages_of_them() -> None:
    functional = pytest.importorskip("torchrl.objectives.value.functional", reason="pip install torchrl")
    batch = torch.stack(rollout("CartPole-v1", "tensordict"))
    following = batch["next"]
    zeros = torch.zeros_like(following["reward"])
    advantage, _ = functional.generalized_advantage_estimate(
        0.99, 0.95, zeros, zeros, following["reward"], following["done"], following["terminated"]
    )
    assert advantage.shape == (3, 60, 1)


def test_what_has_no_tensors_is_refused_when_the_runner_is_built() -> None:
    spec = type("Spec", (), {"observation_space": spaces.Dict(x=spaces.Text(3)), "action_space": spaces.Discrete(2)})
    with pytest.raises(SpaceError, match=r"cannot hold observation\['x'\]"):
        TensorDictFormat().open(spec)  # type: ignore[arg-type]


def test_extra_columns_are_nested() -> None:
    def act(observations: Any) -> Any:
        return np.zeros(len(observations), np.int64), {"value": observations[:, 0], "seen": observations > 0}

    with runnerkit.make("CartPole-v1", n_envs=3, seed=0, history=TENSORDICT) as runner:
        for found in runner.rollout(act, steps=30):
            assert torch.equal(found["extras", "value"], found["observation"][:, 0])
            assert torch.equal(found["extras", "seen"], found["observation"] > 0)
