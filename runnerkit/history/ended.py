"""An episode that has just ended, as `rollout(on_episode=...)` reports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeAlias

from typing_extensions import TypeVar, override

from runnerkit._core.types import ActT, ObsT
from runnerkit.errors import ArgumentError
from runnerkit.history.arrays import ArrayHistory
from runnerkit.records import Episode

__all__ = ["EndedEpisode", "EpisodeCallback", "SupportsPut"]

ItemT_contra = TypeVar("ItemT_contra", contravariant=True)


class EndedEpisode(Generic[ObsT, ActT]):
    """An episode that has just ended, while the rollout still runs::

        def on_episode(ended):
            print(ended.steps, ended.record.total_return, ended.record.end_reason)
            if ended.record.total_return > 400:
                best.append(ended.history())

        runner.rollout(agent, steps=10_000, on_episode=on_episode)

    It may be sent to other processes, but without its history.

    Attributes:
        record: the record of the episode, the same as in the `episodes` of the history that the rollout returns.
        steps: the steps of all envs since the runner was built, up to and including those that were made together with
            the last step of the episode.

    """

    def __init__(self, record: Episode, steps: int, copy: Callable[[], ArrayHistory[Any, Any]] | None = None) -> None:
        self.record: Episode = record
        self.steps: int = steps
        self._copy = copy

    def history(self) -> ArrayHistory[ObsT, ActT]:
        """Return the rows of the episode in this rollout, copied: an `ArrayHistory` with one episode.

        Call it before `on_episode`, or `put`, returns. Later, the rows are in the histories of the rollout.

        Raises:
            ArgumentError: `on_episode` has returned, or the runner overrides `process_transition`.

        """
        if self._copy is None:
            raise ArgumentError(
                "The history of an ended episode is available only until on_episode returns. Call history() in "
                "on_episode, or use the histories that rollout() returns."
            )
        return self._copy()

    def let_go(self) -> None:
        """Make `history` unavailable, as the rollout goes on."""
        self._copy = None

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.record, self.steps)

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.record} steps={self.steps}>"


class SupportsPut(Protocol[ItemT_contra]):
    """A queue, or what has a `put` like one: `queue.Queue`, `queue.SimpleQueue`, `multiprocessing.Queue`."""

    def put(self, item: ItemT_contra, /) -> object:
        """Accept one item."""
        ...


EpisodeCallback: TypeAlias = Callable[[EndedEpisode[ObsT, ActT]], object] | SupportsPut[EndedEpisode[ObsT, ActT]]
"""A function that a rollout calls with each `EndedEpisode`, or a queue that it puts them into."""
