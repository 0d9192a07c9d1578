"""The options of parts: `use("npz", pth="runs")` and `env_options={"szie": 8}`, in the sentences of the run time.

They are the keyword arguments of what makes the part. Where that is not known, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from mypy.nodes import Expression, MypyFile
from mypy.plugin import CheckerPluginInterface, FunctionContext, Plugin
from mypy.types import CallableType, FunctionLike, Instance, Type, get_proper_type
from runnerkit_mypy.part import Part
from runnerkit_mypy.texts import text
from typing_extensions import override

from runnerkit import _sentences as sentences
from runnerkit.mypy.asked import USE, Asked, Given, asked, options_in, parts_asked_for
from runnerkit.mypy.calls import Call, Fault, Value
from runnerkit.mypy.codes import OPTION
from runnerkit.mypy.fits import fits, said, type_in
from runnerkit.mypy.makers import TOLD, Signature, signatures_of, signatures_of_called
from runnerkit.mypy.names import BUILTIN, KINDS, NamesPart
from runnerkit.mypy.registries import Registries

_NUMBERS: Final = {
    "numpy.integer": "builtins.int",
    "numpy.floating": "builtins.float",
    "numpy.bool": "builtins.bool",
    "numpy.bool_": "builtins.bool",  # before NumPy 2
}


class PartOptions:
    """Checks the options of what is asked for by name."""

    def __init__(self, part: Part, names: NamesPart) -> None:
        self._part = part
        self._names = names.names

    def faults(
        self, call: Call, env: Value | None, api: CheckerPluginInterface, *, only_built_in: bool
    ) -> Iterator[Fault]:
        """Yield what is wrong with the options of the parts of a runner, and of its env.

        With `only_built_in`, other names may mean what nobody can see.
        """
        for kind, found in parts_asked_for(call, api):
            if found.name in BUILTIN[kind] or not only_built_in:
                yield from self.faults_of(kind, found, api)
        options = call.value("env_options")
        if env is not None and options is not None:
            yield from self._faults_of_env(env, options.where, api, only_built_in=only_built_in)

    def faults_of(self, kind: str, found: Asked, api: CheckerPluginInterface) -> list[Fault]:
        """Return what is wrong with the options of one part."""
        signatures = self._signatures(kind, found.name)
        what = f"{KINDS[kind]} {found.name!r}"
        missing = found.value.where if found.is_whole else None
        return _fewest(_faults(what, signature, found.options, missing, api) for signature in signatures)

    def kinds_of(self, name: str) -> list[str]:
        """Return the kinds of which there is a part of that name."""
        return [kind for kind in KINDS if self._names.target(kind, name)]

    def _signatures(self, kind: str, name: str) -> Sequence[Signature]:
        maker = self._names.maker(kind, name)
        symbol = self._part.lookup(maker) if maker else None
        return signatures_of(kind, symbol.node if symbol else None)

    def _faults_of_env(
        self, env: Value, options: Expression, api: CheckerPluginInterface, *, only_built_in: bool
    ) -> Iterator[Fault]:
        given, _ = options_in(options, api)
        family, colon, _ = (env.literal or "").partition(":")
        if colon and (family in BUILTIN["env_factories"] or not only_built_in):
            what, signatures = f"env factory {family!r}", self._signatures("env_factories", family)
        else:
            what, signatures = _function(get_proper_type(env.type))
        given = [option for option in given if option.name not in TOLD]  # those are no options
        yield from _fewest(_faults(what, signature, given, None, api) for signature in signatures)


class UsePart(Part):
    """Checks `use(...)` wherever it stands, if only one kind of part has such a name."""

    def __init__(self, plugin: Plugin, names: NamesPart) -> None:
        super().__init__(plugin)
        self._options = PartOptions(self, names)
        self._registries = Registries()

    @override
    def function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return self._used if fullname == USE else None

    def _used(self, ctx: FunctionContext) -> Type:
        node = ctx.context
        found = asked(Value(node, ctx.default_return_type), ctx.api) if isinstance(node, Expression) else None
        kinds = self._options.kinds_of(found.name) if found else []
        if found is None or len(kinds) != 1:
            return ctx.default_return_type
        file = getattr(ctx.api, "tree", None)
        is_clear = isinstance(file, MypyFile) and not self._registries.registers(file)
        if found.name in BUILTIN[kinds[0]] or is_clear:
            for fault in self._options.faults_of(kinds[0], found, ctx.api):
                fault.report(ctx.api)
        return ctx.default_return_type


def _function(env: Type) -> tuple[str, Sequence[Signature]]:
    """Return what errors call a function that makes envs, and its options."""
    proper = get_proper_type(env)
    if not isinstance(proper, FunctionLike) or proper.is_type_obj():
        return "", []
    name = proper.items[0].name or ""
    ways: list[CallableType] = proper.items
    return f"env factory {name.partition(' ')[0]!r}", signatures_of_called("env_factories", ways)


def _fewest(faults: Iterable[Iterator[Fault]]) -> list[Fault]:
    """Return the faults of the overload that has the fewest."""
    return min((list(found) for found in faults), key=len, default=[])


def _faults(
    what: str, signature: Signature, given: Sequence[Given], missing: Expression | None, api: CheckerPluginInterface
) -> Iterator[Fault]:
    unknown = [] if signature.takes_others else [option for option in given if option.name not in signature.types]
    for option in unknown:
        yield Fault(option.where, sentences.unknown_part_option(what, option.name, sorted(signature.types)), OPTION)
    for option in given:
        wanted = signature.types.get(option.name)
        if wanted is not None:
            yield from _mistyped(what, option, wanted, api)
    names = {option.name for option in given}
    for name in signature.required:
        if missing is not None and not unknown and name not in names:  # one that is unknown may be meant to be it
            type_ = text(signature.types[name], api.options)
            yield Fault(missing, sentences.missing_part_option(what, name, type_), OPTION)


def _mistyped(what: str, option: Given, wanted: Type, api: CheckerPluginInterface) -> Iterator[Fault]:
    given = type_in(option.value, wanted, api)
    if fits(given, wanted) or _is_number(given, wanted, api):
        return
    wanted_text = text(wanted, api.options)
    yield Fault(option.value, sentences.wrong_part_option(what, option.name, wanted_text, said(given, api)), OPTION)


def _is_number(given: Type, wanted: Type, api: CheckerPluginInterface) -> bool:
    """Whether it is a number of NumPy where such a number of Python is wanted, which the run time takes."""
    proper = get_proper_type(given)
    if not isinstance(proper, Instance):
        return False
    plain = next((plain for base, plain in _NUMBERS.items() if proper.type.has_base(base)), "")
    return bool(plain) and fits(api.named_generic_type(plain, []), wanted)
