"""Any Gymnasium space as flat columns, and back.

A **layout** splits a space into its **leaves**: one array column for each Box, Discrete, MultiBinary and
MultiDiscrete, one object column for each of the rest (Text, Graph, Sequence, OneOf and spaces of your own).
Dict and Tuple, nested as deep as you like, only say how leaves are put together::

    layout = Layout(env.observation_space, "observation")
    layout.join(layout.split(sample))       # the same sample again
    layout.join([column[t] for column in columns])
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import Any, Final, Protocol, Self, TypeAlias, TypeVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit._core.arrays import as_array, brief

__all__ = [
    "Column",
    "Layout",
    "Leaf",
    "MisfitError",
    "RowWriter",
    "Rows",
    "ScalarRows",
    "StrictRows",
    "Tree",
    "Write",
    "put_rows",
]

T = TypeVar("T")

_FEW_ROWS: Final = 64

Column: TypeAlias = NDArray[Any]
"""One leaf over rows and envs: `[rows, n_envs, *shape]`, of dtype object for object leaves."""

Tree: TypeAlias = "T | dict[str, Tree[T]] | tuple[Tree[T], ...]"
"""Values arranged as the space is: a dict for Dict, a tuple for Tuple, the value itself for a leaf."""

Rows: TypeAlias = "Sequence[Any] | NDArray[Any]"
"""A batch, row by row: `rows[i]` is the sample of row i."""

Write: TypeAlias = Callable[[int, int, object], None]
"""write(row, env_index, sample): copy a sample into the columns; raises MisfitError."""

_Node: TypeAlias = "int | dict[str, _Node] | tuple[_Node, ...]"

_FORMATS = "?bBhHiIlLqQfd"  # the dtypes that memoryviews can write
_ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)


class MisfitError(Exception):
    """A value that does not fit its space. Its text names the sub-space; `row` is the row of a batch."""

    def __init__(self, message: str, row: int | None = None) -> None:
        self.row: int | None = row
        super().__init__(message)


class Leaf:
    """One column of a space: where it stands in the space (`path`), its dtype and the shape of one sample."""

    __slots__ = ("dtype", "is_object", "is_scalar_box", "nbytes", "path", "shape", "space")

    def __init__(self, path: str, space: spaces.Space[Any]) -> None:
        self.path: str = path
        self.space: spaces.Space[Any] = space
        self.is_object: bool = not isinstance(space, _ARRAYS)
        self.dtype: np.dtype[Any] = np.dtype(object) if self.is_object else np.dtype(space.dtype)
        self.shape: tuple[int, ...] = () if self.is_object else tuple(space.shape or ())
        self.nbytes: int = self.dtype.itemsize * int(np.prod(self.shape))
        """Bytes of one sample; an object counts as the pointer that its column holds."""
        self.is_scalar_box: bool = isinstance(space, spaces.Box) and not self.shape
        """Whether it is a Box of shape (): NumPy's items are scalars then, but Gymnasium's samples are arrays."""

    @override
    def __str__(self) -> str:
        if self.is_object:
            return f"{self.path}: a sample of {self.space}"
        return f"{self.path}: {self.dtype} of shape {self.shape}"

    def as_sample(self, value: Any) -> Any:
        """Return an item of a column as the space samples it: a copy, and an array where the space is a Box."""
        return np.array(value) if self.is_scalar_box else _own(value)

    def allocate(self, *lead: int) -> Column:
        """Return an uninitialised column with the given leading dimensions."""
        return np.empty((*lead, *self.shape), self.dtype)


class Layout:
    """How a space is laid out in columns.

    `leaves` are in the order of the space (Dict: of its keys); `name` is what paths in errors begin with.
    """

    def __init__(self, space: spaces.Space[Any], name: str) -> None:
        self.space: spaces.Space[Any] = space
        self.name: str = name
        found: list[Leaf] = []
        self._node: _Node = _walk(space, name, found)
        self.leaves: tuple[Leaf, ...] = tuple(found)
        self.is_single: bool = self._node == 0 and len(found) == 1
        """Whether the space is itself a leaf, so that a sample is the value of its only column."""
        self.is_array: bool = self.is_single and not found[0].is_object
        """Whether a batch is one array."""
        self.kept_sizes: tuple[int, ...] = tuple(1 if leaf.is_object else leaf.nbytes for leaf in found)
        """How long one sample of each leaf is, in a list of objects or in bytes."""

    @property
    def nbytes(self) -> int:
        """Bytes of one sample; an object counts as the pointer that its column holds."""
        return sum(leaf.nbytes for leaf in self.leaves)

    def join(self, values: Sequence[T]) -> Tree[T]:
        """Arrange one value per leaf as the space does."""
        return _join(self._node, values)

    def split(self, sample: object) -> list[object]:
        """Split a sample, or a batch of the same structure, into one value per leaf. Raises MisfitError."""
        values: list[object] = []
        _split(self._node, sample, self.name, values)
        return values

    def allocate(self, *lead: int) -> list[Column]:
        """Return one uninitialised column per leaf."""
        return [leaf.allocate(*lead) for leaf in self.leaves]

    def batch(self, columns: Sequence[Column], index: Any) -> object:
        """Return a copy of the rows that `index` selects, as a batch: objects as a list."""
        if self.is_array:
            return columns[0][index].copy()
        return self.present([_own(column[index]) for column in columns])

    def present(self, values: Sequence[Column]) -> object:
        """Arrange one array per leaf as a batch, without a copy; object columns become lists."""
        if self.is_single:
            leaf = self.leaves[0]
            return values[0].tolist() if leaf.is_object else values[0]
        return self.join([v.tolist() if leaf.is_object else v for leaf, v in zip(self.leaves, values, strict=True)])

    def sample(self, columns: Sequence[Column], index: tuple[int, ...]) -> object:
        """Return one sample as a copy: arrays, NumPy scalars where the shape is (), objects as they are."""
        return self.own([column[index] for column in columns])

    def own(self, values: Sequence[Any]) -> object:
        """Arrange copies of one value per leaf as the space does."""
        return self.join([_own(value) for value in values])

    def stack(self, samples: Sequence[Sequence[Any]]) -> list[Column]:
        """Return one array per leaf for samples that are given as one value per leaf."""
        columns = self.allocate(len(samples))
        for row, values in enumerate(samples):
            for column, value in zip(columns, values, strict=True):
                column[row] = value
        return columns

    def rows(self, values: Sequence[Column], n: int) -> Rows:
        """Return a sequence whose r-th item is the r-th sample of a batch given as one array per leaf.

        Objects are copied, so that nobody can change what was recorded.
        """
        if self.is_array and not self.leaves[0].is_scalar_box:
            return values[0]
        return [
            self.join([leaf.as_sample(value[row]) for leaf, value in zip(self.leaves, values, strict=True)])
            for row in range(n)
        ]

    def writer(self, columns: Sequence[Column]) -> Write:
        """Return a function that copies samples into `columns`, each of shape `[rows, n_envs, *shape]`."""
        writes = [_leaf_writer(leaf, column) for leaf, column in zip(self.leaves, columns, strict=True)]
        if self.is_single:
            return writes[0]
        split = self.split

        def write(row: int, env_index: int, sample: object) -> None:
            for write_leaf, value in zip(writes, split(sample), strict=True):
                write_leaf(row, env_index, value)

        return write

    def row_writer(self, columns: Sequence[Column], n_envs: int) -> RowWriter:
        """Return what opens a row of `columns` to be written env by env."""
        if self.is_array and columns[0].size and columns[0].dtype.char in _FORMATS:
            if len(self.leaves[0].shape) == 1:
                return _VectorRows(columns[0])
            if not self.leaves[0].shape and columns[0].dtype.kind in "iu":
                return ScalarRows(columns[0])
        return _AnyRows(self.writer(columns), n_envs)


class RowWriter(Protocol):
    """Opens rows: `target = rows.open(row)`, then `target[slots[env_index]] = sample` for each env.

    Such an assignment copies the sample, or raises. A refused sample must be written again with `Layout.writer`, which
    accepts samples that differ in form only, and otherwise names the fault.
    """

    slots: Sequence[Any]

    def open(self, row: int, /) -> Any:
        """Return the target for a row; it is valid until the next row is opened."""
        ...


class _VectorRows:
    """Vectors, by a memoryview: it copies in half the time of an array row, and refuses other shapes and dtypes."""

    def __init__(self, column: Column) -> None:
        size = column.shape[2]
        self.open: Callable[[int], memoryview[Any]] = _row_opener(column)
        """Returns a view of the row's memory."""
        self.slots: Sequence[slice] = [slice(i * size, (i + 1) * size) for i in range(column.shape[1])]


