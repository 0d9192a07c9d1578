"""The options of a RayRunner, checked one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Required, TypedDict

from runnerkit.errors import ArgumentError
from runnerkit.typing import (
    ActionPostprocessor,
    ActionPreprocessor,
    AnyEnv,
    EpisodeSchedule,
    PartName,
    RewardProcessor,
)

__all__ = ["ActorOptions", "RayOptions", "check_count", "check_seconds", "runner_options"]


class ActorOptions(TypedDict, total=False):
    """What each actor asks the cluster for; these are Ray's own options of an actor.

    Attributes:
        num_cpus: how many CPUs an actor takes up, 1 by default. 0 lets any number of actors share a machine.
        num_gpus: how many GPUs, or which part of one.
        memory: how many bytes of memory.
        resources: custom resources, by name.
        runtime_env: Ray's runtime environment, such as `{"env_vars": {...}}`.

    """

    num_cpus: float
    num_gpus: float
    memory: int
    resources: dict[str, float]
    runtime_env: dict[str, Any]


class RayOptions(TypedDict, total=False):
    """The options of `RayRunner`, which explains them. The second half are those of `GymRunner`."""

    actors: Required[int]
    episodes_per_unit: int
    in_flight: int
    window: int | None
    unit_timeout: float | None
    start_timeout: float | None
    max_attempts: int
    max_restarts: int
    on_poison: Literal["raise", "warn"]
    address: str | None
    actor_options: ActorOptions | None

    schedule: EpisodeSchedule | None
    keep_infos: bool
    keep_raw: bool
    strict_spaces: bool
    on_env_error: Literal["raise", "restart"]
    max_env_restarts: int
    env_options: Mapping[str, Any] | None
    wrappers: Sequence[PartName | Callable[[AnyEnv], AnyEnv]]
    preprocessors: Sequence[PartName | ActionPreprocessor]
    postprocessors: Sequence[PartName | ActionPostprocessor]
    reward_processors: Sequence[PartName | RewardProcessor]


_OF_RUNNERS: Final = frozenset(
    ("schedule", "keep_infos", "keep_raw", "strict_spaces", "on_env_error", "env_options", "wrappers")
) | {"preprocessors", "postprocessors", "reward_processors"}
_INSTEAD: Final = {
    "auto_reset": "A unit is made of whole episodes, one after another.",
    "executor": "An actor steps its env itself.",
    "min_batch": "An actor asks the agent for one env at a time.",
    "workers": "Use actors=.",
    "step_timeout": "Use unit_timeout=.",
    "reset_timeout": "Use unit_timeout=.",
    "make_timeout": "Use start_timeout=.",
    "timings": "Look at stats().",
}


def runner_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for the runners of actors. Raises TypeError for unknown ones, with a way out."""
    options = dict(given)
    if "max_env_restarts" in options:
        options["max_restarts"] = options.pop("max_env_restarts")
    for name in options:
        if name not in _OF_RUNNERS and name != "max_restarts":
            known = ", ".join(sorted({*RayOptions.__annotations__, "seed", "n_envs", "history"}))
            raise TypeError(f"RayRunner has no option {name!r}. {_INSTEAD.get(name, '')} It has {known}.")
    return options


def check_count(name: str, value: object, least: int = 1) -> int:
    """Return a whole number of at least `least`; raises ArgumentError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ArgumentError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return value


def check_seconds(name: str, value: object) -> float | None:
    """Return a positive number of seconds, or None; raises ArgumentError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ArgumentError(f"{name} must be a positive number of seconds, or None for no limit, not {value!r}.")
    return float(value)
