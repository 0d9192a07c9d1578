"""Runners that are derived from GymRunner: whether what they are built of is what their base class is declared with.

mypy by itself compares the key of an env, but not what `history=` and processors make of the types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mypy.maptype import map_instance_to_supertype
from mypy.nodes import Expression, TypeInfo
from mypy.options import Options
from mypy.subtypes import find_member
from mypy.types import CallableType, Instance, Type, TypeVarType, UninhabitedType, get_proper_type, has_type_vars
from mypy.typevars import fill_typevars
from runnerkit_mypy.part import Part
from runnerkit_mypy.texts import text

from runnerkit import _sentences as sentences
from runnerkit.mypy.batches import is_row_of
from runnerkit.mypy.calls import Fault
from runnerkit.mypy.fits import fits, is_open
from runnerkit.mypy.shapes import ANY

RUNNER: Final = "runnerkit._rollout.gym_runner.GymRunner"
_TRANSITION: Final = "runnerkit.records.episodes.Transition"


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
    if not part.leaves(made.type, RUNNER, "process_transition"):  # histories of one's own are of no format
        yield from _misread_rows(made, declared, where, options)
    elif not batches:
        yield from _misdeclared_histories(who, declared, found, where, options)


def _misread_rows(made: Instance, declared: Sequence[Type], where: Expression, options: Options) -> Iterator[Fault]:
    """Yield where `process_transition` takes other rows than the batches of the runner have."""
    method = get_proper_type(find_member("process_transition", made, made))
    taken = (
        get_proper_type(method.arg_types[1]) if isinstance(method, CallableType) and len(method.arg_types) > 1 else None
    )
    if not isinstance(taken, Instance) or taken.type.fullname != _TRANSITION:
        return
    for what, batch, row in zip(("observations", "actions"), declared, taken.args, strict=False):
        if not is_open(batch) and not has_type_vars(batch) and not has_type_vars(row) and not is_row_of(batch, row):
            who, rows, batches = made.type.name, text(row, options), text(batch, options)
            yield Fault(where, sentences.rows_otherwise(who, what, rows, batches))


def _misdeclared_histories(
    who: str, declared: Sequence[Type], found: Found, where: Expression, options: Options
) -> Iterator[Fault]:
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
