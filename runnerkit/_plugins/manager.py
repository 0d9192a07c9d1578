"""Plugins: finding them, asking them what they offer, and knowing who offered what.

The only module that drives pluggy. Hooks are asked one implementation at a time, so that every contribution
knows its distribution, and a broken plugin hurts only itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias

import pluggy
from typing_extensions import TypeVar, override

from runnerkit import _sentences as sentences
from runnerkit import hooks
from runnerkit._checks.contracts import CONTRACTS
from runnerkit._checks.signatures import called_otherwise
from runnerkit._plugins import implementations
from runnerkit.errors import PluginError, RunnerKitError, UnknownNameError
from runnerkit.executors.base import MakeExecutor
from runnerkit.history.base import HistoryFormat
from runnerkit.hooks import Contribution, EnvFactory
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["ENTRY_POINT_GROUP", "KINDS", "Kind", "Offer", "PluginProblem", "Plugins", "installed_plugins"]

T_co = TypeVar("T_co", covariant=True)

ENTRY_POINT_GROUP: Final = "runnerkit"
BUILTIN: Final = "builtin"

Kind: TypeAlias = Literal[
    "env_factories", "action_preprocessors", "action_postprocessors", "history_formats", "executors"
]
"""The hooks, each of which is one kind of contribution."""

KINDS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "env_factories": "env factory",
        "action_preprocessors": "preprocessor",
        "action_postprocessors": "postprocessor",
        "history_formats": "history format",
        "executors": "executor",
    }
)
"""Each kind as a person would say it."""


@dataclass(frozen=True, slots=True)
class Offer(Generic[T_co]):
    """A contribution and who made it. `distribution` is empty for plugins that were registered by hand."""

    kind: Kind
    contribution: Contribution[T_co]
    plugin: str
    distribution: str
    version: str

    @property
    def name(self) -> str:
        """The name under which it is asked for."""
        return self.contribution.name

    @property
    def source(self) -> str:
        """Distribution and version, or the plugin where it belongs to none."""
        return f"{self.distribution} {self.version}" if self.distribution else f"plugin {self.plugin}"

    @property
    def title(self) -> str:
        """Its name, and its source unless it is built in: what errors call it."""
        built_in = (self.plugin, self.distribution) == (BUILTIN, "runnerkit")
        return self.name if built_in else f"{self.name} of {self.source}"

    def make(self) -> T_co:
        """Make what is offered; whatever goes wrong, or is not of its kind, is a PluginError that names the source.

        Other errors of RunnerKit, such as MissingDependencyError, stay what they are.
        """
        what = f"{KINDS[self.kind]} {self.name!r} of {self.source}"
        try:
            made = self.contribution.make()
        except RunnerKitError as error:
            error.add_note(f"while making the {what}")
            raise
        except Exception as error:
            raise PluginError(f"{what} could not be made: {type(error).__name__}: {error}") from error
        fault = CONTRACTS[self.kind].look(made).fault
        if fault:
            raise PluginError(f"{what}: {fault}")
        return made


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """A plugin, or one of its hooks, that did not work, and so was left out."""

    plugin: str
    distribution: str
    version: str
    stage: str
    error: BaseException

    @override
    def __str__(self) -> str:
        source = f"{self.distribution} {self.version}".strip() or "registered by hand"
        return f"plugin {self.plugin} ({source}), {self.stage}: {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class _Source:
    plugin: str
    distribution: str = ""
    version: str = ""

    @override
    def __str__(self) -> str:
        return f"Plugin {self.plugin}" + (f" ({self.distribution} {self.version})" if self.distribution else "")


class Plugins:
    """The plugins of a registry. Built-ins are there from the start; `discover` adds the installed ones."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hooks.PROJECT)
        self._manager.add_hookspecs(hooks)
        self._offers: dict[Kind, dict[str, Offer[Any]]] = {kind: {} for kind in KINDS}
        self._problems: list[PluginProblem] = []
        self._discovered = False
        self._lock = threading.RLock()
        from importlib.metadata import version  # slow to import, and often not needed

        from runnerkit._plugins import builtin  # a plugin like any other, so it is above us

        self._add(builtin, _Source(BUILTIN, "runnerkit", version("runnerkit")))

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        """What went wrong with plugins that were discovered."""
        return tuple(self._problems)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin by hand: a module or an object with hook implementations. Raises PluginError."""
        plugin_name = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        with self._lock:
            self._add(plugin, _Source(plugin_name))

    def discover(self) -> None:
        """Import the installed plugins, once. A plugin that fails is left out and listed in `problems`."""
        from importlib.metadata import entry_points

        with self._lock:
            if self._discovered:
                return
            self._discovered = True
            for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda e: e.name):
                self._load(entry_point)

    def offers(self, kind: Kind) -> Mapping[str, Offer[Any]]:
        """Return what is known of a kind by now, by name."""
        return MappingProxyType(self._offers[kind])

    def find(self, kind: Kind, name: str) -> Offer[Any] | None:
        """Return the offer of that name, after a look at the installed plugins if need be, or None."""
        if name not in self._offers[kind]:
            self.discover()
        return self._offers[kind].get(name)

    def get(self, kind: Kind, name: str) -> Offer[Any]:
        """Return the offer of that name; raises UnknownNameError."""
        offer = self.find(kind, name)
        if offer is None:
            raise UnknownNameError(KINDS[kind], name, self._offers[kind], self.left_out())
        return offer

    def left_out(self) -> str:
        """Return a sentence about each plugin that does not work, for errors about what is missing."""
        return " ".join(f"Left out: {str(problem).removesuffix('.')}." for problem in self._problems)

    def _load(self, entry_point: EntryPoint) -> None:
        dist = entry_point.dist
        source = _Source(entry_point.name, dist.name if dist else "", dist.version if dist else "")
        stage = f"import of {entry_point.value}"
        try:
            plugin = entry_point.load()
            stage = "registration"
            self._add(plugin, source)
        except (Exception, SystemExit) as error:  # a plugin must not end the program
            self._problems.append(PluginProblem(source.plugin, source.distribution, source.version, stage, error))

    def _add(self, plugin: object, source: _Source) -> None:
        """Register with pluggy and collect what is offered, all of it or nothing."""
        if self._manager.is_registered(plugin):
            return
        try:
            self._check(plugin, source)
            self._manager.register(plugin, f"{source.plugin}@{source.distribution or id(plugin)}")
            if not self._manager.get_hookcallers(plugin):
                raise PluginError(f"{source} offers nothing: mark its functions with @hookimpl.")
            offers = list(self._ask(plugin, source))
        except Exception as error:
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            if isinstance(error, PluginError):
                raise
            raise PluginError(f"{source} cannot be registered: {error}") from error
        for kind in KINDS:  # as new mappings, since other threads may be going through the old ones
            new = {offer.name: offer for offer in offers if offer.kind == kind}
            self._offers[kind] = {**self._offers[kind], **new}

    def _check(self, plugin: object, source: _Source) -> None:
        """Refuse implementations that cannot work, sooner than pluggy, and in our words."""
        for name in dir(plugin):
            options = self._manager.parse_hookimpl_opts(plugin, name)
            if options is None:
                continue
            hook = options["specname"] or name
            function = getattr(plugin, name)
            if hook not in KINDS:
                fault = "" if options["optionalhook"] else sentences.unknown("hook", hook, sorted(KINDS))
            elif isinstance(plugin, type) and called_otherwise(function, f"{hook}()"):  # without self
                fault = sentences.is_a_class("Plugin", plugin.__name__)
            else:
                arguments = pluggy.HookImpl(plugin, source.plugin, function, options).argnames
                fault = implementations.fault(hook, function, arguments, options)
            if fault:
                raise PluginError(f"{source}: {fault}")

    def _ask(self, plugin: object, source: _Source) -> Iterator[Offer[Any]]:
        for kind in KINDS:
            for implementation in getattr(self._manager.hook, kind).get_hookimpls():
                if implementation.plugin is plugin:
                    try:
                        offers = [*self._collect(kind, implementation.function(), source)]
                    except PluginError:
                        raise
                    except Exception as error:
                        raise PluginError(f"{source}, hook {kind}, raised {type(error).__name__}: {error}") from error
                    yield from offers

    def _collect(self, kind: Kind, contributions: object, source: _Source) -> Iterator[Offer[Any]]:
        where = f"{source}, hook {kind},"
        names: set[str] = set()
        if contributions is None:
            return
        if isinstance(contributions, (str, Contribution)) or not isinstance(contributions, Iterable):
            raise PluginError(f"{source}: {implementations.wrong_result(kind, type(contributions).__name__)}")
        for contribution in contributions:
            if not isinstance(contribution, Contribution) or not _has_name(contribution):
                raise PluginError(f"{where} must yield Contribution(name, make), not {contribution!r}.")
            make: object = contribution.make  # the value may differ from the annotation
            if not callable(make):
                given = f"{contribution.name!r} with make={make!r}, which cannot be called"
                raise PluginError(f"{where} offers {given}. Give a class, or write lambda: before it.")
            otherwise = called_otherwise(contribution.make, "make()")
            if otherwise:
                itself = CONTRACTS[kind].look(contribution.make)
                called = sentences.not_callable_so("Contribution", contribution.name, "make()", otherwise)
                is_it = not itself.fault and itself.who.isidentifier()
                raise PluginError(f"{source}: {sentences.offered_itself(itself.who) if is_it else called}")
            if not contribution.name or ":" in contribution.name:
                raise PluginError(f"{where} offers {contribution.name!r}, but a name needs a character and no ':'.")
            offer: Offer[Any] = Offer(kind, contribution, source.plugin, source.distribution, source.version)
            other = self._offers[kind].get(offer.name)
            if other is not None or offer.name in names:
                owner = _owner(other, source) if other else "the same plugin"
                raise PluginError(f"{where} offers {offer.name!r}, which {owner} has already. Give it another name.")
            names.add(offer.name)
            yield offer


def _has_name(contribution: Contribution[object]) -> bool:
    name: object = contribution.name  # annotations bind nobody
    return isinstance(name, str)


def _owner(offer: Offer[Any], clashing: _Source) -> str:
    if offer.plugin == clashing.plugin and offer.distribution in ("", clashing.distribution):
        return "another plugin of that name"
    return offer.source


class Once(Generic[T_co]):
    """Calls a function the first time it is called itself, and returns the same thing ever after, to all threads."""

    def __init__(self, make: Callable[[], T_co]) -> None:
        self._make = make
        self._lock = threading.RLock()
        self._made: list[T_co] = []

    def __call__(self) -> T_co:
        """Return the thing."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


_installed: Final = Once(Plugins)


def installed_plugins() -> Plugins:
    """Return the plugins that `GymRunner` and `runnerkit.make` share, one set for the process."""
    return _installed()


# What each kind makes, for those who look offers up by kind.
EnvOffer: TypeAlias = Offer[EnvFactory]
PreprocessorOffer: TypeAlias = Offer[ActionPreprocessor]
PostprocessorOffer: TypeAlias = Offer[ActionPostprocessor]
HistoryOffer: TypeAlias = Offer[HistoryFormat[object]]
ExecutorOffer: TypeAlias = Offer[MakeExecutor]
