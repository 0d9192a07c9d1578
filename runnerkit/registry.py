"""The registry: it knows all contributions by name and builds runners from them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from typing_extensions import TypeVar, Unpack

from runnerkit._core.types import ActArrayT, ActT, AnyMakeEnv, ArraysName, ObsArrayT, ObsT
from runnerkit._plugins.choice import Choice
from runnerkit._plugins.manager import Once, Plugins, installed_plugins
from runnerkit._plugins.offers import (
    EnvOffer,
    ExecutorOffer,
    HistoryOffer,
    PostprocessorOffer,
    PreprocessorOffer,
    RewardOffer,
)
from runnerkit._plugins.sources import PluginProblem
from runnerkit._rollout.config import explains_wrong_calls
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit.errors import ArgumentError
from runnerkit.history.arrays import ArrayHistory
from runnerkit.history.base import HistoryFormat
from runnerkit.keys import EnvKey, HistoryKey, PartName, Use
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor
from runnerkit.records import Transition
from runnerkit.typing import PlainOptions, RunnerOptions

if TYPE_CHECKING:
    from runnerkit.history.torch import TensorActT, TensorObsT, TorchHistory

__all__ = ["Registry", "default_registry", "make"]

H = TypeVar("H")


class Registry:
    """Knows all contributions and builds runners from them::

        registry = Registry()
        registry.register(my_plugin)                    # a module or object with @hookimpl functions
        runner = registry.build("CartPole-v1", n_envs=8, history="mine")

    Built-in contributions are always known. What installed distributions declare is known when a name is looked up that
    is not known yet; then, if nobody declares it, or by `discover`, their plugins with hooks are imported.

    Args:
        plugins: makes the plugins; by default, those of this registry alone.
        allow: the distributions whose plugins may be used; None for all, `[]` for none. The environment variable
            `RUNNERKIT_PLUGINS`, a list of names, limits all registries.
        deny: the distributions whose plugins may not be used, as `RUNNERKIT_DISABLE_PLUGINS` says for all registries.

    """

    def __init__(
        self,
        plugins: Callable[[], Plugins] | None = None,
        *,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] = (),
    ) -> None:
        self._find_plugins = Once(plugins or functools.partial(Plugins, Choice.of(allow, deny)))

    @property
    def _plugins(self) -> Plugins:
        return self._find_plugins()

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin: a module or an object with hook implementations.

        Raises PluginError if a hook is unknown, if it has no such argument, or if a name is taken. The registry then
        stays as it was.
        """
        self._plugins.register(plugin, name)

    def unregister(self, plugin: object) -> None:
        """Forget a plugin, and what it offers::

            registry.unregister(my_plugin)          # as it was registered, or by its name
            registry.unregister("runnerkit-atari")  # an installed distribution, which then is not found again

        Raises UnknownNameError if there is no such plugin.
        """
        self._plugins.unregister(plugin)

    def discover(self) -> None:
        """Read what installed distributions declare, and import their plugins with hooks, each once.

        Plugins that fail are left out and listed in `problems`.
        """
        self._plugins.discover()

    def lock(self, path: str | os.PathLike[str]) -> None:
        """Write a lock file: what each name means now, and which versions are installed::

            registry.lock("run.lock")
            registry.build("CartPole-v1", history="arrow", lock="run.lock")     # LockError if something differs

        `runnerkit lock -o run.lock` does the same in a terminal.
        """
        from runnerkit._plugins.lock import write_lock

        write_lock(self._plugins, Path(path))

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        """The installed plugins that do not work, and why."""
        return self._plugins.problems

    @property
    def env_factories(self) -> Mapping[str, EnvOffer]:
        """Families of envs by name."""
        return self._plugins.offers("env_factories")

    @property
    def preprocessors(self) -> Mapping[str, PreprocessorOffer]:
        """Preprocessors by name."""
        return self._plugins.offers("action_preprocessors")

    @property
    def postprocessors(self) -> Mapping[str, PostprocessorOffer]:
        """Postprocessors by name."""
        return self._plugins.offers("action_postprocessors")

    @property
    def reward_processors(self) -> Mapping[str, RewardOffer]:
        """Reward processors by name."""
        return self._plugins.offers("reward_processors")

    @property
    def history_formats(self) -> Mapping[str, HistoryOffer]:
        """History formats by name."""
        return self._plugins.offers("history_formats")

    @property
    def executors(self) -> Mapping[str, ExecutorOffer]:
        """Executors by name."""
        return self._plugins.offers("executors")

    @overload
    def build(
        self,
        env: EnvKey[ObsT, ActT],
        *,
        history: ArraysName = "arrays",
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[PlainOptions],
    ) -> GymRunner[ObsT, ActT, ArrayHistory[ObsT, ActT]]: ...
    @overload
    def build(  # pyright: ignore[reportOverlappingOverload]  (a plain name gives object, which is not wrong)
        self,
        env: EnvKey[ObsT, ActT],
        *,
        history: Literal["transitions"],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[PlainOptions],
    ) -> GymRunner[ObsT, ActT, list[Transition[Any, Any]]]: ...
    @overload
    def build(
        self,
        env: EnvKey[ObsArrayT, ActArrayT],
        *,
        history: Literal["torch"],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[PlainOptions],
    ) -> GymRunner[ObsArrayT, ActArrayT, TorchHistory[TensorObsT, TensorActT]]: ...
    @overload
    def build(
        self,
        env: EnvKey[ObsT, ActT],
        *,
        history: Literal["torch"],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[PlainOptions],
    ) -> GymRunner[ObsT, ActT, TorchHistory[Any, Any]]: ...
    @overload
    def build(
        self,
        env: EnvKey[ObsT, ActT],
        *,
        history: HistoryKey[H] | Use[H] | HistoryFormat[H],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[PlainOptions],
    ) -> GymRunner[ObsT, ActT, H]: ...
    @overload
    def build(
        self,
        env: str | AnyMakeEnv | Sequence[AnyMakeEnv],
        *,
        history: ArraysName = "arrays",
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[RunnerOptions],
    ) -> GymRunner[Any, Any, ArrayHistory[Any, Any]]: ...
    @overload
    def build(
        self,
        env: EnvKey[Any, Any],
        *,
        history: ArraysName = "arrays",
        preprocessors: Sequence[PartName | ActionPreprocessor],
        postprocessors: Sequence[PartName | ActionPostprocessor] = (),
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[PlainOptions],
    ) -> GymRunner[Any, Any, ArrayHistory[Any, Any]]: ...
    @overload
    def build(
        self,
        env: EnvKey[ObsT, Any],
        *,
        history: ArraysName = "arrays",
        postprocessors: Sequence[PartName | ActionPostprocessor],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[PlainOptions],
    ) -> GymRunner[ObsT, Any, ArrayHistory[ObsT, Any]]: ...
    @overload
    def build(
        self,
        env: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        *,
        history: Literal["transitions"],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[RunnerOptions],
    ) -> GymRunner[Any, Any, list[Transition[Any, Any]]]: ...
    @overload
    def build(
        self,
        env: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        *,
        history: Literal["torch"],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[RunnerOptions],
    ) -> GymRunner[Any, Any, TorchHistory[Any, Any]]: ...
    @overload
    def build(
        self,
        env: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        *,
        history: HistoryKey[H] | Use[H] | HistoryFormat[H],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[RunnerOptions],
    ) -> GymRunner[Any, Any, H]: ...
    @overload
    def build(
        self,
        env: EnvKey[ObsT, ActT],
        *,
        history: str | tuple[str, Mapping[str, object]],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[PlainOptions],
    ) -> GymRunner[ObsT, ActT, object]: ...
    @overload
    def build(
        self,
        env: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        *,
        history: str | tuple[str, Mapping[str, object]],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[RunnerOptions],
    ) -> GymRunner[Any, Any, object]: ...
    @explains_wrong_calls("make (Registry.build)", "an env id such as 'CartPole-v1', or a function (seed) -> env")
    def build(
        self,
        env: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        *,
        history: PartName | HistoryKey[Any] | HistoryFormat[Any] = "arrays",
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        **options: Unpack[RunnerOptions],
    ) -> GymRunner[Any, Any, Any]:
        """Build a runner; `GymRunner` explains the options::

            runner = registry.build("CartPole-v1", n_envs=8, seed=0, history="torch")

        All links of env -> preprocessors -> agent -> postprocessors -> env -> history are checked here. To a type
        checker, the type of the histories is exact for the built-in formats, for a `HistoryKey` and for a format
        object; for other names it is `object`.
        """
        if "plugins" in options:
            raise ArgumentError(
                "build() has no option plugins=, as a registry uses its own plugins. "
                "Pass plugins= to GymRunner, or register the plugins here."
            )
        runner: GymRunner[Any, Any, Any] = GymRunner(
            env, seed, n_envs, log_level, history=history, plugins=self._plugins, **options
        )
        return runner


default_registry: Registry = Registry(installed_plugins)
"""The registry of the process. `GymRunner` uses the same plugins."""

make: Final = default_registry.build
"""Build a runner from the default registry: `runnerkit.make("CartPole-v1", n_envs=8, seed=0)`."""
