"""Plugins: finding them, asking them what they offer, and knowing who offered what.

The only module that drives pluggy. Hooks are asked one implementation at a time, so that every contribution
knows its distribution, and a broken plugin hurts only itself.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic

import pluggy
from typing_extensions import TypeVar, override

from runnerkit import _sentences as sentences
from runnerkit import hooks
from runnerkit._checks.contracts import CONTRACTS
from runnerkit._checks.signatures import called_otherwise
from runnerkit._plugins import implementations
from runnerkit._plugins.discovery import GROUP, Found, found, where_packages_are
from runnerkit._plugins.offers import BUILTIN, CALLED, KINDS, Kind, Offer, Shelf, is_itself
from runnerkit._plugins.options import options_of
from runnerkit.errors import PluginError, UnknownNameError
from runnerkit.hooks import Contribution

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["ENTRY_POINT_GROUP", "Once", "PluginProblem", "Plugins", "comes_with", "installed_plugins"]

_LOST: Final = "a name that is taken"
_OFFICIAL: Final[Mapping[tuple[Kind, str], str]] = {
    ("env_factories", "atari"): "runnerkit-atari",
    ("env_factories", "envpool"): "runnerkit-envpool",
    ("history_formats", "arrow"): "runnerkit-arrow",
    ("history_formats", "minari"): "runnerkit-minari",
    ("history_formats", "tensordict"): "runnerkit-tensordict",
}
"""Which package a name comes with that users may ask for before they install it."""

T = TypeVar("T")

ENTRY_POINT_GROUP: Final = GROUP


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
        self._shelves: dict[Kind, Shelf] = {kind: Shelf() for kind in KINDS}
        self._problems: list[PluginProblem] = []
        self._looked_at: object = None
        """Where packages were when installed plugins were last looked for."""
        self._seen: set[tuple[str, ...]] = set()
        self._by_hand: list[tuple[object, str]] = []
        self._lost_to_us: list[str] = []
        """What is to be said of names that are ours, once all plugins are known."""
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
            self._by_hand.append((plugin, plugin_name))

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """Travel with an env factory that is told of them to another process, which finds the installed ones itself."""
        return _rebuilt, (self is installed_plugins(), self._by_hand)

    def discover(self) -> None:
        """Import the installed plugins, each once; later calls, those installed since.

        A plugin that fails is left out and listed in `problems`.
        """
        with self._lock:
            there = where_packages_are()
            if there == self._looked_at:
                return
            self._looked_at = there
            for entry in found():
                self._meet(entry)
            lost, self._lost_to_us = self._lost_to_us, []
        for said in lost:
            warnings.warn(said, RuntimeWarning, stacklevel=2)

    def offers(self, kind: Kind) -> Mapping[str, Offer[Any]]:
        """Return what is known of a kind by now, by name."""
        return MappingProxyType(self._shelves[kind].by_name)

    def find(self, kind: Kind, name: str) -> Offer[Any] | None:
        """Return the offer of that name, after a look at the installed plugins if need be, or None.

        Raises PluginError if several distributions offer it.
        """
        offer = self._shelves[kind].by_name.get(name)
        if offer is None:
            self.discover()
            offer = self._shelves[kind].get(name)
        return offer

    def get(self, kind: Kind, name: str) -> Offer[Any]:
        """Return the offer of that name; raises UnknownNameError, or PluginError if several distributions offer it."""
        offer = self.find(kind, name)
        if offer is None:
            hint = f"{comes_with(kind, name)} {self.left_out()}".strip()
            raise UnknownNameError(KINDS[kind], name, self.offers(kind), hint)
        return offer

    def left_out(self) -> str:
        """Return a sentence about each plugin that does not work, for errors about what is missing."""
        return " ".join(f"Left out: {str(problem).removesuffix('.')}." for problem in self._problems)

    def _meet(self, entry: Found) -> None:
        """Load an entry point that was not there the last time."""
        distribution, version, what = entry
        key = distribution, version, str(what)
        if key in self._seen:
            return
        self._seen.add(key)
        if isinstance(what, Exception):
            problem = PluginProblem("entry_points.txt", distribution, version, "reading its entry points", what)
            self._problems.append(problem)
        else:
            self._load(what, _Source(what.name, distribution, version))

    def _load(self, entry_point: EntryPoint, source: _Source) -> None:
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
        for kind in KINDS:  # as new shelves, since other threads may be going through the old ones
            new = [offer for offer in offers if offer.kind == kind and self._keeps_apart(offer, source)]
            if new:
                self._shelves[kind] = Shelf([*self._shelves[kind].all, *new])

    def _keeps_apart(self, offer: Offer[Any], source: _Source) -> bool:
        """Whether an offer can be asked for at all; say so where it lost its name to another one."""
        name = offer.contribution.name
        others = [other for other in self._shelves[offer.kind].all if other.contribution.name == name]
        owner = next((other for other in others if other.is_built_in or not other.distribution), None)
        twin = next((other for other in others if other.full_name == offer.full_name), None)
        if twin is not None or owner is not None:
            taken = sentences.lost_name(
                KINDS[offer.kind], name, offer.source, (twin or owner or offer).source, "" if twin else offer.full_name
            )
            self._problems.append(
                PluginProblem(source.plugin, source.distribution, source.version, _LOST, PluginError(taken))
            )
            if twin is None and owner is not None and owner.is_built_in:
                self._lost_to_us.append(taken)
        return twin is None

    def _clash(self, kind: Kind, name: str) -> Offer[Any] | None:
        """Return what has a name that a plugin registered by hand wants; it takes those of installed ones."""
        offer = self._shelves[kind].by_name.get(name)
        return offer if offer is not None and (offer.is_built_in or not offer.distribution) else None

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
            raise PluginError(f"{source}: {sentences.returned_none(kind)}")
        if isinstance(contributions, (str, Contribution)) or not isinstance(contributions, Iterable):
            raise PluginError(f"{source}: {implementations.wrong_result(kind, type(contributions).__name__)}")
        for contribution in contributions:
            if not isinstance(contribution, Contribution) or not _has_name(contribution):
                raise PluginError(f"{where} must yield Contribution(name, make), not {contribution!r}.")
            fault = _fault_of_make(kind, contribution)
            if fault:
                raise PluginError(f"{where} offers {fault}")
            otherwise = _called_otherwise(kind, contribution)
            if otherwise:
                raise PluginError(f"{source}: {otherwise}")
            if not contribution.name or set(contribution.name) & {":", "/"}:
                raise PluginError(
                    f"{where} offers {contribution.name!r}, but a name has neither ':' nor '/', and is not empty."
                )
            offer: Offer[Any] = Offer(kind, contribution, source.plugin, source.distribution, source.version)
            other = None if source.distribution else self._clash(kind, contribution.name)
            if other is not None or contribution.name in names:
                owner = _owner(other, source) if other else "the same plugin"
                raise PluginError(
                    f"{where} offers {contribution.name!r}, which {owner} has already. Give it another name."
                )
            names.add(contribution.name)
            yield offer


def _fault_of_make(kind: Kind, contribution: Contribution[object]) -> str:
    """Say what is wrong with what a contribution offers, as far as that can be seen without calling it."""
    name = contribution.name
    make: object = contribution.make  # the value may differ from the annotation
    if isinstance(make, str):
        fits = all(part.isidentifier() for part in make.replace(":", ".", 1).split(".")) and make.count(":") == 1
        return "" if fits else f"{name!r} with make={make!r}. Write a string as 'module:attribute'."
    who = type(make).__name__
    if not isinstance(make, type) and kind not in CALLED and not CONTRACTS[kind].look(make).fault:
        return f"the object {who} itself as {name!r}, but each runner needs one of its own. Write lambda: {who}(...)."
    if not callable(make):
        return f"{name!r} with make={make!r}, which cannot be called. Give a class, or write lambda: before it."
    return ""


def _called_otherwise(kind: Kind, contribution: Contribution[object]) -> str:
    """Say how `make` is to be called, if neither with options only nor as what is offered."""
    make = contribution.make
    if isinstance(make, str) or is_itself(kind, make):
        return ""
    known = () if kind in CALLED else options_of(make).known  # functions that return what is called have none
    required = [option.name for option in known if option.is_required]
    otherwise = called_otherwise(make, f"make(*, {', '.join(required)})" if required else "make()")
    return sentences.not_callable_so("Contribution", contribution.name, "make()", otherwise) if otherwise else ""


def _has_name(contribution: Contribution[object]) -> bool:
    name: object = contribution.name  # the value may differ from the annotation
    return isinstance(name, str)


def _owner(offer: Offer[Any], clashing: _Source) -> str:
    if offer.plugin == clashing.plugin and offer.distribution in ("", clashing.distribution):
        return "another plugin of that name"
    return offer.source


def comes_with(kind: Kind, name: str) -> str:
    """Say which package to install for a name, if it is one of ours."""
    package = _OFFICIAL.get((kind, name))
    return sentences.comes_with(name, package) if package else ""


class Once(Generic[T]):
    """Calls a function the first time it is called itself, and returns the same thing ever after, to all threads."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.RLock()
        self._made: list[T] = []

    def __call__(self) -> T:
        """Return the thing."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


_installed: Final = Once(Plugins)


def installed_plugins() -> Plugins:
    """Return the plugins that `GymRunner` and `runnerkit.make` share, one set for the process."""
    return _installed()


def _rebuilt(are_installed: bool, by_hand: Sequence[tuple[object, str]]) -> Plugins:
    plugins = installed_plugins() if are_installed else Plugins()
    for plugin, name in by_hand:
        plugins.register(plugin, name)
    return plugins
