"""What a helper process is busy with, as it says in shared memory: for the error that tells of its death."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runnerkit.errors import EnvError, EnvTimeoutError
from runnerkit.executors.calls import Doing, Phase, limits_of, slice_of, timed_out
from runnerkit.executors.processes.handover import ControlWords
from runnerkit.executors.processes.share import NO_REWARD_YET
from runnerkit.records import RunOptions

__all__ = ["Whereabouts"]

_REMAKE_S: Final = 30.0  # how long an env may take to close before it is made anew
_DOING: Final = {
    Phase.MAKE: "was being made",
    Phase.RESET: "was in reset",
    Phase.STEP: "was in step",
    Phase.RENDER: "was in render",
    Phase.CALL: "was in a call of a method or attribute",
    Phase.CLOSE: "was in close",
    Phase.RECALL: "was brought back to where it had been",
}


class Whereabouts:
    """Reads which call of which env is under way in the helper of envs `low` to `high - 1`."""

    def __init__(self, words: memoryview[int], n_envs: int, low: int, high: int, options: RunOptions) -> None:
        self._words, self._n_envs, self._low, self._high = words, n_envs, low, high
        self.active: Sequence[int] = range(low, high)
        """The envs that are stepped together."""
        self.rewards: NDArray[np.int64] | None = None
        """The rewards of the block, as bits: they tell how far a step got."""
        self.is_open: bool = False
        """Whether the envs have been made."""
        self.died_idle: bool = False
        """Whether the process died while no env was at work, so that none is to blame."""
        self.limits: dict[int, float] = limits_of(options)
        """How long a call may take, by phase."""
        if options.restarts:
            self.limits[Phase.CLOSE] = _REMAKE_S
        self.slice: float = slice_of(self.limits)
        """How many seconds may pass before it is seen whether a call takes too long."""
        for k in range(ControlWords.FIRST_ARRAY, ControlWords.FIRST_ARRAY + 2 * n_envs):
            words[k] = -1  # no episode yet
        words[ControlWords.ENV] = low

    def doing(self) -> Doing | None:
        """Return which call of an env is under way, for a thread that watches the caller."""
        words = self._words
        phase, calls = words[ControlWords.PHASE], words[ControlWords.DONE]
        if phase == Phase.IDLE or phase == Phase.CLOSE:
            return None
        i = self._stepped_env() if phase == Phase.STEP else words[ControlWords.ENV]
        return Doing(phase, i, self._episode_of(i)[0], (calls, phase, i))

    def overdue(self) -> tuple[int, int] | None:
        """Return (phase, env) of the call that takes longer than it may, if one does."""
        words = self._words
        phase, i, since = words[ControlWords.PHASE], words[ControlWords.ENV], words[ControlWords.SINCE]
        if not since or time.monotonic_ns() - since <= self.limits.get(phase, math.inf) * 1e9:
            return None
        return phase, i

    def timed_out(self, phase: int, i: int, outcome: str) -> EnvTimeoutError:
        """Return what is to be said of an env that took too long, and what became of it."""
        episode_index, seed = self._episode_of(i)
        known: dict[str, Any] = {"env_index": i, "episode_index": episode_index, "seed": seed}
        return timed_out(phase, self.limits[phase], outcome, **known)

    def death(self, pid: int, how: str, advice: str) -> EnvError:
        """Return what is to be said of the death of the process."""
        words = self._words
        phase, i = words[ControlWords.PHASE], words[ControlWords.ENV]
        if phase == Phase.STEP:
            i = self._stepped_env()
        elif phase == Phase.IDLE and self.is_open and self.active:
            i, self.died_idle = self.active[0], True
        episode_index, seed = self._episode_of(i)
        process = f"its process ({pid}, envs {self._low} to {self._high - 1}) {how}"
        if phase == Phase.IDLE and not self.is_open:
            what = f"could not be made: {process} as it started; what it wrote to stderr says why"
        else:
            what = f"{_DOING.get(phase, 'was waiting')} when {process}{advice}"
        return EnvError(
            what,
            env_index=i,
            episode_index=episode_index,
            seed=seed,
            after_step=phase in (Phase.RESET, Phase.RENDER, Phase.CALL),
        )

    def _stepped_env(self) -> int:
        """Return which env is in its step: the first one without a reward, unless single envs are called."""
        words = self._words
        if self.rewards is None or words[ControlWords.COMMAND] == ControlWords.SINGLE:
            return words[ControlWords.ENV]
        row = self.rewards[words[ControlWords.AT]]
        return next((k for k in self.active if row[k] == NO_REWARD_YET), self._high - 1)

    def _episode_of(self, i: int) -> tuple[int | None, int | None]:
        """Return the index and the seed of the episode that an env is in, where they are known."""
        first = ControlWords.FIRST_ARRAY + i
        episode_index, seed = self._words[first], self._words[first + self._n_envs]
        return None if episode_index < 0 else episode_index, None if seed < 0 else seed
