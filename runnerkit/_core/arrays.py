"""One way to read arrays of any library: NumPy, torch, JAX, CuPy and all others that support `__array__` or DLPack.

For example::

    as_array(torch.ones(3, device="cuda", requires_grad=True))      # array([1., 1., 1.], dtype=float32)
    as_array([1.0])                                                 # None: a list has no dtype of its own
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_array", "brief", "copied", "kind_of", "without_tensors"]


def as_array(value: Any) -> NDArray[Any] | None:
    """Return a NumPy array for an array of any library, maybe over the same memory; None for anything else."""
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "detach"):  # torch: off its graph and its device, which `__array__` would refuse
            return np.asarray(value.detach().cpu())
        if hasattr(value, "__array__"):
            return np.asarray(value)
        return np.from_dlpack(value) if hasattr(value, "__dlpack__") else None
    except Exception:  # libraries differ in how they say that NumPy has no such dtype or device
        return None


def copied(value: Any) -> Any:
    """Return a deep copy in which tensors are arrays, see `without_tensors`."""
    return copy.deepcopy(without_tensors(value))


def without_tensors(value: Any, above: frozenset[int] = frozenset()) -> Any:
    """Return a value with arrays instead of tensors, also inside dicts, lists and tuples, which are then copied.

    `above` are the ids of the containers that the value lies in, as one may contain itself.
    """
    if isinstance(value, (np.ndarray, np.generic)) or id(value) in above:
        return value
    if hasattr(value, "__dlpack__"):
        array = as_array(value)
        return value if array is None else array
    above |= {id(value)}
    if isinstance(value, Mapping):
        read = {key: without_tensors(item, above) for key, item in value.items()}
        return value if all(read[key] is item for key, item in value.items()) else read
    if type(value) in (list, tuple):
        items = [without_tensors(item, above) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else type(value)(items)
    return value


def brief(value: object) -> str:
    """Describe a value in a few words for an error message."""
    array = as_array(value)
    if array is not None:
        return f"{type(value).__name__} of dtype {array.dtype} and shape {array.shape}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '...'}"


def kind_of(value: object) -> str:
    """Describe a batch: its dtype and shape where it is an array, else only its type."""
    array = as_array(value)
    return type(value).__name__ if array is None else f"{array.dtype} of shape {array.shape}"
