"""The Protocols of a history format: it opens a recorder for a runner; the recorder turns blocks into histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from typing_extensions import TypeVar

from runnerkit.history.block import Block
from runnerkit.history.columns import ColumnHistory
from runnerkit.records import RunSpec, Transition

__all__ = ["HistoryFormat", "Recorder", "SupportsAppend", "SupportsBatch"]

HistoryT_co = TypeVar("HistoryT_co", covariant=True)


class Recorder(Protocol[HistoryT_co]):
    """Makes histories from the rollouts of one runner.

    For example::

        recorder = history_format.open(spec)
        histories = recorder.finish(block)      # after each rollout
        recorder.close()                        # when the runner closes
    """

    def finish(self, block: Block, /) -> Sequence[HistoryT_co]:
        """Return one history per env, for a rollout that has ended. The block is the recorder's to keep."""
        ...

    def close(self) -> None:
        """Close what is still open, such as files. Called once, when the runner closes."""
        ...


@runtime_checkable
class SupportsAppend(Protocol):
    """A recorder that also accepts single transitions, which the default `GymRunner.process_transition` needs."""

    def append(self, history: Any, transition: Transition[Any, Any], /) -> object:
        """Return the history with one more transition. None stands for an empty history."""
        ...


@runtime_checkable
class SupportsBatch(Protocol):
    """A recorder that makes one history of all envs, stacked and without a copy, which `GymRunner.stream` needs."""

    def batch(self, block: Block, /) -> ColumnHistory[Any, Any, Any, Any]:
        """Return one history with columns `[T, N]`. The rollout uses the block again."""
        ...


class HistoryFormat(Protocol[HistoryT_co]):
    """A kind of history. It may have options; all state belongs to the recorders that it opens."""

    def open(self, spec: RunSpec, /) -> Recorder[HistoryT_co]:
        """Return a recorder for one runner.

        Raises SpaceError if the format cannot hold the data; the error names the sub-space.
        """
        ...
