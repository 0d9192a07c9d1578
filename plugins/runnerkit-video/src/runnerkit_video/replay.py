"""An episode again, step by step, with its seed and its actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from numpy.typing import NDArray

from runnerkit.errors import ArgumentError, RunnerKitError
from runnerkit.history import EpisodeColumns
from runnerkit.typing import AnyEnv

__all__ = ["MakeRendered", "ReplayError", "frames"]

MakeRendered: TypeAlias = str | Callable[[], AnyEnv]
"""A Gymnasium id, or a function that makes an env with `render_mode="rgb_array"`."""

AnyEpisode: TypeAlias = EpisodeColumns[Any, Any, NDArray[np.float64], NDArray[np.bool_]]


class ReplayError(RunnerKitError):
    """Raised when an episode goes another way than it was recorded; names the first step that differs."""


def frames(
    env: MakeRendered, episode: AnyEpisode, env_options: Mapping[str, Any] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Replay an episode and yield its frames, uint8 `[height, width, 3]`: one per observation, T + 1 in all.

    Raises:
        ArgumentError: the episode has no seed, or began in an earlier rollout, or the env gives no frames.
        ReplayError: a reward or the end of the episode differs from what was recorded.

    """
    record = episode.record
    if record.continued:
        raise ArgumentError(
            f"Episode {record.episode_index} of env {record.env_index} began in an earlier rollout, so that its first "
            "actions are not here. Choose one that began in this rollout."
        )
    if record.seed is None:
        raise ArgumentError(
            f"Episode {record.episode_index} of env {record.env_index} has no seed: a vector env began it by itself. "
            "Roll out single envs to replay their episodes."
        )
    made = _make(env, env_options or {})
    try:
        options = None if record.options is None else dict(record.options)
        made.reset(seed=record.seed, options=options)
        yield _frame(made)
        for t in range(record.length):
            _, reward, terminated, truncated, _ = made.step(_action(episode.env_actions, t))
            recorded = float(episode.rewards[t]), bool(episode.terminated[t]), bool(episode.truncated[t])
            _compare(record.env_index, record.episode_index, t, recorded, (float(reward), terminated, truncated))
            yield _frame(made)
    finally:
        made.close()


def _make(env: MakeRendered, options: Mapping[str, Any]) -> AnyEnv:
    if isinstance(env, str):
        made: AnyEnv = gymnasium.make(env, render_mode="rgb_array", **options)
        return made
    return env()


def _action(actions: Any, t: int) -> Any:
    if isinstance(actions, dict):
        return {key: _action(sub, t) for key, sub in actions.items()}
    if isinstance(actions, tuple):
        return tuple(_action(sub, t) for sub in actions)
    return actions[t]


def _compare(i: int, k: int, t: int, recorded: tuple[float, bool, bool], again: tuple[float, bool, bool]) -> None:
    for name, before, now in zip(("reward", "terminated", "truncated"), recorded, again, strict=True):
        if before != now and not (before != before and now != now):  # two NaNs are equal here
            raise ReplayError(
                f"Episode {k} of env {i} goes another way at step {t}: {name} was {before}, and is {now} now. Either "
                "the env is made in another way (env_options, wrappers, version), or it is no function of its seed."
            )


def _frame(env: AnyEnv) -> NDArray[np.uint8]:
    frame: Any = env.render()
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
        raise ArgumentError(
            f"The env renders {type(frame).__name__}, not an image of shape [height, width, 3]. Make it with "
            "render_mode='rgb_array'."
        )
    return frame.astype(np.uint8, copy=False)
