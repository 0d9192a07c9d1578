"""Which spaces a Minari dataset can hold, and give back as they were."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gymnasium import Space, spaces

from runnerkit.errors import SpaceError

__all__ = ["check_space"]

_ARRAYS: Final = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)
_WAY_OUT: Final = "Use history='arrays', or an env wrapper or a preprocessor that changes the space."


def check_space(space: Space[Any], path: str, *, data_format: str) -> None:
    """Raise SpaceError, naming the sub-space, unless Minari gives samples of the space back unchanged."""
    if isinstance(space, spaces.Dict):
        _check_keys(space, path)
        for key, sub in space.spaces.items():
            check_space(sub, f"{path}[{key!r}]", data_format=data_format)
    elif isinstance(space, spaces.Tuple):
        for i, sub in enumerate(space.spaces):
            check_space(sub, f"{path}[{i}]", data_format=data_format)
    elif isinstance(space, spaces.Text):
        _check_text(space, path)
    elif not isinstance(space, _ARRAYS):
        raise _refusal(path, space, "Minari holds Box, Discrete, MultiBinary, MultiDiscrete, Text, Dict and Tuple")
    if data_format != "hdf5" and _is_empty(space):
        raise _refusal(path, space, f"data_format={data_format!r} has no columns without values, 'hdf5' has")


def _check_keys(space: spaces.Dict, path: str) -> None:
    keys: Iterable[object] = space.spaces  # Gymnasium takes keys that are no str, whatever its annotation says
    for key in keys:
        # keys become HDF5 paths and JSON keys
        if not isinstance(key, str) or not key or key == "." or "/" in key or "\0" in key:
            raise _refusal(path, space, f"the key {key!r} cannot be the name of a column (a str without '/')")


def _check_text(space: spaces.Text, path: str) -> None:
    try:
        "".join(space.characters).encode()
    except UnicodeEncodeError:
        raise _refusal(path, space, "its charset has characters that UTF-8 does not have") from None
    if "\0" in space.characters:
        raise _refusal(path, space, "a string with the character NUL would be cut there")


def _is_empty(space: Space[Any]) -> bool:
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        return not len(space.spaces)
    return 0 in (space.shape or ())


def _refusal(path: str, space: Space[Any], why: str) -> SpaceError:
    return SpaceError(f"history='minari' cannot hold {path}, {space}: {why}. {_WAY_OUT}")
