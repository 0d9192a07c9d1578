"""Rounds: calls that several threads make at once, and that one thread waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

from runnerkit.executors.waiting import SpinQueue

__all__ = ["Answer", "Line", "NO_ROUND", "Round", "Shared", "outcome_of"]

Answer: TypeAlias = "tuple[Any, BaseException | None]"
"""What a call returned, or raised."""

Line: TypeAlias = "SpinQueue[tuple[Shared, int] | None]"
"""Where a thread gets its next call: of what it is a part, and which; None ends the thread."""


class Shared(Protocol):
    """Work of several threads."""

    is_off: bool
    """Whether calls that have not begun are not to begin any more."""

    def take_part(self, k: int, /) -> None:
        """Make call `k`, in the thread that is to make it."""
        ...


class Round:
    """Calls for several threads, one for each::

        one = Round([line for line, _ in todo], [call for _, call in todo], heads=2)
        one.begin()
        ...                             # the caller's own share
        one.ended.take()                # as soon as all calls have ended, or one has failed
        one.answers[0]

    To wake a sleeping thread costs about as much as a step of a light env, and where there is a GIL, many threads that
    are woken at once wait for it in turns. So the caller wakes only the first `heads` threads. Each thread wakes the
    one that comes `heads` places after it, and the last one whose call ends wakes the caller.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]],
        *,
        heads: int,
        ended: SpinQueue[Round] | None = None,
    ) -> None:
        self.answers: list[Answer | None] = [None] * len(calls)
        """What came of each call; None until it has ended."""
        self.is_off: bool = False
        """Whether calls that have not begun are not to begin any more."""
        self.ended: SpinQueue[Round] = SpinQueue() if ended is None else ended
        """Gets this round when a call fails, and when all calls have ended; at times twice."""
        self._lines, self._calls, self._heads = lines, calls, heads
        self._left: list[None] = [None] * len(calls)

    def begin(self) -> None:
        """Let the threads begin."""
        for k, line in enumerate(self._lines[: self._heads]):
            line.put((self, k))

    def result(self, k: int) -> Any:
        """Return or raise what came of a call that has ended."""
        answer = self.answers[k]
        assert answer is not None
        value, fault = answer
        if fault is not None:
            raise fault
        return value

    def take_part(self, k: int, /) -> None:
        """Wake who comes next, and make the call of one thread, in this thread."""
        if self.is_off:
            return
        following = k + self._heads
        if following < len(self._lines):
            self._lines[following].put((self, following))
        self.answers[k] = answer = outcome_of(*self._calls[k])
        self._left.pop()
        if not self._left or answer[1] is not None:
            self.ended.put(self)


NO_ROUND: Final = Round((), (), heads=0)
"""Stands for no round. Whoever has heard a round keeps this instead, as its calls may keep a dropped runner alive."""


def outcome_of(function: Callable[..., Any], args: tuple[Any, ...]) -> Answer:
    """Make a call, in a frame of its own that does not know the round, as a traceback keeps its frames alive."""
    try:
        return function(*args), None
    except BaseException as fault:
        return None, fault
