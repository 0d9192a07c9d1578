"""Running statistics of observations: SB3's VecNormalize and RunnerKit's Normalize."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from runnerkit.errors import ArgumentError
from runnerkit.processors import Normalize

__all__ = ["normalize_from", "vec_normalize_from"]


def normalize_from(statistics: VecNormalize) -> Normalize:
    """Return a frozen preprocessor that does to observations what a VecNormalize does::

        normalize = normalize_from(VecNormalize.load("vecnormalize.pkl", venv))
        runnerkit.make("HalfCheetah-v5", preprocessors=[normalize]).rollout(SB3Agent(model), episodes=10)

    `normalize.freeze(False)` lets it go on counting. Raises ArgumentError for statistics of Dict observations.
    """
    of: Any = statistics.obs_rms
    if not isinstance(of, RunningMeanStd):
        raise ArgumentError(
            "normalize_from needs the statistics of one Box, but this VecNormalize has those of a Dict, or none. "
            "Flatten the observations before you normalize them."
        )
    normalize = Normalize(epsilon=statistics.epsilon, clip=statistics.clip_obs)
    normalize.load_state_dict({"count": max(1, round(of.count)), "mean": of.mean, "var": of.var})
    normalize.freeze()
    return normalize


def vec_normalize_from(normalize: Normalize, venv: VecEnv, *, norm_reward: bool = False) -> VecNormalize:
    """Return a VecNormalize around `venv`, no longer training, with the statistics of a preprocessor."""
    wrapped = VecNormalize(
        venv,
        training=False,
        norm_reward=norm_reward,
        clip_obs=normalize.clip,
        epsilon=normalize.epsilon,
    )
    state = normalize.state_dict()
    of = RunningMeanStd(shape=np.shape(state["mean"]))
    of.mean, of.var, of.count = np.array(state["mean"]), np.array(state["var"]), float(state["count"])
    wrapped.obs_rms = cast(Any, of)  # which SB3 annotates as the statistics of a Dict
    return wrapped
