"""What an actor costs: the time of one actor for some units, beside one GymRunner in this process, in turns::

    python plugins/runnerkit-ray/benchmarks/overhead.py ALE/Pong-v5 --episodes 1 --units 4 --rounds 5

Both make the same episodes with the same agent. Each row is one round. Wall time needs a machine with two free cores.
CPU time, on Linux, is that of the process of the actor, and of the driver for the same units. It can be compared on a
busy machine, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from runnerkit_ray import RayRunner, RowAgent, join

import runnerkit


class Cost(NamedTuple):
    """Microseconds per step."""

    wall: float
    mine: float
    other: float


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process up to now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost(work: Callable[[], int], other: int) -> Cost:
    """Return what the work takes, also in another process."""
    before = time.perf_counter(), time.process_time(), cpu_of(other)
    steps = work()
    after = time.perf_counter(), time.process_time(), cpu_of(other)
    return Cost(*((b - a) / steps * 1e6 for a, b in zip(before, after, strict=True)))


def main() -> None:
    """Print the costs, round by round, and the medians of their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env")
    parser.add_argument("--episodes", type=int, default=1, help="per unit")
    parser.add_argument("--units", type=int, default=4, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--store", type=int, default=2**30, help="bytes of the object store")
    given = parser.parse_args()
    with (
        join("local", num_cpus=2, object_store_memory=given.store),
        RayRunner(given.env, seed=0, actors=1, episodes_per_unit=given.episodes) as ours,
        runnerkit.make(given.env, seed=0, executor="serial") as alone,
    ):
        agent: Any = RowAgent(ours.action_space)
        pid = ours.stats().actors[0].pid
        assert pid is not None

        def on_an_actor() -> int:
            return sum(len(one.history.rewards) for one in ours.collect(given.units, agent))

        def in_this_process() -> int:
            return sum(len(alone.rollout(agent, episodes=given.episodes)[0].rewards) for _ in range(given.units))

        ratios = []
        for _ in range(given.rounds + 1):  # the first warms up
            here, there = cost(in_this_process, pid), cost(on_an_actor, pid)
            ratios.append((there.wall / here.wall, there.other / here.mine))
            print(
                f"one process {here.wall:8.1f} us/step (CPU {here.mine:8.1f}), actor {there.wall:8.1f} "
                f"(CPU {there.other:8.1f}, of the driver {there.mine:6.1f})"
            )
        wall, cpu = (statistics.median(column) for column in zip(*ratios[1:], strict=True))
        print(f"median ratio: wall {wall:.3f}, CPU of the actor to that of one process {cpu:.3f}")


if __name__ == "__main__":
    main()
