"""The serial executor: the calling thread steps all envs, one after the other."""

from __future__ import annotations

from typing_extensions import override

from runnerkit.errors import ArgumentError
from runnerkit.executors.calls import Doing
from runnerkit.executors.paces import SerialPaces
from runnerkit.executors.share import Share
from runnerkit.history.block import Block
from runnerkit.history.log import EpisodeLog

__all__ = ["SerialExecutor"]


class SerialExecutor(Share):
    """Steps all envs in the calling thread: the fastest for envs whose step takes a few microseconds."""

    workers: int = 1
    takes_vector_envs: bool = True
    takes_spare_envs: bool = True

    def __init__(self, n_envs: int, workers: int | None = None) -> None:
        if workers not in (None, 1):
            raise ArgumentError(f"executor='serial' has 1 worker, not {workers}. Use executor='threads' for more.")
        super().__init__(range(n_envs))
        self._nothing: EpisodeLog

    @override
    def attach(self, block: Block | None, /) -> None:
        super().attach(block)
        if block is not None:
            self._nothing = EpisodeLog(block.layout.raw)

    @override
    def drain(self) -> EpisodeLog:
        if self._clocks or self.oddities.found or not self._log.is_empty:
            return super().drain()
        if not self._nothing.has_no_news or self._nothing.timings:  # an executor made of others has added to it
            self._nothing = self._new_log()
        return self._nothing  # a stream asks after each few steps, after most of which nothing was logged

    def doing(self) -> list[Doing]:
        """Return the call of an env that is under way, if there is one."""
        call = self.call_under_way()
        return [] if call is None else [call]

    def paces(self) -> SerialPaces:
        """Return what steps single envs."""
        return SerialPaces(self)

    @staticmethod
    def workers_to_try(n_envs: int, /) -> list[int | None]:
        """Return what to measure: there is only one way."""
        del n_envs
        return [1]
