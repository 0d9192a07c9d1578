"""The Protocols of a history format: it opens a recorder for a runner; the recorder turns blocks into histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from typing_extensions import TypeIs, TypeVar

from runnerkit.history.block import Block
from runnerkit.history.columns import ColumnHistory
from runnerkit.records import RunSpec, Transition

__all__ = ["HistoryFormat", "Recorder", "SupportsAppend", "SupportsBatch", "SupportsWindows", "windows_of"]

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


@runtime_checkable
class SupportsWindows(Protocol):
    """A recorder that gets a rollout in windows, as it is made, so that the memory of a rollout stays bounded::

        recorder.begin()                        # a rollout
        recorder.record(block)                  # any number of times: the steps since the last call
        histories = recorder.finish(block)      # the steps since then, and the end of the rollout

    Windows have any length, and cut nothing: an episode that runs when a window ends goes on in row 0 of the next one.
    With `min_batch`, envs have different numbers of rows in a window; one that waits has none, and may go on later.
    """

    def begin(self) -> None:
        """Begin a rollout. What an earlier one left half done, as it broke off, is over."""
        ...

    def record(self, block: Block, /) -> None:
        """Take the steps of a window. The rollout uses the block again."""
        ...

    def earlier(self, env_index: int, /) -> Block | None:
        """Return the rows that the running episode of an env has in earlier windows of the rollout, if it has any."""
        ...


def windows_of(recorder: object) -> SupportsWindows | None:
    """Return a recorder that takes windows, or None."""
    return recorder if _takes_windows(recorder) else None


def _takes_windows(recorder: object) -> TypeIs[SupportsWindows]:
    # `isinstance` with a Protocol takes as long as a step of CartPole, and each rollout asks.
    return all(callable(getattr(recorder, name, None)) for name in ("begin", "record", "earlier"))


class HistoryFormat(Protocol[HistoryT_co]):
    """A kind of history. It may have options; all state belongs to the recorders that it opens."""

    def open(self, spec: RunSpec, /) -> Recorder[HistoryT_co]:
        """Return a recorder for one runner.

        Raises SpaceError if the format cannot hold the data; the error names the sub-space.
        """
        ...
