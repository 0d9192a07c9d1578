"""What `act` returned: actions, or a pair of actions and extra columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from gymnasium import spaces
from typing_extensions import TypeIs

from runnerkit._core.spaces import Layout, MisfitError

__all__ = ["PAIR", "Extras", "is_pair", "split_answer"]

PAIR = "a pair of actions and extra columns. An agent that returns extra columns must do so from its first step on"
"""What messages say of an answer with extra columns that was read as plain actions."""

Extras: TypeAlias = Mapping[str, object]
"""Extra columns as an agent returns them, by name; each has one row per active env."""


def split_answer(layout: Layout, answer: object) -> tuple[object, Extras | None]:
    """Return the actions and the extra columns of an answer; None if it has actions only.

    An answer with extra columns is a tuple of two: actions, and a dict with names as keys. Only batches of a Tuple
    space of two, the second of which is a Dict, look the same. Of such a space, it is a pair if its first item has the
    form of a batch of that space.
    """
    if not is_pair(answer):
        return answer, None
    space, (actions, extras) = layout.space, answer
    if isinstance(space, spaces.Tuple) and len(space) == 2 and isinstance(space[1], spaces.Dict):
        try:
            layout.split(actions[0] if isinstance(actions, list) and actions else actions)
        except MisfitError:
            return answer, None
    return actions, extras


def is_pair(answer: object) -> TypeIs[tuple[object, Extras]]:
    """Whether it has the form of actions with extra columns."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        return False
    extras = answer[1]
    return isinstance(extras, Mapping) and all(isinstance(name, str) for name in extras)
