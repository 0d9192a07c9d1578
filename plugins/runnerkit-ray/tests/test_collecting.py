"""What is collected, handed out and left open: with a pool that makes units at once, and needs no cluster."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from runnerkit_ray import PoisonError
from runnerkit_ray.collecting import Collection
from runnerkit_ray.interrupts import Interrupt
from runnerkit_ray.jobs import Done, Failed, GivenUp, Job, Outcome, Policy
from runnerkit_ray.units import Plan, Unit

from runnerkit.errors import RolloutInterrupted


class Pool:
    """Makes all units that it has at once; what becomes of each, `fates` says by its index."""

    def __init__(self, fates: dict[int, Callable[[Job], Outcome]]) -> None:
        self._jobs: list[Job] = []
        self._fates = fates

    def require_open(self) -> None:
        pass

    def room(self) -> bool:
        return True

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self) -> list[Outcome]:
        jobs, self._jobs = self._jobs, []
        return [self._fates.get(job.unit.index, made)(job) for job in jobs]

    def drop(self) -> None:
        self._jobs = []


def made(job: Job) -> Outcome:
    data: Any = SimpleNamespace(unit=job.unit, steps=1)
    return Done(job, data)


def fails(job: Job) -> Outcome:
    return Failed(job, ValueError(f"of unit {job.unit.index}"))


def collect(of: Collection, n: int, hand_out: Callable[[Done], int]) -> list[int]:
    """Collect units 0 to n - 1, or those that are left of them."""

    def take() -> Unit | None:
        unit = of.plan.take()
        if unit.index < n:
            return unit
        of.plan.close(unit)
        return None

    def indices(given: Sequence[int], rest: Any) -> list[object]:
        return [*given, *(done.job.unit.index for done in rest)]

    return list(of.made(take, lambda: Policy(0, None), hand_out, indices, ordered=True))


def index_of(done: Done) -> int:
    return done.job.unit.index


def collection(**fates: Callable[[Job], Outcome]) -> Collection:
    pool: Any = Pool({int(name[1:]): fate for name, fate in fates.items()})
    return Collection(pool, Plan(1, 1), 10, 0, None, warns=False)


def open_units(of: Collection) -> list[int]:
    return [unit["index"] for unit in of.plan.state()["open"]]


def test_a_unit_that_failed_behind_another_one_is_told_of_by_the_next_call() -> None:
    made_of = collection(u1=fails, u3=fails)
    with pytest.raises(ValueError, match="of unit 1") as raised:
        collect(made_of, 5, index_of)
    assert raised.value.histories == [2, 4]  # type: ignore[attr-defined]
    assert open_units(made_of) == [3]
    assert made_of.units == 3, "those of the error are handed out, too"
    with pytest.raises(ValueError, match="of unit 3"):
        collect(made_of, 5, index_of)
    assert not open_units(made_of)


@pytest.mark.parametrize(("presses", "handed_over", "left"), [(1, [1, 2, 3], []), (2, [2, 3], [1])])
def test_ctrl_c_waits_until_a_unit_is_handed_out_and_a_second_one_does_not(
    presses: int, handed_over: list[int], left: list[int]
) -> None:
    def pressed(done: Done) -> int:
        for _ in range(presses if index_of(done) == 1 else 0):
            signal.raise_signal(signal.SIGINT)
        return index_of(done)

    made_of = collection()
    with pytest.raises(RolloutInterrupted) as raised:
        collect(made_of, 4, pressed)
    assert raised.value.histories == handed_over
    assert open_units(made_of) == left


@pytest.mark.parametrize("at", [1, 2, 4])
def test_python_has_its_handler_of_ctrl_c_back_whenever_another_handler_raises(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, blocks = Interrupt.__exit__, 0

    def alarm_at_the_last_line(self: Interrupt, *given: Any) -> None:
        nonlocal blocks
        blocks += 1
        if blocks == at:
            raise TimeoutError
        left(self, *given)

    monkeypatch.setattr(Interrupt, "__exit__", alarm_at_the_last_line)
    made_of = collection(u1=fails)
    with pytest.raises(TimeoutError):
        collect(made_of, 3, index_of)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_units_that_were_given_up_before_another_error_are_named_by_it() -> None:
    made_of = collection(u0=GivenUp, u1=fails)
    with pytest.raises(ValueError, match="of unit 1") as raised:
        collect(made_of, 3, index_of)
    assert "unit 0: env 0" in "".join(raised.value.__notes__)
    made_of = collection(u0=GivenUp)
    with pytest.raises(PoisonError) as poison:
        collect(made_of, 3, index_of)
    assert not hasattr(poison.value, "__notes__")
