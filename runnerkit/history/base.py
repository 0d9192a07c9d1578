"""What a kind of history is: a format opens a recorder for a runner, the recorder turns blocks into histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from typing_extensions import TypeVar

from runnerkit.history.block import Block
from runnerkit.records import RunSpec, Transition

__all__ = ["HistoryFormat", "Recorder", "SupportsAppend"]

HistoryT_co = TypeVar("HistoryT_co", covariant=True)


class Recorder(Protocol[HistoryT_co]):
    """Writes the rollouts of one runner into one history format."""

    def finish(self, block: Block, /) -> Sequence[HistoryT_co]:
        """Return one history per env for a rollout that has ended."""
        ...

    def close(self) -> None:
        """Finish what is still open; called once, when the runner closes."""
        ...


@runtime_checkable
class SupportsAppend(Protocol):
    """A recorder that can also take one transition at a time: the default of `GymRunner.process_transition`."""

    def append(self, history: Any, transition: Transition[Any, Any], /) -> object:
        """Return the history with one more transition; None stands for an empty one."""
        ...


class HistoryFormat(Protocol[HistoryT_co]):
    """A kind of history. It holds options, if any; the state is in the recorders that it opens."""

    def open(self, spec: RunSpec, /) -> Recorder[HistoryT_co]:
        """Return a recorder for one runner. Raises SpaceError, naming the sub-space, if it cannot hold the data."""
        ...
