"""Showing what envs render: the frames of all of them as tiles of one window."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from runnerkit.errors import ArgumentError, RenderError

if TYPE_CHECKING:
    import pygame

__all__ = ["Screen", "tile"]

_INVISIBLE = ("dummy", "offscreen")  # the drivers that SDL falls back to where there is nothing to see

_OF_DISPLAY = 0.9  # which panels and title bars share with the window
_LEAST_TILE = 60  # pixels: in smaller ones, lines and texts would hide what is drawn
_FONT_SIZE = 18
_GREY = (128, 128, 128)


class Screen:
    """A window for the frames of a rollout, at most `fps` of them a second.

    Envs made with `render_mode="human"` draw for themselves and are only kept to the pace; those made with
    `"rgb_array"` are tiled into one pygame window, which fits the display and may be resized. Closing it ends
    drawing, not the rollout.
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
        self._picture_size: tuple[int, int] | None = None  # that the window was opened for
        self._closed = False
        self._title = title
        self._font: pygame.font.Font | None = None
        self._returns: dict[int, float] = {}

    @property
    def needs_frames(self) -> bool:
        """Whether `show` wants frames, or the envs draw for themselves."""
        return not self._draws_itself and not self._closed

    def begin(self, returns: Mapping[int, float]) -> None:
        """Be told the returns so far of the episodes that are running, by env index."""
        self._returns = dict(returns)

    def count(self, rewards: NDArray[np.float64], active: Sequence[int], ended: Sequence[int]) -> None:
        """Add the rewards of a step, one per env of the runner; those of ended episodes are forgotten."""
        for i in active:
            self._returns[i] = self._returns.get(i, 0.0) + float(rewards[i])
        self._returns.update(dict.fromkeys(ended, 0.0))

    def wait(self) -> None:
        """Sleep until the next frame is due."""
        if self._closed:
            return
        now = time.monotonic()
        if now < self._next_frame:
            time.sleep(self._next_frame - now)
        self._next_frame = max(now, self._next_frame) + self._pause

    def show(self, frames: Sequence[object], env_indices: Sequence[int]) -> None:
        """Draw one frame per env, `[height, width, 3]` uint8 each."""
        picture = tile([np.asarray(frame) for frame in frames])
        pygame = _pygame()
        size = picture.shape[1], picture.shape[0]
        if size != self._picture_size:
            _open(pygame, size, self._title)
            self._picture_size = size
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self._closed = True
            self.close()
            return
        window = pygame.display.get_surface()  # of another size than before, if it was resized
        left, top, width, height = _placed(size, window.get_size())
        surface = pygame.surfarray.make_surface(picture.swapaxes(0, 1))
        if size != (width, height):
            surface = pygame.transform.smoothscale(surface, (width, height))
        window.fill("black")
        window.blit(surface, (left, top))
        columns = _columns(len(frames))
        across, down = width / columns, height / math.ceil(len(frames) / columns)
        if across >= _LEAST_TILE and down >= _LEAST_TILE:
            for k, i in enumerate(env_indices):
                corner = round(left + k % columns * across), round(top + k // columns * down)
                self._frame(pygame, window, (*corner, round(across), round(down)), i)
        pygame.display.flip()

    def _frame(self, pygame: Any, window: Any, tile: tuple[int, int, int, int], i: int) -> None:
        """Draw a thin line around a tile, and say whose it is."""
        pygame.draw.rect(window, _GREY, tile, width=1)
        font = self._font
        if font is None:
            pygame.font.init()
            self._font = font = pygame.font.Font(None, _FONT_SIZE)
        text = font.render(f"env {i}  return {self._returns.get(i, 0.0):.4g}", True, "white", "black")
        window.blit(text, (tile[0] + 3, tile[1] + 3), (0, 0, tile[2] - 6, tile[3] - 6))

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._picture_size is not None:
            self._picture_size = None
            _pygame().display.quit()


def tile(frames: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Return frames side by side in rows, as square a picture as it gets; smaller ones are padded with black."""
    for frame in frames:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            given = f"of shape {frame.shape} and dtype {frame.dtype}"
            raise RenderError(f"Frames must be uint8 arrays [height, width, 3], not {given}.")
    columns = _columns(len(frames))
    height, width = max(f.shape[0] for f in frames), max(f.shape[1] for f in frames)
    picture = np.zeros((math.ceil(len(frames) / columns) * height, columns * width, 3), np.uint8)
    for k, frame in enumerate(frames):
        top, left = (k // columns) * height, (k % columns) * width
        picture[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return picture


def _columns(n: int) -> int:
    return math.ceil(math.sqrt(n))


def _placed(size: tuple[int, int], area: tuple[int, int], largest: float = math.inf) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a picture in an area: in its middle, as large as fits, its aspect kept."""
    scale = min(area[0] / size[0], area[1] / size[1], largest)
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return (area[0] - width) // 2, (area[1] - height) // 2, width, height


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


def _open(pygame: Any, size: tuple[int, int], title: str) -> None:
    """Open a window for a picture of that size, or a smaller one where the display is smaller."""
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
        if driver in _INVISIBLE and "SDL_VIDEODRIVER" not in os.environ:
            raise pygame.error(f"SDL found none and fell back to its {driver} driver")
        width, height = pygame.display.get_desktop_sizes()[0]
        fitting = _placed(size, (int(width * _OF_DISPLAY), int(height * _OF_DISPLAY)), largest=1.0)[2:]
        pygame.display.set_mode(fitting, pygame.RESIZABLE)
        pygame.display.set_caption(title)
    except pygame.error as error:
        pygame.display.quit()
        raise RenderError(
            f"There is no display to draw on ({error}). Set DISPLAY, or SDL_VIDEODRIVER=dummy to draw to nowhere, "
            "or leave render out."
        ) from error
