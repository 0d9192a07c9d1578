"""An episode again, step by step, with its seed and its actions."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from numpy.typing import NDArray

from runnerkit import MadeBy
from runnerkit.errors import RenderError, RunnerKitError
from runnerkit.replaying import AnyEpisode, compared, remade
from runnerkit.typing import AnyEnv

__all__ = ["MakeRendered", "ReplayError", "closing", "drawn", "frames", "made"]

MakeRendered: TypeAlias = str | Callable[[], AnyEnv]
"""A Gymnasium id, or a function that makes an env with `render_mode="rgb_array"`."""


class ReplayError(RunnerKitError):
    """Raised when an episode goes another way than it was recorded; names the first step that differs."""


def frames(
    env: MakeRendered, episode: AnyEpisode, env_options: Mapping[str, Any] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Replay an episode and yield its frames, uint8 `[height, width, 3]`: one per observation, T + 1 in all.

    Raises:
        ArgumentError: the episode has no seed, or began in an earlier rollout.
        RenderError: the env gives no frames.
        ReplayError: the episode goes another way than it was recorded, even in one bit.

    """
    make: Callable[[], Any] = env if callable(env) else partial(_by_id, env, env_options or {})
    with closing(_made(make)) as made_env:
        yield from drawn(made_env, episode)


def _by_id(env_id: str, options: Mapping[str, Any]) -> AnyEnv:
    env: AnyEnv = gymnasium.make(env_id, render_mode="rgb_array", **options)
    return env


def made(made_by: MadeBy, env_index: int, env: MakeRendered | None = None) -> AnyEnv:
    """Make an env that draws, as the runner made it unless another one is given; raises RenderError if it cannot."""
    if callable(env):
        return _made(env)
    return _made(lambda: remade(made_by, env_index, env, render_mode="rgb_array"))


def _made(make: Callable[[], AnyEnv]) -> AnyEnv:
    if _is_headless():
        os.environ.setdefault("MUJOCO_GL", "egl")  # what it takes by itself needs a display
    try:
        with _no_display_asked():
            return make()
    except RunnerKitError:
        raise
    except Exception as error:
        raise RenderError(
            f"The env cannot be made with render_mode='rgb_array': {_described(error)}. A video needs an env that "
            "draws images."
        ) from error


def drawn(env: AnyEnv, *parts: AnyEpisode, only: Collection[int] | None = None) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of an episode, whose parts are of one rollout after the other, as the env makes it once more.

    `only` are the numbers of the frames that are wanted; by default, there is one per observation.
    """
    for t, divergence in enumerate(compared(env, *parts)):
        if divergence is not None:
            raise ReplayError(str(divergence))
        if only is None or t in only:
            yield _frame(env)


@contextlib.contextmanager
def closing(env: AnyEnv) -> Iterator[AnyEnv]:
    """Close an env at the end. After an error, what its `close` raises does not hide that."""
    try:
        yield env
    except BaseException:
        with contextlib.suppress(Exception):
            env.close()
        raise
    env.close()


def _frame(env: AnyEnv) -> NDArray[np.uint8]:
    try:
        with _no_display_asked():
            frame: Any = env.render()
    except Exception as error:
        raise RenderError(
            f"The env cannot be drawn: render() raised {_described(error)}.{_way_out(env.metadata)}"
        ) from error
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
        raise RenderError(
            f"The env renders {type(frame).__name__}, not an image of shape [height, width, 3]. Make it with "
            "render_mode='rgb_array'."
        )
    return frame.astype(np.uint8, copy=False)


def _way_out(metadata: Mapping[str, Any]) -> str:
    modes = metadata.get("render_modes") or []
    if "rgb_array" not in modes:
        said = f"its render modes are {', '.join(modes)}" if modes else "its metadata have no render modes"
        return f" It draws no images: {said}, and a video needs rgb_array."
    if _is_headless():
        return " There is no display: set MUJOCO_GL to egl or osmesa for MuJoCo, SDL_VIDEODRIVER=dummy for pygame."
    return ""


@contextlib.contextmanager
def _no_display_asked() -> Iterator[None]:
    """Where there is no display, let SDL look for none meanwhile: it complains on stderr, and pygame then draws anyway.

    Only meanwhile, as whoever opens a window later is to be told that there is no display.
    """
    if not _is_headless() or "SDL_VIDEODRIVER" in os.environ:
        yield
        return
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    try:
        yield
    finally:
        os.environ.pop("SDL_VIDEODRIVER", None)


def _is_headless() -> bool:
    return sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".")
