"""Envs that do something bad, in a module of their own: each actor imports the one that they are in."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from typing_extensions import override

from runnerkit.executors import SeedSchedule
from runnerkit.testing.samples import SPACES, SampleEnv


class Fragile(SampleEnv):
    """Does its worst in its sixth step, of which a file tells before: "die", "hang", "raise", or nothing."""

    def __init__(self, folder: Path, worst: str) -> None:
        super().__init__(SPACES["float32"], SPACES["Discrete"])
        self._folder, self._worst = folder, worst
        self._seen = 0

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._seen += 1
        if self._seen == 6 and self._worst:
            (self._folder / self._worst).touch()
            if self._worst == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self._worst == "hang":
                time.sleep(600)
            if self._worst == "raise":
                raise RuntimeError("crashed on purpose")
        return super().step(action)


class Makes:
    """Makes the envs of a runner with seed 0; each does its worst once."""

    def __init__(self, folder: Path, *worst: str) -> None:
        self._folder = folder
        self._worst = {SeedSchedule(0).env_seed(i): what for i, what in enumerate(worst)}

    def __call__(self, seed: int | None) -> SampleEnv:
        assert seed is not None
        done = self._folder / str(seed)
        worst = "" if done.exists() else self._worst[seed]
        done.touch()
        return Fragile(self._folder, worst)
