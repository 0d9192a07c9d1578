"""Running statistics: SB3's VecNormalize, and RunnerKit's Normalize and NormalizeReward."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from runnerkit.errors import ArgumentError
from runnerkit.processors import Normalize, NormalizeReward

__all__ = ["normalize_from", "normalize_reward_from", "vec_normalize_from"]


def normalize_from(statistics: VecNormalize) -> Normalize:
    """Return a frozen preprocessor that does to observations what a VecNormalize does::

        normalize = normalize_from(VecNormalize.load("vecnormalize.pkl", venv))
        runnerkit.make("HalfCheetah-v5", preprocessors=[normalize]).rollout(SB3Agent(model), episodes=10)

    `normalize.freeze(False)` lets it go on counting. Raises ArgumentError for statistics of Dict observations.
    """
    of: Any = getattr(statistics, "obs_rms", None)  # not there with norm_obs=False
    if not isinstance(of, RunningMeanStd):
        raise ArgumentError(
            "normalize_from needs the statistics of one Box, but this VecNormalize has those of a Dict, or none. "
            "Flatten the observations before you normalize them."
        )
    normalize = Normalize(epsilon=statistics.epsilon, clip=statistics.clip_obs)
    normalize.load_state_dict({"count": max(1, round(of.count)), "mean": of.mean, "var": of.var})
    normalize.freeze()
    return normalize


def normalize_reward_from(statistics: VecNormalize) -> NormalizeReward:
    """Return a frozen reward processor that does to rewards what a VecNormalize does::

        reward = normalize_reward_from(VecNormalize.load("vecnormalize.pkl", venv))
        runnerkit.make("HalfCheetah-v5", reward_processors=[reward])

    `reward.freeze(False)` lets it go on counting; the discounted sums of episodes that are going begin anew then, as
    they do in a VecNormalize that is loaded.
    """
    of: Any = statistics.ret_rms
    reward = NormalizeReward(gamma=statistics.gamma, epsilon=statistics.epsilon, clip=statistics.clip_reward)
    reward.load_state_dict({"count": of.count, "mean": of.mean, "var": of.var})
    reward.freeze()
    return reward


def vec_normalize_from(
    normalize: Normalize | None, venv: VecEnv, *, reward: NormalizeReward | None = None
) -> VecNormalize:
    """Return a VecNormalize around `venv`, no longer training, with the statistics of processors.

    Args:
        normalize: of observations; None leaves them as they are.
        venv: the envs.
        reward: of rewards; None leaves them as they are.

    Raises:
        ArgumentError: there is neither, or they have different epsilons, as a VecNormalize has one for both.

    """
    given = [part for part in (normalize, reward) if part is not None]
    if not given:
        raise ArgumentError("vec_normalize_from needs a Normalize, reward=NormalizeReward(...), or both.")
    if len({part.epsilon for part in given}) > 1:
        raise ArgumentError(
            f"A VecNormalize has one epsilon, but these have {' and '.join(str(part.epsilon) for part in given)}. "
            "Give both processors the same."
        )
    wrapped = VecNormalize(
        venv, training=False, norm_obs=normalize is not None, norm_reward=reward is not None, epsilon=given[0].epsilon
    )
    if normalize is not None:
        state = normalize.state_dict()
        wrapped.clip_obs = normalize.clip
        wrapped.obs_rms = cast(Any, _statistics(state["count"], state["mean"], state["var"]))  # annotated as of a Dict
    if reward is not None:
        wrapped.gamma, wrapped.clip_reward = reward.gamma, reward.clip
        wrapped.ret_rms = _statistics(reward.count, reward.mean, reward.var)
    return wrapped


def _statistics(count: float, mean: object, var: object) -> RunningMeanStd:
    of = RunningMeanStd(shape=np.shape(cast(Any, mean)))
    of.mean, of.var, of.count = np.array(mean, np.float64), np.array(var, np.float64), float(count)
    return of
