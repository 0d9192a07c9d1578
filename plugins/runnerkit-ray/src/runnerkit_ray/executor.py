"""The ray executor: each actor of a cluster owns a share of the envs, and all of them make each step together.

It pays where an env takes milliseconds per step, or does not run on the machine of the agent: a step takes a message
to each actor and back. Where episodes need not go in step, `RayRunner` sends whole episodes instead.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Final

from typing_extensions import override

from runnerkit.errors import ArgumentError
from runnerkit.executors import share_out
from runnerkit.executors.calls import Doing
from runnerkit.executors.messages import MessageExecutor
from runnerkit.executors.processes.surroundings import Surroundings
from runnerkit.executors.processes.transport import dumps_for_helper
from runnerkit.history import Rows
from runnerkit.records import EnvFacts, ExecutorReport, RunOptions
from runnerkit.typing import AnyEnv
from runnerkit_ray.cluster import Cluster, join
from runnerkit_ray.worker import ActorWorker

__all__ = ["RayExecutor"]

_SETTLE_S: Final = 5.0  # how long a call that is under way may take when the runner closes
_CLOSE_S: Final = 30.0  # how long envs may take to close


class RayExecutor(MessageExecutor[ActorWorker]):
    """Steps n envs in `workers` actors of a Ray cluster: as many as it has CPUs by default, and no more than envs.

    With timeouts, and with `on_env_error="restart"`, each env has an actor of its own, so that one that hangs or dies
    takes no other one with it.

    Args:
        n_envs: the number of envs.
        workers: how many actors step them.
        address: host and port of the cluster, "auto" or "local", see `runnerkit_ray.join`. By default the one that this
            process is in, or else one that is started on this machine.
        num_cpus: how many CPUs of the cluster each actor takes, as Ray counts them. By default 1, and 0 on a cluster
            that is of this process alone.

    """

    can_time_out: bool = True

    def __init__(
        self, n_envs: int, workers: int | None = None, /, *, address: str | None = None, num_cpus: float | None = None
    ) -> None:
        super().__init__()
        self._n_envs, self._asked_for = n_envs, workers
        self._address, self._num_cpus = address, num_cpus
        self._cluster: Cluster | None = None
        self._opening: tuple[bytes, RunOptions, Surroundings]
        self.workers: int = len(share_out(n_envs, workers))

    # ---- life

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        """Start the actors, and make all envs, each in its own actor."""
        self._begin(options)
        self._opening = _pickled(make_env), options, Surroundings.here()
        try:
            self._cluster = join(self._address)
            places = self._places_of(self._cluster, options)
            self.workers = len(places)
            self._helpers = [self._start(place) for place in places]
            parts = self._all("open", self._for_all(*self._opening))
        except BaseException as error:
            try:
                self.close()
            except Exception as fault:
                error.add_note(f"Closing failed, too: {fault}")
            raise
        return [fact for facts in parts[1:] for fact in facts]

    def _places_of(self, cluster: Cluster, options: RunOptions) -> list[range]:
        """Return the envs of each actor."""
        workers = self._asked_for
        if options.timeouts or options.restarts:
            if workers not in (None, self._n_envs):
                asked = " and ".join(options.timeouts) or "on_env_error='restart'"
                raise ArgumentError(
                    f"With {asked}, executor='ray' has an actor for each env, so that one that hangs or dies takes no "
                    f"other one with it. Leave workers={workers} out."
                )
            workers = self._n_envs
        elif workers is None:
            workers = max(1, int(cluster.cpus))
        if self._num_cpus is None:
            self._num_cpus = 0.0 if cluster.is_local else 1.0
        places = share_out(self._n_envs, workers)
        if len(places) * self._num_cpus > cluster.cpus:
            warnings.warn(
                f"{len(places)} actors of {self._num_cpus:g} CPUs each do not fit the {cluster.cpus:g} CPUs of the Ray "
                f"cluster at {cluster.address}: the runner waits until it grows. Ask for fewer workers, or for "
                "less with the option num_cpus.",
                RuntimeWarning,
                stacklevel=2,
            )
        return places

    def _start(self, env_indices: Sequence[int]) -> ActorWorker:
        assert self._num_cpus is not None
        return ActorWorker(env_indices, self._opening[1], self._patience, num_cpus=self._num_cpus)

    def close(self) -> None:
        """Close all envs, each in its own actor, end the actors, and leave the cluster."""
        if self._is_forked():
            return  # a fork of the caller: the actors are not its own
        helpers, self._helpers = self._helpers, []
        cluster, self._cluster = self._cluster, None
        faults: list[BaseException] = []
        end = time.monotonic() + _CLOSE_S
        begin = time.monotonic()
        parts = [(helper.begin_to_close, begin + _SETTLE_S) for helper in helpers]
        parts += [(helper.end, begin + _SETTLE_S + _CLOSE_S) for helper in helpers]
        for part, end in parts:
            try:
                part(end)
            except Exception as fault:
                faults.append(fault)
            except BaseException as fault:  # Ctrl-C: no more waiting
                faults.insert(0, fault)
                for helper in helpers:
                    helper.kill()
        if cluster is not None:
            cluster.leave()
        if faults:
            raise faults[0]

    # ---- rollouts

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> Sequence[int]:
        apart = restart and self._has_timeouts  # a step and a reset may each take their time
        ended = super().step(at, row, actions, active, restart and not apart)
        if apart and ended:
            self._begin_episodes(at, row, ended)
        return ended

    def _begin_episodes(self, at: int, row: int, env_indices: Sequence[int]) -> None:
        parts = [[i for i in place if i in env_indices] for place in self._places()]
        for answer in self._all("begin_again", [(at, row, part) if part else None for part in parts]):
            if answer is not None:
                self._received(answer, row, answer.env_indices)

    @property
    def _has_timeouts(self) -> bool:
        return bool(self._opening[1].timeouts)

    def remake(self, env_indices: Sequence[int], /) -> list[EnvFacts]:
        """Make envs anew, in new actors where those before are dead."""
        facts: list[EnvFacts] = []
        for i in env_indices:
            k = next(k for k, helper in enumerate(self._helpers) if i in helper.env_indices)
            if self._helpers[k].is_alive:
                facts += self._helpers[k].call("remake", [i])
                continue
            helper = self._helpers[k] = self._start([i])
            facts += helper.call("open", *self._opening)
            if self._block is not None:
                helper.call("attach_window", self._block.layout)
        return facts

    def doing(self) -> list[Doing]:
        """Return the calls of envs that are under way."""
        return [doing for helper in self._helpers if (doing := helper.call_under_way()) is not None]

    def report(self, name: str, /) -> ExecutorReport:
        """Return how many actors there are, and where."""
        where = "" if self._cluster is None else f"{self.workers} actors of the Ray cluster at {self._cluster.address}"
        return ExecutorReport(name, name, self.workers, where)


def _pickled(make_env: Callable[[int], AnyEnv]) -> bytes:
    try:
        return dumps_for_helper(make_env)
    except Exception as error:
        raise ArgumentError(
            "executor='ray' sends the env factory to actors, but it cannot be pickled: "
            f"{type(error).__name__}: {error}. "
            "Make inside of the factory what it needs, or use executor='threads', which shares memory."
        ) from error
