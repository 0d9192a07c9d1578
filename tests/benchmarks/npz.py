"""How fast `history="npz"` is beside `arrays`: one rollout of each in turn, several times.

    python tests/benchmarks/npz.py [--executor serial] [--turns 7] [--seconds 0.7] [CartPole-v1 ALE/Pong-v5 ...]

Prints npz/arrays in steps per second: the median over the turns, the best, and the steps per second of `arrays`.
The files are removed at the end only: ext4 passes over inodes that were freed within the last minutes, so that after
thousands of removed files each new one takes up to 1 ms. `TMPDIR=/dev/shm` shows what it costs without a disk.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import runnerkit


def steps_per_second(env: str, executor: str, history: Any, steps: int) -> float:
    """Return the steps of all envs per second, with what it takes to have the histories on disk."""
    with runnerkit.make(env, seed=0, n_envs=8, executor=executor, history=history) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=10)
        began = time.perf_counter()
        runner.rollout(agent, steps=steps)
        return 8 * steps / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("envs", nargs="*", default=["CartPole-v1", "ALE/Pong-v5"])
    parser.add_argument("--executor", default="serial")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.7)
    arguments = parser.parse_args()
    folders: list[Path] = []
    for env in arguments.envs:
        speed = steps_per_second(env, arguments.executor, "arrays", 100)
        steps = max(20, int(speed * arguments.seconds / 8))
        ratios, plain = [], []
        for _ in range(arguments.turns):
            folders.append(Path(tempfile.mkdtemp(prefix="runnerkit-npz-")))
            plain.append(steps_per_second(env, arguments.executor, "arrays", steps))
            stored = steps_per_second(env, arguments.executor, ("npz", {"path": folders[-1] / "runs"}), steps)
            ratios.append(stored / plain[-1])
        median, best = statistics.median(ratios), max(ratios)
        print(
            f"{env:14} N=8 {arguments.executor}: {median:.2f} (best {best:.2f}) of {max(plain):,.0f} steps/s",
            flush=True,
        )
    for folder in folders:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
