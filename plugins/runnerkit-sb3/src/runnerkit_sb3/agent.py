"""A model of Stable-Baselines3 as an agent."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import stable_baselines3
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from runnerkit.errors import ArgumentError

__all__ = ["SB3Agent", "load_model"]

# What only the files of an algorithm have, the most telling first.
_SIGNS: Final[Mapping[str, str]] = {
    "clip_range_vf": "PPO",
    "gae_lambda": "A2C",
    "exploration_fraction": "DQN",
    "target_entropy": "SAC",
    "target_policy_noise": "TD3",
}


class SB3Agent:
    """Asks a model of Stable-Baselines3 for actions::

        runner.rollout(SB3Agent(model), episodes=20)
        runner.rollout(SB3Agent.load("ppo_cartpole.zip"), episodes=20)

    Args:
        model: anything with SB3's `predict(observations, deterministic=...)`.
        deterministic: take the most likely action, as in an evaluation, or sample one.

    """

    def __init__(self, model: BaseAlgorithm, *, deterministic: bool = True) -> None:
        self.model: BaseAlgorithm = model
        self.deterministic: bool = deterministic

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, deterministic: bool = True) -> SB3Agent:
        """Return the agent of a model that was saved with `model.save(path)`; see `load_model`."""
        return cls(load_model(path), deterministic=deterministic)

    def act(self, observations: Any, /) -> NDArray[Any]:
        """Return the model's actions for a batch of observations."""
        actions, _ = self.model.predict(observations, deterministic=self.deterministic)
        return np.asarray(actions)


def load_model(path: str | os.PathLike[str]) -> BaseAlgorithm:
    """Load a saved model without naming its algorithm, which its file tells: PPO, A2C, DQN, SAC, TD3 or DDPG.

    SB3 unpickles parts of the file: load only files that you trust.

    Raises:
        ArgumentError: there is no such file, or it is of no algorithm of Stable-Baselines3.

    """
    file = Path(path)
    if not file.exists() and file.with_suffix(".zip").exists():
        file = file.with_suffix(".zip")
    try:
        with zipfile.ZipFile(file) as archive:
            data: dict[str, Any] = json.loads(archive.read("data"))
    except (OSError, KeyError, zipfile.BadZipFile, ValueError) as error:
        raise ArgumentError(
            f"{file} is no model of Stable-Baselines3: {error}. Save one with model.save(path)."
        ) from error
    name = next((name for sign, name in _SIGNS.items() if sign in data), None)
    if name is None:
        raise ArgumentError(
            f"{file} does not say which algorithm of Stable-Baselines3 it is of. Load it with its own class, and pass "
            "SB3Agent(model)."
        )
    kind: type[BaseAlgorithm] = getattr(stable_baselines3, name)
    return kind.load(file, device="cpu")
