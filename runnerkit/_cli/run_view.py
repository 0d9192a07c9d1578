"""What is known of a run that is going on, as lines for a terminal of any size, or as one line for a file.

For example::

    view = RunView(["CartPole-v1", "random", "seed 0"])
    view.add(history.episodes)
    view.reach(seconds=3.0, steps=12_000)
    print(view.line())                              # 3 s  12,000 steps  4,000 steps/s  540 episodes  mean return 22.3
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from runnerkit._cli.sparkline import BLOCKS, Trace, sparkline
from runnerkit._core.wording import count
from runnerkit.records import EndReason, Episode

__all__ = ["Line", "RunView", "duration", "fitting"]

_RECENT: Final = 100  # episodes of the recent mean
_MOST_WORKERS: Final = 8  # that have a line each
_MOST_FAULTS: Final = 3
_WIDEST: Final = 100  # characters of a sparkline
_NAME: Final = 10  # characters of the first column
_GOES_ON: Final = (EndReason.CUT, EndReason.INTERRUPTED)


class Line(NamedTuple):
    """A line of a view: what it tells of, what it says, and in which style of rich."""

    name: str
    text: str
    style: str = ""


class RunView:
    """What is known of a run; `lines` and `line` say it.

    Attributes:
        title: what runs.
        rate_over: the seconds that the rate is taken over.
        total_steps: the steps that it will have, of all envs together; None if unknown.
        total_episodes: the episodes that it will have; None if unknown.
        left: the seconds that it will take; None if unknown.
        restarts: how often envs were made anew.
        shares: for each worker, the envs that it steps.
        faults: the last faults, in words.
        watched: whether the time is that of the view, as nobody knows how long the run took before.
        notes: further lines.

    """

    def __init__(self, title: Sequence[str], rate_over: float = 5.0) -> None:
        self.title: Sequence[str] = title
        self.rate_over: float = rate_over
        self.total_steps: int | None = None
        self.total_episodes: int | None = None
        self.left: float | None = None
        self.restarts: int = 0
        self.shares: Sequence[Sequence[int]] = ()
        self.faults: deque[str] = deque(maxlen=_MOST_FAULTS)
        self.watched: bool = False
        self.notes: Sequence[Line] = ()
        self.steps: int = 0
        self.episodes: int = 0
        self._seconds = 0.0
        self._ends: Counter[EndReason] = Counter()
        self._trace = Trace()
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._lowest = self._highest = 0.0
        self._reached: deque[tuple[float, int]] = deque()  # (seconds, steps) in the last few seconds

    # ---- what happens

    def add(self, episodes: Iterable[Episode]) -> None:
        """Add episodes that ended, in their order. A part that goes on in another rollout is counted with its end."""
        for episode in episodes:
            reason = episode.end_reason
            self._ends[reason] += 1
            if reason in _GOES_ON:
                continue
            value = episode.total_return
            if self._recent:
                self._lowest, self._highest = min(self._lowest, value), max(self._highest, value)
            else:
                self._lowest = self._highest = value
            self._recent.append(value)
            self._trace.add(value)
            self.episodes += 1

    def begin(self, steps: int) -> None:
        """Note that so many steps had been made before this view began: they say nothing of the rate."""
        self.steps = steps
        self._reached.append((0.0, steps))

    def reach(self, seconds: float, steps: int) -> None:
        """Note how far the run is, so many seconds after its first step."""
        self._seconds, self.steps = seconds, steps
        reached = self._reached
        reached.append((seconds, steps))
        while len(reached) > 2 and reached[1][0] <= seconds - self.rate_over:
            reached.popleft()

    # ---- what is known

    @property
    def rate(self) -> float | None:
        """The steps of all envs per second, in the last few seconds; None until it can be known."""
        if not self._reached:
            return None
        (began, before), (now, steps) = self._reached[0], self._reached[-1]
        if len(self._reached) == 1:
            began, before = 0.0, 0
        return (steps - before) / (now - began) if now > began else None

    @property
    def share_done(self) -> float | None:
        """Which part of the run is over, from 0 to 1; None if unknown."""
        done, total = self.steps, self.total_steps
        if self.total_episodes is not None:
            done, total = self.episodes, self.total_episodes
        return min(done / total, 1.0) if total else None

    # ---- how it is said

    def line(self) -> str:
        """Return it as one line."""
        facts = [duration(self._seconds), _of(self.steps, self.total_steps, "step")]
        facts += [f"{self.rate:,.0f} steps/s"] if self.rate is not None else []
        facts.append(_of(self.episodes, self.total_episodes, "episode"))
        if self._recent:
            facts.append(f"mean return {self._mean():.4g}")
        facts += [count(self.restarts, "restart")] if self.restarts else []
        facts += [f"{duration(self.left)} left"] if self.left is not None else []
        return "  ".join(facts)

    def lines(self, width: int, height: int, levels: str = BLOCKS) -> list[Line]:
        """Return it as lines that fit; where the terminal is too small, what matters least is left out."""
        told = [*self._lines(max(width - _NAME, 1), levels)]
        room = max(height - 1, 1)  # a line is left for the cursor
        return told[:room]

    def _lines(self, width: int, levels: str) -> Iterator[Line]:
        """Yield all lines, those that matter most first."""
        yield Line("", fitting(self.title, width + _NAME), "bold")
        yield Line("returns", sparkline(self._trace.values(), min(width, _WIDEST), levels), "cyan")
        if self._recent:
            recent = f"mean of the last {len(self._recent)}" if self.episodes > _RECENT else "mean"
            extremes = [f"min {self._lowest:.4g}", f"max {self._highest:.4g}", f"last {self._recent[-1]:.4g}"]
            yield Line("", fitting([f"{recent} {self._mean():.4g}", *extremes], width))
        rate = [] if self.rate is None else [f"{self.rate:,.0f} steps/s"]
        yield Line("steps", fitting([_of(self.steps, self.total_steps, ""), *rate], width))
        yield self._time(width, levels)
        yield Line("episodes", fitting([_of(self.episodes, self.total_episodes, ""), *self._ended()], width))
        if self.restarts:
            yield Line("restarts", f"{self.restarts:,}", "yellow")
        for fault in self.faults:
            yield Line("fault", fault, "yellow")
        yield from self.notes
        yield from self._workers()

    def _time(self, width: int, levels: str) -> Line:
        share = self.share_done
        facts = [duration(self._seconds)]
        if self.left is not None:
            facts = [f"{duration(self.left)} left", f"{duration(self._seconds)} so far"]
        name = "watched" if self.watched and self.left is None else "time"
        if share is None:
            return Line(name, fitting(facts, width))
        bar = round(share * 20)
        drawn = f"[{'#' * bar}{'.' * (20 - bar)}]" if levels.isascii() else f"{'█' * bar}{'░' * (20 - bar)}"
        return Line(name, fitting([*facts, f"{share:.0%}", drawn], width))

    def _ended(self) -> list[str]:
        return [f"{n:,} {reason}" for reason, n in self._ends.most_common()]

    def _workers(self) -> Iterator[Line]:
        """Yield what each worker does: in a step of a rollout all envs make one, so that their numbers say it."""
        n_envs = sum(map(len, self.shares))
        if self.rate is None or not n_envs:
            return
        for k, share in enumerate(self.shares[:_MOST_WORKERS]):
            rate = self.rate * len(share) / n_envs
            yield Line(f"worker {k}", f"{rate:,.0f} steps/s  {_numbers(share)}")
        if len(self.shares) > _MOST_WORKERS:
            yield Line("", f"and {count(len(self.shares) - _MOST_WORKERS, 'more worker')}")

    def _mean(self) -> float:
        return sum(self._recent) / len(self._recent)


def _of(done: int, total: int | None, what: str) -> str:
    if total is not None:
        return f"{done:,}/{total:,} {what}s" if what else f"{done:,}/{total:,}"
    return count(done, what) if what else f"{done:,}"


def _numbers(envs: Sequence[int]) -> str:
    """Return the numbers of envs, as 0-3 where they are consecutive."""
    if len(envs) == 1:
        return f"env {envs[0]}"
    if envs[-1] - envs[0] == len(envs) - 1:
        return f"envs {envs[0]}-{envs[-1]}"
    return f"envs {', '.join(map(str, envs))}"


def duration(seconds: float) -> str:
    """Return 42 s, 3:07 min or 2:05 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


def fitting(facts: Sequence[str], width: int) -> str:
    """Join as many facts as fit: a line that a terminal wraps, or that the ^C does, could not be erased again."""
    line = facts[0]
    for fact in facts[1:]:
        if len(line) + 2 + len(fact) <= width:
            line = f"{line}  {fact}"
    return line
