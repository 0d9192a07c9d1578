"""What is wrong with a vector env, in words: it raised, returned what does not fit, or lost a worker process."""

from __future__ import annotations

import multiprocessing.connection
from typing import Any, Final

from gymnasium.vector import AsyncVectorEnv

from runnerkit._core.faults import cause_of_death
from runnerkit._core.wording import with_fix
from runnerkit.errors import EnvError, EnvSpaceError

__all__ = ["fault", "misfit", "never_rested"]

_WAIT_S: Final = 0.5  # a pipe may be closed some moments before its process has ended


def fault(env: Any, what: str, error: Exception, *, after_step: bool = False) -> EnvError:
    """Return the error for an exception of the env, in these words unless one of its worker processes died."""
    death = _death_among(env, error)
    if death is not None:
        i, how = death
        what = f"lived in a worker process of AsyncVectorEnv that {how}. Build a new runner to go on"
        return EnvError(what, env_index=i, after_step=after_step)
    return EnvError(f"{what}. It does not say which of its {env.num_envs} envs it was.", after_step=after_step)


def misfit(what: str, *, after_step: bool = False) -> EnvSpaceError:
    """Return the error for something that the env should not have returned."""
    return EnvSpaceError(with_fix(what, " (gymnasium.wrappers.vector)"), after_step=after_step)


def never_rested() -> EnvSpaceError:
    """Return the error for an env that ended an episode in the step in which it was to begin it."""
    return misfit("ended an episode in the step in which it resets, by its auto-reset mode NEXT_STEP")


def _death_among(env: Any, error: Exception) -> tuple[int, str] | None:
    """Return the first env whose worker process died, and how; None if all are alive, or there are none."""
    inner = env.unwrapped
    if not isinstance(inner, AsyncVectorEnv):
        return None
    if isinstance(error, EOFError | ConnectionError):
        ending = multiprocessing.connection.wait([process.sentinel for process in inner.processes], _WAIT_S)
        for process in inner.processes:
            if process.sentinel in ending:
                process.join(_WAIT_S)
    codes = ((i, process.exitcode) for i, process in enumerate(inner.processes))
    return next(((i, cause_of_death(code)) for i, code in codes if code is not None), None)
