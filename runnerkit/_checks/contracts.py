"""What agents, processors, formats and factories must be like, as far as it can be seen before they are used::

    facts = PREPROCESSOR.look(Scale())
    facts.fault                             # "" if it is fine, else what is wrong with it

Faults are in the sentences of `runnerkit._sentences`, for the caller to raise as an error. What cannot be looked into,
such as a function written in C, passes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, MethodWrapperType, ModuleType
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary, ref

from runnerkit import _sentences as sentences
from runnerkit._checks.signatures import called_otherwise, first_parameter, is_async, name_of

__all__ = [
    "AGENT",
    "CONTRACTS",
    "EXECUTOR",
    "FUNCTION_AGENT",
    "HISTORY_FORMAT",
    "POSTPROCESSOR",
    "PREPROCESSOR",
    "RECORDER",
    "REWARD_PROCESSOR",
    "Contract",
    "Facts",
    "is_plain_value",
]

_STATIC = (staticmethod, classmethod)
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType)


class Facts(NamedTuple):
    """What a look at a thing has shown."""

    what: str
    who: str
    fault: str
    """What is wrong with it, whatever it is used with; empty if nothing is."""
    near_miss: str = ""
    """What is wrong with it even if it is called in another way: a method that is never called."""


class _Noted(NamedTuple):
    """What a look at a class has shown, and the methods that it had; a later patch brings others."""

    facts: Facts
    methods: Sequence[ref[FunctionType] | bool]
    """Functions, which must not keep their class alive, or whether there was None."""


class Contract:
    """What one kind of thing must be like.

    Args:
        what: it is, "Agent".
        calls: how its methods are called, `act(observations)`.
        optional: how methods are called that it need not have; they are checked where they are there.
        elsewhere: how methods are called that it need not have, and that may mean something else.
        may_be_class: whether it is only called, so that a class will do.

    """

    def __init__(
        self,
        what: str,
        *calls: str,
        optional: tuple[str, ...] = (),
        elsewhere: tuple[str, ...] = (),
        may_be_class: bool = False,
    ) -> None:
        self.what: str = what
        self.calls: tuple[str, ...] = calls
        self._optional = optional
        self._not_needed = (*optional, *elsewhere)
        self._may_be_class = may_be_class
        self._names = frozenset(map(name_of, (*calls, *optional)))
        self._of_classes: WeakKeyDictionary[type, _Noted] = WeakKeyDictionary()
        self._of_functions: WeakKeyDictionary[Any, _Noted] = WeakKeyDictionary()

    def look(self, given: object) -> Facts:
        """Look at a thing; only once at those of a class, if their methods are its own, so that it costs nothing."""
        if isinstance(given, (type, FunctionType)):
            return self._noted(self._of_functions, given, given)
        return self._facts(given) if self._has_own(given) else self._noted(self._of_classes, type(given), given)

    def _noted(self, known: WeakKeyDictionary[Any, _Noted], key: Any, given: object) -> Facts:
        """Return what was noted, unless another object of the class may be otherwise; two threads note the same."""
        methods = [] if isinstance(key, FunctionType) else [getattr(key, name, None) for name in self._names]
        noted = known.get(key)
        if noted and all(map(_is, noted.methods, methods)):
            return noted.facts
        facts = self._facts(given)
        if not facts.fault and (known is self._of_functions or self._defined_by(type(given))):
            known[key] = _Noted(facts, [ref(m) if isinstance(m, FunctionType) else m is None for m in methods])
        return facts

    def _has_own(self, given: object) -> bool:
        """Whether an object itself has something in the place of a method of its class.

        Not by `__dict__`: CPython 3.11 finds attributes faster as long as nobody has asked an object for that.
        """
        kind = type(given)
        find: Callable[[object, str, None], object] = _found if hasattr(kind, "__getattr__") else getattr
        for name in self._names:
            of_class = getattr(kind, name, None)
            if isinstance(of_class, property):  # which nothing of an object's own can stand before
                continue
            found = find(given, name, None)
            if found is not of_class and getattr(found, "__func__", found) is not getattr(
                of_class, "__func__", of_class
            ):
                return True
        return False

    def _defined_by(self, kind: type) -> bool:
        how = (FunctionType, *_STATIC)
        return all(isinstance(inspect.getattr_static(kind, name_of(call), None), how) for call in self.calls)

    def _facts(self, given: object) -> Facts:
        who = self._who(given)
        near_miss = self._near_miss(given, who)
        return Facts(self.what, who, self._fault(given, who) or near_miss, near_miss)

    def _who(self, given: object) -> str:
        """Return the name of a class, that of a function where functions are meant to be, else that of its class."""
        called = all(name_of(call) == "__call__" for call in self.calls)
        named = isinstance(given, (type, *_FUNCTIONS)) if called else isinstance(given, type)
        return str(getattr(given, "__name__", "")) if named else type(given).__name__

    def _fault(self, given: object, who: str) -> str:
        if self._is_a_class(given):
            return sentences.is_a_class(self.what, who)
        there = [call for call in (*self.calls, *self._optional) if callable(_method(given, call))]
        for call in self.calls:
            if call not in there:
                return sentences.lacks_method(self.what, who, call, _public(given))
        for call in there:
            if is_async(_method(given, call)):
                return sentences.async_method(self.what, who, name_of(_said(given, call, who)))
        for call in there:
            said = _said(given, call, who)
            otherwise = called_otherwise(_method(given, call), said)
            if otherwise:
                return sentences.not_callable_so(self.what, who, said, otherwise)
        return ""

    def _near_miss(self, given: object, who: str) -> str:
        """Return what is wrong if it has a method that is named almost as one that it need not have, and has not."""
        missing = [call for call in self._not_needed if not hasattr(given, name_of(call))]
        for method in _public_methods(given) if missing else ():
            for call in missing:
                if sentences.nearly(method, name_of(call)):
                    return sentences.near_miss(self.what, who, method, call)
        return ""

    def _is_a_class(self, given: object) -> bool:
        """Whether it is a class where there should be an object; some classes are as good as one."""
        if self._may_be_class or not isinstance(given, type):
            return False
        return "__call__" in map(name_of, self.calls) or not all(_is_asked_itself(given, call) for call in self.calls)


AGENT: Final = Contract("Agent", sentences.ACT, optional=sentences.OF_AGENTS)
FUNCTION_AGENT: Final = Contract("Agent", sentences.CHOOSE)
"""What is called with observations itself, as it has no method `act`."""
PREPROCESSOR: Final = Contract(
    "Preprocessor",
    sentences.BIND,
    sentences.PROCESS_OBSERVATIONS,
    optional=sentences.OF_PREPROCESSORS,
)
POSTPROCESSOR: Final = Contract(
    "Postprocessor",
    sentences.BIND,
    sentences.PROCESS_ACTIONS,
    optional=sentences.OF_POSTPROCESSORS,
)
REWARD_PROCESSOR: Final = Contract(
    "Reward processor", sentences.PROCESS_REWARDS, optional=sentences.OF_REWARD_PROCESSORS
)
HISTORY_FORMAT: Final = Contract("History format", sentences.OPEN)
RECORDER: Final = Contract(
    "Recorder",
    sentences.FINISH,
    sentences.CLOSE,
    optional=(sentences.BATCH,),
    elsewhere=(sentences.APPEND,),
)

EXECUTOR: Final = Contract("Executor", *sentences.EXECUTOR, optional=sentences.OF_EXECUTORS)
"""What is made for a runner, by what is contributed."""

CONTRACTS: Final[Mapping[str, Contract]] = MappingProxyType(
    {
        "env_factories": Contract("Env factory", sentences.MAKE_ENV, may_be_class=True),
        "action_preprocessors": PREPROCESSOR,
        "action_postprocessors": POSTPROCESSOR,
        "reward_processors": REWARD_PROCESSOR,
        "history_formats": HISTORY_FORMAT,
        "executors": Contract(
            "Executor", sentences.MAKE_EXECUTOR, may_be_class=True, optional=sentences.OF_EXECUTOR_MAKERS
        ),
    }
)
"""What is contributed through each hook."""


def is_plain_value(given: object) -> bool:
    """Whether it is a number, a list, None: nothing that anyone would take for a processor or a format."""
    if isinstance(given, ModuleType) or type(given) is object:
        return False
    return type(given).__module__ == "builtins" and not callable(given)


# ---- methods


def _said(given: object, call: str, who: str) -> str:
    """Return how a call is written: a function is called by its own name."""
    return call.replace("__call__", who) if isinstance(given, (type, *_FUNCTIONS)) else call


def _public(given: object) -> list[str]:
    kind = given if isinstance(given, type) else type(given)
    return [name for name in dir(kind) if not name.startswith("_")]


def _public_methods(given: object) -> list[str]:
    """Return the names of an object's methods: no properties, no classes, no values."""
    kind = given if isinstance(given, type) else type(given)
    static = {name: inspect.getattr_static(kind, name, None) for name in _public(given)}
    return [name for name, found in static.items() if isinstance(found, (FunctionType, *_STATIC))]


def _is(noted: ref[FunctionType] | bool, method: object) -> bool:
    return noted() is method if isinstance(noted, ref) else noted and method is None


def _found(given: object, name: str, default: None) -> object:
    """Return what an object or its class has of this name; what `__getattr__` makes up is neither's."""
    try:
        return object.__getattribute__(given, name)
    except AttributeError:
        return default


def _is_asked_itself(kind: type, call: str) -> bool:
    """Whether a class can be asked without an object: by a static method, or by one that has no `self`."""
    if isinstance(inspect.getattr_static(kind, name_of(call), None), _STATIC):
        return True
    method = getattr(kind, name_of(call), None)
    return callable(method) and not called_otherwise(method, call) and first_parameter(method) not in ("", "self")


def _method(given: object, call: str) -> Any:
    """Return a method; what is itself called and not written in Python, as it is, for `inspect` knows more of that."""
    found = getattr(given, name_of(call), None)
    if name_of(call) != "__call__":
        return found
    if not callable(given):
        return None
    return given if found is None or isinstance(given, type) or isinstance(found, MethodWrapperType) else found
