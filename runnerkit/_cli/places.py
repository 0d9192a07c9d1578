"""Where a command writes: a place where nothing can be written is refused as it is typed, not when the work is done."""

from __future__ import annotations

import os
from pathlib import Path

import click
from typing_extensions import override

__all__ = ["NEW_FILE", "NEW_FOLDER"]


class _Place(click.Path):
    """A file or a folder that is written; it is made, with the folders above it, if it is not there."""

    @override
    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        found = super().convert(value, param, ctx)
        path = Path(value).absolute()
        why = _obstacle(path if self.dir_okay else path.parent)
        if why:
            self.fail(f"nothing can be written to {os.fspath(value)!r}: {why}. Choose another path.", param, ctx)
        return found


NEW_FOLDER = _Place(file_okay=False, writable=True)
"""A folder to write to."""

NEW_FILE = _Place(dir_okay=False, writable=True)
"""A file to write."""


def _obstacle(folder: Path) -> str:
    """Return why no file can be made in a folder, which is made itself if need be; empty if one can."""
    try:
        there = next(one for one in (folder, *folder.parents) if one.exists())
        if not there.is_dir():
            return f"{there} is a file"
        return "" if os.access(there, os.W_OK | os.X_OK) else f"you may not write to {there}"
    except OSError as error:  # as of a name that is too long
        return str(error.strerror)
