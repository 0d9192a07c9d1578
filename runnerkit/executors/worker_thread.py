"""A thread that steps a share of the envs, and what becomes of it when one of them hangs."""

from __future__ import annotations

import contextvars
import functools
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from typing_extensions import override

from runnerkit._core.types import AnyEnv
from runnerkit.errors import EnvTimeoutError, RolloutError
from runnerkit.executors.calls import Fence, GivenUpError, Phase, slice_of, timed_out
from runnerkit.executors.clock import SupportsStep
from runnerkit.executors.rounds import NO_ROUND, Line, Round, Shared
from runnerkit.executors.share import Share
from runnerkit.executors.waiting import Patience, SpinQueue, TooLateError
from runnerkit.records import EnvFacts

__all__ = ["CLOSE_S", "TimedShare", "WorkerThread", "wait_for"]

_SETTLE_S: Final = 5.0  # how long a call that is under way may take when the runner closes
CLOSE_S: Final = 30.0  # how long envs may take to close

_LEFT_S: Final = 1.0  # how long an env may take to close in whose place there is another one


class TimedShare(Share):
    """The share of a thread whose env may be given up; what such an env returns later is dropped."""

    def __init__(self, env_indices: Sequence[int]) -> None:
        super().__init__(env_indices)
        self.fence: Fence = Fence()

    def give_up(self, limits: Mapping[int, float]) -> EnvTimeoutError | None:
        """Give up the env that takes longer than it may, and return what is to be said of it."""
        phase = self.fence.give_up(limits)
        if phase == Phase.IDLE:
            return None
        (i,) = self.env_indices
        outcome = "it was left behind in its thread, which ends with the program"
        known: dict[str, Any] = {"episode_index": self._episode.get(i), "seed": self._seed.get(i)}
        return timed_out(phase, limits[phase], outcome, env_index=i, **known)

    @override
    def _make(self, make_env: Callable[[int], AnyEnv], i: int) -> EnvFacts:
        made: list[AnyEnv] = []

        def make(k: int) -> AnyEnv:
            made.append(make_env(k))
            return made[0]

        try:
            return super()._make(functools.partial(self.fence, Phase.MAKE, make), i)
        except GivenUpError:
            for env in made:
                env.close()
            raise

    @override
    def _stepper(self, i: int) -> SupportsStep:
        return _FencedEnv(super()._stepper(i), self.fence)

    @override
    def _reset_env(self, i: int, seed: int | None, options: dict[str, Any] | None) -> Any:
        return self.fence(Phase.RESET, super()._reset_env, i, seed, options)

    @override
    def _render_env(self, i: int) -> object:
        return self.fence(Phase.RENDER, super()._render_env, i)


class _FencedEnv:
    def __init__(self, env: SupportsStep, fence: Fence) -> None:
        self._env, self._fence = env, fence

    def step(self, action: Any, /) -> Any:
        return self._fence(Phase.STEP, self._env.step, action)


