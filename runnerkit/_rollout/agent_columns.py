"""The columns that an agent returns beside its actions, such as values and log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from runnerkit._core.arrays import brief, without_tensors
from runnerkit._core.memory import require_bytes
from runnerkit._core.spaces import Column
from runnerkit._rollout.cursor import Cursor
from runnerkit.history.block import Block

__all__ = ["AgentColumns", "ColumnMisfitError"]

_DTYPES: Final = "?bBhHiIlLqQefd"  # that every history format has


class ColumnMisfitError(Exception):
    """Extra columns that cannot be recorded. `name` is that of the column."""

    def __init__(self, name: str, message: str) -> None:
        self.name: str = name
        super().__init__(message)


class AgentColumns:
    """Records what one agent returns beside its actions in one rollout.

    The first answer says which columns there are, of which dtype and shape::

        columns = AgentColumns({"value": values}, block, at)
        columns.put({"value": values})
    """

    def __init__(self, first: Mapping[str, object], block: Block, at: Cursor) -> None:
        self._block, self._at, self._first = block, at, at.step
        arrays = {name: _first(name, given, len(at.active)) for name, given in first.items()}
        rows, n = len(block.rewards), block.n_envs
        row_bytes = sum(n * array[0].nbytes for array in arrays.values())
        require_bytes(row_bytes * rows, rows, n)
        self._columns: dict[str, Column] = {
            name: np.zeros((rows, n, *array.shape[1:]), array.dtype) for name, array in arrays.items()
        }
        block.extras = self._columns

    def put(self, given: Mapping[str, object] | None) -> None:
        """Write the columns of the step that is under way. Raises ColumnMisfitError."""
        at, columns = self._at, self._columns
        if given is None or given.keys() != columns.keys():
            raise self._other_names({} if given is None else given)
        row, rows = self._block.at(at.t) if at.own_steps is None else at.own_steps, at.rows
        for name, column in columns.items():
            value: Any = given[name]
            if type(value) is not np.ndarray:
                value = _as_array(name, value)
            if value.dtype != column.dtype or value.shape != (len(at.active), *column.shape[2:]):
                raise self._other_kind(name, value, column)
            if rows is ...:
                column[row] = value
            else:
                column[row, rows] = value

    def _other_names(self, given: Mapping[str, object]) -> ColumnMisfitError:
        since = f"at step {self._first}"
        missing = [name for name in self._columns if name not in given]
        if missing:
            return ColumnMisfitError(missing[0], f"it is missing, but was there {since}")
        new = next(name for name in given if name not in self._columns)
        return ColumnMisfitError(new, f"it is new: {since} there were {list(self._columns) or 'no columns'}")

    def _other_kind(self, name: str, value: Column, column: Column) -> ColumnMisfitError:
        wanted = f"{column.dtype} of shape {(len(self._at.active), *column.shape[2:])}, as at step {self._first}"
        return ColumnMisfitError(name, f"it must be {wanted}, not {value.dtype} of shape {value.shape}")


def _first(name: str, given: object, n: int) -> Column:
    """Return a column of the first answer as an array; raises ColumnMisfitError for what no column can be made of."""
    array = _as_array(name, given)
    if not name.isidentifier():
        raise ColumnMisfitError(name, "its name must be an identifier, such as 'log_prob'")
    if array.dtype.char not in _DTYPES or not array.dtype.isnative:
        raise ColumnMisfitError(name, f"it must hold numbers or bools, not {array.dtype}")
    if array.shape[:1] != (n,):
        raise ColumnMisfitError(name, f"it must have shape ({n}, ...), not {array.shape}")
    return array


def _as_array(name: str, given: object) -> Column:
    try:
        array: Column = np.asarray(without_tensors(given))
    except (ValueError, TypeError, RuntimeError) as error:
        raise ColumnMisfitError(name, f"NumPy cannot read it: {brief(given)}") from error
    return array
