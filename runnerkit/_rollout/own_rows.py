"""The ledger, and those who look on, where envs are at different rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from runnerkit._rollout.ends import Ends
from runnerkit._rollout.ledger import Ledger

__all__ = ["Arrivals", "OwnRows"]


class OwnRows(Ledger):
    """A ledger of envs that are at different steps, and whose logs come with each call instead of at the end."""

    def __init__(self, *args: Any, steps_of: Sequence[int]) -> None:
        super().__init__(*args)
        self._steps_made = steps_of

    @override
    def take(self, upto: int, *, is_last: bool = False) -> Sequence[tuple[int, int, int]]:
        return super().take(upto, is_last=True) if is_last else ()

    @override
    def reached(self, i: int) -> int:
        return self._steps_made[i]

    @override
    def _keep(self) -> None:
        self._standing.keep_rows(self._block, self._steps_made)


class Arrivals(Ends):
    """Reports episodes as they end, one by one."""

    def __init__(self, *args: Any, steps_of: Sequence[int]) -> None:
        super().__init__(*args)
        self._steps_of = steps_of

    @override
    def _steps(self, row: int) -> int:
        restarts = self._standing.restarts
        return sum(self._steps_of) - (0 if restarts is None else len(restarts.gaps))
