"""Agents, where they are given to a runner: `runner.rollout(agent)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy.maptype import map_instance_to_supertype
from mypy.nodes import CallExpr, Context, Expression, MemberExpr, MypyFile, TypeInfo
from mypy.plugin import MethodSigContext, Plugin
from mypy.subtypes import is_subtype
from mypy.types import FunctionLike, Instance, TupleType, Type, UnionType, get_proper_type
from runnerkit_mypy.part import Part
from runnerkit_mypy.texts import text
from typing_extensions import override

from runnerkit import _sentences as sentences
from runnerkit.mypy.calls import Call, Fault, permissive
from runnerkit.mypy.chains import THE_RUNNER, Chains, sink_of, source_of
from runnerkit.mypy.derived import RUNNER
from runnerkit.mypy.fits import fits, read_by_runner
from runnerkit.mypy.names import NamesPart
from runnerkit.mypy.origin import built_by
from runnerkit.mypy.shapes import ANY, Thing

_AWAITS: Final = "asyncio"
"""The executor that awaits what an agent returns."""


class AgentsPart(Part):
    """Checks agents against the batches of the runner."""

    def __init__(self, plugin: Plugin, names: NamesPart) -> None:
        super().__init__(plugin)
        self._chains = Chains(self, names.names)

    @override
    def method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        is_one = any(self.is_method(fullname, RUNNER, name) for name in ("rollout", "stream"))
        return self._rolled_out if is_one else None

    def _rolled_out(self, ctx: MethodSigContext) -> FunctionLike:
        runner, signature = get_proper_type(ctx.type), ctx.default_signature
        symbol = self.lookup(RUNNER)
        agents = [agent for agent in ctx.args[0] if not _is_starred(agent, ctx.context)] if ctx.args else []
        if not agents or not isinstance(runner, Instance) or not symbol or not isinstance(symbol.node, TypeInfo):
            return signature
        obs, act, _ = map_instance_to_supertype(runner, symbol.node).args
        agent = Thing("Agent", ctx.api.get_expression_type(agents[0]))
        call = sentences.CHOOSE if agent.is_function(sentences.ACT) else sentences.ACT
        is_awaited = any(way.is_async for way in agent.methods(call)) and self._awaits(ctx)
        if is_awaited:
            agent = Thing("Agent", ctx.api.get_expression_type(agents[0]), awaited=call)
        message = self._fault(agent, call, obs, act, ctx)
        if message:
            Fault(agents[0], message).report(ctx.api)
        return permissive(signature, signature.ret_type) if message or is_awaited else signature

    def _awaits(self, ctx: MethodSigContext) -> bool:
        """Whether the file tells that the runner has the executor that awaits what agents return."""
        built = self._built(ctx)
        if built is None:
            return False
        call = Call(built, (), ctx.api)
        executor, parts = call.value("executor"), call.items("executor")
        if parts:  # the name, and its options
            executor = parts[0]
        return executor is not None and executor.literal == _AWAITS

    def _fault(self, agent: Thing, call: str, obs: Type, act: Type, ctx: MethodSigContext) -> str:
        """Say what is wrong with an agent for such observations and actions, or nothing."""
        options = ctx.api.options
        fault = agent.fault(call, optional=sentences.OF_AGENTS)
        ways = [] if fault else agent.methods(call)
        taking = [way for way in ways if fits(obs, way.first)]
        if ways and not taking:
            takes, gives = text(ways[0].first, options), text(obs, options)
            return sentences.takes_otherwise(agent.what, agent.who, takes, self._neighbours(ctx)[0], gives)
        if taking and not any(self._is_taken(way.awaited, act) for way in taking):
            gives, takes = text(taking[0].awaited, options), text(act, options)
            return sentences.gives_otherwise(agent.what, agent.who, gives, self._neighbours(ctx)[1], takes)
        return fault

    def _built(self, ctx: MethodSigContext) -> CallExpr | None:
        """Return the call that built the runner, if the file tells."""
        callee = ctx.context.callee if isinstance(ctx.context, CallExpr) else None
        file = getattr(ctx.api, "tree", None)
        if not isinstance(callee, MemberExpr) or not isinstance(file, MypyFile):
            return None
        return built_by(callee.expr, file)

    def _neighbours(self, ctx: MethodSigContext) -> tuple[str, str]:
        """Return who is before and after the agent, as far as the file tells how the runner was built."""
        built = self._built(ctx)
        if built is None:
            return THE_RUNNER, THE_RUNNER
        call = Call(built, (), ctx.api)
        pre, _ = self._chains.links(call, "preprocessors", ctx.api)
        post, _ = self._chains.links(call, "postprocessors", ctx.api)
        return source_of(pre), sink_of(post)

    def _is_taken(self, gives: Type, act: Type) -> bool:
        proper = get_proper_type(gives)
        if isinstance(proper, UnionType):
            return all(self._is_taken(item, act) for item in proper.items)
        if fits(proper, act) or read_by_runner(self, proper):
            return True
        return isinstance(proper, TupleType) and self._are_columns(proper) and self._is_taken(proper.items[0], act)

    def _are_columns(self, answer: TupleType) -> bool:
        """Whether the second of two items maps names to extra columns."""
        columns = self.instance("typing.Mapping", self.instance("builtins.str") or ANY, ANY)
        return len(answer.items) == 2 and columns is not None and is_subtype(answer.items[1], columns)


def _is_starred(argument: Expression, call: Context) -> bool:
    """Whether an argument is `*args` or `**kwargs`, which mypy shows as if they were what comes out of them."""
    given = zip(call.args, call.arg_kinds, strict=True) if isinstance(call, CallExpr) else ()
    return any(one is argument and kind.is_star() for one, kind in given)
