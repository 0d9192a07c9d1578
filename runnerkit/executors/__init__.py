"""Executors: how n envs are stepped. Which one is used never shows in the data, only in the speed.

All of them step envs through `Share`, the envs that one worker owns; an executor of your own should, too.
"""

from __future__ import annotations

from runnerkit.episodes import Share
from runnerkit.executors.auto import AutoExecutor
from runnerkit.executors.serial import SerialExecutor
from runnerkit.executors.threads import ThreadsExecutor

__all__ = ["AutoExecutor", "SerialExecutor", "Share", "ThreadsExecutor"]
