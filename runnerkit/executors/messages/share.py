"""A worker that shares no memory with the caller: all that its envs give is in what it answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from runnerkit._core.spaces import Column, Rows
from runnerkit._core.types import AnyEnv
from runnerkit.executors.env_calls import EnvCall
from runnerkit.executors.processes.standins import be_helper
from runnerkit.executors.processes.surroundings import Surroundings, load_factory
from runnerkit.executors.processes.transport import dumps, loads_in_helper, pack
from runnerkit.executors.share import Share
from runnerkit.executors.step_faults import StepFaultsError
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, EpisodeStart, RunOptions

__all__ = ["FarWorker", "FarShare", "Given"]


class Given(NamedTuple):
    """What envs gave in a step, or in a reset.

    Attributes:
        at: the row of the rewards and flags in the caller's block; -1 after a reset, which has none.
        row: the row of the observations.
        env_indices: the envs that were asked.
        ended: those of them whose episode ended.
        observations: for each leaf of the observation space, the observations of these envs.
        signals: their rewards, and the flags terminated and truncated.
        log: what was logged; None if there was nothing.

    """

    at: int
    row: int
    env_indices: list[int]
    ended: list[int]
    observations: list[Column]
    signals: list[Column]
    log: EpisodeLog | None


class FarShare:
    """The envs of a worker that the caller's block is out of reach for: what would be written there, it returns::

        far = FarShare(range(2, 4))
        far.open(make_env, options)
        far.attach_window(layout)
        far.reset(0, starts)                # a Given, which can be pickled

    Its methods are those of `Share`, by the names that `MessageExecutor` submits.
    """

    def __init__(self, env_indices: Sequence[int]) -> None:
        self._share = Share(env_indices)
        self._active: Sequence[int] = ()
        self._window: Block

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions) -> list[EnvFacts]:
        """Make the envs."""
        return self._share.open(make_env, options)

    def attach_window(self, layout: BlockLayout) -> None:
        """Begin a rollout whose blocks have this layout."""
        self._window = Block(layout, 1, window=True)
        self._share.attach(self._window)

    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]]) -> Given:
        """Begin the given episodes."""
        try:
            self._share.reset(row & 1, starts)
        except StepFaultsError as faults:
            faults.besides = self._given(-1, row, list(starts), [])
            raise
        return self._given(-1, row, list(starts), [])

    def step(self, at: int, row: int, actions: Rows, active: list[int], restart: bool) -> Given:
        """Step the given envs."""
        block = self._window
        block.terminated[:], block.truncated[:] = False, False  # a row begins as False
        if active != self._active:  # else the same list: the share knows a batch of envs by its identity
            self._active = active
        try:
            ended = self._share.step(0, row & 1, actions, self._active, restart)
        except StepFaultsError as faults:
            faults.besides = self._given(at, row, active, faults.ended)
            raise
        return self._given(at, row, active, ended)

    def begin_again(self, at: int, row: int, env_indices: list[int]) -> Given:
        """Begin the next episodes of envs whose episode ended in a step that was made without `restart`."""
        self._share.begin_again(env_indices, 0, row & 1)
        return self._given(at, row, env_indices, [])._replace(at=-1)

    def remake(self, env_indices: Sequence[int]) -> list[EnvFacts]:
        """Make envs anew."""
        return self._share.remake(env_indices)

    def render(self, env_indices: Sequence[int]) -> list[object]:
        """Return what each env renders."""
        return self._share.render(env_indices)

    def call_envs(self, call: EnvCall, env_indices: Sequence[int]) -> list[Any]:
        """Return what each env answers."""
        return self._share.call_envs(call, env_indices)

    def drain(self) -> EpisodeLog:
        """Return what no answer has told: timings."""
        return self._share.drain()

    def close(self) -> None:
        """Close all envs."""
        self._share.close(watched=False)  # whoever waits for the worker watches

    def _given(self, at: int, row: int, env_indices: list[int], ended: list[int]) -> Given:
        block = self._window
        log = self._share.drain_what_there_is()
        if log is not None and at > 0:
            log.move_rows(lambda _, first: first + at)
            log.infos = [(i, at, info) for i, _, info in log.infos]
        observations = [column[row & 1, env_indices] for column in block.raw]
        signals = (block.rewards, block.terminated, block.truncated) if at >= 0 else ()
        return Given(at, row, env_indices, ended, observations, [column[0, env_indices] for column in signals], log)


class FarWorker:
    """The far side of a `MessageHandle`, in a process of its own: it makes envs, and answers letters with letters::

        worker = FarWorker(env_indices, path)       # what MessageHandle.far says
        while True:
            send(worker.call(receive()))

    Letters are pickled. What only the caller can import, as the functions of a script, travels with them.

    Args:
        env_indices: its envs.
        path: the caller's `sys.path`; what it can import, this process can, too, if it is there.

    """

    def __init__(self, env_indices: Sequence[int], path: Sequence[str]) -> None:
        be_helper()
        sys.path += [folder for folder in path if folder not in sys.path]
        self._first = env_indices[0]
        self._share = FarShare(env_indices)

    def call(self, letter: bytes, /) -> bytes:
        """Do what the letter says, and return a letter that tells what it returned, or raised."""
        try:
            name, args = loads_in_helper(letter)
            method: Callable[..., object] = self._open if name == "open" else getattr(self._share, name)
            answer: tuple[object, object] = method(*args), None
            return dumps(answer)
        except BaseException as fault:
            return dumps((None, pack(fault)))

    def _open(self, factory: bytes, options: RunOptions, surroundings: Surroundings) -> list[EnvFacts]:
        facts = self._share.open(load_factory(factory, options.seed, surroundings, self._first), options)
        # processes of two machines may have the same number, and their envs the same address
        return [replace(fact, identity=(-1 - self._first, fact.identity[1])) for fact in facts]
