"""The built-in preprocessors without state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from gymnasium.spaces.utils import flatten, flatten_space
from numpy.typing import NDArray

from runnerkit._core.spaces import Column, Layout, Leaf
from runnerkit.errors import SpaceError
from runnerkit.processors.base import BoundOnce

__all__ = ["Flatten", "ScaleImage"]


class Flatten(BoundOnce):
    """Preprocessor `flatten`: any space that Gymnasium can flatten becomes one vector per env.

    It works like `gymnasium.spaces.utils.flatten`: Discrete becomes one-hot; the parts of Dict and Tuple are
    concatenated. The output is `[n, d]`, of the dtype of the flattened space.
    """

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the flattened space. Raises SpaceError if it has no fixed length."""
        flat = _flattened(space)
        self._bind_once(space, "flatten")
        self._layout = Layout(space, "observation")
        self._space = space
        self._dtype = flat.dtype
        self._parts = [_part_of(leaf) for leaf in self._layout.leaves]
        return flat

    def __call__(self, observations: Any, /) -> NDArray[Any]:
        """Return `[n, d]`."""
        columns: list[Any] = self._layout.split(observations)
        parts = [part(column) for part, column in zip(self._parts, columns, strict=True) if part is not None]
        if len(parts) < len(columns):
            return self._by_row(columns)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts, axis=1).astype(self._dtype, copy=False)

    def _by_row(self, columns: Sequence[Any]) -> NDArray[Any]:
        rows = self._layout.rows(columns, len(columns[0]))
        flat: list[NDArray[Any]] = [np.asarray(flatten(self._space, row)) for row in rows]
        return np.stack(flat).astype(self._dtype, copy=False)


def _part_of(leaf: Leaf) -> Callable[[Column], NDArray[Any]] | None:
    """Return what flattens a batch of one leaf at once; None for the rare ones, which Gymnasium flattens row by row."""
    space = leaf.space
    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        return _as_vectors
    if isinstance(space, spaces.Discrete):
        return functools.partial(_one_hot, start=int(space.start), n=int(space.n), dtype=leaf.dtype)
    return None


def _as_vectors(column: Column) -> NDArray[Any]:
    return np.array(column).reshape(len(column), -1 if column.size else int(np.prod(column.shape[1:])))


def _one_hot(column: Column, *, start: int, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    vectors = np.zeros((len(column), n), dtype)
    vectors[np.arange(len(column)), column.astype(np.int64) - start] = 1
    return vectors


class ScaleImage(BoundOnce):
    """Preprocessor `scale-image`: integer images, usually uint8 in [0, 255], become float32 in [0, 1]."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the float32 space of the same shape. Raises SpaceError unless the space is a Box of integers."""
        if not isinstance(space, spaces.Box) or space.dtype.kind not in "iu":
            raise SpaceError(f"scale-image needs a Box of integers such as uint8, not {space}. Leave it out.")
        self._bind_once(space, "scale-image")
        self._low = space.low.astype(np.float32)
        self._range = np.maximum(space.high.astype(np.float32) - self._low, 1)
        return spaces.Box(0.0, 1.0, space.shape, np.float32)

    def __call__(self, observations: NDArray[Any], /) -> NDArray[np.float32]:
        """Return float32 of the same shape."""
        scaled: NDArray[Any] = (observations.astype(np.float32) - self._low) / self._range
        return scaled


def _flattened(space: Space[Any]) -> spaces.Box:
    try:
        flat = flatten_space(space) if space.is_np_flattenable else None
    except Exception as error:  # whatever Gymnasium makes of a space that it cannot flatten
        raise _refusal(space) from error
    if not isinstance(flat, spaces.Box):
        raise _refusal(space)
    return flat


def _refusal(space: Space[Any]) -> SpaceError:
    where, part = _obstacle(space, "")
    what, way_out = f"{space}", "Leave flatten out."
    if where:
        what = f"observation{where} of {space}, which is {part},"
        way_out = "Leave it out, with a wrapper or with a preprocessor before flatten; or leave flatten out."
    return SpaceError(f"flatten cannot make {what} a vector of fixed length. {way_out}")


def _obstacle(space: Space[Any], path: str) -> tuple[str, Space[Any]]:
    """Return where in a space the first part is that cannot be flattened, and that part."""
    parts: Iterable[tuple[object, Space[Any]]] = ()
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
    return next((_obstacle(part, f"{path}[{key!r}]") for key, part in parts if not _can_be_flat(part)), (path, space))


def _can_be_flat(space: Space[Any]) -> bool:
    try:
        return bool(space.is_np_flattenable)
    except NotImplementedError:  # of a space of another library
        return False
