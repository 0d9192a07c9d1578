"""Calls that build runners: `runnerkit.make`, `Registry.build` and `GymRunner`.

Names are looked up in what is installed, processors and formats are checked before mypy matches the call with its
overloads, so that there is one error which says what to do, and the runner's type is made of what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mypy.erasetype import erase_typevars
from mypy.nodes import CallExpr, Context
from mypy.plugin import (
    CheckerPluginInterface,
    FunctionContext,
    FunctionSigContext,
    MethodContext,
    MethodSigContext,
    Plugin,
)
from mypy.subtypes import is_subtype
from mypy.types import CallableType, FunctionLike, Instance, Type, UnionType, get_proper_type
from runnerkit_mypy.part import Part
from typing_extensions import override

from runnerkit.mypy.asked import asked
from runnerkit.mypy.batches import batches_of, fault_of_env
from runnerkit.mypy.calls import Call, Fault, Value, permissive
from runnerkit.mypy.chains import Chains, Link, misfits_after_env, misfits_before_env, sink_of, source_of
from runnerkit.mypy.codes import CONTRACT
from runnerkit.mypy.derived import RUNNER, Found, completed, misdeclared
from runnerkit.mypy.fits import said
from runnerkit.mypy.formats import fault_of_format, histories_of, histories_of_object, is_name
from runnerkit.mypy.lookups import Lookups
from runnerkit.mypy.names import NamesPart
from runnerkit.mypy.options import faults_of_options, mistyped_options
from runnerkit.mypy.origin import MAKE
from runnerkit.mypy.part_options import PartOptions
from runnerkit.mypy.shapes import ANY

_REGISTRY: Final = "runnerkit.registry.Registry"
_BUILD: Final = f"{_REGISTRY}.build"
_EVALUATING: Final = ("runnerkit.evaluation.evaluate", "runnerkit.evaluation.compare")
"""What builds runners for itself, with the same options."""

_POSITIONAL: Final = {
    MAKE: ("env",),
    _BUILD: ("env",),
    RUNNER: ("env_id", "seed", "n_envs", "log_level"),
    **dict.fromkeys(_EVALUATING, ("agents", "env", "episodes", "seed")),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a call is found to be: its faults, and the types of its runner as far as they are known."""

    faults: list[Fault]
    obs: Type | None = None
    act: Type | None = None
    history: Type | None = None

    @property
    def breaks_contract(self) -> bool:
        """Whether mypy itself might complain of the same."""
        return any(fault.code is CONTRACT for fault in self.faults)


