"""An episode again, step by step, with its seed and its actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from numpy.typing import NDArray

from runnerkit.errors import ArgumentError, RunnerKitError
from runnerkit.replaying import AnyEpisode, compared
from runnerkit.typing import AnyEnv

__all__ = ["MakeRendered", "ReplayError", "drawn", "frames"]

MakeRendered: TypeAlias = str | Callable[[], AnyEnv]
"""A Gymnasium id, or a function that makes an env with `render_mode="rgb_array"`."""


class ReplayError(RunnerKitError):
    """Raised when an episode goes another way than it was recorded; names the first step that differs."""


def frames(
    env: MakeRendered, episode: AnyEpisode, env_options: Mapping[str, Any] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Replay an episode and yield its frames, uint8 `[height, width, 3]`: one per observation, T + 1 in all.

    Raises:
        ArgumentError: the episode has no seed, or began in an earlier rollout, or the env gives no frames.
        ReplayError: the episode goes another way than it was recorded, even in one bit.

    """
    made = _make(env, env_options or {})
    try:
        yield from drawn(made, episode)
    finally:
        made.close()


def drawn(env: AnyEnv, *parts: AnyEpisode) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of an episode, whose parts are of one rollout after the other, as the env makes it once more."""
    for divergence in compared(env, *parts):
        if divergence is not None:
            raise ReplayError(str(divergence))
        yield _frame(env)


def _make(env: MakeRendered, options: Mapping[str, Any]) -> AnyEnv:
    if isinstance(env, str):
        made: AnyEnv = gymnasium.make(env, render_mode="rgb_array", **options)
        return made
    return env()


def _frame(env: AnyEnv) -> NDArray[np.uint8]:
    frame: Any = env.render()
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
        raise ArgumentError(
            f"The env renders {type(frame).__name__}, not an image of shape [height, width, 3]. Make it with "
            "render_mode='rgb_array'."
        )
    return frame.astype(np.uint8, copy=False)
