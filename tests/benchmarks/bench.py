"""How fast rollouts are, as ratios to the bare Python loop over the same envs in the same run::

    python tests/benchmarks/bench.py                        # all cells, a Markdown table
    python tests/benchmarks/bench.py CartPole-v1:8 --repeats 9
    python tests/benchmarks/bench.py --only import memory

The bare loop steps plain Gymnasium envs, resets them without a seed, and keeps nothing. RunnerKit keeps a history of
arrays and seeds every episode. Nobody begins anew from one measurement to the next. Contestants take turns, so that a
noisy machine is noisy to all; a cell shows `best (median)`: the ratio of the best times, and the median of the ratios
turn by turn. Above 1 is faster than bare.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import SyncVectorEnv
from typing_extensions import override

from runnerkit import GymRunner
from runnerkit.history.block import Block

Seconds = float
Run = Callable[[int], Seconds]
"""Roll out so many steps of every env and return how long it took."""


@dataclass(frozen=True)
class Cell:
    env_id: str
    n_envs: int
    steps: int

    @override
    def __str__(self) -> str:
        return f"{self.env_id} N={self.n_envs}"


CELLS = [
    Cell("CartPole-v1", 8, 2000),
    Cell("CartPole-v1", 64, 250),
    Cell("Acrobot-v1", 8, 400),
    Cell("HalfCheetah-v5", 8, 300),
    Cell("Humanoid-v5", 8, 60),
    Cell("ALE/Pong-v5", 8, 100),
]


class TablePolicy:
    """Random actions out of a table: the same for all, and next to no work."""

    def __init__(self, cell: Cell) -> None:
        with contained(gymnasium.make(cell.env_id)) as env:
            env.action_space.seed(0)
            self._table = [np.stack([env.action_space.sample() for _ in range(cell.n_envs)]) for _ in range(1024)]
        self._next = 0

    def act(self, observations: object) -> Any:
        self._next = (self._next + 1) % 1024
        return self._table[self._next]


@contextmanager
def contained(env: Any) -> Iterator[Any]:
    try:
        yield env
    finally:
        env.close()


@contextmanager
def bare_loop(cell: Cell, policy: TablePolicy) -> Iterator[Run]:
    envs = [gymnasium.make(cell.env_id) for _ in range(cell.n_envs)]
    observations = [env.reset(seed=i)[0] for i, env in enumerate(envs)]

    def run(steps: int) -> Seconds:
        began = time.perf_counter()
        for _ in range(steps):
            actions = policy.act(observations)
            for i, env in enumerate(envs):
                observation, _, terminated, truncated, _ = env.step(actions[i])
                if terminated or truncated:
                    observation, _ = env.reset()
                observations[i] = observation
        return time.perf_counter() - began

    yield run
    for env in envs:
        env.close()


@contextmanager
def gymnasium_sync(cell: Cell, policy: TablePolicy) -> Iterator[Run]:
    with contained(SyncVectorEnv([lambda: gymnasium.make(cell.env_id)] * cell.n_envs)) as envs:
        observations, _ = envs.reset(seed=0)

        def run(steps: int) -> Seconds:
            nonlocal observations
            began = time.perf_counter()
            for _ in range(steps):
                observations, *_ = envs.step(policy.act(observations))
            return time.perf_counter() - began

        yield run


def runnerkit(executor: str) -> Callable[[Cell, TablePolicy], Any]:
    @contextmanager
    def contestant(cell: Cell, policy: TablePolicy) -> Iterator[Run]:
        with GymRunner(cell.env_id, seed=0, n_envs=cell.n_envs, executor=executor) as runner:

            def run(steps: int) -> Seconds:
                began = time.perf_counter()
                runner.rollout(policy, steps)
                return time.perf_counter() - began

            yield run

    return contestant


CONTESTANTS: dict[str, Callable[[Cell, TablePolicy], Any]] = {
    "bare loop": bare_loop,
    "RunnerKit serial": runnerkit("serial"),
    "RunnerKit threads": runnerkit("threads"),
    "RunnerKit processes": runnerkit("processes"),
    "gymnasium SyncVectorEnv (no history)": gymnasium_sync,
}


def measure(cell: Cell, repeats: int) -> dict[str, list[Seconds]]:
    """Return the times of each contestant, taken in turns."""
    policy = TablePolicy(cell)
    times: dict[str, list[Seconds]] = {name: [] for name in CONTESTANTS}
    with ExitStack() as stack:
        runs: dict[str, Run] = {name: stack.enter_context(make(cell, policy)) for name, make in CONTESTANTS.items()}
        for run in runs.values():
            run(max(5, cell.steps // 10))
        for _ in range(repeats):
            for name, run in runs.items():
                gc.collect()
                times[name].append(run(cell.steps))
    return times


def ratio(times: dict[str, list[Seconds]], name: str) -> str:
    bare, own = times["bare loop"], times[name]
    median = statistics.median(b / o for b, o in zip(bare, own, strict=True))
    return f"{min(bare) / min(own):.2f} ({median:.2f})"


def table(cells: Sequence[Cell], repeats: int) -> str:
    measured = {cell: measure(cell, repeats) for cell in cells}
    per_step = [f"{min(t['bare loop']) / c.steps / c.n_envs * 1e6:.1f} us" for c, t in measured.items()]
    lines = [
        "| | " + " | ".join(map(str, cells)) + " |",
        "|---" * (len(cells) + 1) + "|",
        "| bare loop, per env and step | " + " | ".join(per_step) + " |",
    ]
    for name in list(CONTESTANTS)[1:]:
        lines.append(f"| {name} | " + " | ".join(ratio(times, name) for times in measured.values()) + " |")
    return "\n".join(lines)


def import_ratio(repeats: int) -> str:
    """Return how much longer it takes to import runnerkit, and to have a GymRunner, than gymnasium."""
    commands = {
        "import gymnasium": "import gymnasium",
        "import runnerkit": "import runnerkit",
        "from runnerkit import GymRunner": "from runnerkit import GymRunner",
    }
    best = dict.fromkeys(commands, float("inf"))
    for _ in range(repeats):
        for name, statement in commands.items():
            code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            best[name] = min(best[name], float(done.stdout))
    reference = best["import gymnasium"]
    return "\n".join(f"{name}: {t * 1e3:.0f} ms, {t / reference:.2f} of gymnasium's" for name, t in best.items())


def memory_ratio() -> str:
    """Return the peak of what a rollout allocates, over the bytes of its arrays."""
    lines = []
    for cell in (Cell("CartPole-v1", 8, 50_000), Cell("HalfCheetah-v5", 8, 3000), Cell("ALE/Pong-v5", 4, 300)):
        with GymRunner(cell.env_id, seed=0, n_envs=cell.n_envs) as runner:
            agent = TablePolicy(cell)
            runner.rollout(agent, 10)
            block = Block(runner._parts.layout, cell.steps)
            nbytes = block.nbytes
            del block
            tracemalloc.start()
            histories = runner.rollout(agent, cell.steps)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            del histories
        lines.append(
            f"{cell}: {peak / 1e6:.1f} MB at the peak for {nbytes / 1e6:.1f} MB of arrays: {peak / nbytes:.3f}"
        )
    return "\n".join(lines)


def parse_cell(text: str) -> Cell:
    env_id, _, n_envs = text.rpartition(":")
    known = {(cell.env_id, cell.n_envs): cell for cell in CELLS}
    return known.get((env_id, int(n_envs)), Cell(env_id, int(n_envs), 200))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", help="ENV:N, all of the table if none is given")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--only", nargs="*", choices=["speed", "import", "memory"], default=["speed", "import", "memory"]
    )
    arguments = parser.parse_args()
    known = {f"{cell.env_id}:{cell.n_envs}": cell for cell in CELLS}
    chosen = [
        known.get(name) or Cell(name.rpartition(":")[0], int(name.rpartition(":")[2]), 200) for name in arguments.cells
    ]
    warnings.filterwarnings("ignore")
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    if any("ALE/" in cell.env_id for cell in chosen or CELLS):
        import ale_py

        gymnasium.register_envs(ale_py)
    print(f"Python {platform.python_version()}, gymnasium {gymnasium.__version__}, {os.cpu_count()} cores\n")
    if "speed" in arguments.only:
        print(table(chosen or CELLS, arguments.repeats), end="\n\n")
    if "import" in arguments.only:
        print(import_ratio(arguments.repeats), end="\n\n")
    if "memory" in arguments.only:
        print(memory_ratio())


if __name__ == "__main__":
    main()
