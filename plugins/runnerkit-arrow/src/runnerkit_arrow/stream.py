"""The only module that touches pyarrow, which has no types: `Any` stays in here. Importing it imports pyarrow.

A stream is a file of Arrow's IPC streaming format: a schema, then one record batch after the other. It needs no
footer, so that a file whose writer was killed is whole up to its last complete batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from runnerkit.errors import ArgumentError
from runnerkit_arrow.columns import EXTRAS, ColumnSpec

__all__ = ["Batch", "StreamWriter", "read", "repair", "scan", "write_parquet"]

VERSION: Final = 1
_RUN: Final = b"runnerkit"
_RECORD: Final = "episode"
_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"

# What every row has besides the columns of the spaces.
_STEP: Final = (
    ColumnSpec("env_index", "int32", (), on_last=True),
    ColumnSpec("episode_index", "int64", (), on_last=True),
    ColumnSpec("step", "int64", (), on_last=True),
)
_RESULT: Final = (
    ColumnSpec("reward", "float64", (), on_last=False),
    ColumnSpec("terminated", "bool", (), on_last=False),
    ColumnSpec("truncated", "bool", (), on_last=False),
)


class Batch:
    """One record batch: a part of an episode, and what is said of it."""

    def __init__(self, batch: Any, record: Mapping[str, Any], columns: Mapping[str, ColumnSpec]) -> None:
        self.record: Mapping[str, Any] = record
        self._batch = batch
        self._columns = columns

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._columns)

    def column(self, name: str) -> NDArray[Any] | list[str]:
        """Return a column, `[rows, *shape]`; without the row after the last step where that has no value.

        Numbers are views of the file, which cannot be written to; bools are copies, as Arrow packs them.
        """
        spec, array = self._columns[name], self._batch.column(self._batch.schema.get_field_index(name))
        if not spec.on_last and array.null_count:
            array = array.slice(0, len(array) - array.null_count)
        if spec.dtype == "str":
            texts: list[str] = array.to_pylist()
            return texts
        if spec.shape:
            array = array.flatten()
        flat: NDArray[Any] = array.to_numpy(zero_copy_only=spec.dtype != "bool")
        return flat.reshape(-1, *spec.shape)


class StreamWriter:
    """Writes record batches to the end of a file, each with one call to the operating system."""

    def __init__(self, path: Path, columns: Sequence[ColumnSpec], run: Mapping[str, object], *, append: bool) -> None:
        self.path: Path = path
        self._of_spaces, self._run = [*_STEP, *columns, *_RESULT], run
        self._columns: list[ColumnSpec] = []  # until it is known which columns the agent gives
        self._there: Any = None
        if append and path.exists():
            if path.stat().st_size:  # else its writer was killed before the first rollout ended
                self._there = self._checked(path)
                repair(path)
            self._file: int = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            return
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            raise ArgumentError(
                f"{path} is there already. Choose another path, or go on in it with ArrowFormat(path, append=True)."
            ) from None

    def begin(self, extras: Sequence[ColumnSpec]) -> None:
        """Note the columns that the agent gives in a rollout. Raises ArgumentError if the stream has others."""
        columns = [*self._of_spaces, *extras]
        if self._columns and columns != self._columns:
            raise self._other_columns([column.name for column in self._columns], columns)
        if self._columns:
            return
        schema = _schema(columns, self._run)
        if self._there is not None and not self._there.equals(schema):
            raise self._other_columns(self._there.names, columns)
        self._columns, self._schema = columns, schema
        self._head = schema.serialize().to_pybytes()
        if self._there is None:
            self._write(self._head)

    def _other_columns(self, there: Sequence[str], columns: Sequence[ColumnSpec]) -> ArgumentError:
        return ArgumentError(
            f"{self.path} has the columns {list(there)}, this rollout has {[column.name for column in columns]}, or "
            "others of these names. Choose another path, or let the agent return the same extra columns always."
        )

    def append(self, record: Mapping[str, object], values: Mapping[str, Any], *, closed: bool) -> None:
        """Write one part of an episode; `closed` says that its last row is the observation after the last step."""
        arrays = [_array(column, values[column.name], pad=closed and not column.on_last) for column in self._columns]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema) as stream:
            stream.write_batch(
                pa.record_batch(arrays, schema=self._schema), custom_metadata={_RECORD: json.dumps(record)}
            )
        self._write(memoryview(sink.getvalue())[len(self._head) : -len(_END)])

    def close(self) -> None:
        """Mark the end of the stream and close the file."""
        if self._file >= 0:
            try:
                if not self._columns and self._there is None:
                    self.begin([])
                self._write(_END)
            finally:
                os.close(self._file)
                self._file = -1

    def _write(self, data: bytes | memoryview[int]) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]

    def _checked(self, path: Path) -> Any:
        """Return the schema of a stream that is to be gone on in. Raises ArgumentError if it is of other spaces."""
        with pa.memory_map(str(path)) as source:
            try:
                there = pa.ipc.open_stream(source).schema
            except (pa.ArrowInvalid, OSError) as error:
                raise ArgumentError(f"{path} is no Arrow stream: {error}. Choose another path.") from error
        wanted = _schema(self._of_spaces, self._run)
        known = pa.schema([field for field in there if not field.name.startswith(EXTRAS)])
        if not known.equals(wanted):
            raise ArgumentError(
                f"{path} has the columns {there.names}, this run has {wanted.names}, or others of these names. "
                "Choose another path."
            )
        return there


def scan(path: Path) -> tuple[int, int]:
    """Return how many whole batches a file has, and where the last of them ends."""
    count = 0
    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_stream(source)
        except (pa.ArrowInvalid, OSError) as error:
            raise ArgumentError(f"{path} is no Arrow stream: {error}.") from error
        end = source.tell()
        while True:
            try:
                reader.read_next_batch()
            except (StopIteration, pa.ArrowInvalid, OSError):
                return count, end
            count, end = count + 1, source.tell()


def repair(path: Path) -> int:
    """Cut off what follows the last whole batch, and return how many bytes that were; 0 for a whole file."""
    _, end = scan(path)
    with path.open("r+b") as file:
        file.seek(end)
        rest = file.read()
        file.truncate(end)
    return 0 if rest == _END else len(rest)


def read(path: Path) -> tuple[dict[str, Any], list[Batch]]:
    """Return what is said of the run, and its whole batches, as views of the file."""
    count, _ = scan(path)
    reader = pa.ipc.open_stream(pa.memory_map(str(path)))
    columns = {field.name: _spec(field) for field in reader.schema}
    run: dict[str, Any] = json.loads(reader.schema.metadata[_RUN])
    return run, [Batch(*_batch(reader), columns) for _ in range(count)]


def write_parquet(path: Path, target: Path) -> None:
    """Write the rows of a stream to a Parquet file; what is said of the episodes goes to its metadata."""
    run, batches = read(path)
    records = json.dumps([dict(batch.record) for batch in batches])
    reader = pa.ipc.open_stream(pa.memory_map(str(path)))
    schema = reader.schema.with_metadata({_RUN: json.dumps(run), b"runnerkit.episodes": records})
    partial = target.with_name(target.name + ".partial")
    with pq.ParquetWriter(partial, schema) as writer:
        for _ in batches:
            writer.write_batch(_batch(reader)[0])
    partial.replace(target)


def _batch(reader: Any) -> tuple[Any, dict[str, Any]]:
    batch, metadata = reader.read_next_batch_with_custom_metadata()
    return batch, json.loads(metadata[_RECORD])


def _schema(columns: Sequence[ColumnSpec], run: Mapping[str, object]) -> Any:
    fields = []
    for column in columns:
        value = pa.string() if column.dtype == "str" else pa.from_numpy_dtype(np.dtype(column.dtype))
        kind = pa.list_(value, int(np.prod(column.shape))) if column.shape else value
        about = {"dtype": column.dtype, "shape": json.dumps(column.shape), "on_last": json.dumps(column.on_last)}
        fields.append(pa.field(column.name, kind, metadata=about))
    return pa.schema(fields, metadata={_RUN: json.dumps({**run, "version": VERSION})})


def _spec(field: Any) -> ColumnSpec:
    about = {key.decode(): value.decode() for key, value in field.metadata.items()}
    return ColumnSpec(
        field.name, about["dtype"], tuple(json.loads(about["shape"])), on_last=json.loads(about["on_last"])
    )


def _array(column: ColumnSpec, values: Any, *, pad: bool) -> Any:
    """Return an Arrow array of a column, with one value that is missing at the end if `pad`."""
    if column.dtype == "str":
        return pa.array([*values, None] if pad else list(values), pa.string())
    numbers = np.ascontiguousarray(values, column.dtype)
    if not pad:
        flat = pa.array(numbers.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(column.shape))) if column.shape else flat
    padded = np.concatenate([numbers, np.zeros((1, *column.shape), column.dtype)])
    missing = np.zeros(len(padded), np.bool_)
    missing[-1] = True
    if not column.shape:
        return pa.array(padded, mask=missing)
    width = int(np.prod(column.shape))
    return pa.FixedSizeListArray.from_arrays(pa.array(padded.reshape(-1)), width, mask=pa.array(missing))
