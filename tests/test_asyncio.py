"""The asyncio executor: envs and agents with `async def` methods, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

import gymnasium
import pytest
from envs import SPACES, HashAgent, SampleEnv, summary
from faulty_envs import build, collected, forget_threads, runnerkit_threads
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import EndReason, GymRunner
from runnerkit.errors import AgentError, ArgumentError, EnvError, RolloutInterrupted

N = 4
ROLLOUTS: list[dict[str, Any]] = [{"steps": 9}, {"steps": 1}, {"episodes": 7}, {"episodes": 2}, {"steps": 11}]


class AsyncEnv(gymnasium.Env[Any, Any]):
    """A plain env behind awaits; `fail` may raise, or wait."""

    def __init__(self, inner: gymnasium.Env[Any, Any], fail: Callable[[AsyncEnv], Any] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.inner, self.fail = inner, fail
        self.observation_space, self.action_space = inner.observation_space, inner.action_space
        self.steps = self.episodes = 0
        self.is_closed = False

    @override
    async def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:  # type: ignore[override]
        self.steps, self.episodes = 0, self.episodes + 1
        await self.wait()
        return self.inner.reset(seed=seed, options=options)

    @override
    async def step(self, action: Any) -> Any:  # type: ignore[override]
        self.steps += 1
        await self.wait()
        if self.fail is not None:
            await self.fail(self)
        return self.inner.step(action)

    @override
    async def close(self) -> None:  # type: ignore[override]
        await self.wait()
        self.is_closed = True

    async def count(self, more: int) -> int:
        await self.wait()
        return self.episodes + more

    async def wait(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        if random.random() < 0.5:
            await asyncio.sleep(random.choice([0, 0.001]))


class Fleet:
    """Makes async envs and remembers them."""

    def __init__(self, fail: Callable[[AsyncEnv], Any] | None = None, at: int = 1) -> None:
        self.envs: list[AsyncEnv] = []
        self._fail, self._at = fail, at

    def __call__(self, seed: int | None) -> AsyncEnv:
        fail = self._fail if len(self.envs) == self._at else None
        self.envs.append(AsyncEnv(SampleEnv(SPACES["float32"], SPACES["Discrete"]), fail))
        return self.envs[-1]


class CoroutineEnv(SampleEnv):
    """Needs to be awaited."""

    @override
    async def reset(self, **options: Any) -> Any:  # type: ignore[override]
        return super().reset(**options)


class AsyncAgent:
    """Asks another one, after a while."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.told: list[list[int]] = []

    def begin_episodes(self, env_indices: Any, /) -> None:
        self.told.append(list(env_indices))

    async def act(self, observations: Any, /) -> Any:
        await asyncio.sleep(0.0005)
        return self._inner.act(observations)


def plain(seed: int | None) -> SampleEnv:
    return SampleEnv(SPACES["float32"], SPACES["Discrete"])


def data(make: Any, agent: Callable[[Any], Any], min_batch: int | None = None, **options: Any) -> Any:
    with GymRunner(make, 0, n_envs=N, keep_infos=True, **options) as runner:
        acting = agent(HashAgent(runner.action_space))
        return [summary(h) for limit in ROLLOUTS for h in runner.rollout(acting, **limit, min_batch=min_batch)]


@pytest.mark.parametrize("min_batch", [None, 1, 2])
@pytest.mark.parametrize("make", [Fleet, lambda: plain], ids=["async", "plain"])
def test_the_bytes_are_those_of_serial(make: Callable[[], Any], min_batch: int | None) -> None:
    serial = data(plain, lambda inner: inner, executor="serial")
    assert data(make(), AsyncAgent, min_batch, executor="asyncio") == serial


def test_all_envs_wait_at_the_same_time_and_are_closed() -> None:
    together = 0
    most = 0

    async def count(env: AsyncEnv) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.01)
        together -= 1

    fleet = Fleet()
    with build(fleet, n_envs=20, executor="asyncio", timings=True) as runner:
        for env in fleet.envs:
            env.fail = count
        runner.rollout(HashAgent(runner.action_space), steps=3)
        assert runner.timings.steps == 60
        assert runner.workers == 1
        assert runnerkit_threads() == ["runnerkit-envs-0-19"]
    assert most == 20
    assert all(env.is_closed for env in fleet.envs)
    assert runnerkit_threads() == []


def test_methods_are_awaited_between_rollouts_and_all_envs_close_at_once() -> None:
    fleet = Fleet()
    with build(fleet, n_envs=3, executor="asyncio") as runner:
        assert runner.call("count", 5) == [5] * 3
        runner.rollout(HashAgent(runner.action_space), steps=1)
        assert runner.call("count", more=5, env_indices=[2]) == [6]
        barrier = asyncio.Barrier(3)
        for env in fleet.envs:
            env.wait = barrier.wait  # type: ignore[method-assign, assignment]
    assert all(env.is_closed for env in fleet.envs)


async def _raise(env: AsyncEnv) -> None:
    if (env.episodes, env.steps) == (2, 2):
        raise OSError("gone")


async def _be_cancelled(env: AsyncEnv) -> None:
    if (env.episodes, env.steps) == (2, 2):
        raise asyncio.CancelledError


