"""The hooks of RunnerKit: what a plugin may offer.

A plugin is a module, or any object, with functions of these names marked `@hookimpl`; it is found through the
entry-point group `runnerkit`, or registered by hand::

    from runnerkit import Contribution, hookimpl

    @hookimpl
    def history_formats():
        yield Contribution("arrow", ArrowFormat)

Hooks are called when runners are assembled, never in a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, Protocol

import pluggy
from typing_extensions import TypeVar

from runnerkit.typing import ActionPostprocessor, ActionPreprocessor, EnvFactory, Executor, HistoryFormat

__all__ = ["Contribution", "MakeExecutor", "hookimpl"]

T_co = TypeVar("T_co", covariant=True)

PROJECT: Final = "runnerkit"

hookimpl: Final[pluggy.HookimplMarker] = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of its name."""

_hookspec: Final[pluggy.HookspecMarker] = pluggy.HookspecMarker(PROJECT)


class MakeExecutor(Protocol):
    """Makes an executor for a runner."""

    def __call__(self, n_envs: int, workers: int | None, /) -> Executor:
        """Return an executor of `workers` workers, of as many as it finds best if None."""
        ...


@dataclass(frozen=True, slots=True)
class Contribution(Generic[T_co]):
    """One named thing that a plugin offers.

    `make` is called without arguments whenever a runner asks for the name, and only then, so that it is the
    place to import what is heavy. A class will do.
    """

    name: str
    make: Callable[[], T_co]
    summary: str = ""


@_hookspec
def env_factories() -> Iterable[Contribution[EnvFactory]]:
    """Offer families of envs; one named `atari` is asked for by `atari:Pong`."""
    raise NotImplementedError


@_hookspec
def action_preprocessors() -> Iterable[Contribution[ActionPreprocessor]]:
    """Offer preprocessors: what the agent is to see of an observation."""
    raise NotImplementedError


@_hookspec
def action_postprocessors() -> Iterable[Contribution[ActionPostprocessor]]:
    """Offer postprocessors: what the env is to get of an action."""
    raise NotImplementedError


@_hookspec
def history_formats() -> Iterable[Contribution[HistoryFormat[object]]]:
    """Offer history formats: what a rollout returns per env."""
    raise NotImplementedError


@_hookspec
def executors() -> Iterable[Contribution[MakeExecutor]]:
    """Offer executors: how n envs are stepped."""
    raise NotImplementedError
