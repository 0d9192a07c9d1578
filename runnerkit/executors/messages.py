"""Executors whose workers share no memory with the caller: all that envs give comes in what the workers answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from typing_extensions import TypeVar, override

from runnerkit._core.spaces import Column, Rows
from runnerkit._core.types import AnyEnv
from runnerkit.executors.env_calls import EnvCall
from runnerkit.executors.share import Share
from runnerkit.executors.sharing import Call, SharingExecutor, Worker
from runnerkit.executors.step_faults import StepFaultsError
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, EpisodeStart, RunOptions

__all__ = ["FarShare", "Given", "MessageExecutor"]


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


WorkerT = TypeVar("WorkerT", bound=Worker)


class MessageExecutor(SharingExecutor[WorkerT]):
    """Steps envs through workers that each have a `FarShare`; the calling thread has no env.

    A subclass fills `_helpers` in `open`, and adds `close`. A worker sends the calls of `Worker.submit` on to its
    share, by the name of the method.
    """

    def __init__(self) -> None:
        super().__init__(Share(()))
        self._block: Block | None = None
        self._log: EpisodeLog
        self._measures: bool = False

    def attach(self, block: Block | None, /) -> None:
        """Write into this block from now on; None lets go of the last one."""
        before, self._block, self._split_for = self._block, block, ()
        if block is None or block is before:
            return
        self._require_own_process()
        self._patience.regain()
        self._log = EpisodeLog(block.layout.raw)
        try:
            self._all("attach_window", self._for_all(block.layout))
        except StepFaultsError:  # a worker is dead, which the next step says, too: then it is replaced
            return

    def drain(self) -> EpisodeLog:
        """Return what was logged since the last call."""
        assert self._block is not None
        log, self._log = self._log, EpisodeLog(self._block.layout.raw)
        if self._measures:
            for more in self._all("drain", self._for_all())[1:]:
                log.extend(more)
        return log

    # ---- inside

    def _begin(self, options: RunOptions) -> None:
        """Take note of the options that the run has."""
        self._tolerant, self._measures = options.restarts, options.timings

    def _for_all(self, *args: Any) -> list[Call]:
        """Return the calls of `_all` for all workers with the same arguments."""
        return [None, *[args] * len(self._helpers)]

    @override
    def _places(self) -> list[Sequence[int]]:
        return [(), *(helper.env_indices for helper in self._helpers)]

    @override
    def _received(self, answer: Given, row: int, env_indices: Sequence[int], /) -> Sequence[int]:
        block = self._block
        assert block is not None
        for column, values in zip(block.raw, answer.observations, strict=True):
            _put(column, answer.row, answer.env_indices, values)
        if answer.at >= 0:
            for column, values in zip((block.rewards, block.terminated, block.truncated), answer.signals, strict=True):
                column[answer.at, answer.env_indices] = values
        if answer.log is not None:
            self._log.extend(answer.log)
        return answer.ended

    @override
    def _ended(self, answers: Sequence[Any], calls: Sequence[Call], /) -> list[int]:
        found = [answer for answer in answers if isinstance(answer, Given)]
        return [i for answer in found for i in self._received(answer, answer.row, answer.env_indices)]

    @override
    def _raised(self, faults: Sequence[BaseException], ended: Sequence[int], /) -> BaseException:
        for fault in faults:
            if isinstance(fault, StepFaultsError) and isinstance(fault.besides, Given):
                self._received(fault.besides, fault.besides.row, fault.besides.env_indices)
        return super()._raised(faults, ended)


def _put(column: Column, row: int, env_indices: Sequence[int], values: Column) -> None:
    if column.dtype != object:
        column[row, env_indices] = values
        return
    for i, value in zip(env_indices, values, strict=True):  # each a thing of its own, be it an array
        column[row, i] = value
