"""The asyncio executor: one event loop, in a thread of its own, for envs with `async def step` and `async def reset`.

Thousands of envs that wait, for a browser or a language model, cost less as coroutines than as threads.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import CoroutineType
from typing import Any, TypeAlias

from typing_extensions import TypeVar, override

from runnerkit._core.spaces import Rows
from runnerkit._core.types import AnyEnv
from runnerkit.errors import ArgumentError
from runnerkit.executors.calls import Doing, Phase
from runnerkit.executors.clock import SupportsStep
from runnerkit.executors.env_calls import EnvCall
from runnerkit.executors.forks import is_fork, require_process
from runnerkit.executors.paces import Outcome
from runnerkit.executors.rounds import Answer
from runnerkit.executors.share import Share
from runnerkit.executors.threads import ThreadsExecutor
from runnerkit.executors.waiting import Patience
from runnerkit.executors.worker_thread import WorkerThread
from runnerkit.records import EnvFacts, EpisodeStart

__all__ = ["AsyncioExecutor"]

T = TypeVar("T")

_Call: TypeAlias = "tuple[int, int, Callable[[], Any]]"
"""(env index, phase, what makes the call)"""


class AsyncioExecutor(ThreadsExecutor):
    """Steps n envs at once on one event loop, which runs in a thread of its own while envs or the agent are at work::

        class Remote(gymnasium.Env):
            async def reset(self, *, seed=None, options=None): ...
            async def step(self, action): ...

        runnerkit.make(lambda seed: Remote(), n_envs=1000, executor="asyncio")

    Envs are made and closed on that loop, too. `close` may be `async def`, and so may methods for `runner.call`. Plain
    methods work, but nothing else runs meanwhile. An agent may have `async def act`. Wrappers must hand on what they
    are to await: most of Gymnasium's do not, so that such an env comes from a function rather than from an id.
    """

    can_time_out: bool = False
    takes_spare_envs: bool = False

    def __init__(self, n_envs: int, workers: int | None = None) -> None:
        if workers not in (None, 1):
            raise ArgumentError(f"executor='asyncio' has 1 worker, not {workers}. Use executor='threads' for more.")
        super().__init__(n_envs, 1)
        self._own, self._place = Share(()), _AsyncShare(range(n_envs))
        self._start([self._place], self.release)

    @staticmethod
    @override
    def workers_to_try(n_envs: int, /) -> list[int | None]:
        """Return what to measure: there is only one way."""
        del n_envs
        return [1]

    @override
    def paces(self) -> _AsyncPaces:
        """Return what steps single envs."""
        return _AsyncPaces(self._helpers[0], self._place, self._patience)

    def wait_for(self, awaitable: Awaitable[T], /) -> T:
        """Return what comes of what an agent returned, awaited on the event loop."""
        self._require_own_process()
        (helper,) = self._helpers
        helper.begin(self._place.run, awaitable)
        try:
            result: T = helper.answer()
        except asyncio.CancelledError as cancelled:  # which no `except Exception` would see
            raise RuntimeError("it was cancelled (asyncio.CancelledError)") from cancelled
        return result


class _AsyncShare(Share):
    """Envs whose calls are awaited together; what comes of them is then recorded as in any share."""

    def __init__(self, env_indices: Sequence[int]) -> None:
        super().__init__(env_indices)
        self.is_left: bool = False
        """Whether what is under way is to be given up before anything else is done."""
        self._runner: asyncio.Runner | None = None
        self._closed: dict[int, BaseException | None] = {}
        """By env: what `close` raised."""
        self._settled: dict[int, Answer] = {}
        """By env: what came of a call, until it is recorded."""
        self._awaited: dict[int, tuple[int, object]] = {}
        self._left = 0  # calls that are awaited together
        self._all_over: asyncio.Future[None]
        self._gives_up = False
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ended: list[Outcome] = []
        self._wanted = 0
        self._enough = asyncio.Event()

    def run(self, awaitable: Awaitable[T]) -> T:
        """Run the event loop, in the thread of the share, until this has come to an end."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        if self.is_left:
            self._runner.run(self._cancel())
            self._ended, self._settled, self.is_left = [], {}, False
        return self._runner.run(_as_coroutine(awaitable))

    @override
    def _make(self, make_env: Callable[[int], AnyEnv], i: int) -> EnvFacts:
        async def make() -> EnvFacts:
            return Share._make(self, make_env, i)

        return self.run(make())

    @override
    def _ask_env(self, call: EnvCall, env: AnyEnv) -> Any:
        async def ask() -> Any:
            answer = call.ask(env)
            return await answer if call.kind == "call" and inspect.isawaitable(answer) else answer

        return self.run(ask())

    @override
    def _close_env(self, i: int, env: AnyEnv) -> None:
        if i not in self._closed:
            self.run(self._close(i, env))
        fault = self._closed.pop(i)
        if fault is not None:
            raise fault

    async def _close(self, i: int, env: AnyEnv) -> None:
        close: Callable[[], Any] = env.close
        try:
            result = close()
            if inspect.isawaitable(result):
                await result
            self._closed[i] = None
        except BaseException as fault:
            self._closed[i] = fault

    async def _close_all(self, envs: Sequence[tuple[int, AnyEnv]]) -> None:
        await asyncio.gather(*[self._close(i, env) for i, env in envs])

    @override
    def close(self, *, watched: bool = True) -> None:
        envs = [(i, self._envs[i]) for i in self.env_indices if i in self._envs]
        try:
            if envs:
                self.run(self._close_all(envs))
            super().close(watched=watched)
        finally:
            runner, self._runner, self._gives_up = self._runner, None, True
            if runner is not None:
                runner.close()

    # ---- all at once

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        calls = [self._step_call(i, action) for i, action in zip(active, actions, strict=False)]
        calls = [call for call in calls if call[0] not in self._settled]  # after a fault, the others have been awaited
        if calls:
            self.run(self._settle_all(calls))
        try:
            ended = super().step(at, row, actions, active, False)
        finally:
            self._settled.clear()
        if restart and ended:
            self.begin_again(ended, at, row)
        return ended

    @override
    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], /) -> None:
        self.run(self._settle_all([self._reset_call(i, start) for i, (_, start) in starts.items()]))
        super().reset(row, starts)

    @override
    def begin_again(self, env_indices: Sequence[int], at: int, row: int) -> None:
        starts = [(i, self._seeds(i, self._episode[i] + 1)) for i in env_indices]
        self.run(self._settle_all([self._reset_call(i, start) for i, start in starts]))
        super().begin_again(env_indices, at, row)

    def _step_call(self, i: int, action: Any) -> _Call:
        return i, Phase.STEP, partial(self._envs[i].step, action)

    def _reset_call(self, i: int, start: EpisodeStart) -> _Call:
        options = None if start.options is None else dict(start.options)
        return i, Phase.RESET, partial(self._envs[i].reset, seed=start.seed, options=options)

    async def _settle_all(self, calls: Sequence[_Call]) -> None:
        """Await these calls together. `asyncio.gather` does so, too, for a fifth more time per call."""
        loop = asyncio.get_running_loop()
        self._left, self._all_over = len(calls), loop.create_future()
        tasks = [loop.create_task(self._counted(*call)) for call in calls]
        if tasks:
            await self._all_over
        del tasks  # which nobody else keeps alive

    async def _counted(self, i: int, phase: int, call: Callable[[], Any]) -> None:
        await self._settle(i, phase, call)
        self._left -= 1
        if not self._left:
            self._all_over.set_result(None)

    async def _settle(self, i: int, phase: int, call: Callable[[], Any]) -> None:
        self._awaited[i] = phase, call
        began = time.perf_counter()
        try:
            result = call()
            if type(result) is CoroutineType or (type(result) is not tuple and inspect.isawaitable(result)):
                result = await result
            self._settled[i] = result, None
        except asyncio.CancelledError as cancelled:
            if self._gives_up:
                raise
            fault = RuntimeError("it was cancelled (asyncio.CancelledError)")
            fault.__cause__ = cancelled
            self._settled[i] = None, fault
        except BaseException as fault:
            self._settled[i] = None, fault
        finally:
            del self._awaited[i]
            if i in self._clocks:
                self._clocks[i].note(time.perf_counter() - began, is_step=phase == Phase.STEP)

    def take(self, i: int) -> Any:
        """Return or raise what came of the call of an env."""
        result, fault = self._settled.pop(i)
        if fault is not None:
            raise fault
        return result

    @override
    def _stepper(self, i: int) -> SupportsStep:
        return _Settled(self, i)

    @override
    def _reset_env(self, i: int, seed: int | None, options: dict[str, Any] | None) -> Any:
        return self.take(i)

    @override
    def call_under_way(self) -> Doing | None:
        for i, (phase, token) in list(self._awaited.items()):
            return Doing(phase, i, self._episode.get(i), token)
        return super().call_under_way()

    # ---- each at its own pace

    def advance(self, calls: deque[tuple[_Call, Callable[[], Any]]], least: int) -> None:
        """Take and begin these calls, each with what records it, and wait until `least` have ended, or one failed."""
        self.run(self._advance(calls, least))

    def take_ended(self) -> list[Outcome]:
        """Return, and forget, what has come of calls. For the caller, while this thread waits."""
        ended, self._ended = self._ended, []
        return ended

    async def _advance(self, calls: deque[tuple[_Call, Callable[[], Any]]], least: int) -> None:
        create_task = asyncio.get_running_loop().create_task
        while calls:
            call, record = calls.popleft()
            self._tasks[call[0]] = create_task(self._one(call, record))
        self._wanted = least
        await asyncio.sleep(0)  # calls that do not wait come to their end
        while len(self._ended) < self._wanted:
            self._enough.clear()
            await self._enough.wait()

    async def _one(self, call: _Call, record: Callable[[], Any]) -> None:
        i, phase, _ = call
        await self._settle(*call)
        answer, fault = None, None
        try:
            answer = record()
        except BaseException as raised:
            fault, self._wanted = raised, 0  # a fault is not to wait for calls that may hang
        is_over = phase == Phase.STEP and bool(answer)
        del self._tasks[i]  # it is this one, which ends now
        self._ended.append(Outcome(i, is_over, fault, self.drain_what_there_is()))
        if len(self._ended) >= self._wanted:
            self._enough.set()

    def begun_step(self, i: int, at: int, row: int, actions: Rows) -> tuple[_Call, Callable[[], Any]]:
        """Return the call of a step, and what records it."""
        record: Callable[[], Any] = partial(super().step, at, row, actions, [i], False)
        return self._step_call(i, actions[0]), record

    def begun_reset(self, i: int, row: int, episode_index: int, start: EpisodeStart) -> tuple[_Call, Callable[[], Any]]:
        """Return the call of a reset, and what records it."""
        record: Callable[[], Any] = partial(super().reset, row, {i: (episode_index, start)})
        return self._reset_call(i, start), record

    async def _cancel(self) -> None:
        """Give up all calls that are under way."""
        tasks, self._gives_up = list(self._tasks.values()), True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks, self._gives_up = {}, False


