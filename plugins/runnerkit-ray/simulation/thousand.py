"""What a thousand actors would do: a simulation of `RayRunner`, with costs that were measured on one machine.

It prints the tables of the documentation::

    python thousand.py                  # simulate, with the costs below
    python thousand.py --measure        # measure the costs on this machine, with a local cluster (some seconds)

What is simulated, event by event: actors that make units; one network card of the driver's machine, through which all
results come; one thread of the driver, which takes results in order and sends the next units. What is not: the network
between other machines, Ray's own scheduling beyond the measured cost of a call, and faults.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import click
from typing_extensions import override

MB = 1e6


@dataclass(frozen=True)
class Costs:
    """What was measured, in seconds; see `measure`."""

    unit: float = 1.9e-3
    """The driver's work for a unit of next to no data: to send it, wait for it, and make a history of it."""
    take_mb: float = 0.3e-3
    """Its work for each MB of a result, to read it once for instance."""
    put_mb: float = 0.15e-3
    """To put a MB of weights into the object store."""


@dataclass(frozen=True)
class Cluster:
    """Machines of 32 cores with network cards of 10 Gbit/s, one actor per core."""

    cores: int = 32
    mb_per_second: float = 1250.0
    """Of each network card."""


@dataclass(frozen=True)
class Work:
    """Units of an env."""

    name: str
    step: float
    """The seconds of a step, agent included, on one core."""
    steps: int
    """In a unit."""
    step_bytes: int

    @property
    def seconds(self) -> float:
        """How long a unit takes."""
        return self.step * self.steps

    @property
    def mb(self) -> float:
        """How large its result is."""
        return self.steps * self.step_bytes / MB


WORKS = (
    Work("CartPole, 1 episode per unit", 12e-6, 200, 45),
    Work("CartPole, 50 episodes per unit", 12e-6, 200 * 50, 45),
    Work("Humanoid, 1 episode (1000 steps)", 250e-6, 1000, 348 * 8 + 17 * 4 + 20),
    Work("Pong, 84x84 grey, 1 episode", 1.6e-3, 900, 84 * 84 + 20),
    Work("Pong, 210x160 RGB, 1 episode", 0.45e-3, 3600, 210 * 160 * 3 + 20),
)


@dataclass(frozen=True)
class Outcome:
    """What came of a simulated run."""

    units: float
    """Units per second."""
    busy: float
    """The part of their time in which actors make units."""
    driver: float
    """The part of its time in which the driver works."""
    network: float
    """The part of its time in which the driver's network card is full."""
    stored_mb: float
    """The most MB of results that there may be at once, in the object stores of all machines together."""


def simulate(work: Work, actors: int, costs: Costs, cluster: Cluster, *, in_flight: int = 2, seed: int = 0) -> Outcome:
    """Return how a run of 20 units per actor goes, with units whose lengths vary by a third."""
    rng = random.Random(seed)
    total = actors * 20
    window = 2 * actors * in_flight
    send = costs.unit + work.mb * costs.take_mb
    across = 0.0 if actors <= cluster.cores else work.mb / cluster.mb_per_second
    ready: list[tuple[float, int, int]] = []  # results that actors have made: when, unit, by whom
    queues: list[deque[int]] = [deque() for _ in range(actors)]
    is_idle = [True] * actors
    made, driver, network, driver_free, network_free = 0.0, 0.0, 0.0, 0.0, 0.0
    waiting: set[int] = set()  # results that came before an earlier one
    following, handed = 0, 0

    def begin(k: int, now: float) -> None:
        nonlocal made
        if is_idle[k] and queues[k]:
            is_idle[k] = False
            seconds = work.seconds * max(0.1, rng.gauss(1.0, 1 / 3))
            made += seconds
            heapq.heappush(ready, (now + seconds, queues[k].popleft(), k))

    def may_send() -> bool:
        return following < min(total, handed + window)

    def send_to(k: int, now: float) -> None:
        nonlocal following
        queues[k].append(following)
        following += 1
        begin(k, now)

    for _, k in itertools.product(range(in_flight), range(actors)):
        if may_send():
            send_to(k, 0.0)
    hungry: deque[int] = deque()  # actors that may get another unit, once for each
    now = 0.0
    while ready:
        end, unit, k = heapq.heappop(ready)
        is_idle[k] = True
        begin(k, end)  # what waits with the actor begins at once
        network_free = max(network_free, end) + across
        network += across
        driver_free = now = max(driver_free, network_free) + send
        driver += send
        waiting.add(unit)
        while handed in waiting:
            waiting.remove(handed)
            handed += 1
        hungry.append(k)
        while hungry and may_send():
            send_to(hungry.popleft(), now)
    return Outcome(total / now, made / (now * actors), driver / now, network / now, min(window, total) * work.mb)


