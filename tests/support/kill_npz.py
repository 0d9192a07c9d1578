"""Kills a running `runnerkit rollout -o DIR` at random moments, and checks that every listed episode is exact.

    python tests/support/kill_npz.py [--kills 100] [--executor serial --executor processes ...] [--min-batch 1]

Exact means: its checksum is right, and the env, reset with its seed and given its actions, says the same bit by bit.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import runnerkit

ENV = "CartPole-v1"
AT_THEIR_OWN_PACE = """
import sys
import runnerkit
env, path, executor, min_batch = sys.argv[1:]
history = ("npz", {"path": path})
with runnerkit.make(env, n_envs=3, seed=1, executor=executor, history=history) as runner:
    agent = runnerkit.RandomAgent(runner.action_space, seed=0)
    runner.rollout(agent, steps=900_000, min_batch=int(min_batch))
"""


def killed_once(folder: Path, executor: str, seconds: float, min_batch: int | None = None) -> int:
    """Start a rollout, kill it so long after its first listed episode, and return how many episodes were listed."""
    command = [sys.executable, "-m", "runnerkit", "rollout", ENV, "--n-envs", "3", "--steps", "900000"]
    command += ["--executor", executor, "--seed", "1", "--no-progress", "-o", str(folder)]
    if min_batch is not None:
        command = [sys.executable, "-c", AT_THEIR_OWN_PACE, ENV, str(folder), executor, str(min_batch)]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    before = listed_in(folder)
    process = subprocess.Popen(command, start_new_session=True, **quiet)
    try:
        began = time.monotonic()
        while listed_in(folder) == before:
            if process.poll() is not None or time.monotonic() - began > 60:
                raise AssertionError(f"{command} has ended with {process.returncode}, or does not list an episode")
            time.sleep(0.01)
        time.sleep(seconds)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return exact_episodes(folder)


def listed_in(folder: Path) -> int:
    """Return how many lines the manifest has about episodes."""
    path = folder / "manifest.jsonl"
    return path.read_bytes().count(b'"file":') if path.exists() else 0


def exact_episodes(folder: Path) -> int:
    """Return how many episodes a folder lists; raises AssertionError if one is not exact."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a torn line
        runs = runnerkit.load(folder)
    assert list(runs.faults()) == []
    env: gymnasium.Env[Any, Any] = gymnasium.make(ENV)
    for history, record in zip(runs, runs.episodes, strict=True):
        assert record.steps_before == 0
        observation, _ = env.reset(seed=record.seed)
        np.testing.assert_array_equal(history.observations[0], observation)
        for t, action in enumerate(history.actions):
            observation, reward, terminated, truncated, _ = env.step(action)
            np.testing.assert_array_equal(history.next_observations[t], observation)
            said = (history.rewards[t], history.terminated[t], history.truncated[t])
            assert said == (reward, terminated, truncated)
    return len(runs)


def main() -> None:
    """Kill, check, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--executor", action="append", default=None)
    parser.add_argument("--min-batch", type=int, default=None)
    arguments = parser.parse_args()
    draw = random.Random(0)
    for executor in arguments.executor or ["serial", "threads", "processes"]:
        episodes = torn = unlisted = 0
        for _ in range(arguments.kills):
            with tempfile.TemporaryDirectory(prefix="runnerkit-kill-") as folder:
                seconds = draw.uniform(0.0, 0.8)
                episodes += killed_once(Path(folder) / "runs", executor, seconds, arguments.min_batch)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)
                    runs = runnerkit.load(Path(folder) / "runs")
                torn += runs.torn > 0
                unlisted += len(runs.unlisted())
        said = f"{arguments.kills} kills, {episodes} listed episodes, all exact; {torn} torn lines"
        print(f"{executor}: {said}, {unlisted} files that were not listed yet", flush=True)


if __name__ == "__main__":
    main()
