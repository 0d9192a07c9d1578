"""How envs are divided among the calling process and its helpers."""

from __future__ import annotations

import numpy as np

from runnerkit._core.cores import available_cores, share_out
from runnerkit.errors import ArgumentError
from runnerkit.records import RunOptions

__all__ = ["divided", "is_isolated"]


def divided(n_envs: int, workers: int | None, own_envs: int | None) -> list[range]:
    """Return the envs of each process, the caller's first: `own_envs` of them, or an equal share if None or 0.

    Raises ArgumentError.
    """
    if own_envs is not None:
        _check(own_envs, n_envs, workers)
    if not own_envs:
        return share_out(n_envs, workers)
    helpers = max(1, (available_cores() if workers is None else workers) - 1)
    others = share_out(n_envs - own_envs, helpers)
    return [range(own_envs), *(range(own_envs + part.start, own_envs + part.stop) for part in others)]


def _check(own_envs: object, n_envs: int, workers: int | None) -> None:
    if isinstance(own_envs, bool) or not isinstance(own_envs, int | np.integer) or not 0 <= own_envs < n_envs:
        raise ArgumentError(
            f"own_envs must be a whole number from 0 to n_envs - 1, {n_envs - 1}, not {own_envs!r}: helper processes "
            "step the other envs. Use executor='serial' to step all of them in the calling process."
        )
    if own_envs and workers == 1:
        raise ArgumentError(
            f"own_envs={own_envs} needs a helper process for the other envs, but workers=1 is the calling process "
            "alone. Use workers=2 or more, or leave one of the two out."
        )


def is_isolated(own_envs: int | None, options: RunOptions, *, isolate: bool) -> bool:
    """Return whether the calling process has no env. Raises ArgumentError if it was given some nevertheless."""
    reasons = ["isolate=True"] if isolate or options.isolate else []
    reasons += options.timeouts  # as a call here cannot be given up
    reasons += ["on_env_error='restart'"] if options.restarts else []
    if reasons and own_envs:
        raise ArgumentError(
            f"own_envs={own_envs} gives envs to the calling process, but {reasons[0]} keeps all envs out of it. "
            "Leave one of the two out."
        )
    return bool(reasons)
