"""The hooks of RunnerKit: what a plugin may offer.

A plugin is a module, or any object, with functions marked `@hookimpl`; it is found through the entry-point group
`runnerkit`, or registered by hand::

    from runnerkit import Contribution, hookimpl

    @hookimpl.history_formats
    def history_formats():
        yield Contribution("arrow", ArrowFormat)

`@hookimpl.history_formats` names the hook, so that mypy and pyright check the function. A plain `@hookimpl` uses the
name of the function as the name of the hook; only the mypy plugin `runnerkit.mypy` checks it. Both return the function
itself, marked for pluggy. Hooks are called when runners are built, never in a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, final, overload

import pluggy
from typing_extensions import TypedDict, TypeVar, Unpack

from runnerkit import _sentences as sentences
from runnerkit._core.types import AnyEnv, AnyVectorEnv
from runnerkit.executors.base import MakeExecutor
from runnerkit.history.base import HistoryFormat
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, RewardProcessor

__all__ = [
    "EnvFactory",
    "Contribution",
    "Hook",
    "HookClassMethod",
    "HookMethod",
    "HookOptions",
    "HookimplMarker",
    "MarkerOptions",
    "hookimpl",
]


class EnvFactory(Protocol):
    """Makes the envs of one family: the factory `atari` makes `"atari:Pong"` as env id `Pong`.

    A factory may have more parameters, which the runner then passes. `n_envs` is the number of envs, so that the
    factory can return one `gymnasium.vector.VectorEnv` for all of them. `env_index` is the index of the env to make.
    `plugins` are the plugins of the runner.
    """

    def __call__(self, env_id: str, /, *, seed: int | None, **options: Any) -> AnyEnv | AnyVectorEnv:
        """Return a new env. `options` are the runner's `env_options`, and its `render_mode` if it has one.

        Raises UnknownNameError if there is no such env.
        """
        ...


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P_contra = TypeVar("P_contra", contravariant=True)
P = TypeVar("P")
F = TypeVar("F", bound=Callable[..., object])

PROJECT: Final = "runnerkit"

_mark: Final = pluggy.HookimplMarker(PROJECT)
_hookspec: Final = pluggy.HookspecMarker(PROJECT)


@dataclass(frozen=True, init=False)  # no slots: see keys
class Contribution(Generic[T_co]):
    """One named thing that a plugin offers::

        Contribution("arrow", ArrowFormat)                      # a class, or a function
        Contribution("lake", make_lake)                         # an env factory itself
        Contribution("pool", PoolExecutor)                      # an executor class: (n_envs, workers) -> Executor
        Contribution("lake", "my_plugin.envs:make_lake")        # any of them, imported when it is asked for

    An env factory (called with an env id and `seed`) and an executor class (called with `n_envs` and `workers`) are
    offered as they are. Anything else is called for each runner that uses the name, and the result is what the runner
    gets.

    Keyword arguments are options, which users give with `use("arrow", compression="zstd")`: those of the class or
    function, and of a factory or executor those that the runner does not pass itself. Their annotations, defaults and
    the section `Args:` of the docstring are what `runnerkit plugins arrow` lists.

    Attributes:
        name: the name that users write; without ":" and "/".
        make: what is offered, the function or class that makes it, or a string "module:attribute".
        summary: one line for lists of plugins.

    """

    name: str
    make: str | Callable[..., Any]
    summary: str

    @overload
    def __init__(self: Contribution[MakeExecutor], name: str, make: MakeExecutor, summary: str = "") -> None: ...
    @overload
    def __init__(self: Contribution[EnvFactory], name: str, make: EnvFactory, summary: str = "") -> None: ...
    @overload
    def __init__(self, name: str, make: Callable[..., T_co], summary: str = "") -> None: ...
    @overload
    def __init__(self, name: str, make: str, summary: str = "") -> None: ...
    def __init__(self, name: str, make: str | Callable[..., Any], summary: str = "") -> None:
        object.__setattr__(self, "name", name)  # as frozen dataclasses do
        object.__setattr__(self, "make", make)
        object.__setattr__(self, "summary", summary)


class HookOptions(TypedDict, total=False):
    """The options of pluggy for one implementation."""

    tryfirst: bool
    trylast: bool
    optionalhook: bool


class MarkerOptions(HookOptions, total=False):
    """The options of a plain `@hookimpl`. RunnerKit's own hooks have no wrappers."""

    specname: str | None
    wrapper: bool
    hookwrapper: bool


class HookMethod(Protocol[P_contra, T_co]):
    """An implementation that is a method. It has no argument but `self`, as the hooks have none."""

    def __call__(_self, self: P_contra) -> Iterable[Contribution[T_co]]:  # self is the plugin
        """Return what the plugin offers."""
        ...


class HookClassMethod(Protocol[P_contra, T_co]):
    """An implementation that is a class method. Write `@classmethod` above the hook."""

    def __call__(_self, cls: P_contra) -> Iterable[Contribution[T_co]]:
        """Return what the plugin offers."""
        ...


