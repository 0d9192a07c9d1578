"""Which columns a stream has: one per leaf of each space, and those that every step has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from runnerkit import RunSpec
from runnerkit.errors import ArgumentError, SpaceError

__all__ = ["EXTRAS", "PROCESSED", "ColumnSpec", "extra_columns", "leaves_of", "space_columns"]

EXTRAS: Final = "extras."
"""What the names of the columns begin with that the agent gave."""

PROCESSED: Final = "processed_reward"
"""The column of the rewards after reward processors."""

_ARRAYS: Final = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)
_KINDS: Final = "biuf"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column: its name, and what one of its values is."""

    name: str
    dtype: str
    """As NumPy calls it; "str" for text."""
    shape: tuple[int, ...]
    on_last: bool
    """Whether the row after the last step of an episode has a value here: observations do, actions do not."""


def space_columns(spec: RunSpec) -> list[ColumnSpec]:
    """Return the columns for the spaces of a run, and for processed rewards if there are any.

    Raises SpaceError for a sub-space that Arrow cannot hold.
    """
    columns = [*_columns(spec.observation_space, "observation", on_last=True)]
    columns += _columns(spec.action_space, "action", on_last=False)
    if spec.preprocessed and spec.options.keep_raw:
        columns += _columns(spec.env_observation_space, "raw_observation", on_last=True)
    if spec.postprocessed:
        columns += _columns(spec.env_action_space, "env_action", on_last=False)
    if spec.reward_processed:
        columns.append(ColumnSpec(PROCESSED, "float64", (), on_last=False))
    return columns


def extra_columns(extras: Mapping[str, NDArray[Any]]) -> list[ColumnSpec]:
    """Return the columns for what the agent gave. Raises ArgumentError for what Arrow cannot hold."""
    for name, column in extras.items():
        if 0 in column.shape[1:]:
            raise ArgumentError(f"history='arrow' cannot hold the extra column {name!r}: a value has no numbers in it.")
    return [
        ColumnSpec(f"{EXTRAS}{name}", column.dtype.name, column.shape[1:], on_last=False)
        for name, column in extras.items()
    ]


def leaves_of(tree: Any) -> Iterator[NDArray[Any] | list[Any]]:
    """Return the columns of a batch, in the order of `space_columns`."""
    if isinstance(tree, dict):
        for sub in tree.values():
            yield from leaves_of(sub)
    elif isinstance(tree, tuple):
        for sub in tree:
            yield from leaves_of(sub)
    else:
        yield tree


def _columns(space: Space[Any], name: str, *, on_last: bool) -> Iterator[ColumnSpec]:
    if isinstance(space, spaces.Dict):
        for key, sub in space.spaces.items():
            if "." in str(key):  # two keys could make one name
                raise _refusal(name, space, f"the key {key!r} has a dot, which separates the keys in names of columns")
            yield from _columns(sub, f"{name}.{key}", on_last=on_last)
    elif isinstance(space, spaces.Tuple):
        for i, sub in enumerate(space.spaces):
            yield from _columns(sub, f"{name}.{i}", on_last=on_last)
    elif isinstance(space, spaces.Text):
        yield ColumnSpec(name, "str", (), on_last)
    elif isinstance(space, _ARRAYS):
        dtype = np.dtype(space.dtype)
        if dtype.kind not in _KINDS or dtype.itemsize > 8 or not dtype.isnative:
            raise _refusal(name, space, f"Arrow has no numbers of dtype {dtype.str}")
        if 0 in (space.shape or ()):
            raise _refusal(name, space, "a value has no numbers in it")
        yield ColumnSpec(name, dtype.name, tuple(space.shape or ()), on_last)
    else:
        raise _refusal(name, space, "a stream holds Box, Discrete, MultiBinary, MultiDiscrete, Text, Dict and Tuple")


def _refusal(path: str, space: Space[Any], why: str) -> SpaceError:
    return SpaceError(
        f"history='arrow' cannot hold {path}, {space}: {why}. Use history='arrays', or a preprocessor that changes it."
    )
