"""The options of a runner: those that there are not, and parts that are none, in the one sentence of the run time.

mypy by itself says of such a call which overloads there are, about ten of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mypy.nodes import TypeInfo
from mypy.options import Options
from mypy.plugin import CheckerPluginInterface
from mypy.types import Instance, NoneType, Type, UnionType, get_proper_type
from runnerkit_mypy.part import Part
from runnerkit_mypy.texts import text

from runnerkit import _sentences as sentences
from runnerkit.mypy.calls import Call, Fault
from runnerkit.mypy.fits import fits, said, type_in
from runnerkit.mypy.shapes import Thing

_OPTIONS: Final = "runnerkit.typing.RunnerOptions"
_MORE: Final = frozenset({"seed", "n_envs", "log_level", "history"})
_NOT_FOR_USERS: Final = frozenset({"env", "env_id", "plugins"})  # known, but not suggested
_IN_WORDS: Final = {
    "executor": "a name, an executor, or a function (n_envs, workers) that makes one",
    "preprocessors": "a list of names and processors",
    "postprocessors": "a list of names and processors",
    "reward_processors": "a list of names, functions and processors",
    "wrappers": "a list of names and functions (env) -> env",
}
_PARTS: Final = {"history": sentences.not_a_history, "executor": sentences.not_an_executor}


def faults_of_options(part: Part, call: Call, options: Options) -> Iterator[Fault]:
    """Yield the options of a call that no runner has, and what is no history format or executor."""
    symbol = part.lookup(_OPTIONS)
    declared = symbol.node.typeddict_type if symbol and isinstance(symbol.node, TypeInfo) else None
    if declared is not None:
        known = _MORE | declared.items.keys()
        for name in call.names:
            value = call.value(name)
            if value is not None and name not in known | _NOT_FOR_USERS:
                yield Fault(value.where, sentences.unknown_option(name, sorted(known)))
    for name, sentence in _PARTS.items():
        value = call.value(name)
        if value is not None and not value.is_string and Thing(name, value.type).is_plain:
            yield Fault(value.where, sentence(text(value.type, options)))


def mistyped_options(part: Part, call: Call, api: CheckerPluginInterface) -> Iterator[Fault]:
    """Yield the options of a call whose values are of another type than `RunnerOptions` declares."""
    symbol = part.lookup(_OPTIONS)
    declared = symbol.node.typeddict_type if symbol and isinstance(symbol.node, TypeInfo) else None
    number = part.instance("builtins.int")
    if declared is None or number is None:
        return
    wanted = {"n_envs": number, "log_level": number, "seed": UnionType([number, NoneType()]), **declared.items}
    for name in call.names:
        value = call.value(name)
        if value is None or name not in wanted:
            continue
        given = type_in(value.where, wanted[name], api)
        if not fits(given, wanted[name]) and not _is_open(given):
            what = _IN_WORDS.get(name) or text(wanted[name], api.options)
            yield Fault(value.where, sentences.wrong_option(name, what, said(given, api)))


def _is_open(given: Type) -> bool:
    """Whether it is a list of anything, as which a list is read that has another fault in it."""
    proper = get_proper_type(given)
    return (
        isinstance(proper, Instance)
        and proper.type.fullname == "builtins.list"
        and all(isinstance(item, Instance) and item.type.fullname == "builtins.object" for item in proper.args)
    )
