"""What is reported on: the episodes of a run as arrays, wherever they come from.

A source is a folder of the format `npz`, histories in memory, or an evaluation. Episodes that rollouts cut are put
together again, so that each counts once, with its total return and length.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit.errors import ArgumentError
from runnerkit.evaluation import Evaluation
from runnerkit.history.columns import ColumnHistory
from runnerkit.history.npz import StoredRuns, load
from runnerkit.records import EndReason, EnvFault, Episode, MadeBy, RunOptions, Timings
from runnerkit.reporting.stored_timings import kept_timings

__all__ = ["MOST", "UNFINISHED", "Run", "Source", "SupportsEpisodes", "gathered", "is_drawable", "titles"]

MOST: Final = 1e150
"""Numbers beyond this are not drawn."""

UNFINISHED: Final = "unfinished"
"""What is said of an episode that a rollout cut, and that no later one ended."""


def is_drawable(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which numbers are finite, and not so large that their squares are infinite."""
    return np.asarray(np.abs(values) < MOST)  # false for NaN


@runtime_checkable
class SupportsEpisodes(Protocol):
    """Anything that has the records of its episodes: any history of arrays or tensors, or an `Evaluation`."""

    @property
    def episodes(self) -> Sequence[Episode]:
        """The records, in order."""
        ...


Source: TypeAlias = "str | os.PathLike[str] | StoredRuns | SupportsEpisodes | Sequence[SupportsEpisodes]"
"""A run: a folder that `--history npz` wrote, or what `runnerkit.load` read of it; the histories of its rollouts, in
their order; or an `Evaluation`."""


@dataclass(frozen=True)
class Part:
    """An episode, or its part in one rollout, and where it lies in the run."""

    record: Episode
    runner: int
    rollout: int
    index: int
    """Its number for `runnerkit replay`."""

    @property
    def rollout_key(self) -> tuple[int, int]:
        """Its runner and its rollout."""
        return self.runner, self.rollout


@dataclass(frozen=True)
class Run:
    """A run in one env, with its episodes in the order in which they ended.

    Attributes:
        name: how the report calls it.
        group: runs of one group are one method, with other seeds.
        env: the name of the env.
        episodes: the whole episodes; the record is that of the last part.
        steps: the steps of all envs together when each episode ended, int64 `[episodes]`.
        total_steps: all steps of the run.
        numbers: for each episode, its number for `runnerkit replay`.
        folder: the folder, as it was written; empty for histories in memory.
        histories: what columns can be read from, if anything.
        history_lengths: how many rows each of them has.
        faults: the envs that failed and were made anew.
        made_by: the runners, each once.
        options: their options, where they are stored.
        timings: where the time went, if that is known.

    """

    name: str
    group: str
    env: str
    episodes: Sequence[Episode]
    steps: NDArray[np.int64]
    total_steps: int
    numbers: Sequence[int]
    folder: str = ""
    histories: Sequence[Any] = ()
    history_lengths: Sequence[int] = ()
    faults: Sequence[EnvFault] = ()
    made_by: Sequence[MadeBy] = ()
    options: Sequence[RunOptions] = ()
    timings: Sequence[Timings] = field(default=())

    @cached_property
    def returns(self) -> NDArray[np.float64]:
        """The return of each episode, float64 `[episodes]`."""
        return np.array([episode.total_return for episode in self.episodes], np.float64)

    @cached_property
    def lengths(self) -> NDArray[np.float64]:
        """The steps of each episode, float64 `[episodes]`."""
        return np.array([episode.total_length for episode in self.episodes], np.float64)

    @cached_property
    def env_indices(self) -> NDArray[np.int64]:
        """The env of each episode, int64 `[episodes]`."""
        return np.array([episode.env_index for episode in self.episodes], np.int64)

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """Whether the env itself ended each episode, bool `[episodes]`."""
        return np.array([episode.complete for episode in self.episodes], np.bool_)

    @cached_property
    def drawn(self) -> NDArray[np.intp]:
        """The complete episodes whose return can be drawn: what curves and statistics are made of."""
        return np.flatnonzero(self.complete & is_drawable(self.returns))

    @property
    def left_out(self) -> int:
        """How many complete episodes have a return that cannot be drawn."""
        return int(self.complete.sum()) - len(self.drawn)

    def scores(self, last: int) -> NDArray[np.float64]:
        """Return the returns of the last complete episodes."""
        return self.returns[self.drawn][-last:]

    def reason(self, k: int) -> str:
        """Return why an episode ended, in a word."""
        reason = self.episodes[k].end_reason
        return UNFINISHED if reason is EndReason.CUT else str(reason)

    def command(self, k: int) -> str:
        """Return the command that makes an episode once more; empty for histories in memory."""
        return shlex.join(["runnerkit", "replay", self.folder, str(self.numbers[k])]) if self.folder else ""


