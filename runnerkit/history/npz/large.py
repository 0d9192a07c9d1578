"""The file of an episode with too many rows to keep in memory: it is written while the episode runs."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from runnerkit.history.npz.files import checksum, header_of

__all__ = ["LargeFile"]

_WORTH: Final = 0.9  # of its size that a column must lose if it is to be compressed


class LargeFile:
    """A `.npz` file that is written member by member; all but `read` is called in the thread of the writer.

    Columns of bytes, such as images, are compressed, if that makes them smaller. Others seldom shrink.
    """

    def __init__(self, path: Path, partial: Path) -> None:
        self.path: Path = path
        self._partial = partial
        self._file: BinaryIO | None = None
        self._zip: zipfile.ZipFile | None = None
        self._is_dense: set[str] = set()

    def write(self, name: str, part: int | None, array: NDArray[Any]) -> None:
        """Write a column, or a part of it."""
        if self._zip is None:
            self._file = cast(BinaryIO, self._partial.open("w+b"))
            self._zip = zipfile.ZipFile(self._file, "w", compresslevel=1)
        entry = f"{name}.npy" if part is None else f"{name}@{part}.npy"
        compresses = array.itemsize == 1 and array.dtype.kind != "b" and name not in self._is_dense
        self._zip.compression = zipfile.ZIP_DEFLATED if compresses else zipfile.ZIP_STORED
        with self._zip.open(entry, "w", force_zip64=array.nbytes > 2**30) as member:
            member.write(header_of(array))
            member.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        if compresses and self._zip.getinfo(entry).compress_size > _WORTH * array.nbytes:
            self._is_dense.add(name)

    def read(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return members that were written before. Nothing may be written meanwhile."""
        assert self._zip is not None
        found = {}
        for name in names:
            with self._zip.open(f"{name}.npy") as member:
                found[name] = np.lib.format.read_array(member, allow_pickle=False)
        return found

    def close(self) -> str:
        """Complete the file, give it its name, and return its checksum. It is not synced yet."""
        assert self._zip is not None
        assert self._file is not None
        self._zip.close()
        self._file.close()
        found = checksum(self._partial)
        os.replace(self._partial, self.path)
        return found

    def discard(self) -> None:
        """Remove what there is of the file."""
        if self._zip is not None:
            self._zip.fp = None  # else it tries to complete the file as it is deleted
        if self._file is not None:
            self._file.close()
        self._partial.unlink(missing_ok=True)
