"""What there is to pay besides time per step: imports, memory, start-up, and idling."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from contextlib import ExitStack

import procfs
from arena import OPEN_LIMIT, RUN_LIMIT, ContestantError, Player
from cells import Cell, make_policy, parse_cell
from contestants import Job
from lineup import offered
from results import Cost

from runnerkit import GymRunner
from runnerkit.history.block import Block


def standing_costs(repeats: int, idle_seconds: float, names: Sequence[str] = ()) -> list[Cost]:
    """Return what 8 open CartPole envs cost each contestant; idling is not measured if given no time."""
    cell = Cell("CartPole-v1", 8)
    costs = [Cost(one.name) for one in offered(cell, names)]
    players: list[Player] = []
    with ExitStack() as stack:
        for cost in costs:
            players.append(Player(cost.name))
            stack.callback(players[-1].end)
            try:
                _open(cost, players[-1], Job(cell, 10), repeats)
            except ContestantError as error:
                cost.failure = str(error)
        if idle_seconds:
            _idle(costs, players, idle_seconds)
    return costs


def _open(cost: Cost, player: Player, job: Job, repeats: int) -> None:
    for again in range(repeats):
        if again:
            player.ask("close", OPEN_LIMIT)
        cost.opening.append(player.ask(job, OPEN_LIMIT))
    player.ask("run", RUN_LIMIT)
    cost.helpers = len(player.helpers)
    cost.helpers_bytes = sum(map(procfs.own_bytes, player.helpers))


def _idle(costs: list[Cost], players: list[Player], seconds: float) -> None:
    time.sleep(0.5)
    before = procfs.cpu_seconds()
    time.sleep(seconds)
    after = procfs.cpu_seconds()
    for cost, player in zip(costs, players, strict=True):
        if cost.failure is None:
            cost.idle = (after[player.pid] - before[player.pid]) / seconds


def import_times(repeats: int) -> str:
    """Return how much longer it takes to import runnerkit, and to have a GymRunner, than gymnasium."""
    statements = ["import gymnasium", "import runnerkit", "from runnerkit import GymRunner"]
    best = dict.fromkeys(statements, float("inf"))
    for _ in range(repeats):
        for statement in statements:
            code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            best[statement] = min(best[statement], float(done.stdout))
    reference = best["import gymnasium"]
    return "\n".join(f"- {name}: {t * 1e3:.0f} ms, {t / reference:.2f} of gymnasium's" for name, t in best.items())


def memory_peaks() -> str:
    """Return the peak of what a rollout allocates, over the bytes of its arrays."""
    lines = []
    for name, steps in (("CartPole-v1:8", 50_000), ("HalfCheetah-v5:8", 3000), ("ALE/Pong-v5:4", 300)):
        cell = parse_cell(name)
        try:
            found = _peak(cell, steps)
        except Exception as error:  # its package may be missing
            found = f"failed: {type(error).__name__}: {error}"
        lines.append(f"- {cell.title}, {steps} steps: {found}")
    return "\n".join(lines)


def _peak(cell: Cell, steps: int) -> str:
    agent = make_policy(cell)
    with GymRunner(cell.env_id, seed=0, n_envs=cell.n_envs, executor="serial") as runner:
        runner.rollout(agent, 10)
        nbytes = Block(runner._parts.layout, steps).nbytes
        tracemalloc.start()
        histories = runner.rollout(agent, steps)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del histories
    return f"{peak / 1e6:.1f} MB at the peak for {nbytes / 1e6:.1f} MB of arrays, {peak / nbytes:.3f} times as much"
