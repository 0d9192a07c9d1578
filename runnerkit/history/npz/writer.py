"""A thread that writes files, and what makes them last: after a power cut, too."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

__all__ = ["Writer", "sync_files"]

_IN_FLIGHT: Final = 64 * 2**20  # bytes that wait to be written, at the most
_FEW: Final = 16  # files that are synced one by one


class Writer:
    """Does one job after the other in a thread of its own::

        writer.submit(job, nbytes)          # waits if too many bytes are on their way
        writer.drain()                      # waits for all

    What a job raises is raised by the next `submit` or `drain`, and no later job is done.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._jobs: deque[tuple[Future[None], int]] = deque()
        self._bytes = 0
        self._failed = False

    def submit(self, job: Callable[[], None], nbytes: int = 0) -> None:
        """Have a job done after those before it."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="runnerkit-npz")
        self._bytes += nbytes
        while self._jobs and (self._bytes > _IN_FLIGHT or self._jobs[0][0].done()):
            self._wait()
        self._jobs.append((self._pool.submit(self._do, job), nbytes))

    def drain(self) -> None:
        """Wait until all is done."""
        while self._jobs:
            self._wait()

    def drain_quietly(self) -> None:
        """Wait until all is done, or given up as an earlier job failed; the next jobs begin anew."""
        for future, _ in self._jobs:
            future.exception()
        self._jobs.clear()
        self._bytes, self._failed = 0, False

    def close(self) -> None:
        """End the thread."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _wait(self) -> None:
        future, nbytes = self._jobs[0]
        future.result()
        self._jobs.popleft()
        self._bytes -= nbytes

    def _do(self, job: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            job()
        except BaseException:
            self._failed = True
            raise


def sync_files(folder: Path, names: Sequence[str]) -> None:
    """Have the contents and the names of files in a folder survive a power cut.

    Many files are synced by one call for their file system, where the operating system has one: a call per file takes
    milliseconds.
    """
    if os.name != "posix":
        for name in names:
            with (folder / name).open("rb+") as file:
                os.fsync(file.fileno())
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if len(names) <= _FEW or not _synced_at_once(handle):
            for name in names:
                file_handle = os.open(name, os.O_RDONLY, dir_fd=handle)
                try:
                    os.fsync(file_handle)
                finally:
                    os.close(file_handle)
        os.fsync(handle)
    finally:
        os.close(handle)


def _synced_at_once(handle: int) -> bool:
    syncfs = _syncfs()
    if syncfs is None:
        return False
    if syncfs(handle) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


@functools.cache
def _syncfs() -> Any:
    """Return Linux's `syncfs`, or None."""
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if sys.platform == "linux" else None
