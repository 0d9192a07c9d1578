"""What envs raise in a step, when there are several of them: one error for all, or the first one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from runnerkit._core.faults import describe
from runnerkit.errors import EnvError

__all__ = ["StepFaultsError", "first_fault"]


class StepFaultsError(Exception):
    """Raised where envs are to be made anew: these have failed, all others have made their step, or their reset.

    Attributes:
        faults: what failed, one error per env.
        ended: the other envs whose episode ended in the step.
        besides: what the other envs of a process gave that cannot be seen in shared memory.
        lost: the envs that are gone along with one that failed, as they had the same process. Whether they made the
            step does not count: they are to be made anew, too, and to be brought to where they were before it.
        blameless: those of them that a fault names though none is to blame: the process died while no env was at work.

    """

    def __init__(self, faults: Sequence[EnvError], ended: Sequence[int] = (), lost: Iterable[int] = ()) -> None:
        super().__init__(*(describe(fault) for fault in faults))
        self.faults: list[EnvError] = list(faults)
        self.ended: list[int] = list(ended)
        self.lost: set[int] = set(lost)
        self.blameless: set[int] = set()
        self.besides: Any = None

    @classmethod
    def united(cls, faults: Sequence[BaseException], ended: Sequence[int]) -> StepFaultsError | None:
        """Return the faults of several shares as one; None if something else failed, too."""
        whole = cls([], ended)
        for fault in faults:
            if isinstance(fault, StepFaultsError):
                whole.faults += fault.faults
                whole.ended += fault.ended
                whole.lost |= fault.lost
                whole.blameless |= fault.blameless
            elif isinstance(fault, EnvError):
                whole.faults.append(fault)
            else:
                return None
        return whole


def first_fault(faults: Sequence[BaseException]) -> BaseException:
    """Return the fault that a single worker would have met first, with a note of each of the others."""

    def order(fault: BaseException) -> tuple[bool, bool, int]:
        if isinstance(fault, EnvError):
            return True, fault.after_step, fault.env_index
        return isinstance(fault, Exception), False, -1

    flat = [one for fault in faults for one in (fault.faults if isinstance(fault, StepFaultsError) else [fault])]
    first, *others = sorted(flat, key=order)
    for other in others:
        first.add_note(f"Besides: {describe(other)}")
    return first