def broadcast(mb: float, machines: int, costs: Costs, cluster: Cluster) -> tuple[float, float]:
    """Return the seconds until all machines have new weights: one after the other, and each as a source of the next."""
    put, hop = mb * costs.put_mb, mb / cluster.mb_per_second
    others = max(0, machines - 1)
    return put + hop * others, put + hop * math.ceil(math.log2(others + 1))


def measure() -> Costs:
    """Return the costs of this machine: the best of several, as others use it, too."""
    import gymnasium
    import numpy as np
    from runnerkit_ray import RayRunner, RowAgent, join

    class Bytes(gymnasium.Env[np.ndarray[Any, Any], np.int64]):
        """Ten steps of so many bytes."""

        def __init__(self, n: int) -> None:
            self.observation_space = gymnasium.spaces.Box(0, 255, (n,), np.uint8)
            self.action_space = gymnasium.spaces.Discrete(2)
            self._seen = np.zeros(n, np.uint8)

        @override
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            self._t = 0
            return self._seen, {}

        @override
        def step(self, action: np.int64) -> Any:
            self._t += 1
            return self._seen, 0.0, self._t == 10, False, {}

    def driver(n: int, units: int) -> float:
        """Return the driver's seconds per unit."""
        with RayRunner(lambda _: Bytes(n), actors=1, seed=0, actor_options={"num_cpus": 0}) as runner:
            agent, found = RowAgent(runner.action_space), []
            for _ in range(4):
                begin = time.process_time()
                for collected in runner.collect(units, agent):
                    np.array(collected.history.observations)  # as a learner would read it
                found.append((time.process_time() - begin) / units)
            return min(found[1:])

    with join("local", num_cpus=1, object_store_memory=300 * 2**20):
        import ray

        weights, puts = np.zeros(40_000_000, np.uint8), []
        for _ in range(5):
            begin = time.process_time()
            _ = ray.put(weights)
            puts.append(time.process_time() - begin)
        unit = driver(1, 200)
        return Costs(unit, max(0.0, driver(1_000_000, 10) - unit) / 11, min(puts) / 40)


def tables(costs: Costs, cluster: Cluster) -> str:
    """Return the tables of the documentation."""
    lines = [
        "| work | actors | units/s | steps/s | actors busy | driver busy | network busy | object stores, at most |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for work in WORKS:
        for actors in (10, 100, 1000):
            found = simulate(work, actors, costs, cluster)
            lines.append(
                f"| {work.name} | {actors} | {found.units:,.0f} | {found.units * work.steps:,.0f} | {found.busy:.0%} | "
                f"{found.driver:.0%} | {found.network:.0%} | {found.stored_mb:,.0f} MB |"
            )
    lines += ["", "| weights | machines | one after the other | each as a source |", "|---|---|---|---|"]
    for mb, machines in itertools.product((1, 100, 1000), (4, 32)):
        slow, fast = broadcast(mb, machines, costs, cluster)
        lines.append(f"| {mb} MB | {machines} | {slow:.2f} s | {fast:.2f} s |")
    return "\n".join(lines)


@click.command()
@click.option("--measure", "measures", is_flag=True, help="Measure the costs on this machine first.")
@click.option("--gigabits", default=10.0, show_default=True, help="The network cards.")
def main(measures: bool, gigabits: float) -> None:
    """Print what a thousand actors would do."""
    costs = measure() if measures else Costs()
    click.echo(f"{costs}\n")
    click.echo(tables(costs, replace(Cluster(), mb_per_second=gigabits * 1000 / 8)))


if __name__ == "__main__":
    main()
