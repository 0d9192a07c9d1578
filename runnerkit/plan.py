"""What a rollout is to do, as it follows from the arguments of `rollout`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runnerkit.records import Transition

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollout is to do."""

    limit: int
    """Steps per env at the most."""
    episodes: int | None
    auto_reset: bool
    compute_action: Callable[[Any], object]
    process_transition: Callable[[Any, Transition[Any, Any]], object] | None
    """None, if the history format takes the whole block."""

    @property
    def is_open_ended(self) -> bool:
        """Whether it may end before the limit, so that its length is not known."""
        return self.episodes is not None or not self.auto_reset
