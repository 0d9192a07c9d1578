"""What travels to actors is pickled, or refused with a way out."""

from __future__ import annotations

import cloudpickle  # type: ignore[import-untyped]

from runnerkit.errors import ArgumentError

__all__ = ["pickled"]


def pickled(thing: object, what: str) -> bytes:
    """Return a thing as bytes; `what` names it, in the ArgumentError that says that it cannot be."""
    try:
        payload: bytes = cloudpickle.dumps(thing)
    except Exception as error:  # whatever its __reduce__ and __getstate__ raise
        raise ArgumentError(
            f"RayRunner sends {what} to other processes, but it cannot be pickled: {type(error).__name__}: {error}. "
            "Locks, generators, open files and connections cannot travel: make them where they are used first, or "
            "leave them out in __getstate__."
        ) from error
    return payload
