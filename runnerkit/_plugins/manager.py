"""Find plugins, ask them what they offer, and know who offered what.

The only module that drives pluggy. It calls hooks one implementation at a time. So each contribution knows its
distribution, and a broken plugin hurts only itself.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic

import pluggy
from typing_extensions import TypeVar, override

from runnerkit import _sentences as sentences
from runnerkit import hooks
from runnerkit._core.origins import own_name
from runnerkit._plugins.asking import offers_of
from runnerkit._plugins.choice import Choice
from runnerkit._plugins.declared import declared, from_entry_point, is_same
from runnerkit._plugins.discovery import GROUP, GYMNASIUM, Found, TooOld, found, names_of, where_packages_are
from runnerkit._plugins.families import ROOT, GymnasiumFamily
from runnerkit._plugins.metadata import canonical
from runnerkit._plugins.offers import BUILTIN, KINDS, OURS, Kind, Offer, Origin, Shelf
from runnerkit._plugins.sources import PluginProblem, Source
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
"""Which package offers a name that users may ask for before they install the package."""

T = TypeVar("T")

ENTRY_POINT_GROUP: Final = GROUP


class Plugins:
    """The plugins of a registry. It starts with the built-in parts; `discover` adds installed plugins.

    Parts that entry points declare are known once the metadata are read; a part is imported when it is asked for.
    Parts that hooks offer are known once their plugin is imported. That happens when a name is asked for that no entry
    point declares.
    """

    def __init__(self, choice: Choice | None = None) -> None:
        self._choice = choice or Choice()
        self._manager = pluggy.PluginManager(hooks.PROJECT)
        self._manager.add_hookspecs(hooks)
        self._shelves: dict[Kind, Shelf] = {kind: Shelf() for kind in KINDS}
        self._problems: list[PluginProblem] = []
        self._looked_at: object = None
        """The state of `sys.path` when the metadata were last read."""
        self._seen: set[tuple[str, ...]] = set()
        self._not_imported: list[tuple[EntryPoint, Source]] = []
        """Plugins with hooks."""
        self._roots: list[tuple[GymnasiumFamily, Source]] = []
        """The families that register envs without a namespace."""
        self._left_out: dict[str, None] = {}
        """The distributions that may not take part."""
        self._by_hand: list[tuple[object, str]] = []
        self._offered: dict[int, list[Contribution[Any]]] = {}
        """The offers of plugins registered by hand, by the plugin's id. Registered plugins stay alive."""
        self._met: dict[str, None] = {}
        """The distributions with plugins, also those that may not take part."""
        self._remarks: list[str] = []
        """What to warn of once all names are known: names that our own parts keep, and misspelt distributions."""
        self._lock = threading.RLock()
        from importlib.metadata import version  # slow to import, and often not needed

        from runnerkit._plugins import builtin  # a plugin like any other, so it is above us

        self._version = version("runnerkit")
        self._add(builtin, Source(BUILTIN, OURS, self._version))

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        """The problems of discovered plugins."""
        return tuple(self._problems)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin by hand: a module or an object with hook implementations. Raises PluginError."""
        if isinstance(plugin, str):
            raise PluginError(sentences.name_of_plugin(plugin))
        plugin_name = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        with self._lock:
            if not self._manager.is_registered(plugin):
                offers = self._add(plugin, Source(plugin_name))
                self._offered[id(plugin)] = [offer.contribution for offer in offers]
                self._by_hand.append((plugin, plugin_name))

    def unregister(self, plugin: object) -> None:
        """Forget a plugin registered by hand, given by object or name, or all plugins of a distribution."""
        self._read_metadata()
        with self._lock:
            mine = [one for one in self._by_hand if one[0] is plugin or one[1] == plugin]
            gone = {id(contribution) for one, _ in mine for contribution in self._offered.pop(id(one))}
            self._forget(lambda offer: id(offer.contribution) in gone)
            for one, _ in mine:
                self._manager.unregister(one)
            self._by_hand = [one for one in self._by_hand if one not in mine]
            if not mine:
                self._unregister_distribution(plugin)

    def _unregister_distribution(self, name: object) -> None:
        installed = {
            canonical(one.distribution) for kind in KINDS for one in self._shelves[kind].all if one.distribution
        }
        installed |= {canonical(source.distribution) for _, source in (*self._not_imported, *self._roots)}
        installed -= {OURS}
        if not isinstance(name, str) or canonical(name) not in installed:
            known = sorted({*installed, *(by_hand for _, by_hand in self._by_hand)})
            raise UnknownNameError("plugin", name if isinstance(name, str) else own_name(name), known)
        gone = canonical(name)
        self._choice = self._choice.without(gone)
        self._forget(lambda offer: canonical(offer.distribution) == gone)
        self._not_imported = [one for one in self._not_imported if canonical(one[1].distribution) != gone]
        self._roots = [one for one in self._roots if canonical(one[1].distribution) != gone]
        self._problems = [problem for problem in self._problems if canonical(problem.distribution) != gone]
        for registered, plugin in self._manager.list_name_plugin():
            if plugin is not None and canonical(registered.rpartition("@")[2]) == gone:
                self._manager.unregister(plugin)

    def _forget(self, is_gone: Callable[[Offer[Any]], bool]) -> None:
        for kind in KINDS:
            self._shelves[kind] = Shelf(offer for offer in self._shelves[kind].all if not is_gone(offer))

    def declare(self, kind: Kind, name: str, value: str, distribution: str, version: str) -> None:
        """Add the part that an entry point declares as `module:attribute`; raises PluginError if it cannot be one."""
        source = Source(name, distribution, version)
        with self._lock:
            self._keep([declared(kind, name, value, source)])

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the findings, as an env factory may hold this object: another process searches itself."""
        return _rebuilt, (self is installed_plugins(), self._choice, self._by_hand)

    def discover(self) -> None:
        """Read the metadata of installed distributions and import their plugins with hooks, each once.

        Later calls import those installed since. A plugin that fails is left out and listed in `problems`.
        """
        self._import_hooks()

    def offers(self, kind: Kind) -> Mapping[str, Offer[Any]]:
        """Return the offers of a kind that are known so far, by name."""
        return MappingProxyType(self._shelves[kind].by_name)

    def find(self, kind: Kind, name: str) -> Offer[Any] | None:
        """Return the offer of that name, or None. Installed plugins are searched if necessary.

        Raises PluginError if several distributions offer it.
        """
        offer = self._shelves[kind].by_name.get(name)
        if offer is None:
            self._read_metadata()
            offer = self._shelves[kind].get(name)
        if offer is None:
            self._import_hooks(canonical(name.partition("/")[0]) if "/" in name else "")
            offer = self._shelves[kind].get(name)
        return offer

    def get(self, kind: Kind, name: str) -> Offer[Any]:
        """Return the offer of that name; raises UnknownNameError, or PluginError if several distributions offer it."""
        offer = self.find(kind, name)
        if offer is None:
            package = "" if _OFFICIAL.get((kind, name)) in self._left_out else comes_with(kind, name)
            hint = f"{package} {self.left_out(kind, name)}".strip()
            raise UnknownNameError(KINDS[kind], name, self.offers(kind), hint)
        return offer

    def left_out(self, kind: Kind | None, name: str) -> str:
        """Return a sentence about each broken plugin that may offer the missing name; `kind` None means any kind."""
        owner, slash, asked = name.rpartition("/")
        may_be = [
            problem
            for problem in self._problems
            if problem.may_offer(kind or "", asked)
            and (not slash or canonical(problem.distribution) == canonical(owner))
        ]
        broken = [f"Left out: {str(problem).removesuffix('.')}." for problem in may_be]
        return " ".join([*broken, *([sentences.not_allowed(sorted(self._left_out))] if self._left_out else [])])

    def register_envs(self, namespace: str) -> None:
        """Let packages register their envs of a namespace with Gymnasium; "" means envs without a namespace."""
        self._read_metadata()
        offer = self._shelves["env_factories"].by_name.get(namespace) if namespace else None
        families = [] if namespace else self._roots
        if offer is not None and isinstance(offer.contribution.make, GymnasiumFamily):
            families = [(offer.contribution.make, Source(offer.plugin, offer.distribution, offer.version))]
        for family, source in families:
            try:
                family.register()
            except (Exception, SystemExit) as error:  # a plugin must not end the program
                self._note(source.problem(f"registration of envs by {family.value}", error))

    # ---- what is installed

    def _read_metadata(self) -> None:
        """Note which parts the metadata of installed distributions declare, and which plugins have hooks."""
        with self._lock:
            there = where_packages_are()
            if there == self._looked_at:
                return
            self._looked_at = there
            offers: list[Offer[Any]] = []
            for entry in found(self._admits, self._version):
                offers += self._meet(entry)
            self._keep(offers)
            self._remarks += self._choice.misspelt(self._met)
        self._warn()

    def _admits(self, distribution: str) -> bool:
        self._met[canonical(distribution)] = None
        if self._choice.admits(distribution):
            return True
        if canonical(distribution) != OURS:
            self._left_out[canonical(distribution)] = None
        return False

    def _meet(self, entry: Found) -> Iterator[Offer[Any]]:
        """Yield the declared parts of an entry point that was not there the last time."""
        distribution, version, what, names = entry
        key = distribution, version, str(what)
        if key in self._seen:
            return
        self._seen.add(key)
        if isinstance(what, Exception):
            stage = "requirements" if isinstance(what, TooOld) else "reading its entry points"
            self._note(Source("entry_points.txt", distribution, version).problem(stage, what, names))
            return
        source = Source(what.name, distribution, version)
        if what.group == GROUP:
            self._not_imported.append((what, source))
        elif what.group == GYMNASIUM and what.name == ROOT:
            self._roots.append((GymnasiumFamily(ROOT, what.value), source))
        else:
            try:
                yield from_entry_point(what, source)
            except PluginError as error:
                self._note(source.problem("its entry points", error, names_of([what])))

    def _import_hooks(self, distribution: str = "") -> None:
        """Import the plugins with hooks that are not imported yet: all, or those of a distribution."""
        self._read_metadata()
        with self._lock:
            wanted = [one for one in self._not_imported if distribution in ("", canonical(one[1].distribution))]
            self._not_imported = [one for one in self._not_imported if one not in wanted]
            for entry_point, source in wanted:
                self._load(entry_point, source)
        self._warn()

    def _load(self, entry_point: EntryPoint, source: Source) -> None:
        stage = f"import of {entry_point.value}"
        try:
            plugin = entry_point.load()
            stage = "registration"
            self._add(plugin, source)
        except (Exception, SystemExit) as error:  # a plugin must not end the program
            self._note(source.problem(stage, error))

    def _note(self, problem: PluginProblem) -> None:
        self._problems.append(problem)

    def _warn(self) -> None:
        remarks, self._remarks = self._remarks, []
        for said in remarks:
            warnings.warn(said, RuntimeWarning, stacklevel=4)

    # ---- what is known

    def _add(self, plugin: object, source: Source) -> Sequence[Offer[Any]]:
        """Register with pluggy and collect all offers, or none if one is wrong."""
        offers = [] if self._manager.is_registered(plugin) else offers_of(self._manager, plugin, source, self._clash)
        self._keep(offers)
        return offers

    def _keep(self, offers: Sequence[Offer[Any]]) -> None:
        for kind in KINDS:  # as new shelves, since other threads may be going through the old ones
            new: list[Offer[Any]] = []
            for offer in offers:
                if offer.kind == kind and self._keeps_apart(offer, [*self._shelves[kind].all, *new]):
                    new.append(offer)
            if new:
                self._shelves[kind] = Shelf([*self._shelves[kind].all, *new])

    def _keeps_apart(self, offer: Offer[Any], known: Sequence[Offer[Any]]) -> bool:
        """Whether an offer can be asked for at all. Where it lost its name to another offer, note that."""
        name, source = offer.contribution.name, Source(offer.plugin, offer.distribution, offer.version)
        others = [other for other in known if other.contribution.name == name]
        owner = next((other for other in others if other.origin < offer.origin), None)
        twin = next((other for other in others if other.full_name == offer.full_name), None)
        if twin is not None and twin.origin is Origin.DECLARED and offer.origin is Origin.INSTALLED:
            if not is_same(twin.contribution.make, offer.contribution.make):
                disagree = sentences.declared_and_offered(
                    KINDS[offer.kind], name, str(twin.contribution.make), offer.kind
                )
                self._note(source.problem("a name with two meanings", PluginError(disagree), ((offer.kind, name),)))
        elif twin is not None or owner is not None:
            taken = sentences.lost_name(
                KINDS[offer.kind], name, offer.source, (twin or owner or offer).source, "" if twin else offer.full_name
            )
            self._note(source.problem(_LOST, PluginError(taken), ((offer.kind, name),)))
            if twin is None and owner is not None and owner.is_built_in:
                self._remarks.append(taken)
        return twin is None

    def _clash(self, kind: Kind, name: str) -> Offer[Any] | None:
        """Return the offer that already has a name. A plugin registered by hand may take names of installed ones."""
        offer = self._shelves[kind].by_name.get(name)
        return offer if offer is not None and offer.origin <= Origin.BY_HAND else None


def comes_with(kind: Kind, name: str) -> str:
    """Return which package to install for a name, if it is one of ours."""
    package = _OFFICIAL.get((kind, name))
    return sentences.comes_with(name, package) if package else ""


class Once(Generic[T]):
    """Calls a function once, on the first call, and returns that result to all later calls and threads."""

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


def _rebuilt(are_installed: bool, choice: Choice, by_hand: Sequence[tuple[object, str]]) -> Plugins:
    plugins = installed_plugins() if are_installed else Plugins(choice)
    for plugin, name in by_hand:
        plugins.register(plugin, name)
    return plugins
