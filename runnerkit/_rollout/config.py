"""What a runner is asked for: the arguments of `GymRunner`, checked one by one, in one frozen value."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import numpy as np
from typing_extensions import TypeVar, Unpack

from runnerkit import _sentences as sentences
from runnerkit._core.types import AnyEnv, AnyMakeEnv
from runnerkit._rollout.parts import name_of
from runnerkit.errors import ArgumentError
from runnerkit.executors.base import Executor, MakeExecutor
from runnerkit.history.base import HistoryFormat
from runnerkit.keys import EnvKey, HistoryKey, PartName, Use
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, RewardProcessor
from runnerkit.records import EpisodeSchedule, RunOptions
from runnerkit.typing import RunnerOptions

__all__ = [
    "Named",
    "RunnerConfig",
    "check_callable",
    "check_min_batch",
    "check_seconds",
    "explains_wrong_calls",
    "is_count",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

Named: TypeAlias = "PartName | T"
"""A thing, or the name under which a plugin offers it."""

_PLAIN: Final = frozenset(field.name for field in dataclasses.fields(RunOptions)) - {"seed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """The arguments of `GymRunner`, which explains them.

    Those that are plain values, and that executors and history formats are told, are in `run`. A new one is a field of
    `RunOptions` and an entry of `PlainOptions`; a part is a field here and an entry of `RunnerOptions`.
    """

    env: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv]
    n_envs: int
    history: Named[HistoryKey[Any] | HistoryFormat[Any]]
    log_level: int
    run: RunOptions
    executor: Named[MakeExecutor | Executor] = "auto"
    workers: int | None = None
    auto_reset: bool = True
    min_batch: int | None = None
    preprocessors: Sequence[Named[ActionPreprocessor]] = ()
    postprocessors: Sequence[Named[ActionPostprocessor]] = ()
    reward_processors: Sequence[Named[RewardProcessor]] = ()
    schedule: EpisodeSchedule | None = None
    render_mode: str | None = None
    env_options: Mapping[str, Any] | None = None
    wrappers: Sequence[Named[Callable[[AnyEnv], AnyEnv]]] = ()
    lock: str | os.PathLike[str] | None = None

    @classmethod
    def of(
        cls,
        env: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        seed: int | None,
        n_envs: int,
        log_level: int,
        history: Named[HistoryKey[Any] | HistoryFormat[Any]],
        **options: Unpack[RunnerOptions],
    ) -> RunnerConfig:
        """Return the config that these arguments make; raises ArgumentError where one cannot be."""
        given: dict[str, Any] = {**options}
        _check_known(given)
        _check_count("n_envs", n_envs)
        if (isinstance(env, tuple) and list(map(type, env)) == [str, dict]) or isinstance(env, Use):
            raise ArgumentError(f"The options of an env go into env_options={{...}}, not beside its id: {env!r}.")
        if isinstance(env, Sequence) and not isinstance(env, str):
            n_envs = _number_of(env, n_envs)
        if given.get("workers") is not None:
            _check_count("workers", given["workers"])
            given["workers"] = int(given["workers"])
        if given.get("min_batch") is not None:
            check_min_batch(given["min_batch"], int(n_envs))
        if seed is not None and not is_count(seed, least=0):
            raise ArgumentError(f"seed must be a whole number of at least 0, or None to draw one, not {seed!r}.")
        if not is_count(log_level, least=0):
            raise ArgumentError(f"log_level must be a number such as 30 or 40, not {log_level!r}.")
        check_callable(given.get("schedule"), "schedule", "a function (env index, episode index) -> EpisodeStart")
        if not isinstance(given.get("lock"), str | os.PathLike | None):
            raise ArgumentError(f"lock must be the path of a file, not {given['lock']!r}.")
        for what in ("preprocessors", "postprocessors", "reward_processors", "wrappers"):
            _check_list(given.get(what, ()), what)
        for name in ("step_timeout", "reset_timeout", "make_timeout"):
            check_seconds(given.get(name), name)
        _check_restarts(given)
        if not is_count(given.get("spare_envs", 0), least=0):
            raise ArgumentError(
                f"spare_envs must be a whole number of spares for each env, 0 for none, not {given['spare_envs']!r}."
            )
        if given.get("repeatable") not in (True, False, None):
            raise ArgumentError(f"repeatable must be True, False, or None if unknown, not {given['repeatable']!r}.")
        plain = {name: given.pop(name) for name in _PLAIN & given.keys()}
        run = RunOptions(secrets.randbits(63) if seed is None else int(seed), **plain)
        if given.get("executor", "auto") == "auto":
            given["executor"] = _chosen(run)
        return cls(env=env, n_envs=int(n_envs), history=history, log_level=log_level, run=run, **given)

    @property
    def executor_name(self) -> str:
        """The name of the executor, or of the class or function that makes it."""
        return name_of(self.executor)

    @property
    def all_env_options(self) -> dict[str, Any]:
        """The keyword arguments for `gymnasium.make`, or for the factory."""
        given = {} if self.env_options is None else self.env_options
        if not isinstance(given, Mapping):
            raise ArgumentError(f"env_options must be a dict of keyword arguments, not {given!r}.")
        return {**given, **({} if self.render_mode is None else {"render_mode": self.render_mode})}


def check_min_batch(min_batch: object, n_envs: int) -> None:
    """Raise ArgumentError if the agent cannot be asked for so many envs."""
    if not is_count(min_batch) or cast(int, min_batch) > n_envs:
        raise ArgumentError(f"min_batch must be a whole number from 1 to n_envs, {n_envs}, not {min_batch!r}.")


def explains_wrong_calls(title: str, first: str) -> Callable[[F], F]:
    """Let a method say what is wrong with a call of it, under the name that users know; `first` is such an argument."""

    def decorate(function: F) -> F:
        _, *parameters = inspect.signature(function).parameters.values()
        known = [p.name for p in parameters]
        by_position = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters)

        @functools.wraps(function)
        def checked(*args: object, **keywords: object) -> object:
            for name in keywords:
                if name not in known and not takes_more:
                    raise TypeError(sentences.unknown_keyword(title, name, known))
            if len(args) < 2 and known[0] not in keywords:
                raise TypeError(sentences.missing_argument(title, known[0], first))
            if len(args) > 1 + by_position:
                raise TypeError(sentences.too_many_arguments(title, known[:by_position], len(args) - 1))
            return function(*args, **keywords)

        return cast(F, checked)

    return decorate


def is_index(given: Any, n: int) -> bool:
    """Whether it is a whole number from 0 to n - 1."""
    return is_count(given, 0) and int(given) < n


def is_count(value: object, least: int = 1) -> bool:
    """Whether a value is a whole number of at least `least`; True is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least