def gathered(name: str, group: str, source: object, timings: Sequence[Timings] = ()) -> list[Run]:
    """Return a source as runs, one for each env that it has data of."""
    if isinstance(source, str | os.PathLike):
        return _of_folder(name, group, load(source), os.fspath(source), timings)
    if isinstance(source, StoredRuns):
        return _of_folder(name, group, source, os.path.relpath(source.path), timings)
    histories = [source] if isinstance(source, SupportsEpisodes) else list(_histories(source))
    return _of_histories(name, group, histories, timings)


def _histories(source: object) -> Iterator[SupportsEpisodes]:
    items = source if isinstance(source, Iterable) and not isinstance(source, bytes) else [source]
    for item in items:
        if not isinstance(item, SupportsEpisodes):
            raise ArgumentError(
                f"A report needs a folder that history='npz' wrote, histories of arrays or tensors, or an Evaluation, "
                f"not {type(item).__name__}. Formats without records of episodes cannot be reported on: record with "
                "history='npz' or 'arrays'."
            )
        yield item


def titles(name: str, stored: StoredRuns) -> list[str]:
    """Return what a report calls each runner of a folder: `name`, and its env if there are several."""
    envs = _envs_of(stored)
    return [name if len(set(envs)) < 2 else f"{name} ({env})" for env in envs]


def _envs_of(stored: StoredRuns) -> list[str]:
    return [_env_of(run.made_by, run.spec.env_id) for run in stored.runs]


def _of_folder(name: str, group: str, stored: StoredRuns, folder: str, timings: Sequence[Timings]) -> list[Run]:
    envs, names = _envs_of(stored), titles(name, stored)
    kept = kept_timings(stored.path) if len(set(envs)) < 2 else []  # they do not say of which runner they are
    runs = []
    for env in dict.fromkeys(envs) or ["no env"]:
        chosen = [k for k, row in enumerate(stored.rows) if envs[row.run] == env]
        parts = [Part(stored.rows[k].episode, stored.rows[k].run, stored.rows[k].rollout, k) for k in chosen]
        is_only = len(set(envs)) < 2
        run = Run(
            name=names[envs.index(env)] if envs else name,
            group=group,
            env=env,
            **_ordered(parts),
            folder=folder,
            histories=_Chosen(stored, chosen),
            history_lengths=[stored.episodes[k].length for k in chosen],
            faults=stored.env_faults if is_only or not stored.env_faults else _faults_in(stored, chosen),
            made_by=[made.made_by for made, of in zip(stored.runs, envs, strict=True) if of == env],
            options=[made.spec.options for made, of in zip(stored.runs, envs, strict=True) if of == env],
            timings=timings or kept,
        )
        runs.append(run)
    return runs


def _faults_in(stored: StoredRuns, chosen: Sequence[int]) -> list[EnvFault]:
    return [fault for k in chosen for fault in stored[k].faults]


class _Chosen(Sequence[Any]):
    """Some of the histories of a folder, read when they are asked for."""

    def __init__(self, stored: StoredRuns, chosen: Sequence[int]) -> None:
        self._stored, self._chosen = stored, chosen

    @override
    def __len__(self) -> int:
        return len(self._chosen)

    @override
    def __getitem__(self, index: Any) -> Any:
        return self._stored[self._chosen[index]]


def _of_histories(
    name: str, group: str, histories: Sequence[SupportsEpisodes], timings: Sequence[Timings]
) -> list[Run]:
    by_env: dict[str, list[SupportsEpisodes]] = {}
    for history in histories:
        by_env.setdefault(_env_of_history(history), []).append(history)
    runs = []
    for env, mine in (by_env or {"no env": []}).items():
        made_by = [made for history in mine if isinstance(made := getattr(history, "made_by", None), MadeBy)]
        title = name if len(by_env) < 2 else f"{name} ({env})"
        columns = [history for history in mine if isinstance(history, ColumnHistory)]
        run = Run(
            name=title,
            group=group,
            env=env,
            **_ordered(list(_parts(mine))),
            histories=columns,
            history_lengths=[len(history) for history in columns],
            faults=list(_faults(mine)),
            made_by=_each_once(made_by),
            timings=timings,
        )
        runs.append(run)
    return runs


