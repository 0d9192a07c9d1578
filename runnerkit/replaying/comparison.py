"""One episode once more: what differs, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit._core.comparing import exact
from runnerkit._core.faults import describe
from runnerkit._core.spaces import Column, Layout, MisfitError
from runnerkit._core.types import AnyEnv
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.executors.reexecution import Course, re_execute
from runnerkit.executors.serial import SerialExecutor
from runnerkit.history.block import Block
from runnerkit.history.columns import EpisodeColumns
from runnerkit.history.layout import BlockLayout
from runnerkit.records import Episode, EpisodeStart, RunOptions

__all__ = ["AnyEpisode", "Divergence", "compared", "not_replayable", "record_of", "whole_record"]

AnyEpisode: TypeAlias = EpisodeColumns[Any, Any, NDArray[np.float64], NDArray[np.bool_]]
"""An episode, or its part in one rollout, of `ArrayHistory.split`."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first difference between a recorded episode and its replay.

    Attributes:
        episode: the record of the episode.
        step: the step of the episode, from 0 on, whose result differs; None if that of the reset does.
        field: what differs: "observation", "final observation", "reward", "terminated", "truncated", "info", or "error"
            if the env raised. In nested spaces and arrays it says where: `observation['pose'][2]`.
        recorded: the value in the history.
        replayed: the value in the replay.

    """

    episode: Episode
    step: int | None
    field: str
    recorded: object
    replayed: object

    @override
    def __str__(self) -> str:
        episode = self.episode
        where = "in its reset" if self.step is None else f"in step {self.step}"
        return (
            f"Episode {episode.episode_index} of env {episode.env_index} (seed {episode.seed}) differs {where}: "
            f"{self.field} was {self.recorded!r}, and is {self.replayed!r} now. Either the env is made in another way "
            "(options, wrappers, versions), or it is not a function of its seed (`runnerkit replay --check` says how)."
        )


def compared(env: AnyEnv, *parts: AnyEpisode) -> Iterator[Divergence | None]:
    """Make an episode once more in an env, and yield what differs, after the reset and after each step::

        for divergence in compared(env, episode):
            frames.append(env.render())
            if divergence is not None:
                break

    `parts` are all parts of the episode, in order, if several rollouts share it. An error of the env is a difference,
    too; nothing follows it. The env stays open.

    Raises ArgumentError if the episode has no seed, if its beginning is missing, or if the env has other spaces.
    """
    record = record_of(parts)
    if why := not_replayable(parts[0].record):
        raise ArgumentError(f"Episode {record.episode_index} of env {record.env_index} {why}")
    keeps_infos = any(part.infos or part.reset_info for part in parts)
    executor = SerialExecutor(1)
    (facts,) = executor.open(lambda _: env, RunOptions(0, keep_infos=keeps_infos))
    raw, action = Layout(facts.observation_space, "observation"), Layout(facts.action_space, "action")
    block = Block(BlockLayout(1, raw, raw, action, action), 1, window=True)
    executor.attach(block)
    try:
        course = Course(
            record.episode_index, EpisodeStart(record.seed, record.options), _actions(action, parts), record.length
        )
        recorded = list(_recorded(raw, parts, keeps_infos=keeps_infos))
    except MisfitError as error:
        raise ArgumentError(
            f"The env has other spaces than the history: {error}. Make it as the runner did."
        ) from error
    reached = -1
    try:
        for t, _ in re_execute(executor, block, {0: course}):
            reached = t
            again = _seen(executor, block, t, keeps_infos=keeps_infos)
            name = "final observation" if t == record.length and record.complete else "observation"
            found = _first_difference(raw, name, recorded[t], again)
            yield None if found is None else Divergence(record, t - 1 if t else None, *found)
    except EnvError as error:
        step = None if reached < 0 else reached
        yield Divergence(record, step, "error", None, describe(error.__cause__ or error))


def not_replayable(record: Episode) -> str:
    """Return why an episode cannot be replayed; nothing if it can."""
    if record.continued:
        return (
            "began before these histories, so that its first actions are not here. Pass the histories that have them, "
            "too."
        )
    if record.seed is None:
        return "has no seed: a vector env, or the schedule, began it without one. Single envs have one in each episode."
    return ""


def record_of(parts: Sequence[AnyEpisode]) -> Episode:
    """Return the record of an episode as a whole."""
    return whole_record([part.record for part in parts])


def whole_record(parts: Sequence[Episode]) -> Episode:
    """Return the record of an episode as a whole, of those of its parts."""
    return replace(
        parts[0],
        length=sum(part.length for part in parts),
        return_=sum(part.return_ for part in parts),
        end_reason=parts[-1].end_reason,
    )


# ---- rows


class _Row(NamedTuple):
    """What a reset or a step led to; None stands for what is not known."""

    observation: Sequence[Any] | None
    signals: tuple[float, bool, bool] | None
    info: object


_SIGNALS = "reward", "terminated", "truncated"


def _recorded(layout: Layout, parts: Sequence[AnyEpisode], *, keeps_infos: bool) -> Iterator[_Row]:
    """Yield the recorded rows: that of the reset, and one for each step."""
    for part in parts:
        leaves = None if part.raw_observations is None else _split(layout, part.raw_observations)
        if part is parts[0]:
            first = None if leaves is None else [leaf[0] for leaf in leaves]
            yield _Row(first, None, (part.reset_info or {}) if keeps_infos else None)
        for t in range(part.record.length):
            observation = None if leaves is None or not part.next_known[t] else [leaf[t + 1] for leaf in leaves]
            signals = float(part.rewards[t]), bool(part.terminated[t]), bool(part.truncated[t])
            yield _Row(observation, signals, part.infos.get(t, {}) if keeps_infos else None)


def _seen(executor: SerialExecutor, block: Block, t: int, *, keeps_infos: bool) -> _Row:
    """Return the row that was just made."""
    info: object = None
    if keeps_infos:
        log = executor.drain()
        info = next((one for _, _, one in (*log.reset_infos, *log.infos)), {})
    observation = [column[block.raw_row(t), 0] for column in block.raw]
    at = block.at(t - 1)
    signals = float(block.rewards[at, 0]), bool(block.terminated[at, 0]), bool(block.truncated[at, 0])
    return _Row(observation, signals if t else None, info)


def _first_difference(layout: Layout, name: str, recorded: _Row, again: _Row) -> tuple[str, object, object] | None:
    """Return what differs first in two rows: (field, recorded value, value of the replay)."""
    if recorded.observation is not None and again.observation is not None:
        for leaf, before, now in zip(layout.leaves, recorded.observation, again.observation, strict=True):
            path = name + leaf.path.removeprefix(layout.name)
            if (found := _unequal(path, before, now)) is not None:
                return found
    if recorded.signals is None or again.signals is None:  # those of a reset
        signals: list[tuple[str, Any, Any]] = []
    else:
        signals = list(zip(_SIGNALS, recorded.signals, again.signals, strict=True))
    for what, before, now in signals:
        if (found := _unequal(what, before, now)) is not None:
            return found
    return None if recorded.info is None else _unequal("info", recorded.info, again.info)


def _unequal(path: str, before: Any, now: Any) -> tuple[str, object, object] | None:
    """Return where two values differ in a bit, and both; None if they are the same."""
    if exact(before) == exact(now):
        return None
    arrays = isinstance(before, np.ndarray) and isinstance(now, np.ndarray)
    if not arrays or before.dtype != now.dtype or before.shape != now.shape or before.dtype == object:
        return path, _shown(before), _shown(now)
    bits = [np.ascontiguousarray(array).view(np.uint8).reshape(array.size, -1) for array in (before, now)]
    where = np.unravel_index(int((bits[0] != bits[1]).any(axis=1).argmax()), before.shape)
    index = "".join(f"[{k}]" for k in where)
    return f"{path}{index}", before[where].item(), now[where].item()


def _shown(value: Any) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _actions(layout: Layout, parts: Sequence[AnyEpisode]) -> list[Column]:
    """Return the env actions of an episode as columns."""
    split = [_split(layout, part.env_actions) for part in parts]
    return [_column(leaf.is_object, [values[k] for values in split]) for k, leaf in enumerate(layout.leaves)]


def _split(layout: Layout, batch: object) -> list[Any]:
    """Return a batch as one value per leaf; raises MisfitError if it is of another space."""
    values: list[Any] = layout.split(batch)
    for leaf, value in zip(layout.leaves, values, strict=True):
        if leaf.is_object:
            continue
        array = np.asarray(value)
        if array.dtype != leaf.dtype or array.shape[1:] != leaf.shape:
            raise MisfitError(f"{leaf}, but the history has {array.dtype} of shape {array.shape[1:]}")
    return values


def _column(is_object: bool, values: Sequence[Any]) -> Column:
    if not is_object:
        return np.concatenate([np.asarray(value) for value in values])
    objects = [one for value in values for one in value]
    column = np.empty(len(objects), object)
    for t, one in enumerate(objects):
        column[t] = one
    return column
