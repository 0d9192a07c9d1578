"""What runs on the nodes of a cluster: a share of the envs of a runner, which is asked by message."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import ray

from runnerkit.executors.messages import FarShare
from runnerkit.executors.processes.standins import be_helper
from runnerkit.executors.processes.surroundings import Surroundings, load_factory
from runnerkit.executors.processes.transport import dumps, loads_in_helper, pack
from runnerkit.records import EnvFacts, RunOptions

__all__ = ["EnvActor"]


class EnvActor:
    """Makes and steps envs; what the caller sends, and gets, is pickled, with all that only the caller knows."""

    def __init__(self, env_indices: Sequence[int], path: Sequence[str]) -> None:
        be_helper()
        sys.path += [folder for folder in path if folder not in sys.path]  # what the caller can import, if it is here
        self._first = env_indices[0]
        self._share = FarShare(env_indices)

    @ray.method
    def call(self, letter: bytes) -> bytes:
        """Return a pickled pair: what a method returned, and what it raised."""
        try:
            name, args = loads_in_helper(letter)
            method: Callable[..., object] = self._open if name == "open" else getattr(self._share, name)
            answer: tuple[object, object] = method(*args), None
            return dumps(answer)
        except BaseException as fault:
            return dumps((None, pack(fault)))

    def _open(self, factory: bytes, options: RunOptions, surroundings: Surroundings) -> list[EnvFacts]:
        make_env = load_factory(factory, options.seed, surroundings, self._first)
        facts = self._share.open(make_env, options)
        return [self._as_seen_from_elsewhere(fact) for fact in facts]

    def _as_seen_from_elsewhere(self, fact: EnvFacts) -> EnvFacts:
        """Let the envs of two nodes differ, where processes may have the same number."""
        return replace(fact, identity=(-1 - self._first, fact.identity[1]))

    @ray.method
    def where(self) -> tuple[int, str]:
        """Return the process, and the address of the node."""
        return os.getpid(), str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