class _Settled:
    """Stands before an env whose step has been awaited already."""

    def __init__(self, share: _AsyncShare, i: int) -> None:
        self._share, self._i = share, i

    def step(self, action: Any, /) -> Any:
        return self._share.take(self._i)


class _AsyncPaces:
    """Calls of single envs on the event loop, which runs while the caller waits for outcomes."""

    def __init__(self, helper: WorkerThread, share: _AsyncShare, patience: Patience) -> None:
        self._helper, self._share, self._patience, self._pid = helper, share, patience, os.getpid()
        self._new: deque[tuple[_Call, Callable[[], Any]]] = deque()
        self._pending = 0

    @property
    def pending(self) -> int:
        return 0 if is_fork(self._pid) else self._pending  # a fork waits for none

    def begin_step(self, env_index: int, at: int, row: int, actions: Rows, /) -> None:
        self._begin(self._share.begun_step(env_index, at, row, actions))

    def begin_reset(self, env_index: int, row: int, episode_index: int, start: EpisodeStart, /) -> None:
        self._begin(self._share.begun_reset(env_index, row, episode_index, start))

    def _begin(self, call: tuple[_Call, Callable[[], Any]]) -> None:
        self._new.append(call)
        self._pending += 1

    def outcomes(self, least: int, /) -> list[Outcome]:
        require_process(self._pid)
        try:
            self._helper.begin(self._share.advance, self._new, min(least, self.pending))
            self._helper.answer()
        except BaseException:
            if self._helper.loss is not None:  # nothing will come of what is under way
                self._pending = 0
            raise
        found = self._share.take_ended()  # not before all is heard: Ctrl-C may break a wait off
        self._pending -= len(found)
        return found

    def hurry(self, fault: BaseException, /) -> None:
        self._patience.hurry(fault)

    def rest(self) -> None:
        if self.pending:
            self._share.is_left = True
            self._pending = 0
            self._new.clear()


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable
