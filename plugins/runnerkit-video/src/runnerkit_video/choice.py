"""Which episodes are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from runnerkit import Episode
from runnerkit.errors import ArgumentError

__all__ = ["Choose", "best", "every", "worst"]

Choose: TypeAlias = Callable[[Sequence[Episode]], Sequence[Episode]]
"""Returns the episodes to draw, of those that a rollout has from their beginning."""


def best(n: int = 1) -> Choose:
    """Choose the n episodes with the highest returns."""
    return _extreme(n, highest=True)


def worst(n: int = 1) -> Choose:
    """Choose the n episodes with the lowest returns."""
    return _extreme(n, highest=False)


def every(n: int = 1) -> Choose:
    """Choose the first episode of each env, and every n-th after it."""
    _check(n)
    return lambda episodes: [episode for episode in episodes if episode.episode_index % n == 0]


def _extreme(n: int, *, highest: bool) -> Choose:
    _check(n)

    def choose(episodes: Sequence[Episode]) -> Sequence[Episode]:
        return sorted(episodes, key=lambda episode: episode.total_return, reverse=highest)[:n]

    return choose


def _check(n: object) -> None:
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ArgumentError(f"n must be a whole number of at least 1, not {n!r}.")
