"""Stable-Baselines3 with RunnerKit::

    from runnerkit_sb3 import SB3Agent, collect

    agent = SB3Agent.load("ppo_cartpole.zip")
    with runnerkit.make("CartPole-v1", n_envs=8, seed=0) as runner:
        runner.rollout(agent, episodes=20)              # evaluate a trained model
        collect(model, runner)                          # or fill its rollout buffer, then model.train()

`SB3Agent` makes an agent of a model, `fill_replay_buffer` and `fill_rollout_buffer` take histories into SB3's buffers,
`normalize_from`, `normalize_reward_from` and `vec_normalize_from` carry running statistics from one side to the other.
"""

from __future__ import annotations

from runnerkit_sb3.agent import SB3Agent, load_model
from runnerkit_sb3.buffers import collect, fill_replay_buffer, fill_rollout_buffer
from runnerkit_sb3.statistics import normalize_from, normalize_reward_from, vec_normalize_from

__all__ = [
    "SB3Agent",
    "collect",
    "fill_replay_buffer",
    "fill_rollout_buffer",
    "load_model",
    "normalize_from",
    "normalize_reward_from",
    "vec_normalize_from",
]
