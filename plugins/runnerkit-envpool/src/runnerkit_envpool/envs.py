"""Making EnvPool's envs. Importing this module imports EnvPool."""

from __future__ import annotations

import warnings
from typing import Any, Final, cast

import envpool
import numpy as np

from runnerkit.errors import ArgumentError, UnknownNameError
from runnerkit.typing import AnyVectorEnv

__all__ = ["make_envpool"]

_OURS: Final = {
    "num_envs": "It is the runner's n_envs.",
    "batch_size": "A runner steps all envs together.",
    "seed": "It is the runner's seed.",
    "env_seed": "Each env gets a seed that follows from the runner's.",
}


def make_envpool(env_id: str, /, *, seed: int | None, n_envs: int = 1, **options: Any) -> AnyVectorEnv:
    """EnvPool's vector envs in C++, such as envpool:CartPole-v1.

    It makes one with `n_envs` envs. `options` are EnvPool's own, such as `num_threads`. Each env gets a seed of its own
    that follows from `seed`, so that no two runs share a stream. EnvPool takes seeds only as it makes its envs: the
    first episodes follow from the run's seed, and the records have no seed.

    Raises:
        UnknownNameError: EnvPool has no such env.
        ArgumentError: EnvPool does not know an option, or RunnerKit sets it.

    """
    known = envpool.list_all_envs()
    if env_id not in known:
        raise UnknownNameError("EnvPool env", env_id, known)
    for name in options.keys() & _OURS.keys():
        raise ArgumentError(f"env_options cannot have {name!r}. {_OURS[name]} Leave it out.")
    options.pop("render_mode", None)  # it draws in any mode
    seeds = np.random.SeedSequence(seed).generate_state(n_envs, np.uint32) >> 1  # EnvPool's are of 31 bits
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*precision lowered")  # of bounds, which are Python's numbers
            env = envpool.make_gymnasium(env_id, num_envs=n_envs, env_seed=seeds.tolist(), **options)
    except TypeError as error:
        raise ArgumentError(f"EnvPool does not take these env_options for {env_id}: {error}.") from error
    return cast(AnyVectorEnv, env)
