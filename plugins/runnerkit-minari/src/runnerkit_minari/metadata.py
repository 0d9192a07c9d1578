"""What of an episode's seed and reset options can be an attribute in a dataset."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from runnerkit import Episode

__all__ = ["storable_options", "storable_seed"]

_MOST_BYTES: Final = 60_000  # HDF5 has 64 KiB for all attributes of an episode
_LEAST, _MOST = -(2**63), 2**64 - 1


def storable_seed(seed: int | None) -> int | None:
    """Return the seed; warn, and return None, if it is one of your own schedule and has more than 64 bits."""
    if seed is None or seed <= _MOST:
        return None if seed is None else int(seed)
    warnings.warn(f"A Minari dataset has 64 bits for the seed of an episode; {seed} is left out.", stacklevel=2)
    return None


def storable_options(record: Episode) -> dict[str, object] | None:
    """Return the reset options as the dataset can hold them: numbers, strings, arrays and dicts of these.

    The others are left out with a warning that names them; the rest of the episode is not lost for their sake.
    """
    if record.options is None:
        return None
    left_out: list[str] = []
    options = _storable(record.options, "", left_out)
    if left_out:
        warnings.warn(
            f"A Minari dataset holds options that are numbers, strings, arrays and dicts of these; left out of env "
            f"{record.env_index}, episode {record.episode_index}: {', '.join(left_out)}.",
            stacklevel=2,
        )
    return options


def _storable(options: Mapping[Any, Any], path: str, left_out: list[str]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for key, value in options.items():
        name = f"{path}{key}"
        if not isinstance(key, str) or not key or "/" in key:
            left_out.append(name)
        elif isinstance(value, Mapping):
            kept[key] = _storable(value, f"{name}.", left_out)
        elif _is_attribute(value):
            kept[key] = value.item() if isinstance(value, np.generic) else value
        else:
            left_out.append(name)
    return kept


def _is_attribute(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value and len(value.encode(errors="replace")) < _MOST_BYTES
    if isinstance(value, int):
        return _LEAST <= value <= _MOST
    if isinstance(value, (float, np.generic)):
        return True
    if isinstance(value, (list, tuple)):
        return bool(value) and len({type(item) for item in value}) == 1 and all(map(_is_attribute, value))
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.nbytes < _MOST_BYTES
