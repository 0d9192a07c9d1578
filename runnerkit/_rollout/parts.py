"""From what a runner is asked for to its parts: names become things, and each thing gets a record of where it is from.

A part is named ("parquet"), named with options (`("parquet", {"level": 3})` or `use("parquet", level=3)`), or passed as
an object.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, cast

from typing_extensions import TypeIs, TypeVar

from runnerkit import _sentences as sentences
from runnerkit._checks.contracts import CONTRACTS, EXECUTOR, is_plain_value
from runnerkit._core.known_options import function_of, known_options
from runnerkit._core.origins import distribution_of, module_of, own_name, qualified_name
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.offers import KINDS, Kind
from runnerkit.errors import ArgumentError
from runnerkit.executors.base import Executor
from runnerkit.keys import HistoryKey, Use
from runnerkit.records import PartRecord

__all__ = ["Part", "find_part", "name_of", "named"]

_NO_PART: Final[Mapping[Kind, Callable[[str], str]]] = {
    "history_formats": sentences.not_a_history,
    "executors": sentences.not_an_executor,
    "reward_processors": sentences.not_a_reward_processor,
}

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)  # no slots: see keys
class Part(Generic[T_co]):
    """A part of a runner, what errors call it, and where it is from."""

    thing: T_co
    title: str
    record: PartRecord

    def around(self, wrap: Callable[[T_co], T]) -> Part[T]:
        """Return the same part with something around it."""
        return replace(cast("Part[Any]", self), thing=wrap(self.thing))


def find_part(kind: Kind, given: object, plugins: Plugins) -> Part[Any]:
    """Return what is asked for.

    Raises UnknownNameError, ArgumentError where it is no part of the kind or an option is wrong, and PluginError.
    """
    if isinstance(given, Part):
        return given
    name, options = named(given)
    if name is None:
        return _own(kind, given)
    offer = plugins.get(kind, name)
    thing, chosen = offer.made(options)
    record = PartRecord(KINDS[kind], offer.contribution.name, offer.distribution, offer.version, chosen)
    return Part(thing, offer.title, record)


def named(given: object) -> tuple[str | None, Mapping[str, object]]:
    """Return name and options of what is asked for; the name is None where an object is passed."""
    if isinstance(given, str):
        return given, {}
    if isinstance(given, HistoryKey):
        pair: tuple[object, ...] = (given.name, {})
    elif isinstance(given, Use):
        pair = (given.name, given.options)
    elif isinstance(given, tuple):
        pair = given
    else:
        return None, {}
    if len(pair) != 2 or not isinstance(pair[0], str) or not _are_options(pair[1]):
        raise ArgumentError(sentences.not_a_name_with_options(repr(given)))
    return pair[0], pair[1]


def _are_options(given: object) -> TypeIs[Mapping[str, object]]:
    return isinstance(given, Mapping) and all(isinstance(name, str) for name in given)


def name_of(given: object) -> str:
    """Return the name that is asked for, or that of the class or function that is passed."""
    name = given.record.name if isinstance(given, Part) else named(given)[0]
    return own_name(given) if name is None else name


def _own(kind: Kind, given: object) -> Part[Any]:
    """Return what is passed as an object; raises ArgumentError where it is no part of the kind."""
    if is_plain_value(given):
        raise ArgumentError(_NO_PART.get(kind, sentences.not_a_processor)(repr(given)))
    name = name_of(given)
    thing: object = given
    if kind == "executors" and not isinstance(given, type) and not EXECUTOR.look(given).fault:
        thing = functools.partial(_itself, cast(Executor, given))
    else:
        fault = CONTRACTS[kind].look(given).fault
        if fault:
            raise ArgumentError(fault)
    inner, options = function_of(given), known_options(given)
    record = PartRecord(KINDS[kind], qualified_name(inner), *distribution_of(module_of(inner)), options)
    return Part(thing, name, record)


def _itself(executor: Executor, n_envs: int, workers: int | None, /) -> Executor:
    del n_envs, workers  # which it was made with
    return executor
