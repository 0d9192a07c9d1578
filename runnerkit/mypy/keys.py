"""Keys of history formats: whether the type that a HistoryKey declares is that of the format's histories."""

from __future__ import annotations

from collections.abc import Callable

from mypy.plugin import FunctionContext, Plugin
from mypy.types import Instance, Type, get_proper_type
from runnerkit_mypy.part import Part
from runnerkit_mypy.texts import text
from typing_extensions import override

from runnerkit import _sentences as sentences
from runnerkit.mypy.asked import KEY
from runnerkit.mypy.calls import Fault, Value
from runnerkit.mypy.fits import fits
from runnerkit.mypy.formats import histories_of
from runnerkit.mypy.names import NamesPart
from runnerkit.mypy.shapes import ANY


class KeysPart(Part):
    """Checks `HistoryKey[...]("name")` where it is known what the name stands for."""

    def __init__(self, plugin: Plugin, names: NamesPart) -> None:
        super().__init__(plugin)
        self._names = names.names

    @override
    def function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return self._made if fullname == KEY else None

    def _made(self, ctx: FunctionContext) -> Type:
        key = get_proper_type(ctx.default_return_type)
        if not isinstance(key, Instance) or not ctx.args[0] or not key.args:
            return ctx.default_return_type
        name = Value(ctx.args[0][0], ctx.arg_types[0][0])
        made = histories_of(self, self._names, name.literal, ANY, ANY) if name.literal else None
        if name.literal and made is not None and not fits(made, key.args[0]):
            declared, known = text(key.args[0], ctx.api.options), text(made, ctx.api.options)
            Fault(name.where, sentences.key_otherwise(name.literal, declared, known)).report(ctx.api)
        return ctx.default_return_type
