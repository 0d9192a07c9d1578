"""An executor of one's own: envs are stepped in the threads of a pool of the standard library::

    python custom_executor.py --steps 200 --seed 0

The envs here wait for a simulator, so that threads help. The data are those of every other executor: `Share` writes
them, which holds the envs of one worker. The conformance kit checks that nothing was forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import click
import gymnasium
import numpy as np
from typing_extensions import override

import runnerkit
from runnerkit.executors import EnvFacts, EpisodeStart, MakeExecutor, RunOptions, Share, first_fault, share_out
from runnerkit.history import ArrayHistory, Block, EpisodeLog, Rows
from runnerkit.testing import check_executor
from runnerkit.typing import AnyEnv

T = TypeVar("T")


class PoolExecutor:
    """Steps each share of the envs in a thread of a pool."""

    def __init__(self, n_envs: int, workers: int | None = None, /) -> None:
        self.shares = [Share(env_indices) for env_indices in share_out(n_envs, workers or n_envs)]
        self.workers = len(self.shares)
        self.pool = ThreadPoolExecutor(self.workers)

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> Sequence[EnvFacts]:
        """Make all envs, one after the other, as factories need not be thread-safe."""
        try:
            return [fact for share in self.shares for fact in share.open(make_env, options)]
        except BaseException:
            self.close()
            raise

    def attach(self, block: Block | None, /) -> None:
        """Let each share write into the same block: it writes the rows of its own envs only."""
        for share in self.shares:
            share.attach(block)

    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], /) -> None:
        """Begin episodes in all shares at once."""
        self._all(lambda share: share.reset(row, {i: starts[i] for i in share.env_indices if i in starts}))

    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        """Step all shares at once; action k is for env `active[k]`. Return whose episode ended."""

        def step_share(share: Share) -> list[int]:
            places = [k for k, i in enumerate(active) if i in share.env_indices]
            mine = [active[k] for k in places]
            return share.step(at, row, actions[places[0] : places[-1] + 1], mine, restart) if mine else []

        return [i for ended in self._all(step_share) for i in ended]

    def drain(self) -> EpisodeLog:
        """Return what all shares logged."""
        log, *others = [share.drain() for share in self.shares]
        for other in others:
            log.extend(other)
        return log

    def render(self, env_indices: Sequence[int], /) -> list[object]:
        """Return what each env renders, one after the other."""
        homes = {i: share for share in self.shares for i in share.env_indices}
        return [frame for i in env_indices for frame in homes[i].render([i])]

    def close(self) -> None:
        """Close all envs, even if some fail to, and end the threads."""
        try:
            self._all(lambda share: share.close())
        finally:
            self.shares = []  # a second call finds nothing to close
            self.pool.shutdown()

    def _all(self, call: Callable[[Share], T]) -> list[T]:
        """Call something with each share, wait for all of them, and raise the first fault, as serial would have."""
        futures = [self.pool.submit(call, share) for share in self.shares]
        faults = [fault for future in futures if (fault := future.exception()) is not None]
        if faults:
            raise first_fault(faults)
        return [future.result() for future in futures]


class Waiting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CartPole that waits for a simulator: two milliseconds in each step."""

    @override
    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Wait, then step."""
        time.sleep(0.002)
        return self.env.step(action)


def make_waiting(_: int | None) -> AnyEnv:
    """Make an env that waits."""
    return Waiting(gymnasium.make("CartPole-v1"))


def rollout(executor: MakeExecutor | str, steps: int, seed: int) -> tuple[list[ArrayHistory[Any, Any]], float]:
    """Return the histories of a rollout of eight envs, and how many seconds it took."""
    with runnerkit.make(make_waiting, n_envs=8, seed=seed, executor=executor) as runner:
        begin = time.perf_counter()
        histories = runner.rollout(runnerkit.RandomAgent(runner.action_space, seed), steps=steps)
        return histories, time.perf_counter() - begin


@click.command(help="Compare an executor of one's own with the serial one.")
@click.option("--steps", default=200, show_default=True, help="steps of each env")
@click.option("--seed", default=0, show_default=True)
@click.option("--check/--no-check", default=True, help="run the conformance kit, too")
def main(steps: int, seed: int, check: bool) -> None:
    """Show that the data are the same, and which is faster."""
    serial, slow = rollout("serial", steps, seed)
    pooled, fast = rollout(PoolExecutor, steps, seed)
    for one, other in zip(serial, pooled, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(one.rewards, other.rewards)
    click.echo(f"the same data, {slow / fast:.1f} times as fast as serial", err=True)
    if check:
        report = check_executor(PoolExecutor)
        report.raise_for_failures()
        click.echo(f"{report.ran} checks passed")


if __name__ == "__main__":
    main()
