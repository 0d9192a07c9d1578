"""Spaces as JSON and back, for files that are read without unpickling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit.errors import SpaceError

__all__ = ["OtherSpace", "space_from_json", "space_to_json"]


class OtherSpace(spaces.Space[Any]):
    """Stands for a space that Gymnasium does not have, of which a file tells the name of the class alone."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name: str = str(name)

    @override
    def __repr__(self) -> str:
        return f"<a space of the class {self.name}>"

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, OtherSpace) and other.name == self.name

    @override
    def __hash__(self) -> int:
        return hash(self.name)


def space_to_json(space: spaces.Space[Any], path: str, *, samples: bool = True) -> dict[str, Any]:
    """Return a space as dicts, lists, numbers and strings; raises SpaceError, which names the sub-space.

    Where no `samples` of it are to be written, a sub-space of any other kind is named instead.
    """
    kind = type(space)
    if kind is spaces.Box and isinstance(space, spaces.Box):
        bounds = {"low": _numbers(space.low), "high": _numbers(space.high)}
        return {"type": "Box", "dtype": str(space.dtype), "shape": list(space.shape), **bounds}
    if kind is spaces.Discrete and isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
    if kind is spaces.MultiBinary and isinstance(space, spaces.MultiBinary):
        n: object = space.n
        return {"type": "MultiBinary", "n": int(n) if isinstance(n, int | np.integer) else list(space.shape)}
    if kind is spaces.MultiDiscrete and isinstance(space, spaces.MultiDiscrete):
        return {
            "type": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": space.start.tolist(),
            "dtype": str(space.dtype),
        }
    if kind is spaces.Dict and isinstance(space, spaces.Dict):
        items = space.spaces.items()
        parts = [[key, space_to_json(part, f"{path}[{key!r}]", samples=samples)] for key, part in items]
        return {"type": "Dict", "parts": parts}
    if kind is spaces.Tuple and isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "parts": _parts_to_json(space.spaces, path, samples)}
    return _objects_to_json(space, path, samples)


def _parts_to_json(parts: Sequence[spaces.Space[Any]], path: str, samples: bool) -> list[dict[str, Any]]:
    return [space_to_json(part, f"{path}[{i}]", samples=samples) for i, part in enumerate(parts)]


def _objects_to_json(space: spaces.Space[Any], path: str, samples: bool) -> dict[str, Any]:
    """Return a space whose samples are objects."""
    kind = type(space)
    if kind is spaces.Text and isinstance(space, spaces.Text):
        limits = {"min_length": int(space.min_length), "max_length": int(space.max_length)}
        return {"type": "Text", **limits, "charset": "".join(space.character_list)}
    if kind is spaces.Sequence and isinstance(space, spaces.Sequence):
        part = space_to_json(space.feature_space, f"{path}[...]", samples=samples)
        return {"type": "Sequence", "part": part, "stack": bool(space.stack)}
    if kind is spaces.Graph and isinstance(space, spaces.Graph):
        edges = None if space.edge_space is None else space_to_json(space.edge_space, f"{path}.edges", samples=samples)
        nodes = space_to_json(space.node_space, f"{path}.nodes", samples=samples)
        return {"type": "Graph", "nodes": nodes, "edges": edges}
    if kind is spaces.OneOf and isinstance(space, spaces.OneOf):
        return {"type": "OneOf", "parts": _parts_to_json(space.spaces, path, samples)}
    name = f"{kind.__module__}.{kind.__qualname__}"
    if samples:
        raise SpaceError(
            f"history='npz' cannot hold {path}, which is {space}: it holds the spaces of Gymnasium, but no "
            f"{name}. Use a preprocessor that converts it to one of these, without keep_raw, or history='arrays'."
        )
    return {"type": "other", "name": name}


def space_from_json(document: Mapping[str, Any]) -> spaces.Space[Any]:
    """Return the space that `space_to_json` wrote; raises KeyError, TypeError or ValueError for anything else."""
    kind = document["type"]
    if kind == "Box":
        dtype, shape = np.dtype(document["dtype"]), tuple(document["shape"])
        low, high = (_array(document[name], dtype, shape) for name in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(document["n"], start=document["start"], dtype=np.dtype(document["dtype"]).type)
    if kind == "MultiBinary":
        return spaces.MultiBinary(document["n"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(document["nvec"], dtype=np.dtype(document["dtype"]).type, start=document["start"])
    if kind == "Dict":
        return spaces.Dict([(key, space_from_json(part)) for key, part in document["parts"]])  # in their own order
    if kind == "Tuple":
        return spaces.Tuple([space_from_json(part) for part in document["parts"]])
    if kind == "Text":
        return spaces.Text(document["max_length"], min_length=document["min_length"], charset=document["charset"])
    if kind == "Sequence":
        return spaces.Sequence(space_from_json(document["part"]), stack=document["stack"])
    if kind == "Graph":
        edges = document["edges"]
        return spaces.Graph(space_from_json(document["nodes"]), None if edges is None else space_from_json(edges))
    if kind == "OneOf":
        return spaces.OneOf([space_from_json(part) for part in document["parts"]])
    if kind == "other":
        return OtherSpace(document["name"])
    raise ValueError(f"no space is called {kind!r}")


def _numbers(bound: NDArray[Any]) -> Any:
    """Return a bound as one number if all are equal, else as a list. Infinity becomes a string, as JSON lacks it."""
    flat = bound.reshape(-1)
    texts = [value if np.isfinite(value) else str(value) for value in flat.tolist()]
    return texts[0] if texts and (flat == flat[0]).all() else texts


def _array(numbers: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    many = isinstance(numbers, list)
    flat = [dtype.type(number) for number in (numbers if many else [numbers])]
    return np.array(flat, dtype).reshape(shape) if many else np.full(shape, flat[0], dtype)