def check_callable(given: object, what: str, wanted: str) -> None:
    """Raise ArgumentError if an argument that may be None is neither that nor callable."""
    if given is not None and not callable(given):
        raise ArgumentError(f"{what} must be {wanted}, not {given!r}.")


def check_seconds(given: object, what: str) -> None:
    """Raise ArgumentError if an argument that may be None is neither that nor a positive number of seconds."""
    is_number = isinstance(given, int | float | np.number) and not isinstance(given, bool)
    if given is not None and not (is_number and 0 < given < float("inf")):  # type: ignore[operator]
        raise ArgumentError(f"{what} must be a positive number of seconds, or None for no limit, not {given!r}.")


def _chosen(run: RunOptions) -> str:
    """Return what "auto" means: with timeouts what can end a call, with restarts what does not move envs."""
    if run.restarts:
        return "threads" if run.timeouts else "serial"
    return "processes" if run.timeouts else "auto"


def _check_restarts(given: Mapping[str, Any]) -> None:
    if given.get("on_env_error", "raise") not in ("raise", "restart"):
        raise ArgumentError(f"on_env_error must be 'raise' or 'restart', not {given['on_env_error']!r}.")
    most = given.get("max_restarts", 0)
    both = most if isinstance(most, tuple) and len(most) == 2 else (most,)
    if not all(is_count(number, least=0) for number in both):
        raise ArgumentError(
            "max_restarts must be a whole number of restarts per env, or a pair (per env, in all), such as (10, 50), "
            f"not {most!r}."
        )
    if "max_restarts" in given and given.get("on_env_error", "raise") != "restart":
        raise ArgumentError("max_restarts needs on_env_error='restart': otherwise no env is made anew.")


def _check_count(what: str, value: object) -> None:
    if not is_count(value):
        raise ArgumentError(f"{what} must be a whole number of at least 1, not {value!r}.")


def _number_of(factories: Sequence[object], n_envs: int) -> int:
    """Return how many envs a list of factories, one per env, makes: n_envs, unless that was left at 1."""
    if not factories or n_envs not in (1, len(factories)):
        raise ArgumentError(f"A list of factories has one per env, but there are {len(factories)} for n_envs={n_envs}.")
    return len(factories)


def _check_list(given: object, what: str) -> None:
    if isinstance(given, Use) or (isinstance(given, tuple) and list(map(type, given)) == [str, dict]):
        raise ArgumentError(sentences.part_for_list(what, repr(given)))
    if isinstance(given, str):
        raise ArgumentError(sentences.string_for_list(what, given))
    if not isinstance(given, Sequence):
        raise ArgumentError(f"{what} must be a list of names and objects, such as [{given!r}], not {given!r}.")


def _check_known(given: Mapping[str, object]) -> None:
    """Refuse options that there are not, as Python itself would, but with a way out."""
    known = sorted({"seed", "n_envs", "log_level", "history", *RunnerOptions.__annotations__})
    for name in given:
        if name not in RunnerOptions.__annotations__:
            raise TypeError(sentences.unknown_option(name, known))
