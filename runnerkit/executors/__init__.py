"""Executors: how n envs are stepped. Which one is used never shows in the data, only in the speed.

They step envs through `Share`, the envs that one worker owns; an executor of your own should, too. Only
`VectorExecutor` does not, which a runner uses for a `gymnasium.vector.VectorEnv`.
"""

from __future__ import annotations

from runnerkit.episodes import Share
from runnerkit.executors.auto import AutoExecutor
from runnerkit.executors.serial import SerialExecutor
from runnerkit.executors.threads import ThreadsExecutor
from runnerkit.executors.vector import VectorExecutor

__all__ = ["AutoExecutor", "SerialExecutor", "Share", "ThreadsExecutor", "VectorExecutor"]
