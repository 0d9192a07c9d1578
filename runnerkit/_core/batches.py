"""Read what an agent or a processor returned, as one checked array per leaf of its space.

Reading is strict, since the result is recorded and sent to envs: the number of rows, the shape, the dtype and, for
actions, the bounds must fit. Arrays, torch tensors and lists of either are accepted. The caller may keep the result.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from runnerkit._core.answers import PAIR, is_pair, split_answer
from runnerkit._core.arrays import as_array
from runnerkit._core.spaces import Column, Layout, Leaf, MisfitError

__all__ = ["BatchReader"]

_Read: TypeAlias = Callable[[Any, int], Column]
_Inside: TypeAlias = Callable[[Column], bool]

# Up to here a Python set is faster than NumPy's reductions, which take a microsecond to start.
_FEW = 128
_MANY_ACTIONS = 4096


class BatchReader:
    """Reads batches of one space.

    For example::

        reader = BatchReader(layout, bounded=True)
        columns = reader(result, n)     # [n, *shape] per leaf; raises MisfitError, with the row where known
    """

    def __init__(self, layout: Layout, *, bounded: bool) -> None:
        self._layout: Layout = layout
        self._reads: list[_Read] = [_reader(leaf, bounded) for leaf in layout.leaves]
        self.read_single: _Read | None = self._reads[0] if layout.is_single else None
        """Reads a batch of a space that is a leaf, where a microsecond counts."""

    def __call__(self, result: object, n: int) -> list[Column]:
        """Return one array per leaf for a batch of n rows."""
        if self.read_single is not None:
            return [self.read_single(result, n)]
        if isinstance(result, list):
            result = self._transpose(result, n)
        try:
            values = self._layout.split(result)
        except MisfitError as error:
            _, extras = split_answer(self._layout, result)
            raise error if extras is None else MisfitError(f"{self._layout.name} must be a batch, not {PAIR}") from None
        return [read(value, n) for read, value in zip(self._reads, values, strict=True)]

    def _transpose(self, samples: list[object], n: int) -> object:
        """Turn a list of n samples of a Dict or Tuple space into a batch."""
        if len(samples) != n:
            raise MisfitError(f"{self._layout.name} must have {n} rows, one per active env, not {len(samples)}")
        by_row = []
        for row, sample in enumerate(samples):
            try:
                by_row.append(self._layout.split(sample))
            except MisfitError as error:
                raise MisfitError(str(error), row) from None
        return self._layout.join([list(values) for values in zip(*by_row, strict=True)])


def _reader(leaf: Leaf, bounded: bool) -> _Read:
    if leaf.is_object:
        return _object_reader(leaf, bounded)
    careful = _array_reader(leaf, bounded)
    if bounded and isinstance(leaf.space, spaces.Discrete) and leaf.space.n <= _MANY_ACTIONS:
        return _discrete_reader(leaf.space, leaf.dtype, careful)
    return careful


def _discrete_reader(space: spaces.Discrete, dtype: np.dtype[Any], careful: _Read) -> _Read:
    """Accept valid batches in a fast way, as nearly all are; half a microsecond is a tenth of a light env's step.

    The accepted array is the agent's own, without a copy; it is written to the block before the agent acts again.
    """
    members = frozenset(range(int(space.start), int(space.start) + int(space.n)))

    def read(value: Any, n: int) -> Column:
        if type(value) is np.ndarray and value.dtype == dtype and value.shape == (n,) and n <= _FEW:
            column: Column = value
            if members.issuperset(column.tolist()):
                return column
        return careful(value, n)

    return read


def _array_reader(leaf: Leaf, bounded: bool) -> _Read:
    inside = _inside(leaf) if bounded else None
    row_shape, dtype = leaf.shape, leaf.dtype
    shape: tuple[int, ...] = (0, *row_shape)

    def read(value: Any, n: int) -> Column:
        nonlocal shape
        if shape[0] != n:  # batches keep their size, as a rule
            shape = (n, *row_shape)
        array = value.copy() if type(value) is np.ndarray else _to_array(leaf, value, shape)
        if array.shape != shape:
            raise MisfitError(_usual_mistake(leaf, value, shape) or _wrong_shape(leaf, array, n))
        if array.dtype != dtype:
            _check_kind(leaf, array)
            if inside is not None and dtype.kind in "iu" and not inside(array):
                raise _outside(leaf, array, inside)  # before the cast can wrap it around
            with np.errstate(over="ignore"):  # to infinity, which the bounds refuse
                array = array.astype(dtype)
        if inside is not None and not inside(array):
            raise _outside(leaf, array, inside)
        return array

    return read


def _to_array(leaf: Leaf, given: Any, shape: tuple[int, ...]) -> Column:
    value = _without_tensors(leaf, given)
    try:
        return np.array(value)
    except ValueError as error:
        mistake = _usual_mistake(leaf, given, shape)
        raise MisfitError(mistake or f"{leaf.path} must be a rectangular batch: {error}".rstrip(".")) from None


def _usual_mistake(leaf: Leaf, value: Any, shape: tuple[int, ...]) -> str:
    """Return what is wrong with a value that is not a batch at all; empty if that is not known."""
    wanted = f"{leaf.path} must be a batch of shape {shape}, not"
    if value is None:
        return f"{wanted} None (is a return missing?)"
    if isinstance(value, (str, bytes, dict)):
        return f"{wanted} a {type(value).__name__}"
    if is_pair(value):
        return f"{wanted} {PAIR}"
    if isinstance(value, tuple) and value and _has_shape(leaf, value[0], shape):
        return f"{wanted} a tuple of {len(value)}. Its first item fits: return that alone"
    return ""


def _has_shape(leaf: Leaf, value: Any, shape: tuple[int, ...]) -> bool:
    try:
        return bool(np.shape(_without_tensors(leaf, value)) == shape)
    except (ValueError, MisfitError):
        return False


def _without_tensors(leaf: Leaf, value: Any) -> Any:
    """Return arrays for tensors, also for those in lists, without importing torch."""
    if isinstance(value, (list, tuple)):
        return [_without_tensors(leaf, item) for item in value]
    if not hasattr(value, "__dlpack__") and not hasattr(value, "detach"):
        return value
    array = as_array(value)
    if array is None:  # NumPy has no bfloat16
        given = getattr(value, "dtype", type(value).__name__)
        raise MisfitError(f"{leaf.path} must be a tensor of dtype {leaf.dtype}, not {given}, which NumPy cannot read")
    return array


def _wrong_shape(leaf: Leaf, array: Column, n: int) -> str:
    want = (n, *leaf.shape)
    if array.ndim and array.shape[0] != n and array.shape[1:] == leaf.shape:
        return f"{leaf.path} must have {n} rows, one per active env, not {array.shape[0]}"
    return f"{leaf.path} must be a batch of shape {want}, not {array.shape}"


def _readable_kinds(leaf: Leaf) -> str:
    """Return the kinds of dtypes that an array for this leaf may have."""
    kinds = {"f": "fiu", "b": "b", "i": "iu", "u": "iu"}.get(leaf.dtype.kind, leaf.dtype.kind)
    return kinds + "b" if isinstance(leaf.space, spaces.MultiBinary) else kinds


def _check_kind(leaf: Leaf, array: Column) -> None:
    if array.dtype.kind not in _readable_kinds(leaf):
        help_ = ": .astype(np.int64) would help" if array.dtype.kind == "b" and leaf.dtype.kind in "iu" else ""
        raise MisfitError(f"{leaf.path} must be of dtype {leaf.dtype}, not {array.dtype}{help_}")


def _outside(leaf: Leaf, array: Column, inside: _Inside) -> MisfitError:
    row = next(r for r in range(len(array)) if not inside(array[r : r + 1]))
    value = array[row]
    given = "NaN" if array.dtype.kind == "f" and np.isnan(value).any() else f"{value!s}"
    return MisfitError(f"{leaf.path} must lie in {leaf.space}, not be {given}", row)


def _inside(leaf: Leaf) -> _Inside:
    """Return a test of whether all of a batch lies inside the space."""
    space = leaf.space
    if isinstance(space, spaces.Discrete):
        least, most = int(space.start), int(space.start) + int(space.n) - 1
        return lambda a: least <= int(a.min()) and int(a.max()) <= most
    if isinstance(space, spaces.MultiDiscrete):
        low, high = space.start, space.start + space.nvec - 1
        return lambda a: bool(((a >= low) & (a <= high)).all())
    if isinstance(space, spaces.MultiBinary):
        return lambda a: bool(((a == 0) | (a == 1)).all())
    assert isinstance(space, spaces.Box)
    lower, upper = space.low, space.high
    return lambda a: bool(((a >= lower) & (a <= upper)).all())  # not for NaN


def _object_reader(leaf: Leaf, bounded: bool) -> _Read:
    def read(value: object, n: int) -> Column:
        if not isinstance(value, (list, tuple, np.ndarray)):
            raise MisfitError(f"{leaf.path} must be a list of {n} samples of {leaf.space}, not {type(value).__name__}")
        if len(value) != n:
            raise MisfitError(f"{leaf.path} must have {n} rows, one per active env, not {len(value)}")
        column = np.empty(n, object)
        for row, sample in enumerate(value):
            if bounded and not _contains(leaf, sample):
                raise MisfitError(f"{leaf.path} must lie in {leaf.space}, not be {sample!r}", row)
            column[row] = copy.deepcopy(sample)
        return column

    return read


def _contains(leaf: Leaf, sample: object) -> bool:
    try:
        return leaf.space.contains(sample)
    except Exception:  # spaces differ in how they meet what they do not expect
        return False
