"""Keys: names that tell a type checker what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, final

from typing_extensions import TypeVar

from runnerkit._core.types import ActT, ObsT

# Not slots=True: CPython 3.11 cannot call EnvKey[...]("CartPole-v1") of a generic class that is frozen and has slots.

__all__ = ["EnvKey", "HistoryKey"]

KeyedHistoryT = TypeVar("KeyedHistoryT")


@final
@dataclass(frozen=True)
class EnvKey(Generic[ObsT, ActT]):
    """An env id together with the types of its batches.

    For example::

        CARTPOLE: EnvKey[NDArray[np.float32], NDArray[np.int64]] = EnvKey("CartPole-v1")
        runner = runnerkit.make(CARTPOLE)     # rollout() takes agents of these types, and no others
    """

    name: str


@final
@dataclass(frozen=True)
class HistoryKey(Generic[KeyedHistoryT]):
    """The name of a history format together with the type of its histories.

    For example::

        ARROW: HistoryKey[ArrowHistory] = HistoryKey("arrow")
        histories = runnerkit.make(CARTPOLE, history=ARROW).rollout(agent)     # list[ArrowHistory]
    """

    name: str
