"""The caller's side of executors that speak in messages alone."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from typing_extensions import TypeVar, override

from runnerkit._core.cores import share_out
from runnerkit._core.faults import close_after, describe
from runnerkit._core.spaces import Column, Rows
from runnerkit._core.types import AnyEnv
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.executors.calls import Doing
from runnerkit.executors.messages.handle import MessageHandle
from runnerkit.executors.messages.share import Given
from runnerkit.executors.processes.surroundings import Surroundings
from runnerkit.executors.processes.transport import dumps_for_helper
from runnerkit.executors.share import Share
from runnerkit.executors.sharing import Call, SharingExecutor
from runnerkit.executors.step_faults import StepFaultsError
from runnerkit.executors.waiting import Patience
from runnerkit.history.block import Block
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, RunOptions

__all__ = ["MessageExecutor"]

_SETTLE_S: Final = 5.0  # how long a call that is under way may take when the runner closes
_CLOSE_S: Final = 30.0  # how long envs may take to close


HandleT = TypeVar("HandleT", bound=MessageHandle)


class MessageExecutor(SharingExecutor[HandleT]):
    """Steps n envs through far workers, which share no memory with the caller; the calling thread has no env::

        class OverSockets(MessageExecutor[OnSocket]):
            name = "sockets"

            def start(self, env_indices, options, patience):
                return OnSocket(env_indices, options, patience)

    With timeouts, and with `on_env_error="restart"`, each env has a worker of its own, so that one that hangs or dies
    takes no other one with it.
    """

    name: ClassVar[str] = "messages"
    """The name of the executor, for messages."""
    can_time_out: bool = True

    def __init__(self, n_envs: int, workers: int | None = None, /) -> None:
        super().__init__(Share(()))
        self._n_envs, self._asked_for = n_envs, workers
        self._block: Block | None = None
        self._log: EpisodeLog
        self._opening: tuple[bytes, RunOptions, Surroundings]
        self.workers: int = len(share_out(n_envs, workers))

    @abstractmethod
    def start(self, env_indices: Sequence[int], options: RunOptions, patience: Patience, /) -> HandleT:
        """Start the worker of these envs, and return its handle."""

    # ---- life

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        """Start the workers, and make all envs, each in its own worker."""
        places = self._to_share_out(options)
        self._tolerant, self.workers = options.restarts, len(places)
        self._opening = self._pickled(make_env), options, Surroundings.here()
        try:
            for place in places:
                self._helpers.append(self.start(place, options, self._patience))
            parts = self._all("open", self._for_all(*self._opening))
        except BaseException as error:
            close_after(error, self.close)
            raise
        return [fact for facts in parts[1:] for fact in facts]

    def _to_share_out(self, options: RunOptions) -> list[range]:
        """Return the envs of each worker."""
        workers = self._asked_for
        if options.timeouts or options.restarts:
            if workers not in (None, self._n_envs):
                asked = " and ".join(options.timeouts) or "on_env_error='restart'"
                raise ArgumentError(
                    f"With {asked}, executor={self.name!r} has a worker for each env, so that one that hangs or dies "
                    f"takes no other one with it. Leave workers={workers} out."
                )
            workers = self._n_envs
        return share_out(self._n_envs, self.workers if workers is None else workers)

    def _pickled(self, make_env: Callable[[int], AnyEnv]) -> bytes:
        try:
            return dumps_for_helper(make_env)
        except Exception as error:
            raise ArgumentError(
                f"executor={self.name!r} sends the env factory to other processes, but it cannot be pickled: "
                f"{describe(error)}. "
                "Make inside of the factory what it needs, or use executor='threads', which shares memory."
            ) from error

    def close(self) -> None:
        """Close all envs, each in its own worker, and end the workers."""
        if self._is_forked():
            return  # a fork of the caller: the workers are not its own
        helpers, self._helpers = self._helpers, []
        faults: list[BaseException] = []
        begin = time.monotonic()
        parts = [(helper.begin_to_close, begin + _SETTLE_S) for helper in helpers]
        parts += [(helper.end, begin + _SETTLE_S + _CLOSE_S) for helper in helpers]
        for part, end in parts:
            try:
                part(end)
            except Exception as fault:
                faults.append(fault)
            except BaseException as fault:  # Ctrl-C: no more waiting
                faults.insert(0, fault)
                for helper in helpers:
                    helper.kill()
        if faults:
            raise faults[0]

    # ---- rollouts

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

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> Sequence[int]:
        """Step the active envs and return those whose episode ended."""
        apart = restart and bool(self._opening[1].timeouts)  # a step and a reset may each take their time
        ended = super().step(at, row, actions, active, restart and not apart)
        if apart and ended:
            parts = [[i for i in place if i in ended] for place in self._places()]
            for answer in self._all("begin_again", [(at, row, part) if part else None for part in parts]):
                if answer is not None:
                    self._received(answer, row, answer.env_indices)
        return ended

    def drain(self) -> EpisodeLog:
        """Return what was logged since the last call."""
        assert self._block is not None
        log, self._log = self._log, EpisodeLog(self._block.layout.raw)
        if self._opening[1].timings:
            for more in self._timings():
                log.extend(more)
        return log

    def _timings(self) -> list[EpisodeLog]:
        """Return what the workers measured; of a death, whoever needs the worker next is told."""
        alive = [helper.is_alive for helper in self._helpers]
        try:
            answers = self._all("drain", [None, *(() if lives else None for lives in alive)])
        except (EnvError, StepFaultsError):
            if alive == [helper.is_alive for helper in self._helpers]:
                raise
            return []  # times are not worth a rollout
        return [more for more in answers if more is not None]

    def remake(self, env_indices: Sequence[int], /) -> list[EnvFacts]:
        """Make envs anew, in new workers where those before are dead."""
        facts: list[EnvFacts] = []
        for i in env_indices:
            k = next(k for k, helper in enumerate(self._helpers) if i in helper.env_indices)
            if self._helpers[k].is_alive:
                facts += self._helpers[k].call("remake", [i])
                continue
            helper = self._helpers[k] = self.start([i], self._opening[1], self._patience)
            facts += helper.call("open", *self._opening)
            if self._block is not None:
                helper.call("attach_window", self._block.layout)
        return facts

    def doing(self) -> list[Doing]:
        """Return the calls of envs that are under way."""
        return [doing for helper in self._helpers if (doing := helper.call_under_way()) is not None]

    # ---- inside

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
