"""Episodes of a folder for the commands that make them once more: which they are, in which env, and their videos."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Sequence
from typing import Any

from runnerkit._cli.packages import required
from runnerkit._core.wording import count
from runnerkit.errors import ArgumentError
from runnerkit.history.arrays import ArrayHistory
from runnerkit.history.npz import StoredRuns
from runnerkit.replaying import StoredEpisode, remade, whole_episodes

__all__ = ["check_index", "draw_episode", "env_of", "episode_of"]


def check_index(runs: StoredRuns, index: int) -> None:
    """Raise ArgumentError if a folder has no episode of that index."""
    if index >= len(runs):
        which = f", 0 to {len(runs) - 1}" if len(runs) > 1 else ", 0" if len(runs) else ""
        raise ArgumentError(f"{runs.path} has no episode {index}: it has {count(len(runs), 'episode')}{which}.")


def episode_of(runs: StoredRuns, index: int) -> StoredEpisode:
    """Return the whole episode that a history of a folder is of; raises ArgumentError if it cannot be replayed."""
    check_index(runs, index)
    found = [episode for episode in whole_episodes(runs) if index in episode.indices]
    if not found:
        raise ArgumentError(
            f"Episode {index} of {runs.path} cannot be replayed: it has no seed, or it began before this folder."
        )
    return found[0]


def env_of(text: str | None) -> Any:
    """Return the env that is meant: a function of a module, or what else a runner takes."""
    module, colon, name = (text or "").partition(":")
    if not colon or not name.replace(".", "").isidentifier():
        return text
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):  # an env factory's, or Gymnasium's own module:Env-v0
        return text
    return found


def draw_episode(
    parts: Sequence[ArrayHistory[Any, Any]], path: str | os.PathLike[str], env: str | None, fps: int = 30
) -> Any:
    """Write a video of an episode, and return what the package says of it."""
    given = env_of(env)
    if callable(given):
        given = functools.partial(remade, parts[0].made_by, parts[0].episodes[0].env_index, given, None, "rgb_array")
    return required("runnerkit-video", "A video").record_episode(parts, path, env=given, fps=fps)
