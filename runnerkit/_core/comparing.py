"""Compare values bit by bit, and say where they differ."""

from __future__ import annotations

import enum
import importlib
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["difference", "digest", "exact", "row_of"]


class Exact(NamedTuple):
    """An array in a form that is equal for two arrays if and only if dtype, shape and bytes are."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def exact(value: Any) -> Any:
    """Return something that is equal for two values if and only if their dtypes, shapes and bytes are.

    NumPy scalars equal arrays of shape (), tensors equal arrays, Python numbers are int64 and float64. Objects are
    compared by their class and attributes.
    """
    if value is None or isinstance(value, (str, bytes)):
        return value
    if isinstance(value, Mapping):
        return {key: exact(sub) for key, sub in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [exact(sub) for sub in value]
    try:
        array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    except Exception:
        return _object(value)
    if array.dtype != object:
        return Exact(str(array.dtype), array.shape, array.tobytes())
    return ("array", [exact(sub) for sub in array.tolist()]) if array.ndim else _object(value)


def _object(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return repr(value)
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()) if hasattr(value, name)]
    attributes = {**{name: getattr(value, name) for name in slots}, **getattr(value, "__dict__", {})}
    if attributes:
        return type(value).__name__, {name: exact(sub) for name, sub in attributes.items()}
    cloudpickle: Any = importlib.import_module("cloudpickle")  # it has no types
    return type(value).__name__, cloudpickle.dumps(value)


def digest(value: Any) -> int:
    """Return 32 bits that depend on every bit of a value, its dtypes and shapes."""
    return zlib.crc32(repr(exact(value)).encode())


def row_of(batch: Any, t: int) -> Any:
    """Return row t of a batch: of each array in a dict or tuple, an item of a list."""
    if isinstance(batch, dict):
        return {key: row_of(sub, t) for key, sub in batch.items()}
    if isinstance(batch, tuple):
        return tuple(row_of(sub, t) for sub in batch)
    return batch[t]


def difference(one: Any, other: Any, place: str = "") -> str:
    """Return where two results of `exact` first differ, and both values; empty if they are equal."""
    if one == other:
        return ""
    if isinstance(one, Exact) and isinstance(other, Exact):
        return _unequal_arrays(one, other, place or "the value")
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next(filter(None, (difference(one[key], other[key], _at(place, key)) for key in one)), "")
    if _is_list(one) and _is_list(other):
        if len(one) != len(other):
            return f"{place or 'the value'} has {len(one)} items the first time and {len(other)} the second"
        pairs = enumerate(zip(one, other, strict=True))
        return next(filter(None, (difference(a, b, f"{place}[{k}]") for k, (a, b) in pairs)), "")
    if isinstance(one, tuple) and isinstance(other, tuple) and one[:1] == other[:1]:
        return difference(one[1], other[1], place)
    return f"{place or 'the value'} is {_short(one)} the first time and {_short(other)} the second"


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _at(place: str, key: object) -> str:
    if isinstance(key, str) and key.isidentifier():
        return f"{place}.{key}" if place else key
    return f"{place}[{key!r}]"


def _unequal_arrays(one: Exact, other: Exact, place: str) -> str:
    if one[:2] != other[:2]:
        return f"{place} is {_kind(one)} the first time and {_kind(other)} the second"
    pair = [np.frombuffer(exact.data, exact.dtype).reshape(exact.shape) for exact in (one, other)]
    where = np.argwhere(pair[0] != pair[1])
    if not len(where):  # bits that compare as equal: -0.0, or another NaN
        return f"{place} has other bits the second time, such as -0.0 for 0.0"
    index = tuple(where[0].tolist())
    a, b = (array[index].item() for array in pair)
    return f"{place}{list(index) if index else ''} is {a} the first time and {b} the second"


def _kind(value: Exact) -> str:
    return value.dtype if value.shape == () else f"{value.dtype} of shape {value.shape}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
