"""Extra columns: what an agent gives beside its actions, one array `[T, N, *shape]` per name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runnerkit._core.spaces import Column
from runnerkit.errors import ArgumentError

__all__ = ["allocated", "check_same"]


def allocated(like: Mapping[str, Column], rows: int, n_envs: int) -> dict[str, Column]:
    """Return columns of the names, dtypes and shapes of others, with so many rows and envs."""
    return {name: np.zeros((rows, n_envs, *column.shape[2:]), column.dtype) for name, column in like.items()}


def check_same(some: Mapping[str, Column], others: Mapping[str, Column]) -> None:
    """Raise ArgumentError unless both have the same names, dtypes and shapes, so that they can be put together."""
    ours, theirs = _kinds(some), _kinds(others)
    if ours != theirs:
        raise ArgumentError(
            "Histories can only be put together if their agents gave the same extra columns, not "
            f"{_said(theirs)} and {_said(ours)}."
        )


def _kinds(extras: Mapping[str, Column]) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    return {name: (column.dtype, column.shape[2:]) for name, column in extras.items()}


def _said(kinds: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> str:
    said = [f"{name!r} ({dtype} of shape {shape} per row)" for name, (dtype, shape) in kinds.items()]
    return ", ".join(said) or "none"
