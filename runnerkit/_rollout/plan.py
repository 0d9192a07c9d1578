"""What a rollout is to do, as it follows from the arguments of `rollout`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runnerkit._rollout.config import is_count
from runnerkit.errors import ArgumentError
from runnerkit.records import Transition

__all__ = ["Plan", "limit_of"]


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
    empty_history: Callable[[], object] | None = None
    """Makes the history of an env that made no step, if the runner makes its own histories and says how."""
    has_windows: bool = False
    """Whether another window of `limit` steps follows, and another, as in a stream."""

    @property
    def is_open_ended(self) -> bool:
        """Whether it may end before the limit, so that its length is not known."""
        return self.episodes is not None or not self.auto_reset


def limit_of(steps: int | None, episodes: int | None, auto_reset: bool, n_envs: int, most: int) -> int:
    """Return the number of steps per env, at most `most`. Raises ArgumentError if the arguments are invalid."""
    if steps is not None and episodes is not None:
        raise ArgumentError(f"Give steps or episodes, not both (steps={steps!r}, episodes={episodes!r}).")
    for what, value in (("steps", steps), ("episodes", episodes)):
        if value is not None and not is_count(value):
            raise ArgumentError(f"{what} must be a whole number of at least 1, not {value!r}.")
    if episodes is not None and not auto_reset and episodes > n_envs:
        raise ArgumentError(
            f"With auto_reset=False each env makes one episode, so {n_envs} envs cannot make "
            f"episodes={episodes}. Use auto_reset=True, or more envs."
        )
    if steps is not None and steps > most:
        raise ArgumentError(f"steps must be at most MAX_STEPS, {most}, not {steps}.")
    return most if steps is None else int(steps)
