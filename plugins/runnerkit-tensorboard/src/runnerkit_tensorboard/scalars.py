"""What a writer of points must be able to do."""

from __future__ import annotations

from typing import Protocol

__all__ = ["SupportsScalars"]


class SupportsScalars(Protocol):
    """A writer for points: a `SummaryWriter` of tensorboardX or of torch."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, /) -> object:
        """Write one point."""
        ...

    def flush(self) -> object:
        """Write what is still in memory."""
        ...
