"""Calling a function in another process, whose hash seed is another one.

One process per hash seed waits with everything imported that is slow to import, and forks for each call. So a call
costs milliseconds, and finds a process in which nothing has happened yet.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any, Final, TypeVar

from runnerkit._core.faults import describe

__all__ = ["HASH_SEEDS", "ElsewhereError", "call_elsewhere", "dumps", "end_processes", "process_ids"]

T = TypeVar("T")

HASH_SEEDS: Final = (1, 2)
"""Two, as one may happen to give the order that the calling process has."""

_SIZE: Final = 8
_SECONDS: Final = 60.0


_cloudpickle: Final[Any] = importlib.import_module("cloudpickle")  # it has no types


def dumps(thing: object) -> bytes:
    """Return a thing as bytes, functions of scripts and tests by value."""
    pickled: bytes = _cloudpickle.dumps(thing)
    return pickled


class ElsewhereError(Exception):
    """Raised when a function cannot be sent to another process, or fails there."""


class _Zygote:
    """A process that forks for each call."""

    def __init__(self, hash_seed: int) -> None:
        path = os.pathsep.join(filter(None, sys.path))
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": path}
        # with imports that children then need not make
        code = "import gymnasium, runnerkit.registry; from runnerkit._envs.elsewhere import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.pid: int = self._process.pid
        self._lock = threading.Lock()

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Return what the function returns there."""
        try:
            call = dumps((function, arguments))
        except Exception as error:
            raise ElsewhereError(f"it cannot be pickled: {describe(error)}") from error
        message = pickle.dumps((list(sys.path), call))  # the path first, as what is called may need it
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            _write(self._process.stdin, message)
            answer = _read(self._process.stdout)
        if answer is None:
            raise ElsewhereError("the other process ended without an answer")
        fault, value = pickle.loads(answer)
        if fault is not None:
            raise ElsewhereError(fault)
        return value

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


_zygotes: Final[dict[tuple[int, int], _Zygote]] = {}
_starting: Final = threading.Lock()


def call_elsewhere(function: Callable[..., T], *arguments: Any, hash_seed: int = 1, **keywords: Any) -> T:
    """Return what a function returns in another process, in which strings have other hashes.

    Raises ElsewhereError if it cannot be sent there, raises there, or ends the process.
    """
    with _starting:
        for seed in {hash_seed, *HASH_SEEDS}:  # all at once, as each takes a second to start
            key = os.getpid(), seed  # a forked child has none of its parent's
            if key not in _zygotes:
                _zygotes[key] = _Zygote(seed)
    result: T = _zygotes[os.getpid(), hash_seed].call(functools.partial(function, **keywords), arguments)
    return result


def end_processes() -> None:
    """End the processes that wait, as they do when the interpreter ends; the next call starts others."""
    with _starting:
        for key in [key for key in _zygotes if key[0] == os.getpid()]:  # those of a parent are not for its fork to end
            _zygotes.pop(key).close()


atexit.register(end_processes)


def process_ids() -> frozenset[int]:
    """Return the ids of the processes that wait."""
    return frozenset(zygote.pid for zygote in _zygotes.values())


def serve() -> None:
    """Answer calls until the input ends."""
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what envs print is no answer
    while (message := _read(stdin)) is not None:
        _write(stdout, _forked(message))


def _forked(message: bytes) -> bytes:
    """Answer in a child process, which is killed if it takes too long."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as out:
                out.write(_answer(message))
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as source:
        in_time, _, _ = select.select([source], [], [], _SECONDS)
        if not in_time:
            os.kill(child, signal.SIGKILL)
        answer = source.read()
    _, status = os.waitpid(child, 0)
    if status == 0:
        return answer
    why = f"ended with status {os.waitstatus_to_exitcode(status)}" if in_time else f"took more than {_SECONDS:.0f} s"
    return pickle.dumps((f"the other process {why}", None))


def _answer(message: bytes) -> bytes:
    try:
        sys.path[:], call = pickle.loads(message)
        function, arguments = pickle.loads(call)
        answer = dumps((None, function(*arguments)))
    except BaseException as error:
        return pickle.dumps((describe(error), None))
    return answer


def _write(stream: IO[bytes], message: bytes) -> None:
    stream.write(len(message).to_bytes(_SIZE, "big") + message)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes | None:
    size = stream.read(_SIZE)
    if len(size) < _SIZE:
        return None
    return stream.read(int.from_bytes(size, "big"))
