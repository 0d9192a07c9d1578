"""Where the time of rollouts goes: `runner.timings`, for runners that were built with `timings=True`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["EnvTimings", "Timings", "WorkerTimings"]


class EnvTimings(NamedTuple):
    """How long the calls of one env took.

    Attributes:
        env_index: the env.
        worker: who made the last of its steps: the ids of the process and of the thread.
        steps: how many steps it made.
        step_seconds: how long they took, all together.
        resets: how often it was reset.
        reset_seconds: how long that took, all together.

    """

    env_index: int
    worker: tuple[int, int]
    steps: int
    step_seconds: float
    resets: int
    reset_seconds: float

    @property
    def seconds_per_step(self) -> float:
        """The mean time of a step; 0 without a step."""
        return self.step_seconds / self.steps if self.steps else 0.0


@dataclass(frozen=True, slots=True)
class WorkerTimings:
    """What one worker did with its time.

    Attributes:
        env_indices: the envs whose last step it made.
        env: the seconds in `env.step`.
        reset: the seconds in `env.reset`.
        wait: the seconds in which it did neither while envs were stepped: it waited for other workers.

    """

    env_indices: tuple[int, ...]
    env: float
    reset: float
    wait: float


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of all rollouts of a runner went, up to now::

        with runnerkit.make("CartPole-v1", n_envs=8, timings=True) as runner:
            runner.rollout(agent, steps=1000)
            print(runner.timings.agent, runner.timings.env, runner.timings.slowest)

    All times are in seconds of wall-clock time. `env`, `reset` and `wait` are sums over workers, so that with several
    workers they may exceed `seconds`.

    Attributes:
        seconds: how long the rollouts took.
        steps: the steps of all envs together.
        agent: in the agent: `act` or `compute_action`.
        env: in `env.step`.
        reset: in `env.reset`.
        wait: in which workers waited for others while envs were stepped; 0 with one worker.
        other: the rest of the time of the calling thread: RunnerKit, processors and callbacks.
        workers: each worker; the first one is the calling thread. Empty for a vector env, which steps all envs itself,
            and for executors that do not measure.
        envs: each env, by env index. Empty in the same cases.

    """

    seconds: float
    steps: int
    agent: float
    env: float
    reset: float
    wait: float
    other: float
    workers: tuple[WorkerTimings, ...] = ()
    envs: tuple[EnvTimings, ...] = ()

    @property
    def slowest(self) -> EnvTimings | None:
        """The env whose steps take the longest on average; None if envs were not measured one by one."""
        return max((env for env in self.envs if env.steps), key=lambda env: env.seconds_per_step, default=None)
