"""Names that are misspelt, one each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import runnerkit
from runnerkit import EnvKey, GymRunner

CARTPOLE: EnvKey[NDArray[np.float32], NDArray[np.int64]] = EnvKey("CartPole-v1")


def a_misspelt_history_format() -> None:
    runnerkit.make(CARTPOLE, history="tortch")  # FAULT


def a_misspelt_executor() -> None:
    GymRunner("CartPole-v1", executor="process")  # FAULT


def a_misspelt_preprocessor() -> None:
    runnerkit.make("CartPole-v1", preprocessors=["flaten"])  # FAULT


def a_misspelt_postprocessor() -> None:
    runnerkit.make("Pendulum-v1", postprocessors=["clipp"])  # FAULT
