"""The built-in postprocessors, which change the agent's actions before the env gets them."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from runnerkit.errors import SpaceError
from runnerkit.processors.base import BoundOnce

__all__ = ["Clip", "Rescale"]


class Clip(BoundOnce):
    """Postprocessor `clip`: actions are clipped to the env's bounds."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the unbounded space of the same shape and dtype. Raises SpaceError unless the space is a float Box."""
        box = _float_box(space, "clip")
        self._bind_once(space, "clip")
        self._low, self._high = box.low, box.high
        return spaces.Box(-np.inf, np.inf, box.shape, np.dtype(box.dtype).type)

    def __call__(self, actions: NDArray[Any], /) -> NDArray[Any]:
        """Return the clipped batch."""
        clipped: NDArray[Any] = np.clip(actions, self._low, self._high)
        return clipped


class Rescale(BoundOnce):
    """Postprocessor `rescale`: actions in [-1, 1], as a tanh policy has them, are stretched to the env's bounds."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return [-1, 1] of the same shape and dtype. Raises SpaceError unless the space is a bounded float Box."""
        box = _float_box(space, "rescale")
        if not box.is_bounded():
            raise SpaceError(
                f"rescale needs finite bounds, not {box}. Name clip before it, not after it, or leave rescale out."
            )
        self._bind_once(space, "rescale")
        self._low, self._high = box.low, box.high
        return spaces.Box(-1, 1, box.shape, np.dtype(box.dtype).type)

    def __call__(self, actions: NDArray[Any], /) -> NDArray[Any]:
        """Return the stretched batch; -1 and 1 become the exact bounds."""
        share = (actions + 1) / 2
        stretched: NDArray[Any] = self._low * (1 - share) + self._high * share
        bounded: NDArray[Any] = np.clip(stretched, self._low, self._high)
        return bounded.astype(actions.dtype)


def _float_box(space: Space[Any], name: str) -> spaces.Box:
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        raise SpaceError(f"{name} needs an action space that is a Box of floats, not {space}. Leave it out.")
    return space
