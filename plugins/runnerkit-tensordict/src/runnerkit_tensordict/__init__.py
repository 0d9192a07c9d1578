"""TensorDicts as a history format of RunnerKit, with the keys that TorchRL uses::

    with runnerkit.make("CartPole-v1", n_envs=8, seed=0, history="tensordict") as runner:
        for history in runner.rollout(agent, steps=1000):
            replay_buffer.extend(history)

tensordict and torch are imported when the first runner with this format is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runnerkit import HistoryKey
from runnerkit_tensordict.format import TensorDictFormat

if TYPE_CHECKING:
    from runnerkit_tensordict.convert import TensorDict

__all__ = ["TENSORDICT", "TensorDictFormat"]

TENSORDICT: HistoryKey[TensorDict] = HistoryKey("tensordict")
"""The name of the format, for type checkers: `runnerkit.make(..., history=TENSORDICT)`."""
