"""Who is measured: the bare loop, RunnerKit, and the vector envs of Gymnasium. The other peers are in `peers`.

A contestant opens the envs of a job and yields a function that rolls out the job's steps and says how long it took.
What it keeps of a rollout is what it gives its users: RunnerKit a history, a collector its buffer. Where a peer only
steps, the observations are written into a new array. The bare loop keeps nothing.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from cells import SLOW_RESET, UNEVEN, WAITING, Cell, Kind, Policy, make_policy
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from runnerkit import GymRunner, stack
from runnerkit._core.cores import available_cores
from runnerkit._plugins.manager import installed_plugins

Seconds = float
Run = Callable[[], Seconds]


@dataclass(frozen=True)
class Job:
    """What a contestant is to do: so many steps of every env of the cell in each run."""

    cell: Cell
    steps: int
    workers: int | None = None


Open = Callable[[Job, Policy], AbstractContextManager[Run]]


@dataclass(frozen=True)
class Contestant:
    name: str
    open: Open
    modules: Sequence[str] = ()
    """What must be installed, and is imported before anything is timed."""
    overhead: float = 0.0
    """About how many microseconds more than the bare loop it needs per env and step."""
    executor: str | None = None
    """The executor of RunnerKit that it is."""
    kind: Kind = "single"
    """What cells it is for."""
    env_id: str | None = None
    """The only env that it is for; None if it is for all."""

    def is_offered(self) -> bool:
        """Whether this installation has it."""
        if self.executor is not None:
            return installed_plugins().find("executors", self.executor) is not None
        return all(_is_installed(module) for module in self.modules)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def timed(rollout: Callable[[], object]) -> Seconds:
    """Time a rollout; what it returns is freed later, as users do."""
    began = time.perf_counter()
    kept = rollout()
    seconds = time.perf_counter() - began
    del kept
    return seconds


@contextmanager
def bare_loop(job: Job, policy: Policy) -> Iterator[Run]:
    envs = [gymnasium.make(job.cell.env_id) for _ in range(job.cell.n_envs)]
    observations = [env.reset(seed=i)[0] for i, env in enumerate(envs)]

    def rollout() -> None:
        for _ in range(job.steps):
            actions = policy.act(observations)
            for i, env in enumerate(envs):
                observation, _, terminated, truncated, _ = env.step(actions[i])
                if terminated or truncated:
                    observation, _ = env.reset()
                observations[i] = observation

    try:
        yield lambda: timed(rollout)
    finally:
        for env in envs:
            env.close()


def runnerkit(*, instead: str | None = None, **options: Any) -> Open:
    """Open a runner; of the env `instead` of that of the cell, to see what could be had."""

    @contextmanager
    def open_runner(job: Job, policy: Policy) -> Iterator[Run]:
        cell = job.cell
        env: Any = (lambda seed: native_vector_env(cell)) if cell.vector else instead or cell.env_id
        with GymRunner(env, seed=0, n_envs=cell.n_envs, workers=job.workers, **options) as runner:
            runner.maybe_reset()
            yield lambda: timed(lambda: runner.rollout(policy, job.steps))

    return open_runner


def gymnasium_vector(make: Callable[[list[Any]], Any]) -> Open:
    @contextmanager
    def open_envs(job: Job, policy: Policy) -> Iterator[Run]:
        envs = make([lambda: gymnasium.make(job.cell.env_id)] * job.cell.n_envs)
        try:
            yield stepping(envs, envs.reset(seed=0)[0], job, policy)
        finally:
            envs.close()

    return open_envs


def stepping(envs: Any, observations: Any, job: Job, policy: Policy) -> Run:
    """Return a run that steps a vector env, whoever made it, and keeps the observations."""

    def rollout() -> object:
        nonlocal observations
        kept = np.empty((job.steps, *observations.shape), observations.dtype)
        for t in range(job.steps):
            kept[t] = observations
            observations, *_ = envs.step(policy.act(observations))
        return kept

    return lambda: timed(rollout)


@contextmanager
def storing_steps(job: Job, policy: Policy) -> Iterator[Run]:
    """Step a SyncVectorEnv and keep new arrays for each short rollout."""
    cell = job.cell
    envs = SyncVectorEnv([lambda: gymnasium.make(cell.env_id)] * cell.n_envs, copy=False)
    observations, _ = envs.reset(seed=0)

    def rollout() -> None:
        nonlocal observations
        for _ in range(job.steps // cell.chunk):
            n = cell.chunk, cell.n_envs
            kept = np.empty((n[0] + 1, *observations.shape), observations.dtype)
            actions, rewards = np.empty(n, np.int64), np.empty(n)
            terminated, truncated = np.empty(n, bool), np.empty(n, bool)
            kept[0] = observations
            for t in range(n[0]):
                actions[t] = policy.act(observations)
                observations, rewards[t], terminated[t], truncated[t], _ = envs.step(actions[t])
                kept[t + 1] = observations

    try:
        yield lambda: timed(rollout)
    finally:
        envs.close()


def native_vector_env(cell: Cell) -> Any:
    return gymnasium.make_vec(cell.env_id, cell.n_envs, vectorization_mode="vector_entry_point")


@contextmanager
def bare_vector_loop(job: Job, policy: Policy) -> Iterator[Run]:
    """Keep all arrays that a history has."""
    envs = native_vector_env(job.cell)
    observations, _ = envs.reset(seed=0)

    def rollout() -> object:
        nonlocal observations
        n = (job.steps, job.cell.n_envs)
        kept = np.empty((n[0] + 1, *observations.shape), observations.dtype)
        actions = np.empty((n[0], *envs.action_space.shape), envs.action_space.dtype)
        rewards, terminated, truncated = np.empty(n), np.empty(n, bool), np.empty(n, bool)
        kept[0] = observations
        for t in range(job.steps):
            actions[t] = policy.act(observations)
            kept[t + 1], rewards[t], terminated[t], truncated[t], _ = envs.step(actions[t])
            observations = kept[t + 1]
        return kept, actions, rewards, terminated, truncated

    try:
        yield lambda: timed(rollout)
    finally:
        envs.close()


@contextmanager
def storing_loop(job: Job, policy: Policy) -> Iterator[Run]:
    """Do what a learner with short rollouts would write by hand: new arrays for each, and all that a history has."""
    n, k = job.cell.n_envs, job.cell.chunk
    envs = [gymnasium.make(job.cell.env_id) for _ in range(n)]
    shape, dtype = envs[0].observation_space.shape or (), envs[0].observation_space.dtype
    observations = np.stack([env.reset(seed=i)[0] for i, env in enumerate(envs)])

    def rollout() -> None:
        for _ in range(job.steps // k):
            seen, after = np.empty((k, n, *shape), dtype), np.empty((k, n, *shape), dtype)
            actions, rewards = np.empty((k, n), np.int64), np.empty((k, n))
            terminated, truncated = np.empty((k, n), bool), np.empty((k, n), bool)
            for t in range(k):
                seen[t] = observations
                chosen = policy.act(observations)
                actions[t] = chosen
                for i, env in enumerate(envs):
                    observation, rewards[t, i], terminated[t, i], truncated[t, i], _ = env.step(chosen[i])
                    after[t, i] = observation
                    if terminated[t, i] or truncated[t, i]:
                        observation, _ = env.reset()
                    observations[i] = observation

    try:
        yield lambda: timed(rollout)
    finally:
        for env in envs:
            env.close()


def in_short_rollouts(roll: Callable[[GymRunner[Any, Any, Any], Policy, int, int], None]) -> Open:
    @contextmanager
    def open_runner(job: Job, policy: Policy) -> Iterator[Run]:
        cell = job.cell
        with GymRunner(cell.env_id, seed=0, n_envs=cell.n_envs, executor="serial") as runner:
            runner.maybe_reset()
            yield lambda: timed(lambda: roll(runner, policy, cell.chunk, job.steps // cell.chunk))

    return open_runner


def rollouts(runner: GymRunner[Any, Any, Any], policy: Policy, k: int, times: int) -> None:
    for _ in range(times):
        read(stack(runner.rollout(policy, steps=k)))


def stream(runner: GymRunner[Any, Any, Any], policy: Policy, k: int, times: int) -> None:
    for _, batch in zip(range(times), runner.stream(policy, steps=k), strict=False):
        read(batch)


def read(batch: Any) -> object:
    """Read the columns, as a learner does."""
    state = batch.observations, batch.actions, batch.next_observations
    return *state, batch.rewards, batch.terminated, batch.truncated


@contextmanager
def independent_loops(job: Job, policy: Policy) -> Iterator[Run]:
    """Run a bare loop per core over its part of the envs; none waits for another before the end of the run.

    That is what the machine can do. An executor cannot: at each step the agent waits for the slowest.
    """
    cell, loops = job.cell, min(available_cores(), job.cell.n_envs)
    parts = [dataclasses.replace(cell, n_envs=len(part)) for part in np.array_split(np.arange(cell.n_envs), loops)]
    fork = multiprocessing.get_context("fork")
    lines, helpers = [], []
    for part in parts[1:]:
        ours, theirs = fork.Pipe()
        lines.append(ours)
        helpers.append(
            fork.Process(target=_loop_along, args=(theirs, dataclasses.replace(job, cell=part)), daemon=True)
        )
        helpers[-1].start()
        theirs.close()
    with bare_loop(dataclasses.replace(job, cell=parts[0]), policy) as own:

        def run() -> Seconds:
            began = time.perf_counter()
            for line in lines:
                line.send("run")
            own()
            for line in lines:
                line.recv()
            return time.perf_counter() - began

        yield run
    for line, helper in zip(lines, helpers, strict=True):
        line.close()
        helper.join(timeout=5)


def _loop_along(line: Any, job: Job) -> None:
    with bare_loop(job, make_policy(job.cell)) as run:
        try:
            while line.recv():
                line.send(run())
        except EOFError:  # all runs are done
            return


_SPARE: dict[str, Any] = {"spare_envs": 1, "repeatable": True}
_FREE: dict[str, Any] = {"instead": "bench_envs:FreeReset-v0"}

BASELINES = [
    Contestant("bare loop", bare_loop),
    Contestant("bare VectorEnv loop", bare_vector_loop, kind="vector"),
    Contestant("loop that stores", storing_loop, kind="short"),
]

LIMIT = Contestant("limit: loops that never wait", independent_loops)

OWN = [
    *(
        Contestant(f"RunnerKit {executor}", runnerkit(executor=executor), overhead=overhead, executor=executor)
        for executor, overhead in [("serial", 1.0), ("threads", 10.0), ("auto", 1.0), ("processes", 0.0)]
    ),
    *(
        Contestant(f"RunnerKit {executor}, {what}", runnerkit(executor=executor, **options), env_id=SLOW_RESET)
        for what, options in [
            ("spare envs", _SPARE),
            ("if resets took no time", _FREE),
        ]
        for executor in ("threads", "processes")
    ),
    *(
        Contestant(f"RunnerKit {title}, min_batch=1", runnerkit(executor=executor, min_batch=1), env_id=env_id)
        for title, executor, env_id in [
            ("threads", "threads", WAITING),
            ("processes", "processes", UNEVEN),
            ("processes, isolated", ("processes", {"isolate": True}), UNEVEN),
        ]
    ),
    Contestant("RunnerKit over it", runnerkit(), ["runnerkit.executors.vector.executor"], kind="vector"),
    Contestant("RunnerKit rollout", in_short_rollouts(rollouts), overhead=20, kind="short"),
    Contestant("RunnerKit stream", in_short_rollouts(stream), overhead=10, kind="short"),
]

GYMNASIUM = [
    Contestant(
        "gymnasium SyncVectorEnv", gymnasium_vector(lambda makers: SyncVectorEnv(makers, copy=False)), overhead=2
    ),
    Contestant(
        "gymnasium AsyncVectorEnv", gymnasium_vector(lambda makers: AsyncVectorEnv(makers, copy=False)), overhead=40
    ),
    Contestant("gymnasium SyncVectorEnv, stored", storing_steps, overhead=10, kind="short"),
]