class WorkerThread:
    """A thread that does for its share what it is told, one call at a time.

    A thread cannot be ended. One whose env hangs is left behind, with the share, and ends with the program.
    """

    def __init__(
        self, share: Share, patience: Patience | None = None, limits: Mapping[int, float] | None = None
    ) -> None:
        self.share: Share = share
        self.loss: RolloutError | None = None
        """Why the thread was left behind."""
        self._patience = patience or Patience()
        self._limits = limits or {}
        self._slice = slice_of(self._limits)
        self.line: Line = SpinQueue()
        """Where the thread gets its calls."""
        self._work: Shared | None = None  # the last one, as long as it may be under way
        self._round: Round = NO_ROUND  # of this thread alone, until it is heard
        self._closing_faults: list[Exception] = []
        self._closes = threading.Event()
        name = f"runnerkit-envs-{share.env_indices[0]}-{share.env_indices[-1]}"
        # No bound method of the helper is in it, so that a dropped runner can be collected.
        work = functools.partial(_work, share, self.line, self._closes, self._closing_faults)
        # Context variables as the caller has them now, such as the precision of decimals and what NumPy does on
        # overflow, hold for all envs: a new thread would have the defaults.
        target = functools.partial(contextvars.copy_context().run, work)
        self._thread: threading.Thread = threading.Thread(target=target, name=name, daemon=True)

    @property
    def env_indices(self) -> Sequence[int]:
        """The envs that live there."""
        return self.share.env_indices

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def require_presence(self) -> None:
        """Raise RolloutError if the thread was left behind."""
        if self.loss is not None:
            which = f"env {self.env_indices[0]}" if len(self.env_indices) == 1 else f"envs {list(self.env_indices)}"
            raise RolloutError(f"The thread of {which} was left behind earlier: {self.loss}") from self.loss

    def _lost_by(self) -> RolloutError | None:
        return self.loss

    def settle(self) -> None:
        """Wait until nothing is under way: Ctrl-C may have left an answer unheard, or kept a call from beginning."""
        before = self._work
        if before is None or self.loss is not None:
            return
        before.is_off = True
        mark = Round([self.line], [(int, ())], heads=1)
        mark.begin()
        wait_for(mark, [self], self._patience)
        if self.loss is None:  # else whoever needs the thread will be told
            self._work = None

    def submit(self, method: str, /, *args: Any) -> None:
        """Begin a call of a method of the share."""
        self.begin(getattr(self.share, method), *args)

    def begin(self, function: Callable[..., Any], *args: Any) -> None:
        """Begin a call of any function."""
        self._round = Round([self.line], [(function, args)], heads=1)
        self.join_in(self._round)
        self._round.begin()

    def join_in(self, work: Shared) -> None:
        """Let nothing be under way but this, which is to begin; raises RolloutError if the thread was left behind."""
        if self._work is not None or self.loss is not None:
            self.settle()
            self.require_presence()
        self._work = work

    def leave(self) -> None:
        """Note that the end of all that was under way was heard."""
        self._work = None

    def answer(self) -> Any:
        """Wait for the end of the call that was begun, and return or raise what it did."""
        one = self._round
        wait_for(one, [self], self._patience)
        self.leave()
        self._round = NO_ROUND
        return one.result(0)

    @property
    def slice(self) -> float | None:
        """How many seconds may pass before it is seen whether a call takes too long; None if none can."""
        return self._slice if self._limits or self._patience.is_limited else None

    def overdue(self, left: float) -> RolloutError | None:
        """Leave the thread behind if its call takes longer than it may; return what is to be said of it then."""
        share = self.share
        if self._limits and isinstance(share, TimedShare):
            self.loss = share.give_up(self._limits)
        if self.loss is None and left <= self._slice:
            self.loss = RolloutError(
                f"RunnerKit left the thread of envs {list(self.env_indices)} behind: it did not answer soon after the "
                "rollout was broken off (a step of an env hangs, or is slow). Build a new runner to go on."
            )
        if self.loss is not None:
            self.stop()  # should it ever return, it closes its envs, and ends
        return self.loss

    def stop(self) -> None:
        """Let the thread close its envs and end, after what is under way."""
        self.line.put(None)

    @property
    def name(self) -> str:
        """The name of the thread."""
        return self._thread.name

    def join_if_it_ends(self) -> None:
        """Wait a moment for a thread that was told to stop, whose env may hang."""
        if self.loss is None:
            self._thread.join(_LEFT_S)

    def join(self, end: float) -> list[Exception]:
        """Wait for the thread, until `end`, and return what went wrong as its envs closed."""
        # One that Ctrl-C kept from starting, or from being seen to start, is not waited for.
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            if self.loss is not None or not self._closes.wait(min(_SETTLE_S, max(0.0, end - time.monotonic()))):
                end = 0.0
            self._thread.join(max(0.0, end - time.monotonic()))
            if self._thread.is_alive():
                warnings.warn(
                    f"{self._thread.name} did not end in time: an env hangs in step or in close. The "
                    "thread is left behind; it ends with the program.",
                    RuntimeWarning,
                    stacklevel=3,
                )
        return self._closing_faults


def wait_for(one: Round, helpers: Sequence[WorkerThread], patience: Patience) -> None:
    """Wait for the end of a round of these threads, or until one of them fails.

    Those that take too long are left behind, which is their answer.
    """
    try:
        while (seconds := helpers[0].slice) is not None:
            if None not in one.answers:  # what broke a wait off may have come as the end was heard
                return
            left = patience.left()
            try:
                one.ended.take(min(left, seconds))
            except TooLateError:
                late = [k for k, answer in enumerate(one.answers) if answer is None]
                losses = [(k, loss) for k in late if (loss := helpers[k].overdue(left)) is not None]
                for k, loss in losses:
                    one.answers[k] = None, loss
                if len(losses) < len(late):
                    continue
            return
        one.ended.take_in_main()
    except BaseException as fault:  # of a signal handler, as that of Ctrl-C
        patience.lose(fault)
        raise


def _work(
    share: Share,
    line: Line,
    closes: threading.Event,
    closing_faults: list[Exception],
) -> None:
    while (todo := line.take()) is not None:
        one, place = todo
        one.take_part(place)
        del todo, one  # keep nothing alive while waiting
    closes.set()
    try:
        share.close(watched=False)  # whoever joins this thread watches
    except Exception as fault:
        closing_faults.append(fault)
