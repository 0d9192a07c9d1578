"""The `torch` format: the columns of `arrays` as torch tensors over the same memory.

Importing this module imports torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import TypeVar, override

from runnerkit._core.spaces import Column, Layout
from runnerkit.errors import MissingDependencyError, SpaceError
from runnerkit.history.block import Block
from runnerkit.history.columns import ColumnHistory
from runnerkit.records import RunSpec

try:
    import torch
except ImportError as _error:
    raise MissingDependencyError(
        "history='torch' needs PyTorch, which is not installed: pip install 'runnerkit[torch]'"
    ) from _error

__all__ = ["TorchFormat", "TorchHistory"]

TensorObsT = TypeVar("TensorObsT", default=torch.Tensor)
TensorActT = TypeVar("TensorActT", default=torch.Tensor)


class TorchHistory(ColumnHistory[TensorObsT, TensorActT, torch.Tensor, torch.Tensor, torch.Tensor]):
    """A history of CPU tensors, with the names and shapes of `ArrayHistory` and without a copy::

        history, *others = runner.rollout(agent, steps=1000)
        rewards = history.rewards.float()       # recorded as float64; most losses need float32

    Nested spaces become dicts and tuples of tensors. Spaces that cannot be stacked become lists.
    """

    @override
    def _array(self, array: Column) -> torch.Tensor:
        return torch.from_numpy(array)


class TorchFormat:
    """The format `torch`: it makes `TorchHistory` and refuses dtypes that torch does not have."""

    def open(self, spec: RunSpec, /) -> TorchRecorder:
        """Return a recorder. Raises SpaceError if torch has no such dtype."""
        _check(Layout(spec.observation_space, "observation"))
        _check(Layout(spec.action_space, "action"))
        _check(Layout(spec.env_action_space, "env action"))
        if spec.options.keep_raw:
            _check(Layout(spec.env_observation_space, "raw observation"))
        return TorchRecorder()


class TorchRecorder:
    """Makes histories of the columns of a block as tensors, without a copy."""

    def finish(self, block: Block, /) -> list[TorchHistory[Any, Any]]:
        """Return one history per env."""
        return [TorchHistory(block, i, length) for i, length in enumerate(block.lengths)]

    def batch(self, block: Block, /) -> TorchHistory[Any, Any]:
        """Return one history of all envs."""
        return TorchHistory(block, slice(None), block.lengths[0])

    def close(self) -> None:
        """Do nothing: the tensors belong to the caller."""


def _check(layout: Layout) -> None:
    for leaf in layout.leaves:
        if leaf.is_object:
            continue
        try:
            torch.from_numpy(np.empty(0, leaf.dtype))
        except (TypeError, ValueError):  # the latter for another byte order
            raise SpaceError(
                f"history='torch' cannot hold {leaf}: torch has no such dtype. Use history='arrays', or a "
                "preprocessor that changes the dtype."
            ) from None
