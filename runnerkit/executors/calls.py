"""Which call of which env is under way, and how long it may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from runnerkit.errors import EnvError, EnvTimeoutError, RolloutError
from runnerkit.records import EndReason, RunOptions

__all__ = ["Doing", "Fence", "GivenUpError", "Phase", "limits_of", "require_life", "slice_of", "timed_out"]

T = TypeVar("T")


class Phase:
    """What a share may be busy with."""

    IDLE, MAKE, RESET, STEP, RENDER, CLOSE, RECALL, CALL = range(8)


NAMES: Final = {Phase.MAKE: "make", Phase.RESET: "reset", Phase.STEP: "step", Phase.RENDER: "render"}
TIMEOUTS: Final = {
    Phase.MAKE: "make_timeout",
    Phase.RESET: "reset_timeout",
    Phase.STEP: "step_timeout",
    Phase.RENDER: "step_timeout",
    Phase.RECALL: "step_timeout",
}
"""The option that sets the most seconds of a call."""


class Doing(NamedTuple):
    """A call of an env that is under way."""

    phase: int
    env_index: int
    episode_index: int | None
    token: object
    """The same object, or an equal one, as long as it is the same call."""


def limits_of(options: RunOptions) -> dict[int, float]:
    """Return the seconds that a call may take, by phase; those without a timeout are left out."""
    given = options.timeouts
    return {phase: given[name] for phase, name in TIMEOUTS.items() if name in given}


def slice_of(limits: Mapping[int, float]) -> float:
    """Return how long to wait before looking again, so that a timeout is noticed at most a tenth too late."""
    return max(0.005, min(0.5, *(seconds / 10 for seconds in limits.values()), 0.5))


def timed_out(
    phase: int, seconds: float, outcome: str, *, env_index: int, episode_index: int | None, seed: int | None
) -> EnvTimeoutError:
    """Return what is to be said of an env that did not answer within so many seconds."""
    if phase == Phase.CLOSE:
        said = f"did not close within {seconds:g} s, so that it could not be made anew: {outcome}"
    else:
        name = NAMES[Phase.STEP if phase == Phase.RECALL else phase]
        what = "could not be made" if phase == Phase.MAKE else f"did not return from {name}"
        said = f"{what} within {seconds:g} s ({TIMEOUTS[phase]}): {outcome}"
        said += ". If the env is only slow, give it a longer timeout"
    return EnvTimeoutError(
        said,
        env_index=env_index,
        episode_index=episode_index,
        seed=seed,
        after_step=phase in (Phase.RESET, Phase.RENDER),
        end_reason=EndReason.TIMED_OUT,
    )


def require_life(death: RolloutError | None, envs: str) -> None:
    """Raise an error if the worker of some envs has died; `envs` names them, as in "envs 0 to 3"."""
    if isinstance(death, EnvError):
        what = f"has no worker any more: it ended earlier, with this error: {death}"
        raise EnvError(what, env_index=death.env_index) from death
    if death is not None:
        raise RolloutError(f"{envs.capitalize()} cannot be stepped any more. {death}") from death


class GivenUpError(BaseException):
    """Raised in the thread of a call that has been given up, so that nothing is done with what it returned."""


class Fence:
    """Stands between one thread that calls an env and another one that may give the call up::

        fence(Phase.STEP, env.step, action)         # in the thread of the env
        phase = fence.give_up(limits)               # in the thread that waits

    A call is either given up or has ended, never both. What was given up raises GivenUpError when it returns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phase = Phase.IDLE
        self._began = 0.0
        self._is_given_up = False

    def __call__(self, phase: int, function: Callable[..., T], /, *args: Any, **keywords: Any) -> T:
        """Return what the function returns, unless the call was given up."""
        with self._lock:
            self._phase, self._began = phase, time.monotonic()
        try:
            return function(*args, **keywords)
        finally:
            with self._lock:
                self._phase = Phase.IDLE
            if self._is_given_up:
                raise GivenUpError

    def give_up(self, limits: Mapping[int, float]) -> int:
        """Give the call up that takes longer than its limit, and return its phase; IDLE if there is none."""
        with self._lock:
            limit = limits.get(self._phase)
            if limit is None or time.monotonic() - self._began <= limit:
                return Phase.IDLE
            self._is_given_up = True
            return self._phase
