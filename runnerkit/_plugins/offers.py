"""One offer of a contribution, and all offers of a kind by the names that users ask for."""

from __future__ import annotations

import enum
import functools
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType, MappingProxyType
from typing import Any, Final, Generic, Literal, TypeAlias

from typing_extensions import TypeVar

from runnerkit import _sentences as sentences
from runnerkit._checks.contracts import CONTRACTS
from runnerkit._checks.signatures import called_otherwise
from runnerkit._plugins.metadata import canonical
from runnerkit._plugins.options import Options, options_of
from runnerkit._plugins.summaries import first_line, summary_of
from runnerkit.errors import PluginError, RunnerKitError
from runnerkit.executors.base import MakeExecutor
from runnerkit.history.base import HistoryFormat
from runnerkit.hooks import Contribution, EnvFactory
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, RewardProcessor

__all__ = [
    "BUILTIN",
    "CALLED",
    "KINDS",
    "OURS",
    "Kind",
    "Offer",
    "Origin",
    "Shelf",
    "fault_of_make",
    "is_itself",
    "options_of_called",
]

T_co = TypeVar("T_co", covariant=True)

BUILTIN: Final = "builtin"
OURS: Final = "runnerkit"

Kind: TypeAlias = Literal[
    "env_factories",
    "action_preprocessors",
    "action_postprocessors",
    "reward_processors",
    "history_formats",
    "executors",
]
"""The hooks. Each is one kind of contribution."""

KINDS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "env_factories": "env factory",
        "action_preprocessors": "preprocessor",
        "action_postprocessors": "postprocessor",
        "reward_processors": "reward processor",
        "history_formats": "history format",
        "executors": "executor",
    }
)
"""What messages call each kind."""

CALLED: Final = ("env_factories", "executors")  # what is offered is called itself, with arguments
_NO_OPTIONS: Final[Mapping[str, object]] = MappingProxyType({})
_TOLD: Final = ("n_envs", "env_index", "plugins")
"""What a runner passes to an env factory besides the seed."""


def is_itself(kind: Kind, make: object) -> bool:
    """Whether `make` is itself the part, and not a function that returns the part."""
    return kind in CALLED and not CONTRACTS[kind].look(make).fault


def fault_of_make(kind: Kind, name: str, make: object) -> str:
    """Return what is wrong with an offer, as far as it can be seen without a call."""
    if isinstance(make, str):
        fits = all(part.isidentifier() for part in make.replace(":", ".", 1).split(".")) and make.count(":") == 1
        return "" if fits else f"{name!r} with make={make!r}. Write a string as 'module:attribute'."
    who = type(make).__name__
    if not isinstance(make, type) and kind not in CALLED and not CONTRACTS[kind].look(make).fault:
        if not isinstance(make, FunctionType):
            return (
                f"the object {who} itself as {name!r}, but each runner needs one of its own. Write lambda: {who}(...)."
            )
        if called_otherwise(make, "make()"):  # a function with options, which all have defaults, makes the part
            what = f"the function {make.__name__} itself as {name!r}"
            return f"{what}. Offer a class, or a function without arguments that returns it."
    if not callable(make):
        return f"{name!r} with make={make!r}, which cannot be called. Give a class, or write lambda: before it."
    return ""


class Origin(enum.IntEnum):
    """How an offer became known. The lowest value wins a name; from DECLARED on, only if no other offer is as low."""

    BUILT_IN = 0
    BY_HAND = 1
    DECLARED = 2
    """By an entry point of its own."""
    INSTALLED = 3
    """Offered by a hook of an installed plugin."""
    GYMNASIUM = 4
    """Declared by an entry point that was meant for Gymnasium."""


