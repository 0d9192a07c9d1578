"""Rolls Pong out into a folder, and watches the memory: it is to stay flat, however much is recorded.

    python tests/soak_npz.py [--gigabytes 10] [--env ALE/Pong-v5] [--n-envs 8] [--executor serial] [--min-batch 1]

Prints a line for each gigabyte of observations: resident memory, files, and their size. Removes the files at the end.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

import runnerkit
from runnerkit import Progress


def resident() -> float:
    """Return the resident memory of this process in MB."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def main() -> None:
    """Roll out, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--env", default="ALE/Pong-v5")
    parser.add_argument("--n-envs", type=int, default=8)
    parser.add_argument("--executor", default="serial")
    parser.add_argument("--min-batch", type=int, default=None)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="runnerkit-soak-"))
    history = ("npz", {"path": folder / "runs"})
    try:
        with runnerkit.make(
            arguments.env, seed=0, n_envs=arguments.n_envs, executor=arguments.executor, history=history
        ) as runner:
            agent = runnerkit.RandomAgent(runner.action_space, seed=0)
            step = np.asarray(runner.observation_space.sample()).nbytes
            told, began = 0.0, time.monotonic()

            def watch(progress: Progress) -> None:
                nonlocal told
                done = progress.steps * step / 1e9
                if done >= told:
                    told += 1.0
                    files = list((folder / "runs").iterdir())
                    size = sum(file.stat().st_size for file in files) / 1e6
                    said = (
                        f"{done:5.2f} GB  {resident():6.0f} MB resident  {len(files):4} files  {size:6.1f} MB on disk"
                    )
                    print(f"{said}  {time.monotonic() - began:5.0f} s", flush=True)

            steps = int(arguments.gigabytes * 1e9 / step / arguments.n_envs) + 1
            runner.rollout(agent, steps=steps, min_batch=arguments.min_batch, progress=watch)
            print(f"{resident():.0f} MB resident at the end, {steps} steps of each env")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
