"""runnerkit-tensordict conforms: one test for each check of RunnerKit's kit."""

from __future__ import annotations

from typing import Any

import runnerkit_tensordict
import torch
from runnerkit_tensordict import TensorDictFormat

from runnerkit.testing import Check, PartOptions, parametrize_with_checks


def read(history: Any) -> dict[str, Any]:
    """Return the columns of a history, nested as its spaces are."""
    following = history["next"]
    return {
        "observations": tree(history["observation"]),
        "actions": tree(history["action"]),
        "rewards": following["reward"][:, 0].numpy(),
        "terminated": following["terminated"][:, 0].numpy(),
        "truncated": following["truncated"][:, 0].numpy(),
        "next_observations": tree(following["observation"]),
    }


def tree(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy()
    parts = {key: tree(sub) for key, sub in value.items()}
    return tuple(parts[str(k)] for k in range(len(parts))) if all(key.isdigit() for key in parts) else parts


@parametrize_with_checks(
    runnerkit_tensordict,
    PartOptions(read={"tensordict": read}, make={"tensordict": lambda: TensorDictFormat("float64")}),
)
def test_it_conforms(check: Check) -> None:
    check()
