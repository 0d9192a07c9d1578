"""Chains of processors: what each takes and gives, and whether that connects.

env -> first preprocessor -> ... -> last -> agent -> first postprocessor -> ... -> last -> env
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mypy.plugin import CheckerPluginInterface
from mypy.types import NoneType, Type
from runnerkit_mypy.part import Part
from runnerkit_mypy.texts import text

from runnerkit import _sentences as sentences
from runnerkit.mypy.asked import asked
from runnerkit.mypy.calls import Call, Fault, Value
from runnerkit.mypy.fits import as_read, fits, is_open
from runnerkit.mypy.formats import is_name
from runnerkit.mypy.names import Names
from runnerkit.mypy.shapes import ANY, Thing, made_by

WHAT: Final = {
    "preprocessors": "Preprocessor",
    "postprocessors": "Postprocessor",
    "reward_processors": "Reward processor",
}
KIND: Final = {
    "preprocessors": "action_preprocessors",
    "postprocessors": "action_postprocessors",
    "reward_processors": "reward_processors",
}
_PROCESS: Final = {
    "Preprocessor": sentences.PROCESS_OBSERVATIONS,
    "Postprocessor": sentences.PROCESS_ACTIONS,
    "Reward processor": sentences.PROCESS_REWARDS,
}
_OPTIONAL: Final = {
    "Preprocessor": sentences.OF_PREPROCESSORS,
    "Postprocessor": sentences.OF_POSTPROCESSORS,
    "Reward processor": sentences.OF_REWARD_PROCESSORS,
}
_SPACE: Final = "gymnasium.spaces.space.Space"


@dataclass(frozen=True, slots=True)
class Link:
    """A processor: all types that it takes, and what it gives; Any where that is not known."""

    value: Value
    label: str
    takes: Sequence[Type]
    gives: Type

    @property
    def taken(self) -> Type:
        """What it takes, or Any if that is open."""
        return ANY if len(self.takes) != 1 or is_open(self.takes[0]) else self.takes[0]


THE_ENV: Final = "the env"
THE_RUNNER: Final = "the runner"
"""Who is before and after the agent, where mypy does not know how the runner was built."""


def source_of(pre: Sequence[Link] | None) -> str:
    """Return who provides the agent's observations: the last preprocessor, or the env."""
    if pre is None:
        return THE_RUNNER
    return (pre[-1].label or THE_RUNNER) if pre else THE_ENV


def sink_of(post: Sequence[Link] | None) -> str:
    """Return who expects the agent's actions: the first postprocessor, or the env."""
    if post is None:
        return THE_RUNNER
    return (post[0].label or THE_RUNNER) if post else THE_ENV


class Chains:
    """Checks the processors of a call."""

    def __init__(self, part: Part, names: Names) -> None:
        self._part = part
        self._names = names

    def links(self, call: Call, option: str, api: CheckerPluginInterface) -> tuple[list[Link] | None, list[Fault]]:
        """Return the processors, None where they are not known, and what is wrong with each by itself."""
        given = call.value(option)
        if given is not None and given.literal is not None:
            return None, [Fault(given.where, sentences.string_for_list(option, given.literal))]
        values = call.items(option)
        if values is None or not call.is_whole:
            return None, []
        found = [self._link(WHAT[option], KIND[option], value, api) for value in values]
        return [link for link, _ in found], [fault for _, faults in found for fault in faults]

    def fault(self, what: str, typ: Type, api: CheckerPluginInterface) -> str:
        """Say what is wrong with a processor by itself, or nothing."""
        thing = Thing(what, typ)
        if thing.is_plain:  # which mypy refuses by itself
            return ""
        calls = (_PROCESS[what],) if what == "Reward processor" else (sentences.BIND, _PROCESS[what])
        fault = thing.fault(*calls, optional=_OPTIONAL[what])
        return fault or self._misbound(thing, api) or _returns_nothing(thing)

    def _link(self, what: str, kind: str, value: Value, api: CheckerPluginInterface) -> tuple[Link, list[Fault]]:
        found = asked(value, api)
        if found is not None:
            target = self._part.lookup(self._names.target(kind, found.name))
            return self._read(what, Value(value.where, made_by(target.node if target else None)), found.name), []
        fault = "" if is_name(value.type) else self.fault(what, value.type, api)
        if fault or is_name(value.type):  # of which not all is known here
            return Link(value, "", [ANY], ANY), [Fault(value.where, fault)] if fault else []
        return self._read(what, value), []

    def _read(self, what: str, value: Value, name: str = "") -> Link:
        thing = Thing(what, value.type)
        ways = thing.methods(_PROCESS[what])
        gives = as_read(self._part, ways[0].result) if len(ways) == 1 else ANY
        return Link(value, f"{what} {thing.who or name}", [way.first for way in ways] or [ANY], gives)

    def _misbound(self, thing: Thing, api: CheckerPluginInterface) -> str:
        space = self._part.instance(_SPACE)
        for way in thing.methods(sentences.BIND):
            if space is not None and not fits(way.result, space):
                given, wanted = text(way.result, api.options), text(space, api.options)
                return sentences.wrong_method_result(thing.what, thing.who, "bind", given, wanted)
        return ""


def _returns_nothing(thing: Thing) -> str:
    """Say so if a processor forgets to return the batch: what comes after it is not to blame."""
    call = _PROCESS[thing.what]
    ways = thing.methods(call)
    if not ways or not all(isinstance(way.result, NoneType) for way in ways):
        return ""
    return sentences.wrong_method_result(thing.what, thing.who, "__call__", "None", call[len("__call__(") : -1])


def misfits_after_env(links: Sequence[Link], gives: Type, api: CheckerPluginInterface) -> list[Fault]:
    """Return where preprocessors do not take what comes; the env gives the first its observations."""
    faults: list[Fault] = []
    source = THE_ENV
    for link in links:
        if not any(fits(gives, takes) for takes in link.takes):
            what, _, who = link.label.partition(" ")
            takes = text(link.takes[0], api.options)
            faults.append(
                Fault(link.value.where, sentences.takes_otherwise(what, who, takes, source, text(gives, api.options)))
            )
        source, gives = link.label, link.gives
    return faults


def misfits_before_env(links: Sequence[Link], takes: Type, api: CheckerPluginInterface) -> list[Fault]:
    """Return where postprocessors do not give what the next one takes; the env takes what the last one gives."""
    faults: list[Fault] = []
    sinks = [(link.label, link.takes) for link in links[1:]]
    for link, (sink, taken) in zip(links, [*sinks, (THE_ENV, [takes])], strict=bool(links)):
        if not any(fits(link.gives, one) for one in taken):
            what, _, who = link.label.partition(" ")
            gives = text(link.gives, api.options)
            message = sentences.gives_otherwise(what, who, gives, sink, text(taken[0], api.options))
            faults.append(Fault(link.value.where, message))
    return faults
