"""Values as JSON, and back, without loss: what Python and NumPy have, arrays included, and nothing that needs pickling.

What JSON has stands for itself, but floats that it lacks and dicts whose keys are no texts. Everything else is a dict
with one key that begins with "$": `{"$tuple": [...]}`, `{"$array": [dtype, shape, base64]}`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from gymnasium.spaces import GraphInstance

__all__ = ["decode", "encode", "encode_or_describe", "text_of"]

_KINDS: Final = "biufcSUmM"  # of dtypes that are plain bytes


def encode(value: object) -> Any:
    """Return a value in what JSON has; raises TypeError, which names the kind, if it cannot be read again exactly."""
    return _encode(value, _refuse)


def encode_or_describe(value: object) -> Any:
    """Return a value in what JSON has; what cannot be kept is described: `{"$text": "<Thing at the door>"}`."""
    return _encode(value, _describe)


def decode(document: Any) -> Any:
    """Return the value that `encode` wrote; raises ValueError, TypeError or KeyError where it wrote none.

    What was described only comes back as its text.
    """
    if isinstance(document, list):
        return [decode(part) for part in document]
    if not isinstance(document, dict):
        return document
    if len(document) == 1:
        (key,) = document
        if key.startswith("$"):
            return _DECODERS[key](document[key])
    return {key: decode(part) for key, part in document.items()}


def text_of(value: object) -> str:
    """Return a value, in what JSON has, as one line."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _encode(value: object, otherwise: Callable[[object], Any]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}  # type: ignore[arg-type]
    if kind is list:
        return [_encode(part, otherwise) for part in value]  # type: ignore[attr-defined]
    if kind is tuple:
        return {"$tuple": [_encode(part, otherwise) for part in value]}  # type: ignore[attr-defined]
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode()}  # type: ignore[arg-type]
    if kind is dict:
        return _encode_dict(value, otherwise)  # type: ignore[arg-type]
    if isinstance(value, GraphInstance):
        return {"$graph": [_encode(part, otherwise) for part in value]}
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
        return {"$scalar": [value.dtype.str, base64.b64encode(value.tobytes()).decode()]}
    if kind is np.ndarray and value.dtype.kind in _KINDS:  # type: ignore[attr-defined]
        return _encode_array(value)  # type: ignore[arg-type]
    if kind is np.ndarray and value.dtype == object:  # type: ignore[attr-defined]
        flat = [_encode(part, otherwise) for part in value.reshape(-1).tolist()]  # type: ignore[attr-defined]
        return {"$objects": [list(value.shape), flat]}  # type: ignore[attr-defined]
    return otherwise(value)


def _encode_array(array: np.ndarray[Any, Any]) -> Any:
    return {"$array": [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]}


def _encode_dict(value: Mapping[Any, Any], otherwise: Callable[[object], Any]) -> Any:
    plain = all(type(key) is str for key in value) and not (len(value) == 1 and next(iter(value)).startswith("$"))
    if plain:
        return {key: _encode(part, otherwise) for key, part in value.items()}
    return {"$dict": [[_encode(key, otherwise), _encode(part, otherwise)] for key, part in value.items()]}


def _refuse(value: object) -> Any:
    raise TypeError(f"a value of {type(value).__module__}.{type(value).__qualname__} has no form without pickle")


def _describe(value: object) -> Any:
    text = repr(value)
    return {"$text": text if len(text) <= 200 else f"{text[:197]}..."}


def _array(dtype: str, data: str) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype)
    if kind.kind not in _KINDS:
        raise ValueError(f"no array has the dtype {dtype!r}")
    return np.frombuffer(base64.b64decode(data), kind)


def _objects(shape: list[int], flat: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(flat), object)
    for k, part in enumerate(flat):
        array[k] = decode(part)
    return array.reshape(shape)


_DECODERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "$float": float,
    "$tuple": lambda parts: tuple(decode(part) for part in parts),
    "$bytes": base64.b64decode,
    "$dict": lambda pairs: {decode(key): decode(part) for key, part in pairs},
    "$graph": lambda parts: GraphInstance(*(decode(part) for part in parts)),
    "$scalar": lambda given: _array(*given)[0],
    "$array": lambda given: _array(given[0], given[2]).reshape(given[1]).copy(),
    "$objects": lambda given: _objects(*given),
    "$text": str,
}
