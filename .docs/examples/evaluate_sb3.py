"""Evaluate a model of Stable-Baselines3, here before and after training, on common episodes::

    python evaluate_sb3.py --steps 50000 --seed 0 --model ppo_cartpole.zip

The returns are those of SB3's `evaluate_policy` on the same seeds. The saved model can be evaluated in a terminal, too:

    runnerkit evaluate CartPole-v1 --agent sb3:ppo_cartpole.zip --episodes 20 --seed 1
"""

from __future__ import annotations

import click
from runnerkit_sb3 import SB3Agent, collect
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

import runnerkit

N_ENVS = 8


def train(model: PPO, steps: int, seed: int) -> None:
    """Let RunnerKit collect the rollouts, and SB3 learn from them."""
    model.set_logger(configure(None, []))
    with runnerkit.make("CartPole-v1", n_envs=N_ENVS, seed=seed) as runner:
        while model.num_timesteps < steps:
            collect(model, runner)  # fills model.rollout_buffer
            model.train()


@click.command(help="Train a model of Stable-Baselines3, save it, and evaluate it beside an untrained one.")
@click.option("--steps", default=50_000, show_default=True, help="steps of all envs together")
@click.option("--seed", default=0, show_default=True)
@click.option("--episodes", default=20, show_default=True)
@click.option("--model", "path", default="ppo_cartpole.zip", show_default=True, help="where to save the model")
def main(steps: int, seed: int, episodes: int, path: str) -> None:
    """Train, save, load and compare."""
    envs = make_vec_env("CartPole-v1", n_envs=N_ENVS)
    model = PPO("MlpPolicy", envs, n_steps=128, batch_size=256, gae_lambda=0.9, learning_rate=1e-3, seed=seed)
    model.save("untrained.zip")
    train(model, steps, seed)
    model.save(path)
    agents = {name: SB3Agent.load(file) for name, file in (("untrained", "untrained.zip"), ("trained", path))}
    found = runnerkit.compare(agents, "CartPole-v1", episodes=episodes, seed=1)
    for name, evaluation in found.evaluations.items():
        click.echo(f"{name}: mean return {evaluation.mean:.1f}, 95 % interval {evaluation.interval(0.95)}")
    for difference in found.differences:
        name = f"{difference.agent} - {difference.baseline}"
        click.echo(f"{name}: {difference.mean:.1f}, 95 % interval {difference.interval(0.95)}")


if __name__ == "__main__":
    main()
