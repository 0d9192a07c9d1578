"""Models, buffers and statistics of Stable-Baselines3: what RunnerKit gives is what SB3 itself would have got."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from runnerkit_sb3 import (
    SB3Agent,
    collect,
    fill_replay_buffer,
    fill_rollout_buffer,
    load_model,
    normalize_from,
    normalize_reward_from,
    vec_normalize_from,
)
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import runnerkit
from runnerkit import EpisodeStart
from runnerkit._cli.main import main
from runnerkit.errors import ArgumentError
from runnerkit.processors import Normalize, NormalizeReward
from runnerkit.testing import check_agent


@pytest.fixture(scope="module")
def lengths() -> list[float]:
    """The mean length of the episodes in each rollout of `trained`."""
    return []


@pytest.fixture(scope="module")
def trained(lengths: list[float]) -> PPO:
    """A model that has learned something from what RunnerKit collected."""
    torch.set_num_threads(1)
    model = PPO("MlpPolicy", make_vec_env("CartPole-v1", n_envs=8, seed=0), n_steps=128, seed=0, device="cpu")
    model.set_logger(configure(None, []))
    with runnerkit.make("CartPole-v1", n_envs=8, seed=0, executor="serial") as runner:
        for _ in range(5):
            records = [record for history in collect(model, runner) for record in history.episodes]
            lengths.append(np.mean([record.total_length for record in records if record.complete]).item())
            model.train()
    return model


def test_a_model_learns_from_what_is_collected(trained: PPO, lengths: list[float]) -> None:
    assert trained.num_timesteps == 5 * 8 * 128
    assert lengths[-1] > 1.5 * lengths[0]


def test_a_trained_model_has_the_returns_of_evaluate_policy_seed_by_seed(trained: PPO) -> None:
    found = runnerkit.evaluate(SB3Agent(trained), "CartPole-v1", episodes=6, seed=7, n_envs=3)
    for seed, length, return_ in zip(found.seeds, found.lengths, found.returns, strict=True):
        env = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")])
        env.seed(seed)  # the seed of the next reset
        returns, lengths = evaluate_policy(trained, env, n_eval_episodes=1, return_episode_rewards=True, warn=False)
        assert (returns, lengths) == ([return_], [length])
    assert found.mean > 30


def test_the_command_line_evaluates_a_saved_model(trained: PPO, tmp_path: Path) -> None:
    trained.save(tmp_path / "model.zip")
    arguments = ["CartPole-v1", "--episodes", "4", "--seed", "7", "--agent", f"sb3:{tmp_path / 'model.zip'}", "--json"]
    done = CliRunner().invoke(main, ["rollout", *arguments])
    assert done.exit_code == 0, done.output
    with runnerkit.make("CartPole-v1", seed=7) as runner:
        (history,) = runner.rollout(SB3Agent(trained), episodes=4)
    shown = json.loads(done.stdout)["episodes"]
    assert [episode["return"] for episode in shown] == [record.return_ for record in history.episodes]
    missing = CliRunner().invoke(main, ["rollout", "CartPole-v1", "--agent", "sb3:none.zip"])
    assert "--agent sb3:none.zip: none.zip is no model of Stable-Baselines3" in missing.stderr


def test_an_agent_of_a_model_conforms(trained: PPO) -> None:
    box = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    check_agent(lambda: SB3Agent(trained), box, gymnasium.spaces.Discrete(2)).raise_for_failures()


@pytest.mark.parametrize("kind", [PPO, A2C, DQN, SAC, TD3, DDPG])
def test_a_saved_model_is_loaded_without_naming_its_algorithm(kind: Any, tmp_path: Path) -> None:
    env = "CartPole-v1" if kind in (PPO, A2C, DQN) else "Pendulum-v1"
    small = {"buffer_size": 100} if kind in (DQN, SAC, TD3, DDPG) else {}
    model = kind("MlpPolicy", env, device="cpu", **small)
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert type(loaded) is (TD3 if kind is DDPG else kind)
    with runnerkit.make(env, n_envs=2, seed=0) as runner:
        (first, _) = runner.rollout(SB3Agent.load(tmp_path / "model.zip"), steps=5)
        again, _ = model.predict(first.observations, deterministic=True)
    np.testing.assert_allclose(first.actions, again, atol=1e-5)  # another batch size


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_text("nothing")
    with pytest.raises(ArgumentError, match="is no model of Stable-Baselines3"):
        load_model(tmp_path / "model.zip")
    with pytest.raises(ArgumentError, match="is no model of Stable-Baselines3"):
        load_model(tmp_path / "none.zip")


def test_a_replay_buffer_gets_every_transition() -> None:
    with runnerkit.make("Pendulum-v1", n_envs=2, seed=0) as runner:
        spaces = runner.observation_space, runner.action_space
        buffer = ReplayBuffer(1000, *spaces, device="cpu", n_envs=2)
        histories = runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=250)
    assert fill_replay_buffer(buffer, histories) == 500
    for i, history in enumerate(histories):
        np.testing.assert_array_equal(buffer.observations[:250, i], history.observations)
        np.testing.assert_array_equal(buffer.next_observations[:250, i], history.next_observations)
        np.testing.assert_array_equal(buffer.actions[:250, i], history.actions)
        np.testing.assert_allclose(buffer.rewards[:250, i], history.rewards, rtol=1e-6)
        np.testing.assert_array_equal(buffer.dones[:250, i], history.truncated)
        np.testing.assert_array_equal(buffer.timeouts[:250, i], history.truncated)
    with pytest.raises(ArgumentError, match="for 2 envs, but there are 1"):
        fill_replay_buffer(buffer, histories[:1])


def test_a_rollout_buffer_is_that_of_sb3_itself() -> None:
    """The same actions, replayed through SB3's own collection, give the same values, advantages and returns."""
    model = PPO("MlpPolicy", make_vec_env("CartPole-v1", n_envs=2, seed=0), n_steps=64, seed=0, device="cpu")
    model.set_logger(configure(None, []))
    with runnerkit.make("CartPole-v1", n_envs=2, seed=0, env_options={"max_episode_steps": 20}) as runner:
        histories = runner.rollout(SB3Agent(model, deterministic=False), steps=64)
    fill_rollout_buffer(model, histories)
    batch = runnerkit.stack(histories)
    assert batch.truncated.any()
    assert batch.terminated.any()
    buffer = model.rollout_buffer
    with torch.no_grad():
        values = np.array(
            [model.policy.predict_values(torch.as_tensor(row))[:, 0].numpy() for row in batch.observations]
        )
        following = np.array(
            [model.policy.predict_values(torch.as_tensor(row))[:, 0].numpy() for row in batch.next_observations]
        )
    np.testing.assert_allclose(buffer.values, values, atol=1e-5)
    advantages = np.zeros((65, 2))
    for t in reversed(range(64)):
        delta = batch.rewards[t] + model.gamma * following[t] * ~batch.terminated[t] - values[t]
        ended = batch.terminated[t] | batch.truncated[t]
        advantages[t] = delta + model.gamma * model.gae_lambda * ~ended * advantages[t + 1]
    np.testing.assert_allclose(buffer.advantages, advantages[:-1], atol=1e-4)
    np.testing.assert_allclose(buffer.returns, advantages[:-1] + values, atol=1e-4)
    assert buffer.episode_starts[0].tolist() == [1.0, 1.0]
    model.train()


