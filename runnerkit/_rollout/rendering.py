"""Showing what envs render: the frames of all of them as tiles of one window."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from runnerkit.errors import ArgumentError, RenderError

if TYPE_CHECKING:
    import pygame

__all__ = ["Screen", "tile"]

_INVISIBLE = ("dummy", "offscreen")  # the drivers that SDL falls back to where there is nothing to see


class Screen:
    """A window for the frames of a rollout, at most `fps` of them a second.

    Envs made with `render_mode="human"` draw for themselves and are only kept to the pace; those made with
    `"rgb_array"` are tiled into one pygame window.
    """

    def __init__(self, render_mode: str | None, fps: float, title: str) -> None:
        if not _is_positive(fps):
            raise ArgumentError(f"fps must be above 0, not {fps!r}.")
        if render_mode not in ("human", "rgb_array"):
            raise RenderError(
                f"render=True needs envs that were made for it, not with render_mode={render_mode!r}. Build the "
                "runner with render_mode='rgb_array' (all envs in one window) or render_mode='human' (each its own)."
            )
        self._draws_itself = render_mode == "human"
        self._pause = 1.0 / fps
        self._next_frame = 0.0
        self._window: pygame.Surface | None = None
        self._title = title

    @property
    def needs_frames(self) -> bool:
        """Whether `show` wants frames, or the envs draw for themselves."""
        return not self._draws_itself

    def wait(self) -> None:
        """Sleep until the next frame is due."""
        now = time.monotonic()
        if now < self._next_frame:
            time.sleep(self._next_frame - now)
        self._next_frame = max(now, self._next_frame) + self._pause

    def show(self, frames: Sequence[object]) -> None:
        """Draw one frame per env, `[height, width, 3]` uint8 each."""
        picture = tile([np.asarray(frame) for frame in frames])
        pygame = _pygame()
        height, width = picture.shape[:2]
        if self._window is None or self._window.get_size() != (width, height):
            self._window = _open(pygame, (width, height), self._title)
        pygame.surfarray.blit_array(self._window, picture.swapaxes(0, 1))
        pygame.event.pump()
        pygame.display.flip()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window = None
            _pygame().display.quit()


def tile(frames: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Return frames side by side in rows, as square a picture as it gets; smaller ones are padded with black."""
    for frame in frames:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            given = f"of shape {frame.shape} and dtype {frame.dtype}"
            raise RenderError(f"Frames must be uint8 arrays [height, width, 3], not {given}.")
    columns = math.ceil(math.sqrt(len(frames)))
    height, width = max(f.shape[0] for f in frames), max(f.shape[1] for f in frames)
    picture = np.zeros((math.ceil(len(frames) / columns) * height, columns * width, 3), np.uint8)
    for k, frame in enumerate(frames):
        top, left = (k // columns) * height, (k % columns) * width
        picture[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return picture


def _is_positive(fps: object) -> bool:
    return isinstance(fps, SupportsFloat) and not isinstance(fps, bool) and float(fps) > 0


def _pygame() -> Any:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        raise RenderError(
            "Drawing rgb_array frames needs pygame, which is not installed: pip install 'runnerkit[render]'"
        ) from error
    return pygame


def _open(pygame: Any, size: tuple[int, int], title: str) -> Any:
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
        if driver in _INVISIBLE and "SDL_VIDEODRIVER" not in os.environ:
            raise pygame.error(f"SDL found none and fell back to its {driver} driver")
        window = pygame.display.set_mode(size)
        pygame.display.set_caption(title)
    except pygame.error as error:
        pygame.display.quit()
        raise RenderError(
            f"There is no display to draw on ({error}). Set DISPLAY, or SDL_VIDEODRIVER=dummy to draw to nowhere, "
            "or leave render out."
        ) from error
    return window
