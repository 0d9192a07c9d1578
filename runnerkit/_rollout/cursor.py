"""The cursor: the step at which a rollout is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import EllipsisType

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cursor"]


@dataclass(slots=True)
class Cursor:
    """The next step, and the envs that take part in it; shared by the parts of a rollout.

    All active envs are at the same row, so a step reads and writes one slice. An env that skips a step has a gap in its
    rows until the end of the rollout, when the gap is closed. So a step costs nothing for it.
    """

    t: int = 0
    """The row of the next step."""
    before: int = 0
    """The steps in earlier windows of the rollout, whose rows were handed on."""
    active: list[int] = field(default_factory=list)
    """The envs that the agent is asked for, in ascending order."""
    rows: EllipsisType | list[int] = ...
    """The same as an index of a row of a column: an ellipsis if it is all of them."""
    own_steps: NDArray[np.intp] | None = None
    """The step of each active env, if each goes at its own pace; then `t` is the least of them."""

    @property
    def step(self) -> int:
        """The next step, counted from the start of the rollout."""
        return self.before + self.t

    def turn_to(self, env_indices: Sequence[int], n_envs: int) -> None:
        """Let these envs be the active ones."""
        self.active = list(env_indices)
        self.rows = ... if len(self.active) == n_envs else self.active