@final
class Hook(Generic[T]):
    """One hook, as a decorator of its implementations; these may have any name::

        @hookimpl.executors
        def executors() -> Iterator[Contribution[MakeExecutor]]: ...

        @hookimpl.executors(optionalhook=True)
        def my_executors() -> list[Contribution[MakeExecutor]]: ...

    An implementation is a function, a method, a static method or a class method. The decorator returns it unchanged.
    """

    def __init__(self, name: str, **options: Unpack[HookOptions]) -> None:
        self.name: str = name
        self._options: HookOptions = options

    @overload
    def __call__(
        self, function: Callable[[], Iterable[Contribution[T]]], /
    ) -> Callable[[], Iterable[Contribution[T]]]: ...
    @overload
    def __call__(self, function: HookMethod[P, T], /) -> Callable[[P], Iterable[Contribution[T]]]: ...
    @overload
    def __call__(self, function: HookClassMethod[P, T], /) -> Callable[[P], Iterable[Contribution[T]]]: ...
    @overload
    def __call__(self, /, *, tryfirst: bool = ..., trylast: bool = ..., optionalhook: bool = ...) -> Hook[T]: ...
    def __call__(self, function: Callable[..., object] | None = None, /, **options: Any) -> object:
        """Mark a function as an implementation, or return this hook with options."""
        _check_options(options, HookOptions)
        if function is None:
            return Hook(self.name, **options)
        return _marked(function, specname=self.name, **self._options)


@final
class HookimplMarker:
    """The class of `hookimpl`, which marks the functions of a plugin as implementations of hooks."""

    env_factories: Final[Hook[EnvFactory]] = Hook("env_factories")
    action_preprocessors: Final[Hook[ActionPreprocessor]] = Hook("action_preprocessors")
    action_postprocessors: Final[Hook[ActionPostprocessor]] = Hook("action_postprocessors")
    reward_processors: Final[Hook[RewardProcessor]] = Hook("reward_processors")
    history_formats: Final[Hook[HistoryFormat[object]]] = Hook("history_formats")
    executors: Final[Hook[MakeExecutor]] = Hook("executors")

    @overload
    def __call__(self, function: F, /, **options: Unpack[MarkerOptions]) -> F: ...
    @overload
    def __call__(self, function: None = ..., /, **options: Unpack[MarkerOptions]) -> Callable[[F], F]: ...
    def __call__(self, function: Callable[..., object] | None = None, /, **options: Any) -> object:
        """Mark a function as an implementation of the hook of its name. With options only, return the decorator."""
        _check_options(options, MarkerOptions)
        if function is None:
            return lambda late: _marked(late, **options)
        return _marked(function, **options)

    if not TYPE_CHECKING:  # to a type checker, a misspelt hook is an error

        def __getattr__(self, name: str) -> object:
            raise AttributeError(sentences.unknown("hook", name, sorted(n for n in dir(self) if n[0] != "_")))


hookimpl: Final[HookimplMarker] = HookimplMarker()
"""Marks a function of a plugin as the implementation of a hook: `@hookimpl.executors`, or `@hookimpl` by its name."""


def _check_options(given: Iterable[str], known: type[HookOptions]) -> None:
    for name in given:
        if name not in known.__annotations__:
            raise TypeError(sentences.unknown("option of hookimpl", name, sorted(known.__annotations__)))


def _marked(function: Callable[..., object], **options: Any) -> Callable[..., object]:
    """Mark a function as pluggy does: of a static or class method, the function inside, which pluggy looks at."""
    inner = getattr(function, "__func__", function)
    if not isinstance(inner, FunctionType):  # which pluggy would pass over in silence
        raise TypeError(sentences.no_function(type(inner).__name__))
    _mark(inner, **options)
    return function


@_hookspec
def env_factories() -> Iterable[Contribution[EnvFactory]]:
    """Offer families of envs: users write `atari:Pong` for an env of the family `atari`."""
    raise NotImplementedError


@_hookspec
def action_preprocessors() -> Iterable[Contribution[ActionPreprocessor]]:
    """Offer preprocessors: transforms of observations before the agent sees them."""
    raise NotImplementedError


@_hookspec
def action_postprocessors() -> Iterable[Contribution[ActionPostprocessor]]:
    """Offer postprocessors: transforms of actions before the env gets them."""
    raise NotImplementedError


@_hookspec
def reward_processors() -> Iterable[Contribution[RewardProcessor]]:
    """Offer reward processors: transforms of rewards before a learner sees them."""
    raise NotImplementedError


@_hookspec
def history_formats() -> Iterable[Contribution[HistoryFormat[object]]]:
    """Offer history formats: what a rollout returns per env."""
    raise NotImplementedError


@_hookspec
def executors() -> Iterable[Contribution[MakeExecutor]]:
    """Offer executors: how n envs are stepped."""
    raise NotImplementedError
