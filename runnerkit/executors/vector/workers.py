"""The worker processes of Gymnasium's AsyncVectorEnv: which of them died, when calling one failed."""

from __future__ import annotations

import multiprocessing.connection
from typing import Any, Final

from gymnasium.vector import AsyncVectorEnv

from runnerkit._core.faults import cause_of_death

__all__ = ["death_among"]

_WAIT_S: Final = 0.5  # a pipe may be closed some moments before its process has ended


def death_among(env: Any, error: BaseException | None) -> tuple[int, str] | None:
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
