"""The only module that touches tensordict, which has no types: `Any` stays in here. Importing it imports torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tensordict import TensorDict  # type: ignore[import-untyped]

from runnerkit.errors import ArgumentError
from runnerkit.history import ArrayHistory, Block

__all__ = ["TensorDict", "tensordicts"]


def tensordicts(block: Block, reward_dtype: str) -> list[TensorDict]:
    """Return one TensorDict per env of a block."""
    return [_tensordict(ArrayHistory(block, i, length), i, reward_dtype) for i, length in enumerate(block.lengths)]


def _tensordict(history: ArrayHistory[Any, Any], env_index: int, reward_dtype: str) -> TensorDict:
    if not history.next_known.all():
        raise ArgumentError(
            "The vector env did not tell all final observations, which ('next', 'observation') needs. Use "
            "another auto-reset mode, or history='arrays', which marks what is unknown (next_known)."
        )
    steps = [len(history)]
    ended = {"terminated": _flags(history.terminated), "truncated": _flags(history.truncated)}
    reward = torch.from_numpy(history.processed_rewards).unsqueeze(-1).to(getattr(torch, reward_dtype))
    following = {"observation": _tree(history.next_observations, steps), "reward": reward, **ended}
    following["done"] = ended["terminated"] | ended["truncated"]
    episode = np.empty(len(history), np.int64)
    for record in history.episodes:
        episode[record.start : record.start + record.length] = record.episode_index
    columns = {
        "observation": _tree(history.observations, steps),
        "action": _tree(history.actions, steps),
        "next": TensorDict(following, batch_size=steps),
        "episode": torch.from_numpy(episode),
        "env": torch.full(steps, env_index),
        **{key: torch.zeros_like(following["done"]) for key in ("done", "terminated", "truncated")},
    }
    if history.extras:
        columns["extras"] = _tree(dict(history.extras), steps)
    return TensorDict(columns, batch_size=steps)


def _flags(column: Any) -> torch.Tensor:
    return torch.from_numpy(column).unsqueeze(-1)


def _tree(value: Any, steps: list[int]) -> Any:
    if isinstance(value, dict):
        return TensorDict({key: _tree(sub, steps) for key, sub in value.items()}, batch_size=steps)
    if isinstance(value, tuple):
        return TensorDict({str(i): _tree(sub, steps) for i, sub in enumerate(value)}, batch_size=steps)
    return torch.from_numpy(np.asarray(value))
