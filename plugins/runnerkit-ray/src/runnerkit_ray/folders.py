"""Folders for the files of local clusters, also of those whose program was killed: the next one removes them.

A program holds a lock on a file in its folder, which the kernel takes from it however it ends. That holds for programs
in other containers, too, which may share the folder for temporary files, but whose processes cannot be seen.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final

from runnerkit_ray.processes import processes_of

if sys.platform != "win32":
    import fcntl

__all__ = ["Folder", "new_folder", "remove_unused"]

_PREFIX: Final = "rk-ray-"
_LOCKED: Final = "in-use"
_LONGEST: Final = 40  # a path of a Unix socket may have 107 bytes, of which Ray's own part needs 66


def new_folder() -> Folder:
    """Make a folder where paths are short, and remove those beside it that nobody uses any more."""
    usual = tempfile.gettempdir()
    parent = usual if len(usual) <= _LONGEST - 16 else "/tmp"
    remove_unused(parent)
    return Folder(parent)


class Folder:
    """A folder that is in use until it is removed, or this program ends.

    Attributes:
        path: where it is.

    """

    def __init__(self, parent: str) -> None:
        self.path: str = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        self._lock = _locked(Path(self.path))

    def remove(self) -> None:
        """Remove it; what cannot be removed is no reason to fail."""
        _remove(Path(self.path))
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_unused(parent: str) -> None:
    """Remove the folders that programs which were killed have left there, but for those of other users."""
    if sys.platform == "win32":
        return
    for folder in Path(parent).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is in use, or has no lock, or somebody else removes it just now
            if _is_mine(folder):
                _remove_if_unused(folder)


def _is_mine(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _remove_if_unused(folder: Path) -> None:
    file = os.open(folder / _LOCKED, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not processes_of(str(folder)):  # of a program that was killed just now, they end by themselves
            _remove(folder)
    finally:
        os.close(file)


def _locked(folder: Path) -> int | None:
    """Return a file of a folder that is locked; children of this process that run other programs do not get it."""
    if sys.platform == "win32":
        return None
    fresh = folder / "new"
    file = os.open(fresh, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(folder / _LOCKED)  # now, as whoever finds it without a lock removes the folder
    except OSError:  # on a file system without locks, only this program will remove the folder
        os.close(file)
        fresh.unlink()
        return None
    return file


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for inside in folder.iterdir():  # the locked file comes last: if this ends halfway, others go on
            shutil.rmtree(inside, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
