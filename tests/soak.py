"""Thousands of episodes with random faults on each executor: is everything flat? It is not part of CI::

    python tests/soak.py                            # 10,000 episodes per executor
    python tests/soak.py --episodes 2000 --executors threads,processes

An env raises, returns what does not fit, kills its process or hangs, at random moments, and is made anew. Now and then
the runner is closed and built anew. Ten times per executor, a row tells of RSS (helpers included), threads, processes
and open files. The exit code is 1 if the last rows are higher than those after the first fifth.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, Final, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit.errors import EnvError

ROWS: Final = 10
RSS_SLACK: Final = 0.04  # of the allocator, which is never quite still
N_ENVS: Final = 6
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "serial": {"executor": "serial"},
    "threads": {"executor": "threads", "step_timeout": 0.2},
    "processes": {"executor": "processes", "workers": 3, "step_timeout": 0.5},
}


class Faulty(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Episodes of 1 to 30 steps; about one step in 300 fails."""

    def __init__(self, executor: str) -> None:
        self.observation_space = spaces.Box(-1e6, 1e6, (64,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.ways = ["raises", "shape", "reset", "hangs"] if executor != "serial" else ["raises", "shape", "reset"]
        self.ways += ["dies"] if executor == "processes" else []

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 31))
        fails = self.np_random.random() < 0.05
        self.way = str(self.np_random.choice(self.ways)) if fails else ""
        if self.way in ("hangs", "dies") and self.np_random.random() > 0.05:  # which take their time
            self.way = "raises"
        self.fails_at = int(self.np_random.integers(1, self.left + 1))
        if self.way == "reset":
            raise OSError("broken")
        return self._look(), {}

    def _look(self) -> NDArray[np.float32]:
        return self.np_random.normal(size=64).astype(np.float32)

    @override
    def step(self, action: np.int64) -> Any:
        self.left -= 1
        if self.left + 1 == self.fails_at:
            if self.way == "raises":
                raise OSError("broken")
            if self.way == "shape":
                return np.zeros(3, np.float32), 0.0, False, False, {}
            if self.way == "dies":
                os._exit(3)
            if self.way == "hangs":
                time.sleep(1.0)
        return self._look(), 1.0, self.left == 0, False, {}


class Row(NamedTuple):
    """What is used at one moment."""

    executor: str
    episodes: int
    faults: int
    seconds: float
    rss: float
    """MB, helpers included."""
    threads: int
    processes: int
    files: int


def rss(pid: int | str) -> float:
    """Return the memory of a process in MB."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:  # it has just ended
        return 0.0


def children() -> list[str]:
    """Return the ids of the child processes."""
    return [pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def soak(executor: str, episodes: int) -> list[Row]:
    """Collect so many episodes, and return what was used meanwhile."""
    rows: list[Row] = []
    began, done, faults, run = time.monotonic(), 0, 0, 0
    while done < episodes:
        runner: Any = runnerkit.make(
            lambda seed: Faulty(executor), seed=run, n_envs=N_ENVS, on_env_error="restart", max_restarts=10**6,
            **OPTIONS[executor],
        )  # fmt: skip
        run += 1
        with runner:
            agent = runnerkit.RandomAgent(runner.action_space, seed=0)
            goal = min(episodes, episodes * run // (2 * ROWS))  # two runners per row
            while done < goal:
                histories: list[Any] = []
                try:
                    histories += runner.rollout(agent, steps=50)
                except EnvError as error:
                    histories += error.histories
                done += sum(int(episode.end_reason != "cut") for history in histories for episode in history.episodes)
                faults += sum(len(history.faults) for history in histories)
                del histories
            if run % 2 == 0:
                time.sleep(1.2 if executor == "threads" else 0.1)  # threads that were left behind end
                gc.collect()
                pids = children()
                memory = rss("self") + sum(map(rss, pids))
                used = memory, threading.active_count(), len(pids), len(os.listdir("/proc/self/fd"))
                rows.append(Row(executor, done, faults, time.monotonic() - began, *used))
                print(line(rows[-1]), flush=True)
    return rows


def line(row: Row) -> str:
    """Return a row as a line of the table."""
    return (
        f"{row.executor:<10} {row.episodes:>9} {row.faults:>7} {row.seconds:>8.1f} {row.rss:>8.1f} {row.threads:>8} "
        f"{row.processes:>10} {row.files:>6}"
    )


def growing(rows: list[Row]) -> list[str]:
    """Return what is higher at the end than after the first fifth."""
    if len(rows) < 4:
        return []
    early, late = rows[1 : len(rows) // 2], rows[-len(rows) // 3 :]
    found = []
    for name, slack in (("rss", RSS_SLACK), ("threads", 0.0), ("processes", 0.0), ("files", 0.0)):
        before, after = (max(getattr(row, name) for row in some) for some in (early, late))
        if after > before * (1 + slack):
            found.append(f"{rows[0].executor}: {name} grew from {before:.1f} to {after:.1f}")
    return found


def main() -> int:
    """Print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("::")[0])
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--executors", default="serial,threads,processes")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # an env that hangs is warned of
    print("executor    episodes  faults  seconds   RSS/MB  threads  processes  files")
    found = [what for name in given.executors.split(",") for what in growing(soak(name, given.episodes))]
    print("\n".join(found) or "Flat: RSS, threads, processes and files.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
