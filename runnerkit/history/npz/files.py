"""The file of an episode: a `.npz` of NumPy, with one member per column, or several where it was written in parts.

`numpy.load(path)` reads it. Columns of objects, such as texts and graphs, are JSON as bytes; nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.spaces import Column, Layout
from runnerkit.history.layout import BlockLayout
from runnerkit.history.npz.codec import decode, encode, text_of

__all__ = ["EXTRAS", "Members", "checksum", "header_of", "objects_of", "packed", "trees_of", "zipped"]

Members = Sequence[tuple[str, NDArray[Any]]]

EXTRAS: Final = "extras."
"""What the names of the columns begin with that the agent gave."""

_LOCAL: Final = struct.Struct("<IHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<IHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<IHHHHIIH")
_DATE: Final = 0x21  # 1980-01-01: the same data make the same file
_MOST: Final = 2**31  # bytes; above, zip needs its 64-bit forms


def zipped(members: Members) -> bytes:
    """Return a whole `.npz` file. NumPy's `savez` makes the same, but takes ten times as long for a short episode."""
    parts: list[bytes] = []
    central: list[bytes] = []
    offset = 0
    for name, array in members:
        entry, header, crc = _before(name, array.dtype.str, array.shape)
        data = array.tobytes()
        size = len(header) + len(data)
        crc = zlib.crc32(data, crc)
        parts += (_LOCAL.pack(0x04034B50, 20, 0, 0, 0, _DATE, crc, size, size, len(entry), 0), entry, header, data)
        central += (
            _CENTRAL.pack(
                0x02014B50, 20, 20, 0, 0, 0, _DATE, crc, size, size, len(entry), 0, 0, 0, 0, 0o600 << 16, offset
            ),
            entry,
        )
        offset += _LOCAL.size + len(entry) + size
    directory = b"".join(central)
    parts += (directory, _END.pack(0x06054B50, 0, 0, len(members), len(members), len(directory), offset, 0))
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _before(name: str, dtype: str, shape: tuple[int, ...]) -> tuple[bytes, bytes, int]:
    """Return what comes before the data of a member: the name of its entry, its header, and the CRC of the header."""
    header = _header(dtype, shape)
    return f"{name}.npy".encode(), header, zlib.crc32(header)


def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the header of an array in NumPy's format, version 1."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    padding = -(10 + len(text) + 1) % 64
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + padding + 1) + f"{text}{' ' * padding}\n".encode()


def header_of(array: NDArray[Any]) -> bytes:
    """Return what comes before the data of an array in a file."""
    return _header(array.dtype.str, array.shape)


def packed(column: Column) -> NDArray[Any]:
    """Return a column as an array that needs no pickle: objects become JSON, as bytes.

    Raises TypeError, which names the kind of an object that has no such form.
    """
    if column.dtype != object:
        return column
    return np.frombuffer(text_of([encode(value) for value in column.tolist()]).encode(), np.uint8)


def objects_of(stored: NDArray[Any]) -> Column:
    """Return the column of objects that `packed` wrote."""
    values = json.loads(stored.tobytes())
    column = np.empty(len(values), object)
    for k, value in enumerate(values):
        column[k] = decode(value)
    return column


def trees_of(layout: BlockLayout) -> list[tuple[str, Layout]]:
    """Return the names of the columns that are arranged as a space is, and their layouts."""
    trees = [("observations", layout.observation), ("actions", layout.action)]
    if layout.postprocessed:
        trees.append(("env_actions", layout.env_action))
    if layout.preprocessed and layout.keep_raw:
        trees.append(("raw", layout.raw))
    return trees


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def joined(columns: Mapping[str, Any], name: str, read: Callable[[NDArray[Any]], Column]) -> Column:
    """Return a column that was written at once, or in parts: `name`, or `name@0`, `name@1`, ..."""
    if name in columns:
        return read(columns[name])
    parts: list[Column] = []
    while f"{name}@{len(parts)}" in columns:
        parts.append(read(columns[f"{name}@{len(parts)}"]))
    if not parts:
        raise KeyError(f"there is no column {name}")
    return np.concatenate(parts)
