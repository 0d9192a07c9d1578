"""The block that a rollout writes into: how many rows it begins with, and how it grows."""

from __future__ import annotations

from runnerkit._core.memory import fitting, require_bytes
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.plan import Plan
from runnerkit._rollout.windows import Windows
from runnerkit.history.block import Block

__all__ = ["allocate", "grow"]

_FIRST_STEPS = 256
_GROWTH = 1.125  # a block of unknown length grows by so much; a greater factor would touch memory never used


def allocate(parts: Assembly, plan: Plan, windows: Windows | None) -> Block:
    """Return the block of a rollout; raises MemoryBudgetError if it does not fit into memory."""
    layout = parts.layout
    if plan.process_transition is not None:
        return _block(parts, 1, window=True)
    if windows is not None:
        return _block(parts, windows.most)
    steps = plan.limit
    if plan.is_open_ended:
        steps = fitting(min(plan.limit, _FIRST_STEPS), layout.bytes_per_step)
    require_bytes(layout.bytes_per_step * steps, steps, layout.n_envs)
    return _block(parts, steps, plan.limit)


def grow(block: Block, parts: Assembly, plan: Plan) -> None:
    """Give a block more rows; raises MemoryBudgetError if they do not fit into memory."""
    more = min(plan.limit, int(block.steps * _GROWTH) + 1) - block.steps
    more = fitting(more, block.bytes_per_step)
    require_bytes(block.bytes_per_step * more, more, block.n_envs)
    block.resize(block.steps + more)
    parts.executor.attach(block)


def _block(parts: Assembly, steps: int, most: int | None = None, *, window: bool = False) -> Block:
    block = parts.block(steps, most, window=window)
    block.schedule = parts.schedule
    return block