@pytest.mark.parametrize("min_batch", [None, 1])
@pytest.mark.parametrize(("fail", "message"), [(_raise, "OSError: gone"), (_be_cancelled, "it was cancelled")])
def test_an_env_that_fails_is_named(fail: Any, message: str, min_batch: int | None) -> None:
    with build(Fleet(fail), n_envs=N, seed=0, executor="asyncio") as runner:
        with pytest.raises(EnvError, match=f"Env 1 .*raised in step: .*{message}") as caught:
            runner.rollout(HashAgent(runner.action_space), steps=50, min_batch=min_batch)
        assert (caught.value.episode_index, caught.value.step) == (1, 1)
        assert collected(caught.value)[1].episodes[-1].end_reason is EndReason.CRASHED
        assert [len(h) for h in runner.rollout(HashAgent(runner.action_space), steps=1)] == [1] * N


def test_an_env_that_fails_may_be_made_anew() -> None:
    fleet = Fleet(_raise)
    with build(fleet, n_envs=N, seed=0, executor="asyncio", on_env_error="restart") as runner:
        histories = runner.rollout(HashAgent(runner.action_space), steps=30)
    assert [len(history.faults) for history in histories] == [0, 1, 0, 0]
    assert len(fleet.envs) == N + 1
    assert all(env.is_closed for env in fleet.envs)


@pytest.mark.parametrize("min_batch", [None, 1])
def test_ctrl_c_twice_comes_through_though_an_env_waits_for_ever(min_batch: int | None) -> None:
    async def hang(env: AsyncEnv) -> None:
        if env.steps == 2:
            for _ in range(2):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                await asyncio.sleep(1.5)  # both would be one, if nobody heard of the first meanwhile
            await asyncio.sleep(5)

    runner = build(Fleet(hang), n_envs=N, executor="asyncio")
    with pytest.raises(KeyboardInterrupt) as caught:
        runner.rollout(HashAgent(runner.action_space), steps=1000, min_batch=min_batch)
    assert not isinstance(caught.value, RolloutInterrupted)
    with pytest.warns(RuntimeWarning, match="did not end in time"):
        runner.close()
    forget_threads()


@pytest.mark.parametrize("seconds", [0.05, 5])
def test_at_their_own_pace_what_a_signal_handler_raises_comes_through(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runnerkit.executors.waiting.Patience._AFTER_EXCEPTION_S", 0.5)

    def ring(*_: Any) -> None:
        raise RuntimeError("time is up")

    async def be_rung(env: AsyncEnv) -> None:
        if (env.episodes, env.steps) == (1, 1):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
            await asyncio.sleep(seconds)

    hangs = seconds > 1
    runner = build(Fleet(be_rung), n_envs=N, executor="asyncio")
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(RuntimeError, match="time is up") as caught:
            runner.rollout(HashAgent(runner.action_space), steps=10**5, min_batch=1)
        steps = [len(history) for history in collected(caught.value)]
        assert steps[1] == (0 if hangs else 1)
        if not hangs:
            assert [len(h) for h in runner.rollout(HashAgent(runner.action_space), steps=2, min_batch=1)] == [2] * N
    finally:
        signal.signal(signal.SIGALRM, before)
        with pytest.warns(RuntimeWarning, match="did not end in time") if hangs else contextlib.nullcontext():
            runner.close()
        forget_threads()


@pytest.mark.parametrize(
    ("fault", "told"), [(ZeroDivisionError, "ZeroDivisionError"), (asyncio.CancelledError, ".*it was cancelled")]
)
def test_what_an_async_agent_raises_is_told(fault: type[BaseException], told: str) -> None:
    async def act(observations: NDArray[Any]) -> Any:
        await asyncio.sleep(0)
        raise fault

    told = f"raised at step 0 of the rollout: {told}"
    with build(Fleet(), n_envs=N, executor="asyncio") as runner, pytest.raises(AgentError, match=told):
        runner.rollout(act, steps=3)  # type: ignore[runnerkit-contract]


def test_elsewhere_async_envs_and_agents_are_told_of_the_executor() -> None:
    with build(plain, executor="serial") as runner, pytest.raises(ArgumentError, match="executor='asyncio'"):
        runner.rollout(AsyncAgent(None), steps=1)  # type: ignore[runnerkit-contract]
    with (
        build(lambda seed: CoroutineEnv(SPACES["float32"], SPACES["Discrete"]), executor="serial") as runner,
        pytest.raises(EnvError, match=r"a coroutine .*'asyncio'"),
    ):
        runner.rollout(HashAgent(runner.action_space), steps=1)
    with pytest.raises(ArgumentError, match="asyncio' has 1 worker, not 2"):
        build(plain, n_envs=2, executor="asyncio", workers=2)


def test_a_runner_works_inside_of_a_running_event_loop() -> None:
    async def main() -> Any:
        with build(Fleet(), n_envs=N, executor="asyncio") as runner:
            return runner.rollout(HashAgent(runner.action_space), steps=3)

    assert [len(history) for history in asyncio.run(main())] == [3] * N
