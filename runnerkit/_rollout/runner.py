"""BaseRunner: what runners share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Generic, Self

from runnerkit._core.faults import close_after
from runnerkit._core.types import ActT, Answer, AnyEnv, ObsT
from runnerkit.agents import Agent
from runnerkit.history.arrays import HistoryT
from runnerkit.records import Transition

__all__ = ["BaseRunner"]


class BaseRunner(ABC, Generic[ObsT, ActT, HistoryT]):
    """An abstract runner. Its methods take part in this loop::

        obs_list = ...reset...
        while steps:
            actions = self.compute_action(agent, obs_list)
            ...step every env with its action...
            for each env:
                history = self.process_transition(history, transition)   # the first time: None

    Implement `make_env`, `process_transition`, `rollout` and `close`; by default, `compute_action` asks the agent. To
    change a part of a working runner, derive from `GymRunner` instead. A runner needs no base class: see the Protocols
    `Runner` and `SupportsRollout` in `runnerkit.typing`.
    """

    MAX_STEPS: int = 1_000_000
    """The most steps per env that a rollout may take."""

    @abstractmethod
    def make_env(self, seed: int | None = None) -> AnyEnv:
        """Return a new env. The seed is for factories that build random envs."""

    def compute_action(self, agent: Agent[ObsT, ActT], obs_list: ObsT) -> Answer[ActT]:
        """Return the agent's actions for a batch of observations.

        Override it to pre- or post-process by hand, or to return nothing but `ActT`. Agents of a `GymRunner` may return
        tensors, lists and extra columns, too.
        """
        return agent.act(obs_list)

    @abstractmethod
    def process_transition(self, history: HistoryT | None, transition: Transition[Any, Any]) -> HistoryT:
        """Return the history with one more transition.

        The first call for an env gets None as history. The types of a transition are those of one row, which no type
        of a batch tells: write `Transition[NDArray[np.float32], np.int64]` for the batches of CartPole.
        """

    @abstractmethod
    def rollout(
        self, agent: Agent[ObsT, ActT], steps: int | None = None, render: bool = False, fps: int = 30
    ) -> Sequence[HistoryT]:
        """Step every env `steps` times for the agent (default: MAX_STEPS) and return one history per env."""

    @abstractmethod
    def close(self) -> None:
        """Release the envs. You may call it twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            self.close()
        else:
            close_after(exc, self.close)