@dataclass(frozen=True, slots=True)
class Offer(Generic[T_co]):
    """A contribution and its source. `distribution` is empty for plugins registered by hand."""

    kind: Kind
    contribution: Contribution[T_co]
    plugin: str
    distribution: str
    version: str
    name: str = ""
    """The name to ask for; with the distribution, `another/x`, where `x` alone is ambiguous."""
    origin: Origin = Origin.BY_HAND

    @property
    def is_built_in(self) -> bool:
        """Whether RunnerKit itself offers it."""
        return (self.plugin, self.distribution) == (BUILTIN, OURS)

    @property
    def full_name(self) -> str:
        """Its name with its distribution, which is unique."""
        return f"{canonical(self.distribution)}/{self.contribution.name}"

    @property
    def source(self) -> str:
        """Distribution and version, or the plugin if it has no distribution."""
        return f"{self.distribution} {self.version}" if self.distribution else f"plugin {self.plugin}"

    @property
    def title(self) -> str:
        """What errors call it: its name, and its source unless it is built in."""
        return self.name if self.is_built_in else f"{self.contribution.name} of {self.source}"

    @property
    def summary(self) -> str:
        """One line about it: the contribution's summary, or the first line of the docstring of what makes it."""
        contribution = self.contribution
        if contribution.summary:
            return contribution.summary
        make = contribution.make
        return summary_of(make) if isinstance(make, str) else first_line(getattr(make, "__doc__", None))

    @property
    def what(self) -> str:
        """What errors call it: history format 'arrow' of runnerkit-arrow 0.1.0."""
        return f"{KINDS[self.kind]} {self.contribution.name!r} of {self.source}"

    def make(self, options: Mapping[str, object] = _NO_OPTIONS) -> T_co:
        """Make the part. If that fails, or the result is not of its kind, raise a PluginError that names the source.

        Other errors of RunnerKit, such as MissingDependencyError, pass through. Options that are surely wrong raise
        ArgumentError.
        """
        return self.made(options)[0]

    def made(self, options: Mapping[str, object]) -> tuple[T_co, dict[str, object]]:
        """Make the part and return it with the options as they were passed."""
        try:
            made, chosen = self._made(options)
        except RunnerKitError as error:
            error.add_note(f"while making the {self.what}")
            raise
        except (Exception, SystemExit) as error:  # a plugin must not end the program
            raise PluginError(f"{self.what} could not be made: {type(error).__name__}: {error}") from error
        fault = CONTRACTS[self.kind].look(made).fault
        if fault:
            raise PluginError(f"{self.what}: {fault}")
        return made, chosen

    def options(self) -> Options:
        """Return its options. This imports the part; raises PluginError if that fails."""
        try:
            make = self._imported()
            return options_of_called(self.kind, make) if is_itself(self.kind, make) else self._options_of_maker(make)
        except RunnerKitError:
            raise
        except (Exception, SystemExit) as error:  # a plugin must not end the program
            raise PluginError(f"{self.what} could not be made: {type(error).__name__}: {error}") from error

    def _made(self, options: Mapping[str, object]) -> tuple[Any, dict[str, object]]:
        make = self._imported()
        if not is_itself(self.kind, make):
            if self.kind not in CALLED or _takes_any(make):
                chosen = options_of(make).checked(self.what, options)
                return make(**chosen), chosen
            make = make()  # a function that returns what is called, whose options they are
        if not options or CONTRACTS[self.kind].look(make).fault:
            return make, {}
        chosen = options_of_called(self.kind, make).checked(self.what, options)
        return functools.partial(make, **chosen), chosen

    def _options_of_maker(self, make: Callable[..., object]) -> Options:
        return options_of(make) if self.kind not in CALLED or _takes_any(make) else options_of_called(self.kind, make())

    def _imported(self) -> Any:
        make: Any = self.contribution.make
        if isinstance(make, str):
            module, _, attribute = make.partition(":")
            make = importlib.import_module(module)
            for name in attribute.split("."):
                make = getattr(make, name)
            fault = fault_of_make(self.kind, self.contribution.name, make)
            if fault:
                raise PluginError(f"{self.source} offers {fault}")
        return make


def options_of_called(kind: Kind, function: object) -> Options:
    """Return the options of an env factory or executor: the arguments that a runner does not pass itself."""
    if kind == "env_factories":
        return options_of(function, positional=1, passed=("seed",), told=_TOLD)
    return options_of(function, positional=2)


def _takes_any(make: object) -> bool:
    """Whether a function that returns a factory has options of its own."""
    return bool(options_of(make).known)


class Shelf:
    """All offers of one kind.

    A name means the built-in part; else the part registered by hand; else the part of the only distribution that offers
    it, by an entry point or by a hook. If several distributions offer a name, it is ambiguous: ask for
    `distribution/name`. An offer that lost its name is asked for in the same way.
    """

    def __init__(self, offers: Iterable[Offer[Any]] = ()) -> None:
        self.all: tuple[Offer[Any], ...] = tuple(offers)
        self.rivals: dict[str, Sequence[Offer[Any]]] = {}
        """The ambiguous names, and who offers them."""
        self.by_name: dict[str, Offer[Any]] = {}
        named: dict[str, list[Offer[Any]]] = {}
        for offer in self.all:
            named.setdefault(offer.contribution.name, []).append(offer)
        for name, several in named.items():
            first = _first(several)
            if first is None:
                self.rivals[name] = several
            for offer in several:
                called = name if offer is first else offer.full_name
                self.by_name[called] = replace(offer, name=called)

    def get(self, name: str) -> Offer[Any] | None:
        """Return the offer of a name, or of `distribution/name`; raises PluginError if the name is ambiguous."""
        if name in self.by_name:
            return self.by_name[name]
        if name in self.rivals:
            offers = self.rivals[name]
            kind = KINDS[offers[0].kind]
            raise PluginError(sentences.rivals(kind, name, [(offer.source, offer.full_name) for offer in offers]))
        distribution, slash, rest = name.partition("/")
        full_name = f"{canonical(distribution)}/{rest}" if slash else ""
        return next((offer for offer in self.by_name.values() if offer.full_name == full_name), None)


def _first(offers: Sequence[Offer[Any]]) -> Offer[Any] | None:
    """Return the offer that has the name, if that is clear."""
    lowest = min(offer.origin for offer in offers)
    first, *others = [offer for offer in offers if offer.origin == lowest]
    return None if others and lowest >= Origin.DECLARED else first


# What each kind makes, for those who look offers up by kind.
EnvOffer: TypeAlias = Offer[EnvFactory]
PreprocessorOffer: TypeAlias = Offer[ActionPreprocessor]
PostprocessorOffer: TypeAlias = Offer[ActionPostprocessor]
RewardOffer: TypeAlias = Offer[RewardProcessor]
HistoryOffer: TypeAlias = Offer[HistoryFormat[object]]
ExecutorOffer: TypeAlias = Offer[MakeExecutor]
