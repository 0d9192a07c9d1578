"""Contributions: whether what a plugin offers is of the kind that its hook takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy.plugin import CheckerPluginInterface, FunctionContext, Plugin
from mypy.types import CallableType, Instance, Type, get_proper_type
from runnerkit_mypy.part import Part
from typing_extensions import override

from runnerkit import _sentences as sentences
from runnerkit.mypy.calls import Fault
from runnerkit.mypy.chains import Chains
from runnerkit.mypy.formats import fault_of_format
from runnerkit.mypy.names import NamesPart
from runnerkit.mypy.shapes import Method, Thing

_CONTRIBUTION: Final = "runnerkit.hooks.Contribution"
_PROCESSORS: Final = {
    "runnerkit.processors.base.ActionPreprocessor": "Preprocessor",
    "runnerkit.processors.base.ActionPostprocessor": "Postprocessor",
    "runnerkit.processors.base.RewardProcessor": "Reward processor",
}
_CALLED: Final = {
    "runnerkit.hooks.EnvFactory": ("Env factory", sentences.MAKE_ENV),
    "runnerkit.executors.base.MakeExecutor": ("Executor", sentences.MAKE_EXECUTOR),
}
_FORMAT: Final = "runnerkit.history.base.HistoryFormat"


class OffersPart(Part):
    """Says what `make` of `Contribution(name, make)` lacks, where it is clear what is wanted; mypy's error stays."""

    def __init__(self, plugin: Plugin, names: NamesPart) -> None:
        super().__init__(plugin)
        self._chains = Chains(self, names.names)

    @override
    def function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return self._offered if fullname == _CONTRIBUTION else None

    def _offered(self, ctx: FunctionContext) -> Type:
        wanted = _wanted(ctx)
        makes = ctx.arg_types[1] if len(ctx.arg_types) > 1 else []
        make = get_proper_type(makes[0]) if makes else None
        if wanted and isinstance(make, CallableType):
            message = "" if _is_itself(wanted, make) else self._fault(wanted, Method(make).result, ctx.api)
            if message:
                Fault(ctx.args[1][0], message).report(ctx.api)
        return ctx.default_return_type

    def _fault(self, wanted: str, made: Type, api: CheckerPluginInterface) -> str:
        if wanted in _PROCESSORS:
            return self._chains.fault(_PROCESSORS[wanted], made, api)
        if wanted in _CALLED:
            what, call = _CALLED[wanted]
            return Thing(what, made, may_be_class=True).fault(call)
        return fault_of_format(self, made, api) if wanted == _FORMAT else ""


def _is_itself(wanted: str, make: CallableType) -> bool:
    """Whether `make` is an env factory or makes an executor, and not a function that returns one."""
    if wanted not in _CALLED:
        return False
    what, call = _CALLED[wanted]
    return not Thing(what, make, may_be_class=True).fault(call)


def _wanted(ctx: FunctionContext) -> str:
    """Return the full name of the Protocol that the place of a contribution asks for, or nothing."""
    context = get_proper_type(ctx.api.type_context[-1]) if ctx.api.type_context else None
    if not isinstance(context, Instance) or context.type.fullname != _CONTRIBUTION:
        return ""
    wanted = get_proper_type(context.args[0])
    return wanted.type.fullname if isinstance(wanted, Instance) else ""
