"""Units as they are made: which are under way, which wait for an earlier one, and which were given up."""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from typing_extensions import TypeVar

from runnerkit.errors import RolloutInterrupted
from runnerkit.typing import EpisodeSchedule
from runnerkit_ray.data import UnitData
from runnerkit_ray.errors import PoisonError
from runnerkit_ray.interrupts import Interrupt
from runnerkit_ray.jobs import Done, Failed, GivenUp, Job, Outcome, Policy
from runnerkit_ray.units import Plan, Poisoned, Unit, seeds_of

if TYPE_CHECKING:
    from runnerkit_ray.pool import Pool

__all__ = ["Collected", "Collection"]

HistoryT_co = TypeVar("HistoryT_co", covariant=True)
GivenT = TypeVar("GivenT")


@dataclass(frozen=True)
class Collected(Generic[HistoryT_co]):
    """One unit, as `RayRunner.collect` hands it out.

    Attributes:
        unit: which episodes of which env it has.
        version: the version of the weights that chose its actions; 0 if none were set.
        history: its history, in the runner's format.

    """

    unit: Unit
    version: int
    history: HistoryT_co


class Collection:
    """Lets a pool make the units of a plan, and counts what comes of it.

    Args:
        pool: the actors.
        plan: which units come next.
        window: how many units may be under way, or wait.
        seed: the seed of the run.
        schedule: the user's schedule, or None.
        warns: whether units that are given up are a warning, and no error.

    """

    def __init__(
        self, pool: Pool, plan: Plan, window: int, seed: int, schedule: EpisodeSchedule | None, *, warns: bool
    ) -> None:
        self.pool: Pool = pool
        self.plan: Plan = plan
        self.window: int = window
        self._seed, self._schedule, self._warns = seed, schedule, warns
        self.poisoned: list[Poisoned] = []
        """The units that were given up."""
        self.units = self.episodes = self.steps = 0
        self._waiting: Mapping[int, Outcome] = {}

    @property
    def waiting(self) -> int:
        """How many units were made, but not handed out."""
        return len(self._waiting)

    def made(
        self,
        take: Callable[[], Unit | None],
        policy: Callable[[], Policy],
        hand_out: Callable[[Done], GivenT],
        histories: Callable[[Sequence[GivenT], Sequence[Done]], list[object]],
        *,
        ordered: bool,
    ) -> Generator[GivenT, None, None]:
        """Give what `hand_out` returns of units as they are made; until it has returned, they are open.

        Whatever is raised gets `histories` of what was handed out but not given, and of the units that were only made.
        Ctrl-C waits until a unit is handed out, as that may write it to a file.
        """
        order: deque[int] = deque()  # the units that are under way, or wait
        waiting: dict[int, Outcome] = {}
        poisoned: list[Poisoned] = []
        given: list[GivenT] = []
        stop = Interrupt()
        self._waiting = waiting
        following = take()
        try:
            while following is not None or order:
                with Interrupt() as stop:
                    self.pool.require_open()
                    while following is not None and len(order) < self.window and self.pool.room():
                        order.append(following.index)
                        self.pool.submit(Job(following, policy()))
                        following = take()
                    waiting |= {outcome.job.unit.index: outcome for outcome in self.pool.wait()}
                stop.check()
                for index in self._due(order, waiting, ordered=ordered):
                    with Interrupt() as stop:
                        order.remove(index)
                        given = self._handed_out(waiting.pop(index), hand_out, poisoned)
                    stop.check()
                    yield from given
                    given = []
            if poisoned and not self._warns:
                raise PoisonError(poisoned)
        except GeneratorExit:
            raise
        except BaseException as error:
            stop.end()
            # those that failed stay open: the next call makes them once more, and tells what is wrong
            rest = [one for _, one in sorted(waiting.items()) if isinstance(one, Done)]
            with Interrupt(pressed=stop.requested or isinstance(error, KeyboardInterrupt)) as stop:
                found = histories(given, rest)
                for done in rest:
                    self.plan.close(done.job.unit)
                    self._count(done.data)
            raised = RolloutInterrupted(found) if stop.requested else error
            if poisoned and not self._warns and not isinstance(error, PoisonError):
                raised.add_note(str(PoisonError(poisoned)))
            if raised is not error:
                raise raised from error
            with contextlib.suppress(AttributeError):
                error.histories = found  # type: ignore[attr-defined]
            raise
        finally:
            stop.end()
            self._waiting = {}
            self.pool.drop()
            self.plan.put_back()

    @staticmethod
    def _due(order: deque[int], waiting: Mapping[int, Outcome], *, ordered: bool) -> Iterator[int]:
        """Give the units that can be handed out; each is taken out of `order` before the next one is asked for."""
        if not ordered:
            yield from [index for index in order if index in waiting]
        while ordered and order and order[0] in waiting:
            yield order[0]

    def _handed_out(
        self, outcome: Outcome, hand_out: Callable[[Done], GivenT], poisoned: list[Poisoned]
    ) -> list[GivenT]:
        """Return what is given of a unit: nothing, if it was given up. Raises what it failed of."""
        unit = outcome.job.unit
        if isinstance(outcome, Done):
            given = hand_out(outcome)
            self.plan.close(unit)
            self._count(outcome.data)
            return [given]
        self.plan.close(unit)
        if isinstance(outcome, Failed):
            raise _with_unit(outcome.error, unit)
        poisoned.append(self._note_poisoned(outcome))
        return []

    def _count(self, data: UnitData) -> None:
        self.units += 1
        self.episodes += data.unit.episodes
        self.steps += data.steps

    def _note_poisoned(self, outcome: GivenUp) -> Poisoned:
        job = outcome.job
        found = Poisoned(job.unit, seeds_of(job.unit, self._seed, self._schedule), tuple(job.deaths))
        self.poisoned.append(found)
        if self._warns:
            warnings.warn(str(PoisonError([found])), stacklevel=2)
        return found


def _with_unit(error: BaseException, unit: Unit) -> BaseException:
    episodes = f"{unit.first} to {unit.episode_indices[-1]}" if unit.episodes > 1 else f"{unit.first}"
    error.add_note(f"It was raised in unit {unit.index}: env {unit.env_index}, episodes {episodes}.")
    return error
