"""Executors whose workers share no memory with the caller, as on other machines: they speak in messages alone.

What brings the messages there and back is all that such an executor adds::

    class OnSocket(MessageHandle):              # the caller's side of a worker
        def send(self, letter: bytes) -> None: ...
        def receive(self, seconds: float) -> bytes: ...
        def kill(self) -> None: ...
        def place(self, envs: str) -> str: ...

    class OverSockets(MessageExecutor[OnSocket]):
        def start(self, env_indices, options, patience):
            return OnSocket(env_indices, options, patience)

At the other end, `FarWorker(*handle.far).call(letter)` answers. The bytes are those of the serial executor; faults,
timeouts and envs that are made anew work as with processes. The package runnerkit-ray is an example.
"""

from __future__ import annotations

from runnerkit.executors.messages.executor import MessageExecutor
from runnerkit.executors.messages.handle import LostError, MessageHandle
from runnerkit.executors.messages.share import FarShare, FarWorker, Given
from runnerkit.executors.waiting import Patience, TooLateError

__all__ = [
    "FarShare",
    "FarWorker",
    "Given",
    "LostError",
    "MessageExecutor",
    "MessageHandle",
    "Patience",
    "TooLateError",
]