class AssemblyPart(Part):
    """Checks the calls that build runners, and gives them their types."""

    def __init__(self, plugin: Plugin, names: NamesPart) -> None:
        super().__init__(plugin)
        self._names = names.names
        self._chains = Chains(self, names.names)
        self._lookups = Lookups(names)
        self._options = PartOptions(self, names)
        # mypy asks once per overload of a call; when it comes to one again, it checks the call anew.
        self._call: Context | None = None
        self._overloads: set[CallableType] = set()
        self._found = Finding([])

    @override
    def function_signature_hook(self, fullname: str) -> Callable[[FunctionSigContext], FunctionLike] | None:
        what = self._what(fullname)
        return None if what is None else lambda ctx: self._signature(ctx, what)

    @override
    def method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        return (lambda ctx: self._signature(ctx, _BUILD)) if self._is_build(fullname) else None

    @override
    def function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        what = self._what(fullname)
        return None if what is None else lambda ctx: self._refined(ctx, what)

    @override
    def method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return (lambda ctx: self._refined(ctx, _BUILD)) if self._is_build(fullname) else None

    def _what(self, fullname: str) -> str | None:
        """Return which of the three ways to build a runner a function is; derived runners are GymRunner."""
        if fullname in _POSITIONAL:
            return fullname
        if fullname.startswith(("builtins.", "typing.")):  # most calls, by far
            return None
        return RUNNER if self.is_method(f"{fullname}.__init__", RUNNER, "__init__") else None

    def _is_build(self, fullname: str) -> bool:
        return self.is_method(fullname, _REGISTRY, "build")

    def _signature(self, ctx: FunctionSigContext | MethodSigContext, what: str) -> FunctionLike:
        if self._call is not ctx.context or ctx.default_signature in self._overloads:
            self._call, self._overloads = ctx.context, set()
            self._found = self._find(ctx.context, what, ctx.api, ctx.default_signature.ret_type)
        self._overloads.add(ctx.default_signature)
        found = self._found
        for fault in found.faults:
            fault.report(ctx.api)
        return _permissive(ctx.default_signature) if found.breaks_contract else ctx.default_signature

    def _refined(self, ctx: FunctionContext | MethodContext, what: str) -> Type:
        made = get_proper_type(ctx.default_return_type)
        if not isinstance(made, Instance) or not made.type.has_base(RUNNER):
            return ctx.default_return_type
        found = self._found if self._call is ctx.context else self._find(ctx.context, what, ctx.api, made)
        known = (found.obs, found.act, found.history)
        if made.type.fullname != RUNNER:  # a derived runner has said what its types are, unless it is generic
            return completed(self, made, (None, None, None) if found.breaks_contract else known)
        if found.breaks_contract:
            return made
        refined = made.copy_modified(args=[new or old for new, old in zip(known, made.args, strict=True)])
        wanted = ctx.api.type_context[-1] if ctx.api.type_context else None
        if wanted is not None and is_subtype(made, wanted) and not is_subtype(refined, wanted):
            return made  # a declared type has the last word
        return refined

    def _find(self, context: Context, what: str, api: CheckerPluginInterface, made: Type) -> Finding:
        if not isinstance(context, CallExpr):
            return Finding([])
        call = Call(context, _POSITIONAL[what], api)
        env = call.value("env_id" if what == RUNNER else "env")
        obs, act = (ANY, ANY) if env is None else batches_of(self, env.type)
        file = getattr(api, "tree", None)
        faults = list(self._lookups.faults(context, call, env, file, api))
        faults += self._options.faults(call, env, api, only_built_in=not self._lookups.are_seen(context, call, file))
        if env is not None and (message := fault_of_env(env.type, said(env.type, api))):
            faults.append(Fault(env.where, message))
        faults += [] if what in _EVALUATING else faults_of_options(self, call, api.options)
        pre, found = self._chains.links(call, "preprocessors", api)
        faults += found
        post, found = self._chains.links(call, "postprocessors", api)
        faults += found
        faults += self._chains.links(call, "reward_processors", api)[1]
        faults += misfits_after_env(pre or [], obs, api) + misfits_before_env(post or [], act, api)
        faults += self._format_faults(call.value("history"), api)
        if what not in _EVALUATING and not any(fault.code is CONTRACT for fault in faults):
            faults += mistyped_options(self, call, api)
        if not call.is_whole:
            return Finding(faults, history=self._histories(call, ANY, ANY, faults, api))
        obs = obs if pre == [] else pre[-1].gives if pre else ANY
        act = act if post == [] else post[0].taken if post else ANY
        finding = Finding(faults, obs, act, self._histories(call, obs, act, faults, api))
        if not finding.breaks_contract:
            faults += self._misdeclared(context, call, made, finding, (pre, post), api)
        return finding

    def _misdeclared(
        self,
        context: CallExpr,
        call: Call,
        made: Type,
        finding: Finding,
        chains: tuple[Sequence[Link] | None, Sequence[Link] | None],
        api: CheckerPluginInterface,
    ) -> list[Fault]:
        proper, history = get_proper_type(made), call.value("history")
        if not isinstance(proper, Instance) or proper.type.fullname == RUNNER:
            return []
        histories = finding.history
        if histories is None and history is not None and not history.is_string:
            histories = histories_of_object(self, history.type)
        found = Found(
            finding.obs,
            source_of(chains[0]),
            finding.act,
            sink_of(chains[1]),
            histories,
            history.where if history else None,
        )
        return list(misdeclared(self, proper, found, context, api.options))

    def _format_faults(self, history: Value | None, api: CheckerPluginInterface) -> list[Fault]:
        if history is None or history.is_string or is_name(history.type):
            return []
        message = fault_of_format(self, history.type, api)
        return [Fault(history.where, message)] if message else []

    def _histories(
        self, call: Call, obs: Type, act: Type, faults: list[Fault], api: CheckerPluginInterface
    ) -> Type | None:
        """Return the type of the histories, or None where it is what mypy makes of the call by itself."""
        history = call.value("history")
        found = asked(history, api) if history is not None else None
        if history is not None and (
            any(fault.where is history.where for fault in faults)
            or isinstance(get_proper_type(history.type), UnionType)  # of which mypy would take one
        ):
            return ANY
        name = found.name if found else "arrays" if history is None and call.is_whole else None
        return None if name is None else histories_of(self, self._names, name, obs, act)


def _permissive(signature: CallableType) -> CallableType:
    made = get_proper_type(signature.ret_type)
    if isinstance(made, Instance) and made.type.fullname == RUNNER:
        made = made.copy_modified(args=[ANY] * len(made.args))
    return permissive(signature, erase_typevars(made))
