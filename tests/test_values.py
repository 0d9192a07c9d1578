"""Advantages and returns: what a plain loop over each episode by itself computes, whatever way its rows break off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit import RandomAgent, discounted_returns, gae
from runnerkit.errors import ArgumentError
from runnerkit.history import ArrayHistory, EpisodeColumns

AnyEpisode = EpisodeColumns[Any, Any, NDArray[np.float64], NDArray[np.bool_]]


def critic(observations: NDArray[Any]) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = observations.reshape(len(observations), -1).sum(axis=1, dtype=np.float64)
    return np.sin(summed) * 3.0


def rollout(env: Any, steps: int = 60, n_envs: int = 3, **options: Any) -> list[ArrayHistory[Any, Any]]:
    with runnerkit.make(env, n_envs=n_envs, seed=0, **options) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=7)  # so that first rows are in the middle of an episode
        return runner.rollout(agent, steps=steps)


def plain(episode: AnyEpisode, value: Callable[[NDArray[Any]], NDArray[np.float64]], gamma: float, lam: float) -> Any:
    """Compute one episode by the definition: sums over all later steps, nothing recursive."""
    length = episode.record.length
    values = value(episode.observations)
    if episode.terminated[-1]:
        values[-1] = 0.0
    deltas = episode.rewards + gamma * values[1:] - values[:-1]
    advantages = [sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, length)) for t in range(length)]
    rest = [gamma ** (length - t) * values[-1] for t in range(length)]
    returns = [sum(gamma ** (k - t) * episode.rewards[k] for k in range(t, length)) + rest[t] for t in range(length)]
    return np.array(advantages), np.array(returns)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
@given(gamma=st.floats(0, 1), lam=st.floats(0, 1))
def test_they_are_those_of_each_episode_by_itself(env: str, gamma: float, lam: float) -> None:
    histories = HISTORIES[env]
    targets = gae(histories, gamma, lam, value=critic)
    returns = discounted_returns(histories, gamma, value=critic)
    for history, found, sums in zip(histories, targets, returns, strict=True):
        np.testing.assert_allclose(found.values, critic(history.observations))
        for episode in history.split():
            rows = slice(episode.record.start, episode.record.start + episode.record.length)
            advantages, expected = plain(episode, critic, gamma, lam)
            np.testing.assert_allclose(found.advantages[rows], advantages, atol=1e-8)
            np.testing.assert_allclose(found.returns[rows], advantages + found.values[rows], atol=1e-8)
            np.testing.assert_allclose(sums[rows], expected, atol=1e-8)


HISTORIES = {env: rollout(env) for env in ("CartPole-v1", "Pendulum-v1")}


def test_stacked_histories_have_the_same_numbers() -> None:
    histories = HISTORIES["CartPole-v1"]
    apart, together = gae(histories, value=critic), gae(runnerkit.stack(histories), value=critic)
    for name in ("advantages", "returns", "values"):
        columns = [getattr(targets, name) for targets in apart]
        np.testing.assert_array_equal(getattr(together, name), np.stack(columns, axis=1))


def test_they_are_right_in_all_three_kinds_of_ends() -> None:
    reasons = {record.end_reason for history in HISTORIES["CartPole-v1"] for record in history.episodes}
    reasons |= {record.end_reason for history in rollout("Pendulum-v1", 400) for record in history.episodes}
    assert {"terminated", "truncated", "cut"} <= reasons


class Corridor(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Pays 1 in each step, ends in a terminal state after 4: all values are known."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = spaces.Box(0, 4, (1,)), spaces.Discrete(2)

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._t = 0
        return np.zeros(1, np.float32), {}

    @override
    def step(self, action: np.int64) -> Any:
        self._t += 1
        return np.full(1, self._t, np.float32), 1.0, self._t == 4, False, {}


def test_with_the_true_values_all_advantages_are_zero() -> None:
    gamma = 0.9

    def true_value(observations: NDArray[np.float32]) -> NDArray[np.float64]:
        return (1 - gamma ** (4 - observations[:, 0].astype(np.float64))) / (1 - gamma)

    for history in rollout(lambda seed: Corridor(), steps=30):
        targets = gae(history, gamma, 0.95, value=true_value)
        np.testing.assert_allclose(targets.advantages, 0, atol=1e-12)
        np.testing.assert_allclose(discounted_returns(history, gamma, value=true_value), targets.values)
        without = discounted_returns(history, gamma)
        np.testing.assert_allclose(without[:-4], targets.values[:-4])


def test_tensors_give_tensors_and_no_gradient_is_kept() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(4, 1)
    histories = rollout("CartPole-v1", history="torch")
    arrays = rollout("CartPole-v1")
    found = gae(histories, value=layer)
    expected = gae(arrays, value=lambda observations: layer(torch.from_numpy(np.ascontiguousarray(observations))))
    for one, other in zip(found, expected, strict=True):
        tensor: Any = one.advantages
        assert isinstance(tensor, torch.Tensor)
        assert not tensor.requires_grad
        np.testing.assert_allclose(tensor, other.advantages, atol=1e-5)


def test_nested_observations_come_as_one_batch() -> None:
    def first_card(observations: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
        assert all(part.ndim == 1 for part in observations)
        return observations[0]

    batch = runnerkit.stack(rollout("Blackjack-v1"))
    assert gae(batch, value=first_card).values.tolist() == batch.observations[0].tolist()


@pytest.mark.parametrize(("gamma", "lam", "wrong"), [(1.1, 0.9, "gamma"), (-0.1, 0.9, "gamma"), (0.9, 2.0, "lam")])
def test_fractions_lie_between_0_and_1(gamma: float, lam: float, wrong: str) -> None:
    with pytest.raises(ArgumentError, match=rf"{wrong} must be a number in \[0, 1\]"):
        gae(HISTORIES["CartPole-v1"], gamma, lam, value=critic)


def test_a_name_is_no_function_of_values() -> None:
    with pytest.raises(ArgumentError, match="goes into values="):
        gae(HISTORIES["CartPole-v1"], value=cast(Any, "value"))


def test_a_value_per_action_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"of shape \(60,\) or \(60, 1\), not \(60, 2\)"):
        gae(HISTORIES["CartPole-v1"], value=lambda observations: np.zeros((len(observations), 2)))
