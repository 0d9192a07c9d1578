"""RunnerKit on a Ray cluster: whole episodes on actors, with the bytes of one process."""

from __future__ import annotations

__all__: list[str] = []
