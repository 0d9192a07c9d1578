"""The first K episodes by order of start, where envs go at their own pace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["StartOrder"]


@dataclass(slots=True)
class StartOrder:
    """Decides which envs begin another episode, as a lockstep rollout would::

        order.wait(t, i)                        # env i ended an episode with its step t
        for i, begins in order.decide(steps):   # `steps`: the next step of each env that may still end an episode
            ...

    There, episodes begin in the order of the steps, and within a step in the order of the envs. An env that is ahead of
    others waits until it is certain whether one of `left` episodes remains for it.
    """

    left: int
    """How many episodes are still to begin."""
    _waiting: list[tuple[int, int]] = field(default_factory=list)

    def wait(self, t: int, env_index: int) -> None:
        """Note that an env ended an episode with its step `t`."""
        self._waiting.append((t, env_index))
        self._waiting.sort()

    @property
    def waiting(self) -> list[int]:
        """The envs that wait."""
        return [i for _, i in self._waiting]

    def decide(self, steps: Mapping[int, int]) -> tuple[int, bool] | None:
        """Return the first env in order and whether it begins another episode; None as long as none is certain."""
        if not self._waiting:
            return None
        t, i = self._waiting[0]
        earlier = sum(max(0, t - step + (k < i)) for k, step in steps.items())  # ends that may come before, at most
        if self.left and earlier >= self.left:
            return None
        del self._waiting[0]
        begins = self.left > 0
        self.left -= begins
        return i, begins

    def give_up(self) -> list[int]:
        """Return the envs that wait for a decision, and let them wait no longer."""
        waiting, self._waiting = self.waiting, []
        return waiting
