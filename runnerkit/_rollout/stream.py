"""A stream: one rollout without an end, handed out in batches of equal length that use the same arrays."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

from runnerkit._core.interrupts import Interrupt
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.loop import Rollout
from runnerkit._rollout.plan import Plan
from runnerkit.errors import ArgumentError, RolloutError, RolloutInterrupted
from runnerkit.history.base import SupportsBatch
from runnerkit.history.block import Block

__all__ = ["batches", "check_streams"]


def check_streams(parts: Assembly, standing: EnvStates, *, auto_reset: bool, makes_own: bool) -> SupportsBatch:
    """Return what makes batches; raises ArgumentError if the runner cannot stream."""
    recorder = parts.recorder
    if makes_own:
        raise ArgumentError("stream gives batches of columns, but this runner overrides process_transition.")
    if not isinstance(recorder, SupportsBatch):
        raise ArgumentError(
            f"stream gives batches of columns, but {parts.history_title} has none. Build the runner with "
            "history='arrays' or history='torch', or use rollout."
        )
    if not auto_reset:
        raise ArgumentError(
            "stream needs envs that begin again: build the runner with auto_reset=True, or use rollout."
        )
    if standing.vector is not None and standing.vector.rests:
        raise ArgumentError(
            "stream gives each env the same number of rows, but the envs of this vector env skip a step when they "
            "reset (AutoresetMode.NEXT_STEP). Use rollout, or a vector env with AutoresetMode.SAME_STEP."
        )
    return recorder


def batches(
    parts: Assembly,
    standing: EnvStates,
    plan: Plan,
    agent: object,
    recorder: SupportsBatch,
    at_work: Callable[[Interrupt], AbstractContextManager[object]],
) -> Generator[Any, None, None]:
    """Make the steps of one batch after another. `at_work` holds the runner as long as the stream is open."""
    interrupt = Interrupt()
    rollout: Rollout | None = None
    with at_work(interrupt):
        try:
            rollout = Rollout(parts, standing, plan, agent, None, None)
            watch = standing.stopwatch
            next_window: Callable[[Interrupt], Block | None] = rollout.next_window
            if watch is not None:
                next_window = watch.around_rollout(next_window)
            with rollout.watched():
                while (block := next_window(interrupt)) is not None:
                    batch = recorder.batch(block)
                    interrupt.is_paused = True
                    yield batch
                    interrupt.is_paused = False
                    batch.expire()
            raise RolloutInterrupted(rollout.cut_window())
        except RolloutError as error:
            if interrupt.requested:  # that, too, may not be lost
                raise RolloutInterrupted(error.histories) from error
            raise
        finally:
            interrupt.is_paused = True  # what comes now belongs to the caller
            if rollout is not None and not rollout.is_over:
                rollout.leave()