class ScalarRows:
    """A column of plain numbers: an integer column accepts any integer type, a float column any number."""

    def __init__(self, column: Column) -> None:
        self.open: Callable[[int], memoryview[Any]] = _row_opener(column)
        """Returns a view of the row's memory."""
        self.slots: Sequence[int] = range(column.shape[1])


def _row_opener(column: Column) -> Callable[[int], memoryview[Any]]:
    """Return what gives a view of a row's memory: where there are few, as in a stream, all are made at once."""
    flat, width = column.reshape(-1).data, math.prod(column.shape[1:])
    if len(column) <= _FEW_ROWS:
        return [flat[row * width : (row + 1) * width] for row in range(len(column))].__getitem__

    def open_row(row: int) -> memoryview[Any]:
        begin = row * width
        return flat[begin : begin + width]

    return open_row


class StrictRows:
    """A column of plain numbers that refuses arrays of one entry with a TypeError."""

    def __init__(self, rows: ScalarRows) -> None:
        self._rows = rows

    def open(self, row: int) -> Self:
        """Return itself, turned to the row."""
        self._row = self._rows.open(row)
        return self

    def __setitem__(self, env_index: int, value: Any) -> None:
        if getattr(value, "shape", ()):
            raise TypeError("not a plain number")
        self._row[env_index] = value