def test_statistics_go_both_ways() -> None:
    venv = VecNormalize(make_vec_env("Pendulum-v1", n_envs=2, seed=0))
    venv.reset()
    for _ in range(50):
        venv.step(np.zeros((2, 1), np.float32))
    observations = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    normalize = normalize_from(venv)
    with runnerkit.make("Pendulum-v1", n_envs=1, seed=0, preprocessors=[normalize]):
        np.testing.assert_allclose(normalize(observations), venv.normalize_obs(observations), rtol=1e-6)
    counted = Normalize()
    with runnerkit.make("Pendulum-v1", n_envs=2, seed=0, preprocessors=[counted]) as runner:
        runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=50)
    back = vec_normalize_from(counted, make_vec_env("Pendulum-v1", n_envs=1))
    np.testing.assert_allclose(back.normalize_obs(observations), counted.frozen()(observations), rtol=1e-6)


class _Steps:
    """Steps a VecNormalize with the actions of a rollout, and keeps the rewards that it gives."""

    def __init__(self, venv: VecNormalize) -> None:
        self.venv = venv

    def rewards(self, actions: Any) -> Any:
        return np.stack([self.venv.step(row)[1] for row in actions])


@pytest.mark.parametrize("counts_on", [False, True])
def test_statistics_of_rewards_go_both_ways_step_by_step(counts_on: bool) -> None:
    """What VecNormalize gives for a run, and what the processor gives for the same one, with and without counting."""
    gamma, n, steps = 0.9, 2, 40
    actions = np.random.default_rng(0).uniform(-2, 2, (2 * steps, n, 1)).astype(np.float32)
    venv = VecNormalize(make_vec_env("Pendulum-v1", n_envs=n), gamma=gamma, norm_obs=False, clip_reward=5.0)
    venv.seed(7)
    venv.reset()
    _Steps(venv).rewards(actions[:steps])
    reward = normalize_reward_from(venv)
    assert (reward.gamma, reward.clip, reward.count) == (gamma, 5.0, venv.ret_rms.count)
    back = vec_normalize_from(None, make_vec_env("Pendulum-v1", n_envs=n), reward=reward)
    for one in (back, venv):
        one.training = counts_on
        one.seed(7)
        one.reset()
    reward.freeze(not counts_on)
    begins = [start.seed for start in (EpisodeStart(7), EpisodeStart(8))]  # as VecEnv.seed(7) gives them

    def schedule(env_index: int, episode_index: int) -> EpisodeStart:
        return EpisodeStart(begins[env_index])

    given = iter(actions[steps:])
    with runnerkit.make(
        "Pendulum-v1", n_envs=n, executor="serial", reward_processors=[reward], schedule=schedule
    ) as runner:
        batch = runnerkit.stack(runner.rollout(lambda _: next(given), steps=steps))
    for one in (back, venv):
        np.testing.assert_allclose(batch.processed_rewards, _Steps(one).rewards(actions[steps:]), rtol=1e-5)
    assert not back.norm_obs


def test_what_a_vec_normalize_cannot_have_is_refused() -> None:
    venv = make_vec_env("Pendulum-v1", n_envs=1)
    with pytest.raises(ArgumentError, match="Dict, or none"):
        normalize_from(VecNormalize(venv, norm_obs=False))
    with pytest.raises(ArgumentError, match="needs a Normalize"):
        vec_normalize_from(None, venv)
    with pytest.raises(ArgumentError, match=r"one epsilon, but these have 1e-08 and 0\.1"):
        vec_normalize_from(Normalize(), venv, reward=NormalizeReward(epsilon=0.1))
