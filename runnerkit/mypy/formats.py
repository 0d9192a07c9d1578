"""History formats: whether an object is one, and of which type the histories of a name are."""

from __future__ import annotations

from mypy.nodes import Var
from mypy.plugin import CheckerPluginInterface
from mypy.types import Instance, Type, get_proper_type

from runnerkit import _sentences as sentences
from runnerkit.mypy.fits import fits
from runnerkit.mypy.names import Names
from runnerkit.mypy.part import Part
from runnerkit.mypy.shapes import Thing
from runnerkit.mypy.texts import text

_KEY = "runnerkit.keys.HistoryKey"


def fault_of_format(part: Part, typ: Type, api: CheckerPluginInterface) -> str:
    """Say what is wrong with a history format, or with the recorders that it opens, or nothing."""
    thing = Thing("History format", typ)
    fault = "" if thing.is_plain else thing.fault(sentences.OPEN)  # mypy refuses numbers and such by itself
    if fault:
        return fault
    recorder_type = part.instance("runnerkit.history.base.Recorder", *_of_object(part))
    for way in thing.methods(sentences.OPEN):
        recorder = Thing("Recorder", way.result)
        if not isinstance(way.result, Instance):
            if recorder_type is None or fits(way.result, recorder_type):
                return ""
            given, wanted = text(way.result, api.options), text(recorder_type, api.options)
            return sentences.wrong_method_result(thing.what, thing.who, "open", given, wanted)
        return recorder.fault(sentences.FINISH, sentences.CLOSE) or _misfinished(part, recorder, api)
    return ""


def is_key(typ: Type) -> bool:
    """Whether it is a HistoryKey."""
    proper = get_proper_type(typ)
    return isinstance(proper, Instance) and proper.type.fullname == _KEY


def histories_of(part: Part, names: Names, name: str, obs: Type, act: Type) -> Type | None:
    """Return the type of the histories of that name, or None where it is not known or the overloads say it."""
    fullname = names.target("history_formats", name)
    if name == "arrays":
        return part.instance(fullname, obs, act)
    if name == "transitions":
        transition = part.instance(fullname, obs, act)
        return None if transition is None else part.instance("builtins.list", transition)
    symbol = part.lookup(fullname) if fullname else None
    key = symbol.node.type if symbol and isinstance(symbol.node, Var) else None
    proper = get_proper_type(key) if key is not None else None
    return proper.args[0] if isinstance(proper, Instance) and is_key(proper) else None


def _of_object(part: Part) -> list[Type]:
    anything = part.instance("builtins.object")
    return [] if anything is None else [anything]


def _misfinished(part: Part, recorder: Thing, api: CheckerPluginInterface) -> str:
    wanted = part.instance("typing.Sequence", *_of_object(part))
    for way in recorder.methods(sentences.FINISH):
        if wanted is not None and not fits(way.result, wanted):
            given = text(way.result, api.options)
            return sentences.wrong_method_result(
                recorder.what, recorder.who, "finish", given, text(wanted, api.options)
            )
    return ""
