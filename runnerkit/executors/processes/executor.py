"""The processes executor: each helper process owns a share of the envs, the calling thread has one of its own.

Pays for all envs that hold the GIL, as nearly all in Python do, from some microseconds per step on. In a step nothing
is pickled: observations, actions, rewards and flags lie in shared memory, and a number there says whose turn it is.
Objects (Text, Graph, Sequence, OneOf) and infos that are kept are pickled.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from typing_extensions import override

from runnerkit._core.cores import available_cores, spinners, usual_workers
from runnerkit._core.faults import close_after, describe
from runnerkit._core.memory import total_bytes
from runnerkit._core.spaces import Rows
from runnerkit._core.types import AnyEnv
from runnerkit.errors import ArgumentError, EnvError, MemoryBudgetError, RunnerKitError
from runnerkit.executors.calls import Doing
from runnerkit.executors.forks import require_process
from runnerkit.executors.processes.division import divided, is_isolated
from runnerkit.executors.processes.handover import can_poll
from runnerkit.executors.processes.paces import ProcessPaces
from runnerkit.executors.processes.shared import Arena, Pool, Region, SharedBlock, arena_bytes, has_objects, put_objects
from runnerkit.executors.processes.standins import module_being_loaded
from runnerkit.executors.processes.surroundings import Surroundings
from runnerkit.executors.processes.transport import dumps_for_helper
from runnerkit.executors.processes.worker import WorkerHandle
from runnerkit.executors.recall import Recollection
from runnerkit.executors.share import Share
from runnerkit.executors.sharing import Call, SharingExecutor
from runnerkit.executors.step_faults import StepFaultsError, first_fault
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, RunOptions

__all__ = ["ProcessesExecutor"]

_SETTLE_S: Final = 5.0  # how long a call that is under way may take when the runner closes
_CLOSE_S: Final = 30.0  # how long envs may take to close
_KEPT: Final = 1 / 16  # memory of a rollout is kept for the next one up to this part of all there is


class ProcessesExecutor(SharingExecutor[WorkerHandle]):
    """Steps n envs in `workers` processes, `min(n_envs, cores)` by default, the calling one included.

    With the option `isolate`, here or of the runner, the calling process has no env, so that no crash of an env can end
    it. There are as many helpers as workers then, and the caller only waits for them. The same holds with timeouts, and
    with `on_env_error="restart"`.

    With the latter, the envs that shared a process with one that died are made anew, too, and brought back to where
    they were: see `recall`.

    The option `own_envs` is for an agent that takes time, together with `min_batch`: the calling process asks the agent
    while the helpers step, so that it should have fewer envs than they.

    Args:
        n_envs: the number of envs.
        workers: how many processes step them.
        isolate: keep every env out of the calling process.
        own_envs: how many envs the calling process steps itself, the first ones; by default an equal share. 0 is the
            same as `isolate`.

    """

    can_time_out: bool = True
    takes_spare_envs: bool = True

    def __init__(
        self, n_envs: int, workers: int | None = None, *, isolate: bool = False, own_envs: int | None = None
    ) -> None:
        if not hasattr(socket, "send_fds"):
            raise ArgumentError("executor='processes' needs Linux or macOS. Use executor='threads' here.")
        own, *self._others = divided(n_envs, workers, own_envs)
        self.workers: int = 1 + len(self._others)
        self._n_envs = n_envs
        self._isolate = isolate or own_envs == 0
        self._own_envs = own_envs
        super().__init__(Share(own))
        self._pool = Pool()
        self._block: SharedBlock | None = None
        self._again: tuple[bytes, RunOptions, Surroundings] | None = None
        """What a helper that takes the place of a dead one needs to know; None if there is none."""
        self._may_spin: bool = False
        self._by_mail = False
        self._log: EpisodeLog  # what came by mail
        self._helping: list[tuple[WorkerHandle, slice]] = []

    # ---- life

    @staticmethod
    def workers_to_try(n_envs: int, /) -> Sequence[int | None]:
        """Return which numbers of workers to measure."""
        return usual_workers(n_envs)

    @staticmethod
    def shares_to_try(n_envs: int, workers: int, /) -> Sequence[tuple[int, int]]:
        """Return which shares of the calling process to measure, beside an equal one."""
        equal = n_envs // workers
        shares = sorted({equal // 2, equal // 4} - {0}, reverse=True) if workers > 1 else []
        return [*((own, workers) for own in shares), (0, max(1, workers - 1))]

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        """Start the helpers and make all envs, each in its own process."""
        if is_isolated(self._own_envs, options, isolate=self._isolate):
            self._others.insert(0, range(len(self._own.env_indices)))
            self._own = Share(())
        self._shares = [len(env_indices) for env_indices in self._others]
        if self._others:
            _require_no_import_by_a_helper()
        factory = _pickled(make_env) if self._others else b""
        try:
            with _interrupts_blocked():
                for number, env_indices in enumerate(self._others):
                    self._helpers.append(self._start(number, env_indices, options))
            call = factory, options, Surroundings.here()
            parts = self._all("open", [(make_env, options), *[call] * len(self._helpers)])
        except BaseException as error:
            close_after(error, self.close)
            raise
        if options.restarts:
            self._again, self._tolerant = call, True
        return [facts for part in parts for facts in part]

    def _start(self, number: int, env_indices: range, options: RunOptions) -> WorkerHandle:
        return WorkerHandle(env_indices, self._n_envs, self._shares, number, options=options, patience=self._patience)

    def close(self) -> None:
        """Close all envs, each in its own process, and end the helpers, whatever state they are in."""
        if self._is_forked():
            return  # a fork of the caller: the helpers are not its own
        spinners.leave(self)
        self._pool.close()
        helpers, self._helpers = self._helpers, []
        faults: list[BaseException] = []
        end = time.monotonic() + _SETTLE_S
        parts: list[Callable[[], None]] = [
            functools.partial(self._end, helper, helper.begin_to_close, end) for helper in helpers
        ]
        parts.append(self._own.close)
        parts += [functools.partial(self._end, helper, helper.end, end + _CLOSE_S) for helper in helpers]
        for part in parts:
            try:
                part()
            except Exception as fault:
                faults.append(fault)
            except BaseException as fault:  # Ctrl-C, again: no more waiting
                faults.insert(0, fault)
                for helper in helpers:
                    helper.kill()
        if faults:
            raise faults[0]

    def _end(self, helper: WorkerHandle, part: Callable[[float], None], until: float) -> None:
        """Do a part of the end of a helper; nobody misses one that died while it waited, if it would be replaced."""
        try:
            part(until)
        except EnvError:
            if not (self._tolerant and helper.where.died_idle):
                raise

    # ---- rollouts

    def allocate(self, layout: BlockLayout, steps: int, most: int, window: bool, /) -> Block:
        """Return a block of `steps` steps in shared memory, which may grow to `most`, or to what fits."""
        if most > steps:
            fits = (total_bytes() or 2**40) // max(1, layout.bytes_per_step)
            most = max(steps, min(most, fits))
        nbytes = 1 << arena_bytes(layout, most).bit_length()  # sparse, so that it may be twice what is needed
        used = self._pool.take(nbytes, most, window)
        if used is not None and not all(helper.knows(used) for helper in self._helpers):
            used = None  # one of them failed to map it
        try:
            region = used or Region(nbytes, most=most, window=window)
        except MemoryError as error:  # there are limits of addresses and of file sizes, too
            if most > steps:
                return self.allocate(layout, steps, max(steps, most // 4), window)
            nbytes = arena_bytes(layout, most)
            region = _exactly(nbytes, steps, window, error)
        # where a helper may be replaced, the file of the block is open as long as the rollout lasts, and then no more
        is_small = nbytes <= (total_bytes() or 2**34) * _KEPT and not self._tolerant
        memory = self._pool.lend(region) if is_small else region.memory()
        block = SharedBlock(layout, steps, most, window, Arena(memory), self._shares)
        block.region = region
        if used is not None:
            block.clear()
        return block

    def attach(self, block: Block | None, /) -> None:
        """Write into this block from now on; None lets go of the last one."""
        if block is None:
            self._detach()
        elif block is self._block:
            self._own.attach(block)  # it has grown, which the helpers need not know
        else:
            self._attach(block)

    def _attach(self, block: Block) -> None:
        self._require_own_process()
        self._patience.regain()
        for helper in self._helpers:
            with self._forgiving():
                helper.require_life()
        if not isinstance(block, SharedBlock) or block.region is None:
            raise TypeError(f"{type(self).__name__} writes into blocks of its own allocate(), not into {block!r}")
        self._block, self._log, self._split_for = block, EpisodeLog(block.layout.raw), ()
        self._by_mail = has_objects(block.layout.raw) or has_objects(block.layout.env_action)
        if self._again is not None and self._again[1].keep_infos:
            self._by_mail = True  # infos that a helper keeps would be lost with it
        for helper in self._helpers:
            with self._forgiving():
                helper.attach(block, block.region)
        if not self._tolerant:
            block.region.close_file()
        self._own.attach(block)
        spinners.enter(self)

    def _detach(self) -> None:
        spinners.leave(self)
        block, self._block = self._block, None
        if block is None or block.region is None:
            return
        self._own.attach(None)
        for helper in () if self._is_forked() else self._helpers:
            helper.detach(block.region, keep=self._pool.awaits(block.region))
        block.region.close_file()
        block.region = None

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Leave the death of a helper to the next step, if it can be replaced then."""
        try:
            yield
        except EnvError:
            if not self._tolerant:
                raise

    def let_spin(self, may: bool) -> None:
        """Say whether there are cores enough to wait without sleeping."""
        self._may_spin = may
        has_core = self._own.env_indices or available_cores() > len(self._helpers)  # the caller, who waits, too
        for helper in self._helpers:
            helper.let_spin(bool(may and has_core and can_poll()))

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> Sequence[int]:
        """Step the active envs and return those whose episode ended.

        `actions` are in row `at` of the block, too, where the helpers find theirs.
        """
        if self._by_mail:
            return super().step(at, row, actions, active, restart)
        require_process(self._pid)
        if active is not self._split_for:
            self._split(active)
            self._split_for = active
        faults: list[BaseException] = []
        ended: list[int] = []
        for helper, _ in self._helping:
            helper.go(at, row, restart)
        where, own = self._parts[0]
        try:
            if own:
                ended = self._own.step(at, row, actions[where], own, restart)
        except BaseException as fault:  # the helpers must be waited for, Ctrl-C or not
            faults.append(fault)
            self._failed(fault)
        for helper, where in self._helping:
            try:
                ended += helper.stepped()
            except BaseException as fault:
                faults.append(self._with_action(fault, actions[where], active[where]))
                self._failed(fault)
        if faults:
            raise self._raised(faults, ended)
        return ended

    def paces(self) -> ProcessPaces:
        """Return what steps single envs."""
        with_lost = self._with_lost if self._tolerant else None
        return ProcessPaces(self._own, self._helpers, self._patience, by_mail=self._by_mail, with_lost=with_lost)

    @override
    def render(self, env_indices: Sequence[int], /) -> list[object]:
        """Return what each env renders, drawn where the env lives, one after the other."""
        try:
            return super().render(env_indices)
        except EnvError as fault:
            if self._tolerant:
                raise self._raised([fault], ()) from fault
            raise

    # ---- envs made anew

    def remake(self, env_indices: Sequence[int], /) -> list[EnvFacts]:
        """Make envs anew, in a new process where the one before is dead."""
        facts: list[EnvFacts] = []
        for i in env_indices:
            facts += self._call_for(i, "remake", [i])
        return facts

    def recall(self, i: int, known: Recollection, /) -> str:
        """Bring an env that was made anew to where the one before was; return where it differs, if it does."""
        differs: str = self._call_for(i, "recall", i, known)
        return differs

    def _call_for(self, i: int, method: str, *args: object) -> Any:
        """Call a method of the process of an env; raise StepFaultsError if the process dies."""
        k = next(k for k, helper in enumerate(self._helpers) if i in helper.env_indices)
        try:
            if not self._helpers[k].is_alive:
                self._revive(k)
            return self._helpers[k].call(method, *args)
        except EnvError as fault:
            if self._helpers[k].is_alive:
                raise
            raise self._raised([fault], ()) from fault

    def _revive(self, k: int) -> None:
        """Let a new process take the place of a dead one; its envs are to be made with `remake`."""
        assert self._again is not None
        dead = self._helpers[k]
        dead.end(0.0)
        with _interrupts_blocked():
            helper = self._helpers[k] = self._start(k, dead.env_indices, self._again[1])
        self._split_for = ()
        helper.call("prepare", *self._again)
        if self._block is not None and self._block.region is not None:
            helper.attach(self._block, self._block.region)
        self.let_spin(self._may_spin)

    @override
    def _raised(self, faults: Sequence[BaseException], ended: Sequence[int], /) -> BaseException:
        if not self._tolerant:
            return first_fault(faults)
        for fault in faults:
            if isinstance(fault, StepFaultsError) and fault.besides is not None:
                row, env_indices, objects, log = fault.besides
                assert self._block is not None
                put_objects(self._block, row, env_indices, objects)
                if log is not None:
                    self._log.extend(log)
        return super()._raised([self._with_lost(fault) for fault in faults], ended)

    def _with_lost(self, fault: BaseException) -> BaseException:
        """Name the envs that are lost with the process of an env."""
        if not isinstance(fault, EnvError):
            return fault
        helper = next(helper for helper in self._helpers if fault.env_index in helper.env_indices)
        if helper.is_alive:
            return fault
        faults = StepFaultsError([fault], lost={*helper.env_indices} - {fault.env_index})
        if helper.where.died_idle:
            faults.blameless = {fault.env_index}
            faults.lost |= faults.blameless
        return faults

    @override
    def _ended(self, answers: Sequence[Any], calls: Sequence[Call], /) -> list[int]:
        """Take what helpers answered to a step, or a reset, in which others failed."""
        ended: list[int] = []
        for answer, call in zip(answers, calls, strict=True):
            if answer is not None and call is not None:
                said: list[Any] = list(call)
                row, env_indices = (said[1], said[3]) if len(said) > 2 else (said[0], list(said[1]))
                ended += self._received(answer, row, env_indices)
        return ended

    def doing(self) -> list[Doing]:
        """Return the calls of envs that are under way."""
        found = [self._own.call_under_way(), *(helper.call_under_way() for helper in self._helpers)]
        return [doing for doing in found if doing is not None]

    def drain(self) -> EpisodeLog:
        """Return what was logged since the last call."""
        self._require_own_process()
        log = self._own.drain()
        if self._block is None:
            return log
        for helper, journal in itertools.zip_longest(self._helpers, self._block.journals):
            helper.rest()
            if journal is not None:
                journal.take(log)
            if helper.has_more_to_tell:
                log.extend(helper.call("drain"))
        mailed, self._log = self._log, EpisodeLog(self._block.layout.raw)
        log.extend(mailed)
        return log

    # ---- inside

    @override
    def _split(self, active: Sequence[int]) -> None:
        """Find which rows of a batch belong to whom, and tell the helpers which of their envs are active."""
        super()._split(active)
        parts = [(helper, where, mine) for helper, (where, mine) in zip(self._helpers, self._parts[1:], strict=True)]
        self._helping = [(helper, where) for helper, where, mine in parts if mine]
        for helper, _, mine in parts:
            if mine:
                helper.activate(mine)

    @override
    def _received(self, answer: Any, row: int, env_indices: Sequence[int], /) -> Sequence[int]:
        ended: Sequence[int]
        ended, objects, log = answer
        assert self._block is not None
        put_objects(self._block, row, env_indices, objects)
        if log is not None:
            self._log.extend(log)
        return ended

    def _with_action(self, fault: BaseException, actions: Rows, env_indices: Sequence[int]) -> BaseException:
        """Add the action to the error of a death: the dead cannot."""
        if isinstance(fault, EnvError) and not fault.after_step and fault.action is None:
            by_env = dict(zip(env_indices, actions, strict=True))
            fault.action = copy.deepcopy(by_env.get(fault.env_index))
        return fault


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes that no Ctrl-C can reach before they say how they take it; they inherit the mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exactly(nbytes: int, steps: int, window: bool, error: MemoryError) -> Region:
    """Return memory for a rollout of that many steps, after no more of it was to be had."""
    try:
        return Region(nbytes, most=steps, window=window)
    except MemoryError:
        raise MemoryBudgetError(
            f"A rollout of {steps} steps needs {nbytes / 2**20:,.0f} MiB of shared memory: {error}. Ask for fewer "
            "steps at a time, raise the limit, or use executor='threads', which needs no shared memory."
        ) from error


def _require_no_import_by_a_helper() -> None:
    """Refuse to start helpers for a module that is being imported for a helper, which would go on without end."""
    process: Any = sys.modules.get("multiprocessing.process")
    name = module_being_loaded()
    if name is None and process is not None and getattr(process.current_process(), "_inheriting", False):
        name = "the script"
    if name is not None:
        raise RunnerKitError(
            f"A helper process imports {name} to find what the envs are made of, and as it is imported, "
            "it builds a runner with executor='processes': each helper would start further helpers, without end. "
            'Put that part of it under `if __name__ == "__main__":`, or into a function.'
        )


def _pickled(make_env: Callable[[int], AnyEnv]) -> bytes:
    try:
        return dumps_for_helper(make_env)
    except Exception as error:
        raise ArgumentError(
            f"executor='processes' sends the env factory to other processes, but it cannot be pickled: "
            f"{describe(error)}. "
            "Make inside of the factory what it needs, or use executor='threads', which shares memory."
        ) from error
