"""What goes from one process to another; of exceptions, type, message, causes and tracebacks stay."""

from __future__ import annotations

import importlib
import io
import itertools
import os
import pickle
import sys
import threading
import traceback
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final

from typing_extensions import TypeVar, override

from runnerkit._core.faults import describe
from runnerkit.executors.processes.standins import Travelled, install, is_importable, loading, note
from runnerkit.executors.step_faults import StepFaultsError

__all__ = ["PackedError", "PackedFaults", "dumps", "dumps_for_helper", "loads_in_helper", "pack", "twin", "unpack"]

T = TypeVar("T")

_cloudpickle: Final[Any] = importlib.import_module("cloudpickle")  # it has no types
_registering: Final = threading.RLock()  # what cloudpickle sends by value is the same for the whole process


def dumps(thing: object) -> bytes:
    """Pickle a thing; functions and classes that another process could not import are in it as a whole."""
    pickled: bytes = _cloudpickle.dumps(thing)
    return pickled


def dumps_for_helper(thing: object) -> bytes:
    """Pickle a thing with the names under which a helper can look up what travels with it."""
    with io.BytesIO() as file, _registering:
        packer = _Packer(file)
        try:
            packer.dump((thing, packer.travelled))  # in this order: the names are known once the thing is written
        finally:
            packer.forget()
        return file.getvalue()


def twin(function: T) -> T:
    """Return a copy that shares nothing with a function or an object, not even the globals of a function's module."""
    name = getattr(function, "__module__", None) if isinstance(function, FunctionType) else None
    with _registering:
        module = sys.modules.get(name or "")
        registers = module is not None and name not in _cloudpickle.list_registry_pickle_by_value()
        if registers:
            _cloudpickle.register_pickle_by_value(module)
        try:
            copied: T = pickle.loads(dumps(function))
        finally:
            if registers:
                _cloudpickle.unregister_pickle_by_value(module)
    return copied


def loads_in_helper(pickled: bytes | bytearray) -> Any:
    """Return what was pickled for helpers; what travelled with it can be looked up by name from now on."""
    with loading():
        thing, travelled = pickle.loads(pickled)
        install(travelled)
    return thing


class _Packer(_cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.travelled: dict[str, Travelled] = {}
        self._by_value: list[Any] = []

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, type | FunctionType) and not is_importable(thing.__module__):
            self._send_by_value(thing.__module__)
            note(self.travelled, thing)
        return super().reducer_override(thing)

    def _send_by_value(self, name: str) -> None:
        module = sys.modules.get(name)
        if module is not None and name not in _cloudpickle.list_registry_pickle_by_value():
            _cloudpickle.register_pickle_by_value(module)
            self._by_value.append(module)

    def forget(self) -> None:
        """Let cloudpickle treat modules as it did before."""
        for module in self._by_value:
            _cloudpickle.unregister_pickle_by_value(module)


@dataclass(frozen=True, slots=True)
class PackedError:
    """An exception and its causes, ready to be sent."""

    links: list[tuple[bytes, str, str]]
    """Each of them, pickled, with what it said and its traceback; the first is the exception itself."""
    pid: int


@dataclass(frozen=True, slots=True)
class PackedFaults:
    """The faults of a step in which other envs went on, ready to be sent, each with its causes."""

    faults: list[PackedError]
    ended: list[int]
    besides: object


def pack(error: BaseException) -> PackedError | PackedFaults:
    """Pack an exception and what caused it."""
    if isinstance(error, StepFaultsError):
        return PackedFaults([_packed(fault) for fault in error.faults], error.ended, error.besides)
    return _packed(error)


def _packed(error: BaseException) -> PackedError:
    links: list[tuple[bytes, str, str]] = []
    link: BaseException | None = error
    while link is not None and len(links) < 20:  # a chain may even be a ring
        links.append((_pickled(link), describe(link), "".join(traceback.format_exception(link, chain=False))))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return PackedError(links, os.getpid())


def unpack(packed: PackedError | PackedFaults) -> BaseException:
    """Return the exception again; the last of its causes has a note with the traceback of the other process."""
    if isinstance(packed, PackedFaults):
        whole = StepFaultsError.united([unpack(fault) for fault in packed.faults], packed.ended)
        assert whole is not None, "only errors of envs are packed together"
        whole.besides = packed.besides
        return whole
    links = [_unpickled(pickled, words) for pickled, words, _ in packed.links]
    for link, cause in itertools.pairwise(links):
        link.__cause__ = cause
    links[-1].add_note(f"In the helper process {packed.pid}:\n{packed.links[-1][2].rstrip()}")
    return links[0]


def _unpickled(pickled: bytes, words: str) -> BaseException:
    try:
        error: BaseException = pickle.loads(pickled)
    except Exception:  # its class may be known, or its __reduce__ work, in the other process only
        return RuntimeError(words)
    return error


def _pickled(error: BaseException) -> bytes:
    """Pickle an exception, if need be without what cannot be pickled."""
    for reduced in (lambda: error, lambda: _Parts.of(error)):
        try:
            pickled = dumps(reduced())
            if type(pickle.loads(pickled)) is type(error):  # many cannot be unpickled again
                return pickled
        except Exception:
            continue  # the next form has less of it, the last one nothing but words
    return pickle.dumps(RuntimeError(describe(error)))


class _Parts:
    """An exception as its class, arguments and attributes: enough where its own __init__ or __reduce__ fails."""

    def __init__(self, error: BaseException, args: tuple[Any, ...], attributes: dict[str, Any]) -> None:
        self._parts = type(error), args, attributes

    @classmethod
    def of(cls, error: BaseException) -> _Parts:
        args = tuple(value if _can_travel(value) else repr(value) for value in error.args)
        return cls(error, args, {name: value for name, value in vars(error).items() if _can_travel(value)})

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, self._parts


def _rebuilt(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error


def _can_travel(value: object) -> bool:
    try:
        pickle.loads(dumps(value))
    except Exception:
        return False
    return True
