"""Several histories as one: of several envs side by side, or of several rollouts in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from typing_extensions import TypeVar

from runnerkit.errors import ArgumentError
from runnerkit.history.columns import ColumnHistory
from runnerkit.history.rows import chained, copied

__all__ = ["concatenate", "each_of", "stack", "stacked"]

HistoryT = TypeVar("HistoryT", bound="ColumnHistory[Any, Any, Any, Any]")


def stack(histories: Iterable[HistoryT]) -> HistoryT:
    """Return one history with columns `[T, N]` for N histories of T rows each::

        batch = stack(runner.rollout(agent, steps=128))
        batch.rewards, batch.bootstrap, batch.last_observations

    All histories of one rollout, in order, are stacked without a copy; others are copied.

    Raises ArgumentError if the lengths, spaces or kinds of the histories differ, or if one has no columns.
    """
    given: object = histories  # the value may differ from the annotation
    if not isinstance(given, Iterable):
        raise ArgumentError(f"stack needs several histories, or [history] for one, not {given!r}.")
    return stacked("stack", histories)


def stacked(what: str, histories: Iterable[HistoryT]) -> HistoryT:
    """Return them as `stack` does, for a function with another name, which errors tell."""
    histories = list(histories)
    kind, lengths = _kind(what, histories), [len(history) for history in histories]
    if len(set(lengths)) > 1:
        short, long = min(lengths), max(lengths)
        raise ArgumentError(
            f"{what} needs histories of equal length, not of {short} to {long} rows. Give it one of them at a time, or "
            f"as many rows of each: history[:{short}]."
        )
    parts = [part for history in histories for part in history.parts()]
    block = parts[0][0]
    if [i for of, i in parts if of is block] == list(range(block.n_envs)) and len(parts) == block.n_envs:
        return kind(block, slice(None), lengths[0])
    return kind(copied(parts, 0, lengths[0]), slice(None), lengths[0])


def concatenate(histories: Iterable[HistoryT]) -> HistoryT:
    """Return one history with the rows of several, one after the other::

        first, second = (stack(runner.rollout(agent, steps=64)) for _ in range(2))
        batch = concatenate([first, second])        # 128 rows

    They must be of the same envs of one runner, in the order in which they were recorded. An episode that goes on from
    one to the next is one episode. Batches of a stream must be copied first: `copy.copy(batch)`.

    Raises ArgumentError if spaces, envs or kinds differ, or if an episode would have a gap.
    """
    given: object = histories  # the value may differ from the annotation
    if not isinstance(given, Iterable):
        raise ArgumentError(f"concatenate needs several histories, not {given!r}.")
    histories = list(histories)
    kind = _kind("concatenate", histories)
    blocks = [copied(history.parts(), 0, len(history)) for history in histories]
    block = chained(blocks)
    return kind(block, 0 if histories[0].is_of_one_env else slice(None), block.steps)


def each_of(what: str, histories: Iterable[HistoryT]) -> Iterator[HistoryT]:
    """Yield the histories that a function was given; raises ArgumentError, which tells its name, if one is none."""
    given: object = histories  # the value may differ from the annotation
    if not isinstance(given, Iterable):
        raise ArgumentError(f"{what} needs a history with columns, or a list of them, not {given!r:.80}.")
    for history in histories:
        if not isinstance(history, ColumnHistory):
            raise ArgumentError(_without_columns(what, type(history).__name__))
        yield history


def _without_columns(what: str, given: str) -> str:
    return f"{what} needs histories with columns, such as those of 'arrays' or 'torch', not {given}."


def _kind(what: str, histories: list[HistoryT]) -> type[HistoryT]:
    """Return the kind of all of them; raises ArgumentError if there is none."""
    if not histories:
        raise ArgumentError(f"{what} needs at least one history.")
    kinds = {type(history) for history in histories}
    names = " and ".join(sorted(kind.__name__ for kind in kinds))
    if not all(issubclass(kind, ColumnHistory) for kind in kinds):
        raise ArgumentError(_without_columns(what, names))
    if len(kinds) > 1:
        raise ArgumentError(f"{what} needs histories of one kind, not {names}.")
    return type(histories[0])
