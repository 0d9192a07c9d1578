"""The actors of a runner: who works on what, who is lost or hangs, and who takes their place.

An actor makes its units in order; the first of them is the one that it works on. If an actor is lost, that unit is held
responsible, and the others simply go to other actors.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Protocol, cast

import ray
from ray.exceptions import RayActorError, RayError, RaySystemError, RayTaskError, TaskCancelledError

from runnerkit.errors import ClosedError, RolloutError
from runnerkit_ray.actor import Hello
from runnerkit_ray.cluster import is_in
from runnerkit_ray.data import UnitData
from runnerkit_ray.errors import ActorsLostError
from runnerkit_ray.jobs import Done, Failed, GivenUp, Job, Limits, Outcome, Ref
from runnerkit_ray.room import PATIENCE_S, Room
from runnerkit_ray.stats import ActorStats

__all__ = ["Pool"]

_SLICE: Final = 0.5  # seconds: Ctrl-C comes through at least that often
_GRACE: Final = 5.0  # seconds for what is sure to come
_LONGEST_PAUSE: Final = 5.0  # seconds between two tries to start an actor


class Handle(Protocol):
    """The methods of an actor, as the driver sees them."""

    hello: Any
    answer: Any
    play: Any
    close: Any


class _Sent(NamedTuple):
    """A unit that was sent to an actor."""

    job: Job
    ref: Ref
    was_idle: bool
    """Whether the actor had nothing to do, so that it may be lost already."""
    asked: Ref | None
    """A question that the actor answers before it begins."""

    @property
    def was_reached(self) -> bool | None:
        """Whether the actor, which was lost, had come to the unit; None if that is not known."""
        if self.asked is not None:
            return not isinstance(_result(self.asked), RayError)
        return None if self.was_idle else True


class _Worker:
    """An actor, or the one that takes its place after it was lost."""

    def __init__(self, rank: int, env_index: int) -> None:
        self.rank, self.env_index = rank, env_index
        self.handle: Handle | None = None
        self.began: Ref | None = None
        """Answered as soon as it has room and a process."""
        self.hello: Ref | None = None
        self.told: Hello | None = None
        self.queue: collections.deque[_Sent] = collections.deque()
        self.since = 0.0
        """When it began with what it is at."""
        self.not_before = 0.0
        """When it may be started again."""
        self.envs: set[int] = set()
        self.units = 0
        self.restarts = 0

    @property
    def at(self) -> Ref | None:
        """What it works on."""
        return self.hello if self.hello is not None else self.queue[0].ref if self.queue else None

    @property
    def has_begun(self) -> bool:
        """Whether it has a process, or had one, and so does not wait for room."""
        return self.told is not None or (self.began is not None and bool(ray.wait([self.began], timeout=0)[0]))

    @property
    def is_idle(self) -> bool:
        """Whether it could work, but has nothing to do."""
        return self.told is not None and not self.queue

    def stats(self) -> ActorStats:
        told = self.told
        return ActorStats(
            rank=self.rank,
            is_ready=told is not None,
            pid=None if told is None else told.pid,
            node=None if told is None else told.node,
            units=self.units,
            restarts=self.restarts,
        )


class Pool:
    """Makes units on actors.

    For example::

        while pool.room():
            pool.submit(Job(unit, policy))
        for outcome in pool.wait():
            ...

    Args:
        start: makes an actor.
        n: how many actors there are.
        n_envs: how many envs the run has.
        limits: how long is waited, and how often is tried.
        room: knows what an actor asks the cluster for.

    """

    def __init__(self, start: Callable[[], Handle], n: int, n_envs: int, limits: Limits, room: Room) -> None:
        self._start, self._limits, self._room = start, limits, room
        self._workers = [_Worker(rank, rank % n_envs) for rank in range(n)]
        self._again: collections.deque[Job] = collections.deque()
        self._failed_starts = 0  # in a row, of all actors
        self._is_closed = False
        self._spent = ""
        """Why no actor may be replaced any more."""
        self._address = str(ray.get_runtime_context().gcs_address)
        self.restarts = 0
        """How many actors took the place of others."""
        self.retries = 0
        """How many units were begun once more."""
        self.timeouts = 0
        """How many actors were ended as a unit, or their start, took too long."""
        for worker in self._workers:
            self._begin(worker)

    # ---- what it is at

    @property
    def in_flight(self) -> int:
        """How many units are with actors, or wait for another one."""
        return sum(len(worker.queue) for worker in self._workers) + len(self._again)

    def stats(self) -> tuple[ActorStats, ...]:
        """Return what each actor did."""
        return tuple(worker.stats() for worker in self._workers)

    def greet(self) -> Hello:
        """Wait until an actor can work, and return what it tells of the first env."""
        while not (found := [worker.told for worker in self._workers if worker.told and worker.env_index == 0]):
            self._let_those_begin_who_have_room()
            self.wait()
        return found[0]

    # ---- work

    def require_open(self) -> None:
        """Raise ActorsLostError or ClosedError if nothing will come any more: Ray would start another cluster."""
        if self._spent:
            raise ActorsLostError(self._spent)
        if self._is_closed:
            raise ClosedError("The runner was closed in the middle of collect. Build a new runner to go on.")
        if not self._is_connected:
            raise ClosedError(
                "This process left the Ray cluster (ray.shutdown()) while the runner was open. Close the runner first, "
                "or build a new one."
            )

    def room(self) -> bool:
        """Whether another unit can be submitted."""
        return not self._again and self._next_worker() is not None

    def submit(self, job: Job) -> None:
        """Give a unit to the actor that has the least to do, of these to one that knows its env."""
        worker = self._next_worker(job.unit.env_index)
        assert worker is not None
        assert worker.handle is not None
        asked: Ref | None = None
        is_idle = not worker.queue
        if is_idle:
            worker.since = time.monotonic()
            if job.doubt or job.deaths:  # it costs a fifth of what a unit costs the driver, so others are not asked
                asked = worker.handle.answer.remote()
        ref = worker.handle.play.remote(job.unit, job.policy.agent, job.policy.weights)
        worker.queue.append(_Sent(job, ref, is_idle, asked))
        worker.envs.add(job.unit.env_index)

    def _next_worker(self, env_index: int = 0) -> _Worker | None:
        free = [w for w in self._workers if w.told is not None and len(w.queue) < self._limits.in_flight]
        if not free:
            return None
        return min(free, key=lambda w: (len(w.queue), env_index not in w.envs, len(w.envs), w.units))

    def wait(self) -> list[Outcome]:
        """Wait a moment for what comes next, and return what came of units."""
        self.require_open()
        while self._again and self._next_worker() is not None:
            self.submit(self._again.popleft())
        now = time.monotonic()
        for worker in self._workers:
            if worker.handle is None and worker.not_before <= now:
                self._begin(worker)
        refs = {ref: worker for worker in self._workers if (ref := worker.at) is not None}
        ready: list[Ref] = []
        if refs:
            ready, _ = ray.wait(list(refs), num_returns=1, timeout=_SLICE)
            if ready and len(refs) > 1:
                ready, _ = ray.wait(list(refs), num_returns=len(refs), timeout=0)
        else:
            time.sleep(min(_SLICE, 0.05))
        self._look_for_room()
        outcomes: list[Outcome] = []
        for ref in ready:
            outcomes += self._take(refs[ref])
        outcomes += self._look_at_clocks()
        return outcomes

    def _take(self, worker: _Worker) -> list[Outcome]:
        """Take what an actor has finished."""
        if worker.hello is not None:
            return self._welcome(worker, worker.hello)
        job, result = worker.queue[0].job, _result(worker.queue[0].ref)
        if isinstance(result, RayError) and not (job.is_dropped and isinstance(result, TaskCancelledError)):
            return self._lose(worker, _reason(result))
        worker.queue.popleft()
        worker.since = time.monotonic()
        worker.units += 1
        return [] if job.is_dropped else [_outcome(job, result)]

    # ---- actors

    def _begin(self, worker: _Worker) -> None:
        worker.handle = self._start()
        worker.began = worker.handle.answer.remote()
        self._ask(worker)

    def _ask(self, worker: _Worker) -> None:
        assert worker.handle is not None
        worker.hello, worker.since = worker.handle.hello.remote(worker.env_index), time.monotonic()

    def _let_those_begin_who_have_room(self) -> None:
        """Let another actor make the first env if the one that was to make it waits for room, perhaps for ever."""
        first = next(worker for worker in self._workers if worker.env_index == 0)
        other = next((worker for worker in self._workers if worker.told is not None), None)
        if other is not None and time.monotonic() - first.since > PATIENCE_S and not first.has_begun:
            first.env_index, other.env_index = other.env_index, first.env_index
            other.told = None
            self._ask(other)

    def _welcome(self, worker: _Worker, hello: Ref) -> list[Outcome]:
        result = _result(hello)
        if isinstance(result, RayError):
            return self._lose(worker, _reason(result))
        if isinstance(result, BaseException):  # of the env, or of the parts: nobody is to blame but they
            self._dismiss(worker)
            raise result
        worker.told = cast(Hello, result)
        worker.hello, self._failed_starts = None, 0
        worker.envs.add(worker.env_index)
        return []

    def _dismiss(self, worker: _Worker) -> None:
        """End an actor; another one will begin in its place."""
        if worker.handle is not None and self._is_connected:
            ray.kill(cast(Any, worker.handle), no_restart=True)
        worker.handle = worker.began = worker.hello = worker.told = None
        worker.queue, worker.envs = collections.deque(), set()

    def _look_for_room(self) -> None:
        is_one_at_work = any(worker.told is not None for worker in self._workers)  # asks nobody
        if is_one_at_work or any(worker.has_begun for worker in self._workers):
            self._room.taken()
        else:
            self._room.look()

    def _look_at_clocks(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        limits, now = self._limits, time.monotonic()
        for worker in self._workers:
            limit = limits.start_timeout if worker.hello is not None else limits.unit_timeout
            if worker.at is None or limit is None or now - worker.since <= limit:
                continue
            if ray.wait([worker.at], timeout=0)[0]:
                continue  # it came at the last moment
            self.timeouts += 1
            if worker.hello is not None and any(other.told is not None for other in self._workers):
                self._dismiss(worker)  # the cluster may have no room for it yet, and others work
                continue
            if self._room.is_lacking:
                self._spent = self._spent or (
                    f"No actor could begin within start_timeout={limit:g} s, as the cluster has no room: "
                    f"{self._room.told()} With start_timeout=None, they wait until there is room."
                )
                return outcomes
            what = "it did not answer" if worker.has_begun else "its process did not start"
            outcomes += self._lose(worker, f"{what} within {limit:g} s")
        return outcomes

    def _lose(self, worker: _Worker, reason: str) -> list[Outcome]:
        """Let another actor take the place of this one, and others make its units."""
        began, queue = worker.told is not None, worker.queue
        self._dismiss(worker)
        outcomes = self._sort_out(queue, reason) if began else []
        self._failed_starts = 0 if began else self._failed_starts + 1
        self._spent = self._spent or self._why_spent(reason, began=began)
        if self._spent:
            return outcomes  # what came is handed out before the error
        self.restarts += 1
        worker.restarts += 1
        if not began:
            pause = min(_LONGEST_PAUSE, 0.1 * 2**self._failed_starts)
            worker.not_before = time.monotonic() + pause
        return outcomes

    def _sort_out(self, queue: Iterable[_Sent], reason: str) -> list[Outcome]:
        """Find out what a lost actor had finished; what it was at is held responsible."""
        outcomes: list[Outcome] = []
        is_found = False
        for sent in queue:
            job, result = sent.job, None if is_found else _result(sent.ref)
            if is_found or isinstance(result, RayError):
                was_at_it, is_found = not is_found and sent.was_reached, True
                if not job.is_dropped:
                    outcomes += self._try_again(job, reason, was_at_it)
            elif not job.is_dropped:
                outcomes.append(_outcome(job, result))
        return outcomes

    def _try_again(self, job: Job, reason: str, was_at_it: bool | None) -> list[Outcome]:
        """Let another actor make a unit whose actor was lost; None says that the next loss will show what ended it."""
        if was_at_it:
            job.blame(reason)
            if len(job.deaths) >= self._limits.max_attempts:
                return [GivenUp(job)]
        elif was_at_it is None:
            job.doubt = reason
        self.retries += was_at_it is not False
        self._again.append(job)
        return []

    def _why_spent(self, reason: str, *, began: bool) -> str:
        """Return why the actor that was just lost may not be replaced, nor any other one; empty if it may."""
        limits = self._limits
        if not began and self._failed_starts >= limits.max_attempts * len(self._workers):
            return (
                f"{self._failed_starts} actors in a row were lost as they made the env, the last one because {reason}. "
                f"Make the env in a plain GymRunner to see why; the cluster has {_resources()} free."
            )
        if self.restarts >= limits.max_restarts:
            return (
                f"{self.restarts + 1} actors were lost, and max_restarts={limits.max_restarts} are spent. The last one "
                f"was lost because {reason}. Raise max_restarts if the machines come and go; otherwise fix the env. "
                "Build a new runner to go on; it can load the state_dict() of this one."
            )
        return ""

    # ---- the end

    def drop(self) -> None:
        """Forget all units. Actors finish what they are at, and do not begin with the others."""
        self._again.clear()
        for worker in self._workers:
            for sent in worker.queue:
                sent.job.is_dropped = True
            for sent in list(worker.queue)[1:] if self._is_connected else ():
                ray.cancel(sent.ref)

    def close(self) -> None:
        """Let idle actors close their envs, and end all."""
        self._is_closed = True
        try:
            if self._is_connected:  # else they have ended
                self._close_envs()
        finally:  # at Ctrl-C, too
            for worker in self._workers:
                self._dismiss(worker)
            self._again.clear()

    @property
    def _is_connected(self) -> bool:
        return is_in(self._address)

    def _close_envs(self) -> None:
        idle = [worker.handle for worker in self._workers if worker.is_idle]
        last = [handle.close.remote() for handle in idle if handle is not None]
        if last:
            ray.wait(last, num_returns=len(last), timeout=_GRACE)


def _outcome(job: Job, result: object) -> Outcome:
    return Failed(job, result) if isinstance(result, BaseException) else Done(job, cast(UnitData, result))


def _result(ref: Ref) -> object:
    """Return what a task returned, or the exception of the task; a RayError says that there is neither."""
    try:
        return ray.get(ref, timeout=_GRACE)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, Exception):
            return _with_traceback(cause, error)
        if cause is None:  # an exception that cannot be pickled
            return RolloutError(f"An actor raised what cannot be sent: {error}")
        return _no_exception(cause)
    except RayError as error:
        return error


def _with_traceback(cause: Exception, error: RayTaskError) -> Exception:
    """Let an exception of an actor show where it was raised there."""
    if cause.__cause__ is None and cause is not error:
        cause.__cause__ = error
    return cause


def _no_exception(cause: BaseException) -> RayError:
    """Return what stands for an actor that left by itself, with sys.exit() for instance."""
    error: RayError = RaySystemError(f"{type(cause).__name__}: {cause}")  # type: ignore[no-untyped-call]
    return error


def _reason(error: RayError) -> str:
    """Return what became of an actor, in few words."""
    if isinstance(error, RayActorError):
        return f"its process ended ({_first_line(error)})"
    return f"{type(error).__name__} ({_first_line(error)})"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _resources() -> str:
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs"
