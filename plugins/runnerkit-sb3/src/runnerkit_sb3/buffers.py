"""Histories into the buffers of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import (
    BaseBuffer,
    DictReplayBuffer,
    ReplayBuffer,
)
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from runnerkit import GymRunner, stack
from runnerkit.errors import ArgumentError
from runnerkit.history import ArrayHistory
from runnerkit_sb3.agent import SB3Agent

__all__ = ["collect", "fill_replay_buffer", "fill_rollout_buffer"]

Histories = Iterable[ArrayHistory[Any, Any]]


def fill_replay_buffer(buffer: ReplayBuffer | DictReplayBuffer, histories: Histories) -> int:
    """Add every transition of one rollout to a replay buffer, and return how many::

        fill_replay_buffer(model.replay_buffer, runner.rollout(SB3Agent(model, deterministic=False), steps=100))
        model.train(gradient_steps=100)

    Terminated and truncated stay apart: SB3 bootstraps where an episode was truncated. Next observations are exact.
    The actions must be those of the model's action space, so leave postprocessors out.

    Raises:
        ArgumentError: the histories are not `buffer.n_envs` arrays of equal length.

    """
    batch, n_envs = _batch(histories, buffer)
    done = batch.terminated | batch.truncated
    actions = _rows_of_actions(batch.actions, buffer)
    timeouts = batch.truncated & ~batch.terminated
    for t in range(len(batch)):
        buffer.add(
            _row(batch.observations, t),
            _row(batch.next_observations, t),
            actions[t],
            batch.processed_rewards[t],
            done[t],
            [{"TimeLimit.truncated": bool(timeout)} for timeout in timeouts[t]],
        )
    return len(batch) * n_envs


def fill_rollout_buffer(model: OnPolicyAlgorithm, histories: Histories) -> None:
    """Fill the model's rollout buffer with one rollout, values and advantages included: `model.train()` can follow.

    The model's policy must be the one that chose the actions. Values and log-probabilities are computed in one batch,
    and the value of each final observation is added to the reward where an episode was truncated, as SB3 does.

    Raises:
        ArgumentError: the histories are not `buffer.n_envs` arrays of `buffer.buffer_size` rows.

    """
    buffer = model.rollout_buffer
    batch, n_envs = _batch(histories, buffer)
    if len(batch) != buffer.buffer_size:
        raise ArgumentError(
            f"The rollout buffer takes {buffer.buffer_size} steps per env, but the histories have {len(batch)}. "
            "Roll out with steps=model.n_steps."
        )
    policy = model.policy
    policy.set_training_mode(False)
    actions = _rows_of_actions(batch.actions, buffer)
    with torch.no_grad():
        flat = policy.obs_to_tensor(_flat(batch.observations))[0]
        chosen = torch.as_tensor(actions.reshape(len(batch) * n_envs, *actions.shape[2:]), device=policy.device)
        if not hasattr(policy.action_space, "shape") or policy.action_space.shape == ():
            chosen = chosen.reshape(-1)
        values, log_probs, _ = policy.evaluate_actions(flat, chosen)
        rewards = _bootstrapped(model, batch)
        last = policy.predict_values(policy.obs_to_tensor(_row(batch.next_observations, -1))[0])
    values, log_probs = values.reshape(len(batch), n_envs), log_probs.reshape(len(batch), n_envs)
    done = batch.terminated | batch.truncated
    starts = _starts(batch, done)
    buffer.reset()
    for t in range(len(batch)):
        buffer.add(_row(batch.observations, t), actions[t], rewards[t], starts[t], values[t], log_probs[t])
    buffer.compute_returns_and_advantage(last_values=last, dones=done[-1])


def collect(model: OnPolicyAlgorithm, runner: GymRunner[Any, Any, ArrayHistory[Any, Any]]) -> Histories:
    """Roll a model out for `model.n_steps` steps, fill its rollout buffer, and return the histories.

    For example::

        with runnerkit.make("CartPole-v1", n_envs=8, seed=0, executor="processes") as runner:
            for _ in range(100):
                collect(model, runner)
                model.train()
    """
    histories = runner.rollout(SB3Agent(model, deterministic=False), steps=model.n_steps)
    fill_rollout_buffer(model, histories)
    model.num_timesteps += sum(map(len, histories))
    return histories


def _batch(histories: Histories, buffer: BaseBuffer) -> tuple[ArrayHistory[Any, Any], int]:
    given = list(histories)
    if len(given) != buffer.n_envs:
        raise ArgumentError(f"The buffer is for {buffer.n_envs} envs, but there are {len(given)} histories.")
    return stack(given), len(given)


def _bootstrapped(model: OnPolicyAlgorithm, batch: ArrayHistory[Any, Any]) -> NDArray[np.float64]:
    """Return the rewards with the discounted value of the final observation where an episode was truncated."""
    rewards = batch.processed_rewards.copy()
    where = batch.truncated & ~batch.terminated
    if where.any():
        finals = model.policy.obs_to_tensor(_select(batch.next_observations, where))[0]
        rewards[where] += model.gamma * model.policy.predict_values(finals).cpu().numpy()[:, 0]
    return rewards


def _starts(batch: ArrayHistory[Any, Any], done: NDArray[np.bool_]) -> NDArray[np.bool_]:
    starts = np.zeros(done.shape, np.bool_)
    starts[1:] = done[:-1]
    for record in batch.episodes:
        if record.start == 0:
            starts[0, record.env_index] = not record.continued
    return starts


def _rows_of_actions(actions: Any, buffer: BaseBuffer) -> NDArray[Any]:
    """Return actions `[T, N, action_dim]`, as buffers keep them."""
    rows: NDArray[Any] = np.asarray(actions)
    return rows.reshape(*rows.shape[:2], buffer.action_dim)


def _row(tree: Any, t: int) -> Any:
    return {key: sub[t] for key, sub in tree.items()} if isinstance(tree, dict) else tree[t]


def _select(tree: Any, where: NDArray[np.bool_]) -> Any:
    return {key: sub[where] for key, sub in tree.items()} if isinstance(tree, dict) else tree[where]


def _flat(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _flat(sub) for key, sub in tree.items()}
    return tree.reshape(-1, *tree.shape[2:])
