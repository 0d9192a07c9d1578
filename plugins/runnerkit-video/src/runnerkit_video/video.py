"""Frames into mp4 files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from runnerkit import Episode
from runnerkit.errors import ArgumentError
from runnerkit.history import ArrayHistory
from runnerkit_video.choice import Choose, best
from runnerkit_video.replay import MakeRendered, closing, drawn, frames, made

__all__ = ["Video", "record_episode", "record_episodes"]


@dataclass(frozen=True, slots=True)
class Video:
    """A file, and the record of the episode that it shows."""

    path: Path
    episode: Episode
    frames: int


def record_episodes(
    env: MakeRendered,
    histories: Iterable[ArrayHistory[Any, Any]],
    folder: str | os.PathLike[str],
    *,
    which: Choose | None = None,
    fps: int = 30,
    env_options: Mapping[str, Any] | None = None,
) -> list[Video]:
    """Replay the chosen episodes and write one mp4 file for each, `env0-episode3.mp4`::

        record_episodes("CartPole-v1", histories, "videos", which=every(10))

    Args:
        env: the id of the env, or a function that makes it as the runner did, with `render_mode="rgb_array"`.
        histories: of one rollout with `history="arrays"`.
        folder: is made if it is not there.
        which: chooses among the episodes that began in this rollout; by default the one with the highest return.
        fps: frames per second of the video.
        env_options: what the runner had as `env_options`.

    Raises:
        ArgumentError: there is no episode to choose from, an episode cannot be replayed, or a file cannot be written.
        RenderError: the env cannot be drawn.
        ReplayError: an episode goes another way than it was recorded; what was written of its file is removed.

    """
    if fps < 1:
        raise ArgumentError(f"fps must be a whole number of at least 1, not {fps!r}.")
    episodes = {
        (part.record.env_index, part.record.episode_index): part
        for history in histories
        for part in history.split()
        if not part.record.continued and part.record.seed is not None
    }
    if not episodes:
        raise ArgumentError("The histories have no episode that began in this rollout with a seed of its own.")
    into = Path(folder)
    written = []
    for record in (which or best())([part.record for part in episodes.values()]):
        episode = episodes[record.env_index, record.episode_index]
        path = into / f"env{record.env_index}-episode{record.episode_index}.mp4"
        written.append(Video(path, record, _write(path, frames(env, episode, env_options), fps)))
    return written


def record_episode(
    histories: Iterable[ArrayHistory[Any, Any]],
    path: str | os.PathLike[str],
    *,
    env: MakeRendered | None = None,
    fps: int = 30,
) -> Video:
    """Replay one episode and write it to an mp4 file::

        record_episode([runnerkit.load("runs")[3]], "episode.mp4")

    Args:
        histories: those of the episode, in order, if several rollouts share it.
        path: the file; its folder is made if it is not there.
        env: the id of the env, or a function that makes it with `render_mode="rgb_array"`. By default it is made as the
            histories say.
        fps: frames per second of the video.

    Raises:
        ArgumentError: the episode cannot be replayed, or the file cannot be written.
        RenderError: the env cannot be drawn.
        ReplayError: it goes another way than it was recorded.

    """
    whole = list(histories)
    parts = [part for history in whole for part in history.split()]
    record = parts[0].record
    with closing(made(whole[0].made_by, record.env_index, env)) as made_env:
        return Video(Path(path), record, _write(Path(path), drawn(made_env, *parts), fps))


def _write(path: Path, pictures: Iterator[NDArray[np.uint8]], fps: int) -> int:
    """Write a file under a temporary name first, so that a name stands for a whole video."""
    partial = path.with_suffix(".partial.mp4")
    _begin(partial)
    count = 0
    try:
        with av.open(str(partial), "w") as container:
            stream = None
            for picture in pictures:
                if stream is None:
                    stream = container.add_stream("libx264", rate=fps, options={"crf": "18"})
                    stream.height, stream.width = _even(picture.shape[0]), _even(picture.shape[1])
                    stream.pix_fmt = "yuv420p"
                container.mux(stream.encode(av.VideoFrame.from_ndarray(_padded(picture), format="rgb24")))
                count += 1
            if stream is not None:
                container.mux(stream.encode(None))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _begin(file: Path) -> None:
    """Make a file that is empty, and its folder: what the encoder says of one that cannot be made names neither."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    except OSError as error:
        raise ArgumentError(
            f"A video cannot be written to {file.parent}: {error.strerror}. Choose another folder."
        ) from error


def _even(size: int) -> int:
    return size + size % 2


def _padded(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of even height and width, which the codec needs."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
