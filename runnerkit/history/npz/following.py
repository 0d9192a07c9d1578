"""A folder that another program writes to, read line by line while it grows.

For example::

    folder = Following("runs")
    while folder.is_written():
        for row in folder.poll():
            print(row.episode.total_return)
        time.sleep(0.5)
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from runnerkit.history.npz.manifest import NAME, Contents, Row, folder_of, no_run, take_line

if os.name == "posix":
    import fcntl

__all__ = ["Following"]


class Following:
    """What the manifest of a folder lists, up to now. Raises ArgumentError if there is none."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder: Path = folder_of(path)
        self.contents: Contents = Contents()
        self._manifest = self.folder / NAME
        if not self._manifest.is_file():
            raise no_run(self.folder)
        self._read_to = 0
        self._lines = 0

    def poll(self) -> Sequence[Row]:
        """Read what was added since the last call, and return the episodes of it."""
        before = len(self.contents.rows)
        with self._manifest.open("rb") as file:
            file.seek(self._read_to)
            text = file.read()
        whole, newline, _ = text.rpartition(b"\n")  # the rest is being written
        for line in whole.split(b"\n") if newline else []:
            self._lines += 1
            take_line(self.contents, line, f"{self._manifest}, line {self._lines},")
        self._read_to += len(whole) + len(newline)
        return self.contents.rows[before:]

    def is_written(self) -> bool:
        """Whether a runner writes to the folder: it holds a lock, or, where there are none, nobody knows."""
        if os.name != "posix":
            return True
        with self._manifest.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for a moment, which a runner that begins waits for
            except BlockingIOError:
                return True
        return False

    def silent_for(self) -> float:
        """Return the seconds since something was added."""
        return max(0.0, time.time() - self._manifest.stat().st_mtime)
