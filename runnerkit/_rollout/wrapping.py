"""Wrappers of envs: found by their names, and put around each env as it is made.

A wrapper is a class or a function that takes an env and returns one. It is passed as such, or named by its module,
`"gymnasium.wrappers:TimeAwareObservation"`, also with options.
"""

from __future__ import annotations

import functools
import importlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import gymnasium
from gymnasium.vector import VectorEnv

from runnerkit._core.faults import close_after, describe
from runnerkit._core.known_options import function_of, known_options
from runnerkit._core.origins import distribution_of, module_of, own_name, qualified_name
from runnerkit._core.types import AnyEnv, AnyVectorEnv
from runnerkit._core.wording import short_repr
from runnerkit._envs.resolve import EnvMaker
from runnerkit._plugins.options import options_of
from runnerkit._rollout.parts import named
from runnerkit._sentences import did_you_mean
from runnerkit.errors import ArgumentError, EnvError, RunnerKitError
from runnerkit.records import PartRecord

__all__ = ["Wrapper", "find_wrapper", "wrapped"]


@dataclass(frozen=True, slots=True)
class Wrapper:
    """What wraps an env, and where it is from."""

    wrap: Callable[[AnyEnv], object]
    record: PartRecord

    def around(self, env: AnyEnv | AnyVectorEnv, env_index: int) -> AnyEnv | AnyVectorEnv:
        """Return the wrapped env; close the env if it cannot be wrapped."""
        try:
            made = self.wrap(cast(AnyEnv, env))  # a vector env has wrappers, too
            if isinstance(made, gymnasium.Env | VectorEnv):
                return made
            raise ArgumentError(f"Wrapper {self.record.name} must return an env, not {short_repr(made)}.")
        except BaseException as error:
            close_after(error, env.close)
            if isinstance(error, RunnerKitError) or not isinstance(error, Exception):
                raise
            what = f"could not be wrapped by {self.record.name}: {describe(error)}"
            raise EnvError(what, env_index=env_index) from error


@dataclass(frozen=True, slots=True)
class _WrappedEnv:
    """Makes an env and puts wrappers around it, the first one next to the env."""

    make: EnvMaker
    wrappers: Sequence[Wrapper]

    def __call__(self, seed: int | None, env_index: int) -> AnyEnv | AnyVectorEnv:
        env = self.make(seed, env_index)
        for wrapper in self.wrappers:
            env = wrapper.around(env, env_index)
        return env


def wrapped(make: EnvMaker, wrappers: Sequence[Wrapper]) -> EnvMaker:
    """Return what makes the env with these wrappers around it."""
    return _WrappedEnv(make, wrappers) if wrappers else make


def find_wrapper(given: object) -> Wrapper:
    """Return the wrapper that is asked for.

    Raises ArgumentError where it is none, its module has none of that name, or an option is wrong.
    """
    name, options = named(given)
    if name is not None:
        make = _imported(name)
        chosen = options_of(make, positional=1).checked(f"wrapper {name!r}", options)
        return Wrapper(functools.partial(make, **chosen), _record(name, make, chosen))
    if not callable(given):
        raise ArgumentError(
            "A wrapper must be a class or a function that takes an env and returns one, or its name, such as "
            f"'gymnasium.wrappers:TimeAwareObservation', not {short_repr(given)}."
        )
    inner = function_of(given)
    return Wrapper(given, _record(qualified_name(inner), inner, known_options(given)))


def _record(name: str, make: object, options: Mapping[str, object]) -> PartRecord:
    return PartRecord("wrapper", name, *distribution_of(module_of(make)), dict(options))


def _imported(name: str) -> Callable[..., object]:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ArgumentError(
            f"A wrapper is named MODULE:CLASS, such as gymnasium.wrappers:TimeAwareObservation, not {name!r}."
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a module may raise as it is imported
        raise ArgumentError(f"Wrapper {name!r}: importing {module_name} failed: {describe(error)}") from error
    try:
        found: object = operator.attrgetter(attribute)(module)
    except AttributeError as error:
        guess = did_you_mean(attribute, dir(module))
        raise ArgumentError(f"Wrapper {name!r}: {module_name} has no {attribute}.{guess}") from error
    if not callable(found):
        raise ArgumentError(f"Wrapper {name!r} is {own_name(found)}, which cannot be called with an env.")
    return found
