"""What goes from one process to another; of exceptions, type, message, causes and tracebacks stay."""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from runnerkit._core.faults import describe

__all__ = ["PackedError", "dumps", "pack", "unpack"]

_cloudpickle_dumps: Callable[[object], bytes] = importlib.import_module("cloudpickle").dumps  # it has no types


def dumps(thing: object) -> bytes:
    """Pickle a thing; functions and classes that another process could not import are in it as a whole."""
    return _cloudpickle_dumps(thing)


@dataclass(frozen=True, slots=True)
class PackedError:
    """An exception and its causes, ready to be sent."""

    links: list[tuple[bytes, str, str]]
    """Each of them, pickled, with what it said and its traceback; the first is the exception itself."""
    pid: int


def pack(error: BaseException) -> PackedError:
    """Pack an exception and what caused it."""
    links: list[tuple[bytes, str, str]] = []
    link: BaseException | None = error
    while link is not None and len(links) < 20:  # a chain may even be a ring
        links.append((_pickled(link), describe(link), "".join(traceback.format_exception(link, chain=False))))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return PackedError(links, os.getpid())


def unpack(packed: PackedError) -> BaseException:
    """Return the exception again; the last of its causes has a note with the traceback of the other process."""
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
