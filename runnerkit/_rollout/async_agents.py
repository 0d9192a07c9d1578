"""Agents with `async def act`: an executor with an event loop awaits what they return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from runnerkit._checks.signatures import is_async
from runnerkit.executors.base import Executor

__all__ = ["awaited"]


def awaited(agent: object, executor: Executor) -> object:
    """Return an agent with a plain `act` for one with `async def act`, if the executor can await it; else the agent."""
    wait_for: Callable[[Awaitable[object]], object] | None = getattr(executor, "wait_for", None)
    act: Any = getattr(agent, "act", None)
    act = act if callable(act) or not callable(agent) else agent
    if wait_for is None or not (is_async(act) or is_async(getattr(act, "__call__", None))):  # noqa: B004
        return agent
    return _Awaited(act, wait_for)


class _Awaited:
    def __init__(
        self, act: Callable[[Any], Awaitable[object]], wait_for: Callable[[Awaitable[object]], object]
    ) -> None:
        self._act, self._wait_for = act, wait_for

    def act(self, observations: Any, /) -> object:
        return self._wait_for(self._act(observations))
