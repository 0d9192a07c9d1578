"""What helpers take over from the caller, and what they have in common instead: all that changes what envs do."""

from __future__ import annotations

import copy
import decimal
import os
import pickle
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from typing_extensions import override

from runnerkit._core.faults import describe
from runnerkit._core.types import AnyEnv
from runnerkit.errors import EnvError, RunnerKitError
from runnerkit.executors.processes.standins import is_helper
from runnerkit.executors.processes.transport import dumps_for_helper, loads_in_helper

__all__ = ["Surroundings", "environment", "load_factory", "seed_generators"]

# Each worker has a core: libraries that start a thread per core would only be in each other's way.
_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
_HASHES, _GENERATORS = 2, 3  # spawn keys of the run's seed, beside those of episodes and envs


def environment(seed: int) -> dict[str, str]:
    """Return the environment variables of a helper: the caller's, which win, with what they leave open.

    All helpers of a run hash alike, in each run of that seed.
    """
    hashes = str(np.random.SeedSequence(seed, spawn_key=(_HASHES,)).generate_state(1)[0])
    return {**_ONE_THREAD, "PYTHONHASHSEED": hashes, **os.environ}


def seed_generators(seed: int, first_env: int) -> None:
    """Seed the global generators of this helper from the run's seed: an env should not use them, but some do.

    PyTorch's only if something has imported it.
    """
    states = np.random.SeedSequence(seed, spawn_key=(_GENERATORS, first_env)).generate_state(3)
    random.seed(int(states[0]))
    np.random.seed(int(states[1]))
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(int(states[2]))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the caller has set or registered."""

    log_level: int
    float_errors: dict[str, Any]
    decimals: decimal.Context
    plain_ids: bytes
    """What Gymnasium's registry has, as a pickled list of specs."""
    other_ids: list[tuple[str, bytes | str]]
    """Of specs with classes and functions in them, id and pickled spec, or why it could not be pickled."""

    @classmethod
    def here(cls) -> Surroundings:
        """Return those of this thread."""
        specs = list(gymnasium.registry.values())
        plain = [spec for spec in specs if _is_plain(vars(spec))]
        others = [(spec.id, _sent(spec)) for spec in specs if not _is_plain(vars(spec))]
        float_errors = dict(np.geterr())
        return cls(gymnasium.logger.min_level, float_errors, decimal.getcontext(), pickle.dumps(plain), others)

    def enter(self) -> None:
        """Set them here."""
        gymnasium.logger.min_level = self.log_level
        np.seterr(**self.float_errors)
        decimal.setcontext(self.decimals)
        gymnasium.registry.update({spec.id: spec for spec in pickle.loads(self.plain_ids)})
        gymnasium.registry.update({env_id: _received(env_id, spec) for env_id, spec in self.other_ids})


def load_factory(factory: bytes, seed: int, surroundings: Surroundings, first_env: int) -> Callable[[int], AnyEnv]:
    """Return what makes the envs of this helper, as `dumps_for_helper` sent it, in the caller's surroundings."""
    surroundings.enter()
    seed_generators(seed, first_env)  # modules may draw, too, as they are imported
    try:
        make_env: Callable[[int], AnyEnv] = loads_in_helper(factory)
    except Exception as error:
        what = f"could not be made: its factory cannot be loaded in the helper process: {describe(error)}"
        raise EnvError(what, env_index=first_env) from error
    seed_generators(seed, first_env)
    return make_env


def _is_plain(value: object) -> bool:
    """Whether a value is made of nothing that another process would have to import."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if type(value) in (list, tuple):
        return all(map(_is_plain, cast("Iterable[object]", value)))
    return value is None or type(value) in (str, int, float, bool)


def _sent(spec: EnvSpec) -> bytes | str:
    """Return a spec whose entry point is loaded, and its module imported, only when it is asked for."""
    try:
        sent = copy.copy(spec)
        for name in ("entry_point", "vector_entry_point"):
            value = getattr(spec, name)
            if callable(value):
                setattr(sent, name, _LateEntryPoint(dumps_for_helper(value)))
        return dumps_for_helper(sent)
    except Exception as error:  # whatever an object may raise as it is pickled
        return f"cannot be pickled: {describe(error)}"


def _received(env_id: str, sent: bytes | str) -> EnvSpec:
    try:
        if not isinstance(sent, str):
            spec: EnvSpec = loads_in_helper(sent)
            return spec
    except Exception as error:  # whatever an import may raise
        sent = f"cannot be loaded in a helper process: {describe(error)}"
    return EnvSpec(env_id, entry_point=_LostEntryPoint(env_id, sent))


class _LateEntryPoint:
    """Makes an env, or a vector env; it is loaded when it is asked for."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __call__(self, **options: Any) -> Any:
        return _loaded(self._pickled)(**options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(_loaded(self._pickled), name)  # the metadata of a class

    def __deepcopy__(self, memo: object) -> _LateEntryPoint:
        return self

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded, (self._pickled,)  # the caller, when it is told the spec of an env, has the real one


def _loaded(pickled: bytes) -> Any:
    return loads_in_helper(pickled) if is_helper() else pickle.loads(pickled)[0]


class _LostEntryPoint:
    """Stands for an entry point that did not arrive."""

    def __init__(self, env_id: str, why: str) -> None:
        self._env_id, self._why = env_id, why

    def __call__(self, **options: Any) -> Any:
        raise RunnerKitError(
            f"The id {self._env_id} is registered in the calling process, but its spec {self._why}. "
            "Register it inside the env factory, or use executor='threads'."
        )
