"""Records of episodes as a structured array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runnerkit.records import EndReason, Episode

__all__ = ["as_table"]

_FIELDS: Final = {
    **dict.fromkeys(("env_index", "episode_index", "start", "length", "steps_before", "total_length"), np.int64),
    **dict.fromkeys(("return_", "return_before", "total_return"), np.float64),
    **dict.fromkeys(("continued", "complete"), np.bool_),
    "end_reason": f"U{max(map(len, EndReason))}",
}
_DTYPE: Final = np.dtype(list(_FIELDS.items()))


def as_table(episodes: Sequence[Episode]) -> NDArray[np.void]:
    """Return one row per episode, with the attributes of `Episode` that are numbers, and the end reason as text."""
    rows = [tuple(getattr(episode, name) for name in _FIELDS) for episode in episodes]
    return np.array(rows, _DTYPE)
