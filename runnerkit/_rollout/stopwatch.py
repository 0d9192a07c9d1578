"""Measuring where the time of rollouts goes, for `timings=True`; without it, nothing of this is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from typing_extensions import ParamSpec, TypeVar

from runnerkit.records import EnvTimings, Timings, WorkerTimings

__all__ = ["Stopwatch"]

P = ParamSpec("P")
T = TypeVar("T")


class Stopwatch:
    """Adds up what rollouts, the agent and envs take."""

    def __init__(self) -> None:
        self._seconds = self._agent = self._executor = 0.0
        self._envs: dict[int, EnvTimings] = {}
        self._steps = 0

    def around_rollout(self, run: Callable[P, T]) -> Callable[P, T]:
        """Return what makes a rollout, or a part of it, and measures it."""
        return _measured(run, self._add_rollout)

    def around_agent(self, choose: Callable[P, T]) -> Callable[P, T]:
        """Return what asks the agent, and measures it."""
        return _measured(choose, self._add_agent)

    def around_executor(self, call: Callable[P, T]) -> Callable[P, T]:
        """Return what resets envs, or waits for those that go at their own pace, and measures it."""
        return _measured(call, self._add_executor)

    def around_step(self, step: Callable[..., Sequence[int]]) -> Callable[..., Sequence[int]]:
        """Return what steps the envs that are active, measures it and counts the steps."""
        measured = self.around_executor(step)

        def counted(at: int, row: int, actions: Any, active: Sequence[int], restart: bool) -> Sequence[int]:
            self.count_steps(len(active))
            return measured(at, row, actions, active, restart)

        return counted

    def count_steps(self, n: int) -> None:
        """Count steps."""
        self._steps += n

    def _add_rollout(self, seconds: float) -> None:
        self._seconds += seconds

    def _add_agent(self, seconds: float) -> None:
        self._agent += seconds

    def _add_executor(self, seconds: float) -> None:
        self._executor += seconds

    def add(self, measured: Sequence[EnvTimings]) -> None:
        """Add what workers measured of their envs."""
        for new in measured:
            before = self._envs.get(new.env_index)
            if before is not None:
                new = new._replace(
                    worker=new.worker if new.steps else before.worker,
                    steps=before.steps + new.steps,
                    step_seconds=before.step_seconds + new.step_seconds,
                    resets=before.resets + new.resets,
                    reset_seconds=before.reset_seconds + new.reset_seconds,
                )
            self._envs[new.env_index] = new

    def read(self) -> Timings:
        """Return the timings up to now."""
        envs = [self._envs[i] for i in sorted(self._envs)]
        workers = self._workers(envs)
        env = sum(worker.env for worker in workers) if workers else self._executor
        reset = sum(worker.reset for worker in workers)
        alone = workers[0].env + workers[0].reset if len(workers) == 1 else self._executor
        return Timings(
            seconds=self._seconds,
            steps=self._steps,
            agent=self._agent,
            env=env,
            reset=reset,
            wait=sum(worker.wait for worker in workers),
            other=max(0.0, self._seconds - self._agent - alone),
            workers=tuple(workers),
            envs=tuple(envs),
        )

    def _workers(self, envs: Sequence[EnvTimings]) -> list[WorkerTimings]:
        """Return the workers in the order of their first env, which the calling thread's comes first in."""
        by_worker: dict[tuple[int, int], list[EnvTimings]] = {}
        for env in envs:
            by_worker.setdefault(env.worker, []).append(env)
        found = []
        for mine in by_worker.values():
            stepping, resetting = sum(env.step_seconds for env in mine), sum(env.reset_seconds for env in mine)
            wait = max(0.0, self._executor - stepping - resetting) if len(by_worker) > 1 else 0.0
            found.append(WorkerTimings(tuple(env.env_index for env in mine), stepping, resetting, wait))
        return found


def _measured(call: Callable[P, T], add: Callable[[float], None]) -> Callable[P, T]:
    """Return a function that makes a call and adds how long it took."""

    def measured(*args: P.args, **keywords: P.kwargs) -> T:
        began = time.perf_counter()
        try:
            return call(*args, **keywords)
        finally:
            add(time.perf_counter() - began)

    return measured
