"""`runnerkit rollout --video DIR`: the best episode as a film, drawn by replaying it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runnerkit._cli.options import Parts
from runnerkit.history.arrays import ArrayHistory

if TYPE_CHECKING:
    from runnerkit._rollout.gym_runner import GymRunner

__all__ = ["record_best"]


def record_best(
    runner: GymRunner[Any, Any, Any], env: str, parts: Parts, histories: Sequence[ArrayHistory[Any, Any]], folder: str
) -> list[str]:
    """Replay the episode with the highest return and write it to a folder; return the paths of the files.

    Raises ArgumentError if no episode can be replayed, and a RunnerKitError if one goes another way.
    """
    from runnerkit_video import record_episodes

    from runnerkit._rollout.gym_runner import GymRunner

    given = parts.keywords()
    with GymRunner(
        env,
        runner.seed,
        executor="serial",
        render_mode="rgb_array",
        env_options=given["env_options"],
        wrappers=given["wrappers"],
    ) as maker:
        make_env = functools.partial(maker.make_env, maker.seed)
        return [str(video.path) for video in record_episodes(make_env, histories, folder)]