def _faults(histories: Iterable[SupportsEpisodes]) -> Iterator[EnvFault]:
    """Yield each fault once: histories of one rollout share a list, and stacked ones repeat it."""
    seen: set[int] = set()
    for history in histories:
        for fault in getattr(history, "faults", ()):
            if isinstance(fault, EnvFault) and id(fault) not in seen:
                seen.add(id(fault))
                yield fault


def _each_once(made_by: Iterable[MadeBy]) -> list[MadeBy]:
    found: list[MadeBy] = []
    last: MadeBy | None = None
    for made in made_by:
        if made is not last and made not in found:
            found.append(made)
        last = made
    return found


def _env_of_history(history: SupportsEpisodes) -> str:
    made = getattr(history, "made_by", None)
    named = getattr(history, "env", None)
    return _env_of(made, named if isinstance(named, str) else "") if isinstance(made, MadeBy) else str(named or "env")


def _env_of(made: MadeBy, otherwise: str) -> str:
    """Return the name of the env, with the options that it was made with."""
    env = next((part for part in made.parts if part.kind == "env"), None)
    name = made.env_id or (env.name if env is not None else "") or otherwise or "env"
    options = {} if env is None else env.options
    return name + (f" ({', '.join(f'{key}={value}' for key, value in options.items())})" if options else "")


def _parts(histories: Iterable[SupportsEpisodes]) -> Iterator[Part]:
    """Yield the parts of episodes; a rollout has each env once."""
    rollout, seen, last, runner = 0, set[int](), None, 0
    for history in histories:
        made = getattr(history, "made_by", None)
        if last is not None and made is not last and made != last:
            rollout, runner, seen = rollout + 1, runner + 1, set()
        last = made
        if isinstance(history, Evaluation):  # its episodes are whole, and in the order of their seeds
            for k, episode in enumerate(history.episodes):
                whole = replace(episode, start=0, length=episode.total_length, return_=episode.total_return)
                yield Part(replace(whole, steps_before=0, return_before=0.0), runner, rollout + k, -1)
            rollout, seen = rollout + len(history.episodes), set()
            continue
        envs = {episode.env_index for episode in history.episodes}
        if envs & seen:
            rollout, seen = rollout + 1, set()
        seen |= envs
        yield from (Part(episode, runner, rollout, -1) for episode in history.episodes)


def _ordered(parts: Sequence[Part]) -> dict[str, Any]:
    """Return whole episodes in the order of their ends, with the steps of all envs together until then."""
    ends, total = _ends(parts)
    whole: list[tuple[int, Episode, int]] = []
    running: dict[tuple[int, int, int], tuple[int, int]] = {}
    for part, end in sorted(zip(parts, ends, strict=True), key=lambda pair: (pair[0].rollout_key, pair[1])):
        record = part.record
        key = (part.runner, record.env_index, record.episode_index)
        place, steps = running.get(key, (-1, -1))
        if record.continued and steps == record.steps_before:
            whole[place] = (end, record, part.index)
        else:
            place = len(whole)
            whole.append((end, record, part.index))
        running[key] = place, record.total_length
    whole.sort(key=lambda item: item[0])
    return {
        "episodes": [record for _, record, _ in whole],
        "steps": np.array([end for end, _, _ in whole], np.int64),
        "total_steps": total,
        "numbers": [index for _, _, index in whole],
    }


def _ends(parts: Sequence[Part]) -> tuple[list[int], int]:
    """Return how many steps all envs together had made when each part ended, and in all."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for part in parts:
        size = sizes.setdefault(part.rollout_key, [0, 0])
        size[0] += part.record.length
        size[1] = max(size[1], part.record.start + part.record.length)
    before, total = {}, 0
    for key in sorted(sizes):
        before[key] = total
        total += sizes[key][0]
    found = []
    for part in parts:
        steps, rows = sizes[part.rollout_key]
        end = part.record.start + part.record.length
        found.append(before[part.rollout_key] + round(end * steps / rows) if rows else before[part.rollout_key])
    return found, total
