"""What an actor costs: the time of one actor for some units, beside one GymRunner in this process, in turns::

    python plugins/runnerkit-ray/benchmarks/overhead.py ALE/Pong-v5 --episodes 1 --units 4 --rounds 5

Both make the same episodes with the same agent. What the driver does with the data is in it. Run it on a machine with
two free cores. Each row is one round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from runnerkit_ray import RayRunner, RowAgent, join

import runnerkit


def seconds(work: Callable[[], int]) -> float:
    """Return the seconds per step."""
    began = time.perf_counter()
    steps = work()
    return (time.perf_counter() - began) / steps


def main() -> None:
    """Print the ratios, round by round, and their median."""
    parser = argparse.ArgumentParser(description=__doc__)
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

        def on_an_actor() -> int:
            return sum(len(one.history.rewards) for one in ours.collect(given.units, agent))

        def in_this_process() -> int:
            return sum(len(alone.rollout(agent, episodes=given.episodes)[0].rewards) for _ in range(given.units))

        ratios = []
        for _ in range(given.rounds + 1):  # the first warms up
            here, there = seconds(in_this_process), seconds(on_an_actor)
            ratios.append(there / here)
            print(f"{here * 1e6:8.1f} us/step here, {there * 1e6:8.1f} us/step on an actor, ratio {there / here:.3f}")
        print(f"median ratio {statistics.median(ratios[1:]):.3f}")


if __name__ == "__main__":
    main()
