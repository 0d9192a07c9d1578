"""What the envs of one runner must be like: each an object of its own, and all of equal spaces."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium import Space

from runnerkit.errors import EnvError, SpaceError
from runnerkit.records import EnvFacts

__all__ = ["check_envs"]


def check_envs(facts: Sequence[EnvFacts]) -> None:
    """Raise EnvError or SpaceError if two envs are the same object, or differ in a space: they share columns."""
    seen: dict[tuple[int, int], int] = {}
    for i, fact in enumerate(facts):
        first = seen.setdefault(fact.identity, i)
        if first != i:
            raise EnvError(f"is the very object that is env {first}. The factory must make a new env", env_index=i)
        for what in ("observation_space", "action_space"):
            _check_space(i, what, getattr(fact, what), getattr(facts[0], what))


def _check_space(i: int, what: str, own: object, first: object) -> None:
    if not isinstance(own, Space):
        raise SpaceError(f"Env {i} has no gymnasium Space as its {what}, but {own!r}.")
    if own != first:
        raise SpaceError(
            f"All envs of a runner need the same {what}: that of env {i} is {own}, that of env 0 is {first}. "
            "Use a runner for each kind of env, or give a Space of your own an __eq__."
        )
