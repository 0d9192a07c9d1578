"""A far worker as the caller sees it: it is asked, waited for, given up, and ended."""

from __future__ import annotations

import math
import pickle
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from runnerkit.errors import EnvError, RolloutError, RunnerKitError
from runnerkit.executors.calls import Doing, Phase, limits_of, require_life, timed_out
from runnerkit.executors.messages.share import Given
from runnerkit.executors.processes.transport import dumps_for_helper, unpack
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.executors.waiting import Patience, TooLateError
from runnerkit.records import RunOptions

__all__ = ["LostError", "MessageHandle"]

_PHASES: Final = {
    "open": Phase.MAKE,
    "remake": Phase.MAKE,
    "reset": Phase.RESET,
    "begin_again": Phase.RESET,
    "step": Phase.STEP,
    "render": Phase.RENDER,
    "call_envs": Phase.CALL,
}
_DID_NOT: Final = {
    Phase.MAKE: "could not be made",
    Phase.RESET: "did not return from reset",
    Phase.STEP: "did not return from step",
    Phase.RENDER: "did not return from render",
    Phase.CALL: "did not return from a call of a method or attribute",
}


class LostError(Exception):
    """Raised by `MessageHandle.receive` where nothing will come any more; its message is the cause, in few words."""


class MessageHandle(ABC):
    """The caller's side of a `FarWorker`. A subclass brings letters there and back::

        class OnSocket(MessageHandle):
            def send(self, letter: bytes) -> None: ...
            def receive(self, seconds: float) -> bytes: ...
            def kill(self) -> None: ...
            def place(self) -> str: ...

    Letters are answered in order, one by one; a second one may be sent before the first is answered, whose answer is
    then of no interest.
    """

    def __init__(self, env_indices: Sequence[int], options: RunOptions, patience: Patience) -> None:
        self.env_indices: Sequence[int] = env_indices
        self._patience = patience
        self._limits = limits_of(options)
        self._advice = "" if options.restarts else ". Build a new runner to go on"
        self._seeds = SeedSchedule(options.seed)
        self._episodes: dict[int, tuple[int, int | None]] = {}
        """For each env, the index and the seed of its episode."""
        self._pending = ""
        self._asked: Sequence[int] = env_indices
        self._began = 0.0
        self._calls = 0
        self._death_error: RolloutError | None = None

    @property
    def far(self) -> tuple[list[int], list[str]]:
        """The arguments of the `FarWorker`."""
        return list(self.env_indices), list(sys.path)

    @abstractmethod
    def send(self, letter: bytes, /) -> None:
        """Send a letter; raises LostError if there is nobody to get it."""

    @abstractmethod
    def receive(self, seconds: float, /) -> bytes:
        """Return the answer to the last letter, at once if it was returned before.

        Raises TooLateError if it does not come within so many seconds (`math.inf`: wait without end), and LostError if
        it will not come.
        """

    @abstractmethod
    def kill(self) -> None:
        """End the worker, whatever it is doing, and wait until it is gone; may be called twice."""

    @abstractmethod
    def place(self, envs: str, /) -> str:
        """Return what and where the worker is, with its envs, such as "process (17 on 10.0.0.1, envs 0 to 3)"."""

    @property
    def is_alive(self) -> bool:
        """Whether the actor was alive when it was last needed."""
        return self._death_error is None

    # ---- calls

    def call(self, method: str, /, *args: Any) -> Any:
        """Call a method of the share, and wait for its answer."""
        self.submit(method, *args)
        return self.answer()

    def submit(self, method: str, /, *args: Any) -> None:
        """Begin a call of a method of the share."""
        require_life(self._death_error, self._envs)
        try:
            letter = dumps_for_helper((method, args))
        except Exception as error:
            raise RunnerKitError(
                f"What {self._envs} are to get cannot be sent to their worker: {type(error).__name__}: {error}. "
                "executor='threads' keeps everything in one process."
            ) from error
        self._note(method, args)
        try:
            self.send(letter)
        except LostError as error:
            raise self._died(error) from error.__cause__

    def _note(self, method: str, args: tuple[Any, ...]) -> None:
        """Note what the worker is busy with from now on, in case that it dies of it."""
        self._pending, self._began, self._calls, self._asked = (
            method,
            time.monotonic(),
            self._calls + 1,
            self.env_indices,
        )
        if method == "reset":
            self._asked = list(args[1])
            self._episodes.update({i: (index, start.seed) for i, (index, start) in args[1].items()})
        elif method == "step":
            self._asked = args[3]
        elif method == "begin_again":
            self._asked = args[2]
            for i in self._asked:
                index = self._episodes[i][0] + 1
                self._episodes[i] = index, self._seeds.episode_seed(i, index)

    def answer(self) -> Any:
        """Wait for the call to end, and return or raise what it did."""
        require_life(self._death_error, self._envs)
        letter = self._letter()
        self._pending = ""
        try:
            answer, fault = pickle.loads(letter)
        except Exception as error:
            raise RunnerKitError(
                f"What {self._envs} gave cannot be loaded in the calling process: {type(error).__name__}: {error}. "
                "executor='threads' keeps everything in one process."
            ) from error
        if fault is not None:
            raise unpack(fault)
        if isinstance(answer, Given) and answer.log is not None:
            for i, _, index in answer.log.last():
                self._episodes[i] = index, self._seeds.episode_seed(i, index)
        return answer

    def _letter(self) -> bytes:
        limit = self._limits.get(_PHASES.get(self._pending, Phase.IDLE), math.inf)
        while True:
            left = min(self._patience.left(), self._began + limit - time.monotonic())
            try:
                return self.receive(max(0.0, left))
            except TooLateError:
                if time.monotonic() - self._began > limit:
                    raise self._timed_out(limit) from None
                if self._patience.left() <= 0:
                    why = "it did not answer soon after the rollout was broken off (a step of an env hangs, or is slow)"
                    raise self._ended_by_us(why) from None
            except LostError as error:
                raise self._died(error) from error.__cause__
            except BaseException as fault:  # of a signal handler, as that of Ctrl-C
                self._patience.lose(fault)
                raise

    def call_under_way(self) -> Doing | None:
        """Return which call of an env is under way, for a thread that watches the caller."""
        phase = _PHASES.get(self._pending)
        if phase is None or not self.is_alive:
            return None
        i = self._asked[0]
        return Doing(phase, i, self._episodes.get(i, (None, None))[0], self._calls)

    # ---- the end

    def begin_to_close(self, end: float) -> None:
        """Let the worker close its envs as soon as what is under way is done; until `end`, else it is killed."""
        if not self.is_alive:
            return
        if self._pending and not self._answers_until(end):
            self._give_up("did not answer in time as the runner closed")
        else:
            self.submit("close")

    def end(self, end: float) -> None:
        """Wait for the worker to close its envs, and end it; raise what went wrong."""
        if not self.is_alive:
            return
        try:
            if self._answers_until(end):
                self.answer()
            else:
                self._give_up("did not close in time")
        finally:
            self.kill()

    def _answers_until(self, end: float) -> bool:
        try:
            self.receive(max(0.0, end - time.monotonic()))
        except TooLateError:
            return False
        except LostError as error:
            raise self._died(error) from error.__cause__
        return True

    def _give_up(self, why: str) -> None:
        i = self._asked[0]
        self._ended_by_us(f"env {i} {why}")
        warnings.warn(f"Env {i} {why}; its {self._place} was killed.", RuntimeWarning, stacklevel=2)

    # ---- what is said of it

    @property
    def _envs(self) -> str:
        first, last = self.env_indices[0], self.env_indices[-1]
        return f"env {first}" if first == last else f"envs {first} to {last}"

    @property
    def _place(self) -> str:
        return self.place(self._envs)

    def _timed_out(self, limit: float) -> EnvError:
        phase, i = _PHASES[self._pending], self._asked[0]
        index, seed = self._episodes.get(i, (None, None))
        outcome = f"its {self._place} was killed"
        self.kill()
        error = timed_out(phase, limit, outcome, env_index=i, episode_index=index, seed=seed)
        self._death_error = error
        return error

    def _ended_by_us(self, why: str) -> RolloutError:
        """Kill the worker, and return what is to be said: no env is to blame for that."""
        self._death_error = RolloutError(f"RunnerKit ended the {self._place}: {why}. Build a new runner to go on.")
        self.kill()
        return self._death_error

    def _died(self, error: LostError) -> EnvError:
        """Take note of the death of the worker, and return what is to be said of it."""
        phase, i = _PHASES.get(self._pending, Phase.IDLE), self._asked[0]
        index, seed = self._episodes.get(i, (None, None))
        what = _DID_NOT.get(phase, "did not answer")
        others = "" if len(self._asked) == 1 else f", or another one of envs {self._asked[0]} to {self._asked[-1]}"
        died = EnvError(
            f"{what}{others}: its {self._place} died: {error}{self._advice}",
            env_index=i,
            episode_index=index,
            seed=seed,
            after_step=phase in (Phase.RESET, Phase.RENDER, Phase.CALL),
        )
        self._death_error = died
        self.kill()  # if it was only out of reach
        return died