class _AnyRows:
    """Any space, by its writer."""

    def __init__(self, write: Write, n_envs: int) -> None:
        self._write = write
        self._row = 0
        self.slots: Sequence[int] = range(n_envs)

    def open(self, row: int) -> Self:
        """Return itself, turned to the row."""
        self._row = row
        return self

    def __setitem__(self, env_index: int, sample: object) -> None:
        self._write(self._row, env_index, sample)


def put_rows(columns: Sequence[Column], row: int, rows: EllipsisType | Any, values: Sequence[Column]) -> None:
    """Write a batch into a row; `rows` are its envs, an ellipsis means all."""
    if rows is ...:
        for column, value in zip(columns, values):  # noqa: B905  (strict costs as much as the copy)
            column[row] = value
    else:
        for column, value in zip(columns, values, strict=True):
            column[row, rows] = value


def _own(value: Any) -> Any:
    """Copy a value before it is handed out; objects are copied deeply."""
    if isinstance(value, np.generic):
        return value
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.copy()
    return copy.deepcopy(value)


def _walk(space: spaces.Space[Any], path: str, found: list[Leaf]) -> _Node:
    if isinstance(space, spaces.Dict):
        return {key: _walk(sub, f"{path}[{key!r}]", found) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_walk(sub, f"{path}[{i}]", found) for i, sub in enumerate(space.spaces))
    found.append(Leaf(path, space))
    return len(found) - 1


def _join(node: _Node, values: Sequence[T]) -> Tree[T]:
    if isinstance(node, int):
        return values[node]
    if isinstance(node, dict):
        return {key: _join(sub, values) for key, sub in node.items()}
    return tuple(_join(sub, values) for sub in node)


def _split(node: _Node, sample: object, path: str, values: list[object]) -> None:
    if isinstance(node, int):
        values.append(sample)
    elif isinstance(node, dict):
        if not isinstance(sample, Mapping) or sample.keys() != node.keys():
            raise MisfitError(f"{path} must be a dict with the keys {list(node)}, not {brief(sample)}")
        for key, sub in node.items():
            _split(sub, sample[key], f"{path}[{key!r}]", values)
    else:
        if not isinstance(sample, tuple) or len(sample) != len(node):
            raise MisfitError(f"{path} must be a tuple of {len(node)}, not {brief(sample)}")
        for i, sub in enumerate(node):
            _split(sub, sample[i], f"{path}[{i}]", values)


def _leaf_writer(leaf: Leaf, column: Column) -> Write:
    return _object_writer(column) if leaf.is_object else _checked_writer(leaf, column)


def _object_writer(column: Column) -> Write:
    def write(row: int, env_index: int, sample: object) -> None:
        column[row, env_index] = copy.deepcopy(sample)  # an env may change what it returned

    return write


def _checked_writer(leaf: Leaf, column: Column) -> Write:
    """Write after an explicit check, as NumPy itself would broadcast and cast silently."""
    shape, dtype = leaf.shape, leaf.dtype
    takes_any_integer = isinstance(leaf.space, spaces.Discrete)  # as Gymnasium's Discrete.contains does

    def write(row: int, env_index: int, sample: Any) -> None:
        array = sample if isinstance(sample, np.generic) else as_array(sample)
        if array is not None and array.shape == shape and array.dtype == dtype:
            column[row, env_index] = array
        elif takes_any_integer and _is_integer(sample if array is None else array) and _fits(sample, dtype):
            column[row, env_index] = int(sample)
        else:
            raise MisfitError(f"{leaf.path} must be {_wanted(leaf)}, not {brief(sample)}")

    return write


def _is_integer(sample: object) -> bool:
    if isinstance(sample, np.ndarray):
        return sample.shape == () and sample.dtype.kind in "iu"
    return isinstance(sample, (int, np.integer))


def _fits(sample: Any, dtype: np.dtype[Any]) -> bool:
    return bool(np.iinfo(dtype).min <= int(sample) <= np.iinfo(dtype).max)


def _wanted(leaf: Leaf) -> str:
    if isinstance(leaf.space, spaces.Discrete):
        return f"an integer of {leaf.space}"
    return f"an array of dtype {leaf.dtype} and shape {leaf.shape}"
