"""History formats: whether an object is one, and of which type the histories of a name are."""

from __future__ import annotations

from typing import Final

from mypy.maptype import map_instance_to_supertype
from mypy.nodes import TypeInfo, Var
from mypy.plugin import CheckerPluginInterface
from mypy.types import Instance, TupleType, Type, get_proper_type
from runnerkit_mypy.part import Part
from runnerkit_mypy.texts import text

from runnerkit import _sentences as sentences
from runnerkit.mypy.asked import KEY
from runnerkit.mypy.batches import TORCH_HISTORY, row_of, torch_history
from runnerkit.mypy.fits import fits
from runnerkit.mypy.names import Names
from runnerkit.mypy.shapes import ANY, Thing

USE: Final = "runnerkit.keys.Use"
_ARRAY_HISTORY: Final = "runnerkit.history.arrays.ArrayHistory"
_TRANSITION: Final = "runnerkit.records.episodes.Transition"


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
        return recorder.fault(
            sentences.FINISH, sentences.CLOSE, optional=[sentences.APPEND, sentences.BATCH]
        ) or _misfinished(part, recorder, api)
    return ""


def is_key(typ: Type) -> bool:
    """Whether it is a HistoryKey."""
    proper = get_proper_type(typ)
    return isinstance(proper, Instance) and proper.type.fullname == KEY


def is_name(typ: Type) -> bool:
    """Whether it names a part: a HistoryKey, what `use` returns, or a pair of a name and its options."""
    proper = get_proper_type(typ)
    return isinstance(proper, TupleType) or (isinstance(proper, Instance) and proper.type.fullname in (KEY, USE))


def histories_of(part: Part, names: Names, name: str, obs: Type, act: Type) -> Type | None:
    """Return the type of the histories of that name, or None where it is not known or the overloads say it."""
    fullname = names.target("history_formats", name)
    if fullname == TORCH_HISTORY:
        return torch_history(part, obs, act)
    if fullname == _ARRAY_HISTORY:
        return part.instance(fullname, obs, act)
    if fullname == _TRANSITION:
        transition = part.instance(fullname, row_of(obs), row_of(act))
        return None if transition is None else part.instance("builtins.list", transition)
    symbol = part.lookup(fullname) if fullname else None
    if symbol and isinstance(symbol.node, TypeInfo):  # the format itself
        return histories_of_object(part, Instance(symbol.node, [ANY] * len(symbol.node.type_vars)))
    key = symbol.node.type if symbol and isinstance(symbol.node, Var) else None
    proper = get_proper_type(key) if key is not None else None
    return proper.args[0] if isinstance(proper, Instance) and is_key(proper) else None


def histories_of_object(part: Part, history: Type) -> Type | None:
    """Return the type of the histories of a HistoryKey, or of a format object; None where it is not known."""
    proper = get_proper_type(history)
    if isinstance(proper, Instance) and proper.type.fullname in (KEY, USE):
        return proper.args[0]
    recorders = [way.result for way in Thing("History format", proper).methods(sentences.OPEN)]
    rows = [way.result for made in recorders for way in Thing("Recorder", made).methods(sentences.FINISH)]
    symbol = part.lookup("typing.Sequence")
    if len(rows) != 1 or not isinstance(rows[0], Instance) or not symbol or not isinstance(symbol.node, TypeInfo):
        return None
    is_sequence = rows[0].type.has_base("typing.Sequence")
    return map_instance_to_supertype(rows[0], symbol.node).args[0] if is_sequence else None


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
