"""Runners that are derived from GymRunner: whether what they are built of is what their base class is declared with.

mypy by itself compares the key of an env, but not what `history=` and processors make of the types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mypy.maptype import map_instance_to_supertype
from mypy.nodes import Expression, TypeInfo
from mypy.options import Options
from mypy.types import Instance, Type, TypeVarType, UninhabitedType, get_proper_type, has_type_vars
from mypy.typevars import fill_typevars
from runnerkit_mypy.part import Part
from runnerkit_mypy.texts import text

from runnerkit import _sentences as sentences
from runnerkit.mypy.calls import Fault
from runnerkit.mypy.fits import fits, is_open
from runnerkit.mypy.shapes import ANY

RUNNER: Final = "runnerkit._rollout.gym_runner.GymRunner"


class Found(NamedTuple):
    """The types that a call makes of its parts, None where nothing is known, and who provides each."""

    obs: Type | None
    source: str
    act: Type | None
    sink: str
    history: Type | None
    history_option: Expression | None


def misdeclared(part: Part, made: Instance, found: Found, where: Expression, options: Options) -> Iterator[Fault]:
    """Yield where a derived runner is declared with other types than it is built of."""
    declared = _declared(part, made)
    if declared is None or made.type.fullname == RUNNER:
        return
    who = made.type.name
    batches = list(_misdeclared_batches(who, declared, found, where, options))
    yield from batches
    makes_own = made.type.get_method("process_transition")
    if batches or makes_own is None or makes_own.info.fullname != RUNNER:
        return  # histories of one's own are of no format
    if _differs(found.history, declared[2]):
        wanted, given = text(declared[2], options), text(found.history or ANY, options)
        message = sentences.declared_otherwise(who, "histories", wanted, "the history format", given)
        yield Fault(found.history_option or where, message)


def _misdeclared_batches(
    who: str, declared: Sequence[Type], found: Found, where: Expression, options: Options
) -> Iterator[Fault]:
    if _differs(found.obs, declared[0]):
        wanted, given = text(declared[0], options), text(found.obs or ANY, options)
        yield Fault(where, sentences.declared_otherwise(who, "observations", wanted, found.source, given))
    if _differs(found.act, declared[1]):
        wanted, given = text(declared[1], options), text(found.act or ANY, options)
        yield Fault(where, sentences.sends_otherwise(who, wanted, found.sink, given))


def completed(part: Part, made: Instance, known: Sequence[Type | None]) -> Instance:
    """Return the type of a generic derived runner, with what is known instead of what mypy found nothing for."""
    symbol = part.lookup(RUNNER)
    own = fill_typevars(made.type)
    if not made.args or symbol is None or not isinstance(symbol.node, TypeInfo) or not isinstance(own, Instance):
        return made
    of_base = map_instance_to_supertype(own, symbol.node).args
    by_variable = {
        variable.id: new
        for variable, new in zip(map(get_proper_type, of_base), known, strict=True)
        if isinstance(variable, TypeVarType)
    }
    args: list[Type] = []
    for variable, old in zip(map(get_proper_type, own.args), made.args, strict=True):
        new = by_variable.get(variable.id) if isinstance(variable, TypeVarType) else None
        args.append((new or ANY) if isinstance(get_proper_type(old), UninhabitedType) else old)
    return made.copy_modified(args=args)


def _declared(part: Part, made: Instance) -> Sequence[Type] | None:
    symbol = part.lookup(RUNNER)
    if symbol is None or not isinstance(symbol.node, TypeInfo) or not made.type.has_base(RUNNER):
        return None
    return map_instance_to_supertype(made, symbol.node).args


def _differs(found: Type | None, declared: Type) -> bool:
    if found is None or is_open(declared) or has_type_vars(declared):
        return False
    return not fits(found, declared)
