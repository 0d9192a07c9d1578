"""The episode of an env that failed, once more in a new env: does it fail again?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from runnerkit._core.types import AnyEnv
from runnerkit._envs.resolve import EnvMaker, seed_spaces
from runnerkit._rollout.assembly import Assembly
from runnerkit.errors import EnvError
from runnerkit.executors.base import Executor, SupportsAllocate
from runnerkit.executors.processes.executor import ProcessesExecutor
from runnerkit.executors.reexecution import Course, re_execute
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.executors.serial import SerialExecutor
from runnerkit.executors.threads import ThreadsExecutor
from runnerkit.history.block import Block

__all__ = ["second_try"]

_OPTIONS: Final = {"on_env_error": "raise", "isolate": False, "keep_infos": False}


def second_try(parts: Assembly, make_env: EnvMaker, i: int, course: Course) -> Callable[[], EnvError | None]:
    """Return a function that makes the episode once more, and returns the error that comes of it, or None.

    It does so where the env was: in a process of its own if the env was in one, so that it cannot end this one.
    """
    spec, layout = parts.spec, replace(parts.layout, n_envs=1)
    elsewhere = isinstance(parts.executor, ProcessesExecutor)

    def make(_: int) -> AnyEnv:
        seed = SeedSchedule(spec.seed).env_seed(i)
        env: AnyEnv = make_env(seed, i)  # type: ignore[assignment]  # no vector env: these have no course
        seed_spaces(env, seed)
        return env

    def again() -> EnvError | None:
        step = 0
        executor: Executor = SerialExecutor(1)
        if elsewhere:
            executor = ProcessesExecutor(1, isolate=True)
        elif spec.options.timeouts:
            executor = ThreadsExecutor(1)
        try:
            executor.open(make, replace(spec.options, **_OPTIONS))  # type: ignore[arg-type]
            if isinstance(executor, SupportsAllocate):
                block = executor.allocate(layout, 1, 1, True)
            else:
                block = Block(layout, 1, window=True)
            executor.attach(block)
            for reached, _ in re_execute(executor, block, {0: course}):
                step = reached
        except EnvError as error:
            error.env_index = i
            error.step = step if error.action is not None else None
            return error
        finally:
            executor.close()
        return None

    return again
