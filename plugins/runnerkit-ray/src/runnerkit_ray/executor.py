"""The ray executor: each actor of a cluster owns a share of the envs, and all of them make each step together.

It pays where an env takes milliseconds per step, or does not run on the machine of the agent: a step takes a message
to each actor and back. Where episodes need not go in step, `RayRunner` sends whole episodes instead.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from typing_extensions import override

from runnerkit.errors import RolloutError
from runnerkit.executors import EnvFacts, ExecutorReport, RunOptions
from runnerkit.executors.messages import MessageExecutor, MessageHandle, Patience
from runnerkit.typing import AnyEnv
from runnerkit_ray.cluster import Cluster, is_in, join

__all__ = ["RayExecutor"]


class RayExecutor(MessageExecutor[MessageHandle]):
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

    name = "ray"

    def __init__(
        self, n_envs: int, workers: int | None = None, /, *, address: str | None = None, num_cpus: float | None = None
    ) -> None:
        super().__init__(n_envs, workers)
        self._address, self._num_cpus = address, num_cpus
        self._cluster: Cluster | None = None

    @override
    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        """Join the cluster, start the actors, and make all envs, each in its own actor."""
        cluster = self._cluster = join(self._address)
        if self._asked_for is None:
            self.workers = max(1, min(self._n_envs, int(cluster.cpus)))
        if self._num_cpus is None:
            self._num_cpus = 0.0 if cluster.is_local else 1.0
        try:
            self._check_room(len(self._to_share_out(options)) * self._num_cpus, cluster)
            return super().open(make_env, options)
        except BaseException:
            self._leave()
            raise

    @staticmethod
    def _check_room(cpus: float, cluster: Cluster) -> None:
        if cpus > cluster.cpus:
            warnings.warn(
                f"The actors need {cpus:g} CPUs, and the Ray cluster at {cluster.address} has {cluster.cpus:g}: the "
                "runner waits until it grows. Ask for fewer workers, or for less with the option num_cpus.",
                RuntimeWarning,
                stacklevel=2,
            )

    @override
    def start(self, env_indices: Sequence[int], options: RunOptions, patience: Patience, /) -> MessageHandle:
        """Start an actor."""
        from runnerkit_ray.worker import ActorHandleOfEnvs  # which imports Ray, and that reads what `join` has set

        assert self._num_cpus is not None
        assert self._cluster is not None
        if not is_in(self._cluster.address):  # Ray would start another one
            raise RolloutError(
                "No actor can be started, as this process left the Ray cluster (ray.shutdown()) while the runner was "
                "open. Build a new runner to go on."
            )
        return ActorHandleOfEnvs(env_indices, options, patience, num_cpus=self._num_cpus)

    @override
    def close(self) -> None:
        """Close all envs, each in its own actor, end the actors, and leave the cluster."""
        try:
            super().close()
        finally:
            self._leave()

    def _leave(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.leave()

    def report(self, name: str, /) -> ExecutorReport:
        """Return how many actors there are, and where."""
        where = "" if self._cluster is None else f"{self.workers} actors of the Ray cluster at {self._cluster.address}"
        return ExecutorReport(name, name, self.workers, where)
