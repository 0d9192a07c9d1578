"""The only module that touches tensorboardX, which has no types. Importing it imports tensorboardX."""

from __future__ import annotations

import os
from typing import Protocol, cast

import tensorboardX  # type: ignore[import-untyped]

from runnerkit_tensorboard.scalars import SupportsScalars

__all__ = ["Writer", "open_writer"]


class Writer(SupportsScalars, Protocol):
    """What is used of a SummaryWriter of our own."""

    def close(self) -> object:
        """Flush and close the file."""
        ...


def open_writer(folder: str | os.PathLike[str]) -> Writer:
    """Open a new event file in a folder, which is made if it is not there."""
    return cast(Writer, tensorboardX.SummaryWriter(os.fspath(folder), flush_secs=5))
