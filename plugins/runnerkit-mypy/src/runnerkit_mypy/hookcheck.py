"""One hook implementation against its specification: what is wrong, and where.

pluggy passes the arguments that the specification names to those of the implementation that have these names and no
default, by position; an implementation may leave arguments out. Results other than None must be what the hook returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from mypy.erasetype import erase_typevars
from mypy.nodes import ARG_NAMED, ARG_NAMED_OPT, ARG_OPT, ARG_POS, Argument, Context
from mypy.options import Options
from mypy.subtypes import is_same_type, is_subtype
from mypy.typeops import function_type, make_simplified_union
from mypy.types import AnyType, CallableType, Instance, NoneType, Type, TypeOfAny, get_proper_type

from runnerkit_mypy import sentences
from runnerkit_mypy.markers import Marked
from runnerkit_mypy.specs import Spec
from runnerkit_mypy.texts import distinct_texts

Fault = tuple[str, Context]
"""A sentence, and what it is about."""

_ANY: Final = AnyType(TypeOfAny.unannotated)


class HookCheck(NamedTuple):
    """Checks implementations; `ours` if the hooks are RunnerKit's own, which are never wrapped, nor awaited."""

    options: Options
    named_type: Callable[[str, list[Type]], Instance]
    ours: bool = False

    def faults(self, impl: Marked, spec: Spec) -> Iterator[Fault]:
        """Return what is wrong with an implementation; nothing where decorators have made something else of it."""
        function = impl.function
        own_type = function_type(function, self.named_type("builtins.function", []))
        if not isinstance(own_type, CallableType) or not isinstance(impl.typ, CallableType):
            return
        if function.is_coroutine and function.type is None:  # mypy is of two minds about what that returns
            own_type = own_type.copy_modified(ret_type=impl.typ.ret_type)
        if not is_same_type(impl.typ, own_type):
            return
        if impl.wrapper and self.ours:
            yield sentences.no_wrapper(spec.name), function
        if function.is_coroutine:
            yield from self._async(impl, spec, own_type)
        elif impl.wrapper and not function.is_generator and not self.ours:
            yield sentences.wrapper_without_yield(spec.name), function
        yield from self._arguments(impl, spec, own_type)
        if not impl.wrapper and not function.is_coroutine:
            yield from self._result(impl, spec, own_type)

    def _async(self, impl: Marked, spec: Spec, own_type: CallableType) -> Iterator[Fault]:
        """Return a fault unless it may be awaited: what typed hooks return if they say so, or what untyped ones do."""
        made = own_type.ret_type
        if impl.function.type is None:
            generator = impl.function.is_async_generator
            name, arity = ("typing.AsyncGenerator", 2) if generator else ("typing.Coroutine", 3)
            made = self.named_type(name, [_ANY] * arity)
        if self.ours or not _takes(spec.result, made):
            yield sentences.async_hook(spec.name), impl.function

    def _arguments(self, impl: Marked, spec: Spec, own_type: CallableType) -> Iterator[Fault]:
        if spec.passed is None:
            return
        arguments = list(zip(impl.function.arguments, own_type.arg_types, strict=False))
        in_class = bool(impl.function.info) and not impl.function.is_static
        nested = "." not in impl.function.fullname  # pluggy takes a first `self` for that of a method there, too
        if in_class or (nested and arguments and arguments[0][0].variable.name == "self"):
            del arguments[:1]
        for argument, wanted in arguments:
            sentence = self._argument(argument, wanted, spec.name, spec.passed)
            if sentence:
                yield sentence, argument

    def _argument(self, argument: Argument, wanted: Type, hook: str, passed: Mapping[str, Type]) -> str:
        name, kind = argument.variable.name, argument.kind
        if name not in passed:
            return sentences.unknown_argument(hook, name, tuple(passed)) if kind in (ARG_POS, ARG_NAMED) else ""
        if kind == ARG_OPT:
            return sentences.default_argument(hook, name)
        if kind in (ARG_NAMED, ARG_NAMED_OPT):
            return sentences.keyword_only_argument(hook, name)
        if kind == ARG_POS and not is_subtype(erase_typevars(passed[name]), erase_typevars(wanted)):
            given, expected = distinct_texts((wanted, passed[name]), self.options)
            return sentences.wrong_argument(hook, name, given, expected)
        return ""

    def _result(self, impl: Marked, spec: Spec, own_type: CallableType) -> Iterator[Fault]:
        made = own_type.ret_type
        if impl.function.is_generator and impl.function.type is None:
            made = self.named_type("typing.Generator", [_ANY] * 3)
        # What a hook of no result returns is thrown away; but a generator that nobody runs does not even begin.
        ignored = isinstance(get_proper_type(spec.result), NoneType) and not impl.function.is_generator
        if not ignored and not _takes(spec.result, made):
            given, wanted = distinct_texts((made, spec.result), self.options)
            yield sentences.wrong_result(spec.name, given, wanted), impl.function


def _takes(result: Type, made: Type) -> bool:
    """Tell whether a hook of that result takes what an implementation returns."""
    return is_subtype(erase_typevars(made), make_simplified_union([erase_typevars(result), NoneType()]))
