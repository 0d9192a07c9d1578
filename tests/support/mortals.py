"""Runners of envs that die; programs that use this module start sooner than with that of the tests."""

from __future__ import annotations

from typing import Any

from faulty_envs import AnyRunner, build
from process_envs import RUN_SEED, Mortals


def mortal(*place: Any, n_envs: int = 4, workers: int | None = 2, **options: Any) -> AnyRunner:
    """Return a runner with helpers; `place` says which env dies where."""
    return build(Mortals(*place), n_envs=n_envs, workers=workers, seed=RUN_SEED, executor="processes", **options)
