"""The registry: all contributions by name, and runners built from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from typing_extensions import TypeVar, Unpack

from runnerkit.gym_runner import GymRunner
from runnerkit.history.arrays import ArrayHistory
from runnerkit.keys import EnvKey, HistoryKey
from runnerkit.plugins import (
    EnvOffer,
    ExecutorOffer,
    HistoryOffer,
    PluginProblem,
    Plugins,
    PostprocessorOffer,
    PreprocessorOffer,
    installed_plugins,
)
from runnerkit.typing import ActT, HistoryFormat, MakeEnv, ObsT, RunnerOptions

__all__ = ["Registry", "make"]

H = TypeVar("H")


class Registry:
    """Knows all contributions and builds runners from them::

        registry = Registry()
        registry.register(my_plugin)                    # a module or object with @hookimpl functions
        runner = registry.build("CartPole-v1", n_envs=8, history="mine")

    Built-in contributions are there from the start. Installed plugins are imported when a name is asked for
    that is not known yet, or by `discover`.
    """

    def __init__(self, plugins: Plugins | None = None) -> None:
        self._plugins: Plugins = Plugins() if plugins is None else plugins

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin: a module or an object with hook implementations.

        Raises PluginError, and changes nothing, if a hook is unknown, an argument is not one of the hook's, or
        a name is taken.
        """
        self._plugins.register(plugin, name)

    def discover(self) -> None:
        """Import all installed plugins, once; those that fail are left out and listed in `problems`."""
        self._plugins.discover()

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
    def history_formats(self) -> Mapping[str, HistoryOffer]:
        """History formats by name."""
        return self._plugins.offers("history_formats")

    @property
    def executors(self) -> Mapping[str, ExecutorOffer]:
        """Executors by name."""
        return self._plugins.offers("executors")
