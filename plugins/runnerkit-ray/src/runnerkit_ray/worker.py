"""An actor with envs, and its handle: letters go there and back as Ray's objects."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import Final, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError
from typing_extensions import override

from runnerkit.executors import RunOptions
from runnerkit.executors.messages import FarWorker, LostError, MessageHandle, Patience, TooLateError
from runnerkit_ray.cluster import is_in

__all__ = ["ActorHandleOfEnvs", "EnvActor"]

_END_S: Final = 5.0  # how long Ray may take to end an actor


class EnvActor:
    """What runs on the nodes of a cluster: a share of the envs of a runner, which is asked by letter."""

    def __init__(self, env_indices: Sequence[int], path: Sequence[str]) -> None:
        self._worker = FarWorker(env_indices, path)

    @ray.method
    def call(self, letter: bytes) -> bytes:
        """Answer a letter."""
        return self._worker.call(letter)

    @ray.method
    def where(self) -> tuple[int, str]:
        """Return the process, and the address of the node."""
        return os.getpid(), str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


class ActorHandleOfEnvs(MessageHandle):
    """The actor of some envs, as the caller sees it."""

    def __init__(self, env_indices: Sequence[int], options: RunOptions, patience: Patience, *, num_cpus: float) -> None:
        super().__init__(env_indices, options, patience)
        self._is_gone = False
        self._cluster = str(ray.get_runtime_context().gcs_address)
        self._answer: ray.ObjectRef[bytes]
        make = ray.remote(num_cpus=num_cpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")(EnvActor)
        self._actor = make.remote(*self.far)
        self._where = self._actor.where.remote()

    @override
    def send(self, letter: bytes, /) -> None:
        self._require_cluster()
        self._answer = self._actor.call.remote(letter)

    @override
    def receive(self, seconds: float, /) -> bytes:
        self._require_cluster()
        try:
            answer: bytes = ray.get(self._answer, timeout=None if seconds == math.inf else seconds)
        except GetTimeoutError as error:
            raise TooLateError from error
        except RayError as error:
            raise LostError(_cause(error)) from error
        return answer

    @override
    def kill(self) -> None:
        if self._is_gone or not is_in(self._cluster):
            return
        self._is_gone = True
        ray.kill(cast("ActorHandle[EnvActor]", self._actor), no_restart=True)
        ray.wait([self._actor.call.remote(b"")], timeout=_END_S)  # there is an answer, an error, once it is gone

    @override
    def place(self, envs: str, /) -> str:
        if not is_in(self._cluster):
            return f"actor ({envs})"
        try:
            pid, node = ray.get(self._where, timeout=0)
        except RayError:  # it died before it could tell
            return f"actor ({envs})"
        return f"actor (process {pid} on {node}, {envs})"

    def _require_cluster(self) -> None:
        """Raise LostError outside of the cluster: Ray would start another one."""
        if not is_in(self._cluster):
            raise LostError("this process left the Ray cluster (ray.shutdown()) while the runner was open")


def _cause(error: RayError) -> str:
    """Return what Ray knows of a death, without its advice."""
    said = re.sub(r"\x1b\[\d+m", "", str(error)).strip()
    found = re.search(r"Worker exit detail: (.+?)(?: Some common causes|$)", said, re.DOTALL)
    return (found[1] if found else said.splitlines()[-1]).strip().rstrip(".")
