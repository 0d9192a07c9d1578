"""A few pictures of an episode side by side, as a small JPEG."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from runnerkit.errors import ArgumentError
from runnerkit.history import ArrayHistory
from runnerkit_video.replay import MakeRendered, closing, drawn, made

__all__ = ["film_strip"]

_GAP = 2  # pixels between two pictures


def film_strip(
    histories: Iterable[ArrayHistory[Any, Any]],
    *,
    env: MakeRendered | None = None,
    pictures: int = 6,
    height: int = 96,
) -> bytes:
    """Replay one episode and return pictures of it, from its first observation to its last one, as one JPEG::

        Path("strip.jpg").write_bytes(film_strip([runnerkit.load("runs")[3]]))

    Only the pictures that are shown are drawn, so that a strip costs little more than the steps of the episode.

    Args:
        histories: those of the episode, in order, if several rollouts share it.
        env: as for `record_episode`.
        pictures: how many; fewer if the episode is shorter.
        height: of the strip in pixels; the width follows.

    Raises:
        ArgumentError: the episode cannot be replayed, or a number is below 1.
        RenderError: the env cannot be drawn.
        ReplayError: the episode goes another way than it was recorded.

    """
    if pictures < 1 or height < 1:
        raise ArgumentError(f"pictures and height must be at least 1, not {pictures!r} and {height!r}.")
    whole = list(histories)
    parts = [part for history in whole for part in history.split()]
    length = sum(part.record.length for part in parts)
    wanted = sorted({round(k * length / max(pictures - 1, 1)) for k in range(pictures)})
    with closing(made(whole[0].made_by, parts[0].record.env_index, env)) as made_env:
        shown = [_scaled(frame, height) for frame in drawn(made_env, *parts, only=wanted)]
    gap = np.full((height, _GAP, 3), 255, np.uint8)
    beside = [part for picture in shown for part in (gap, picture)][1:]
    return _jpeg(np.concatenate(beside, axis=1))


def _scaled(frame: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    width = max(1, round(frame.shape[1] * height / frame.shape[0]))
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    scaled = picture.reformat(width, height, interpolation="AREA").to_ndarray(format="rgb24")
    return scaled.astype(np.uint8, copy=False)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width = picture.shape[:2]
    codec.pix_fmt, codec.framerate, codec.options = "yuvj420p", 1, {"qmin": "4", "qmax": "4"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
