"""Whether what one part of a runner gives is what the next one takes.

Where something is not known, it fits. The shapes of arrays do not count, as few programs have them in their types:
arrays fit if their dtypes do.
"""

from __future__ import annotations

from mypy.nodes import Expression
from mypy.plugin import CheckerPluginInterface
from mypy.subtypes import is_subtype
from mypy.type_visitor import TypeTranslator
from mypy.types import (
    AnyType,
    Instance,
    LiteralType,
    ProperType,
    Type,
    TypeAliasType,
    UninhabitedType,
    UnionType,
    get_proper_type,
)
from runnerkit_mypy.part import Part
from runnerkit_mypy.texts import text
from typing_extensions import override

from runnerkit.mypy.shapes import ANY, open_ended


def is_open(typ: Type) -> bool:
    """Whether a type says nothing: Any, object, or what never comes."""
    proper = get_proper_type(typ)
    if isinstance(proper, Instance):
        return proper.type.fullname == "builtins.object"
    return isinstance(proper, AnyType | UninhabitedType)


def fits(given: Type, takes: Type) -> bool:
    """Whether a batch of one type can go where the other is taken."""
    proper = get_proper_type(open_ended(given))
    if isinstance(proper, UnionType):
        return all(fits(item, takes) for item in proper.items)
    if is_open(given) or is_open(takes):
        return True
    return is_subtype(_shapeless(proper), _shapeless(get_proper_type(open_ended(takes))))


def read_by_runner(part: Part, given: Type) -> bool:
    """Whether it is a list or a tensor, which a runner makes an array of, whatever is in it."""
    proper = get_proper_type(given)
    if isinstance(proper, UnionType):
        return all(read_by_runner(part, item) for item in proper.items)
    if not isinstance(proper, Instance):
        return False
    tensor = part.instance("runnerkit._core.types.TensorLike")
    return proper.type.has_base("builtins.list") or (tensor is not None and is_subtype(proper, tensor))


def as_read(part: Part, given: Type) -> Type:
    """Return what comes out of a batch that a runner has read; Any where that is not known."""
    return ANY if is_open(given) or read_by_runner(part, given) else open_ended(given)


def type_in(value: Expression, wanted: Type, api: CheckerPluginInterface) -> Type:
    """Return the type of an expression where a type is wanted: `[1]` is a list of floats where one is."""
    with api.msg.filter_errors() as errors:  # mypy says by itself what is wrong with the value as such
        given = api.get_expression_type(value, wanted)
    return api.get_expression_type(value) if errors.has_new_errors() else given


def said(given: Type, api: CheckerPluginInterface) -> str:
    """Return a value as it is written if it is a literal, else its type."""
    proper = get_proper_type(given)
    known = proper.last_known_value if isinstance(proper, Instance) else proper
    if isinstance(known, LiteralType) and known.fallback.type.fullname.startswith("builtins."):
        return repr(known.value)
    return text(given, api.options)


class _Shapeless(TypeTranslator):
    """Lets arrays be of any shape."""

    @override
    def visit_instance(self, t: Instance, /) -> Type:
        new = super().visit_instance(t)
        if isinstance(new, Instance) and new.type.fullname == "numpy.ndarray" and len(new.args) == 2:
            return new.copy_modified(args=[ANY, new.args[1]])
        return new

    @override
    def visit_type_alias_type(self, t: TypeAliasType, /) -> Type:
        return t if t.is_recursive else get_proper_type(t).accept(self)


def _shapeless(typ: ProperType) -> ProperType:
    return get_proper_type(typ.accept(_Shapeless()))
