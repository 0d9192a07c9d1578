"""RunnerKit: typed, pluggable runners that roll out agents in Gymnasium envs::

    import runnerkit

    with runnerkit.make("CartPole-v1", n_envs=8, seed=0) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        for history in runner.rollout(agent, steps=1000):
            print(history.rewards.sum(), history.episodes[0].end_reason)

Types to implement and to annotate with are in `runnerkit.typing`, errors in `runnerkit.errors`.
"""

from __future__ import annotations

from runnerkit.agents import RandomAgent
from runnerkit.gym_runner import GymRunner
from runnerkit.hooks import Contribution, hookimpl
from runnerkit.keys import EnvKey, HistoryKey
from runnerkit.records import EndReason, Episode, EpisodeStart, Progress, RunSpec, Transition
from runnerkit.registry import Registry, default_registry, make
from runnerkit.runner import BaseRunner

__all__ = [
    "BaseRunner",
    "Contribution",
    "EndReason",
    "EnvKey",
    "Episode",
    "EpisodeStart",
    "GymRunner",
    "HistoryKey",
    "Progress",
    "RandomAgent",
    "Registry",
    "RunSpec",
    "Transition",
    "default_registry",
    "hookimpl",
    "make",
]
