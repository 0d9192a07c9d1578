"""All episodes of histories once more: which they are, where their parts lie, and how their envs are made."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, NamedTuple, cast

import gymnasium
from gymnasium.vector import VectorEnv
from typing_extensions import override

from runnerkit._core.faults import describe
from runnerkit._core.types import AnyEnv, AnyMakeEnv, MakeEnv
from runnerkit._core.wording import count
from runnerkit._envs.resolve import EnvMaker, resolve_env, seed_spaces
from runnerkit._plugins.manager import installed_plugins
from runnerkit._rollout.config import check_callable
from runnerkit._rollout.wrapping import find_wrapper, wrapped
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.history.arrays import ArrayHistory
from runnerkit.history.columns import ColumnHistory
from runnerkit.history.npz import Row, StoredRuns
from runnerkit.keys import EnvKey
from runnerkit.records import Episode, MadeBy
from runnerkit.replaying.comparison import AnyEpisode, Divergence, compared, not_replayable, record_of, whole_record

__all__ = ["Replay", "StoredEpisode", "maker", "remade", "replay", "whole_episodes"]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found.

    Attributes:
        episodes: the records of the episodes that were replayed, in order.
        divergences: the first difference of each episode that differs.
        left_out: the records of the episodes that could not be replayed, each with the reason.
        unseen: how many of the episodes have only processed observations. Of these, rewards and flags were compared.
            Histories of a runner with preprocessors need `keep_raw=True` to have the env's own.

    """

    episodes: tuple[Episode, ...]
    divergences: tuple[Divergence, ...] = ()
    left_out: tuple[tuple[Episode, str], ...] = ()
    unseen: int = 0

    @property
    def first(self) -> Divergence | None:
        """The first difference; None if all is the same."""
        return next(iter(self.divergences), None)

    @override
    def __str__(self) -> str:
        steps = sum(episode.total_length for episode in self.episodes)
        found = f"{count(len(self.divergences), 'episode')} differ" if self.divergences else "all the same"
        found = found if self.episodes else "there was nothing to replay"
        lines = [f"{count(len(self.episodes), 'episode')}, {count(steps, 'step')}: {found}."]
        lines += map(str, self.divergences)
        if self.unseen:
            lines.append(
                f"{count(self.unseen, 'episode')}: only rewards and flags were compared, as the history has no "
                "observations from before the preprocessors (keep_raw=True)."
            )
        lines += [f"Left out: episode {one.episode_index} of env {one.env_index} {why}" for one, why in self.left_out]
        return "\n".join(lines)


def replay(
    histories: ColumnHistory[Any, Any, Any, Any] | Iterable[object],
    *,
    env: str | EnvKey[Any, Any] | AnyMakeEnv | None = None,
    env_options: Mapping[str, Any] | None = None,
    which: Callable[[Episode], bool] | None = None,
) -> Replay:
    """Make recorded episodes once more, from their seeds and env actions, and compare everything bit by bit::

        replayed = runnerkit.replay(runner.rollout(agent, steps=1000))
        replayed = runnerkit.replay(runnerkit.load("runs"))
        print(replayed.first)

    Observations, final observations, rewards and flags are compared, and infos where they were kept. Agents and
    processors are not needed: the history has the actions as the env got them. An episode that several rollouts share
    is replayed as a whole if all these rollouts are given.

    Args:
        histories: a history with columns, several of them, or a folder that `runnerkit.load` opened.
        env: the env, if the histories do not know how to make it: an id, an `EnvKey`, or a function (seed) -> env.
            They know ids, functions of modules, and wrappers of modules. With `env`, no recorded wrapper is used.
        env_options: keyword arguments for the env, instead of the recorded ones.
        which: says of each record whether to replay it; by default, every episode is replayed.

    Raises:
        ArgumentError: there are no histories, or they have no columns, or the env cannot be made of what they know.

    """
    check_callable(which, "which", "a function that says of each record whether to replay it")
    episodes, left_out = _whole(_parts_of(histories), which)
    replayed: list[Episode] = []
    divergences: list[Divergence] = []
    unseen = 0
    for _, some in groupby(episodes, lambda found: (found[0].made_by, found[0].record.env_index)):
        group = list(some)
        made = remade(group[0][0].made_by, group[0][0].record.env_index, env, env_options)
        try:
            for parts in group:
                columns = [part.read() for part in parts]
                difference = next(filter(None, compared(made, *columns)), None)
                divergences += [] if difference is None else [difference]
                replayed.append(record_of(columns))
                unseen += columns[0].raw_observations is None
        finally:
            made.close()
    return Replay(tuple(replayed), tuple(divergences), tuple(left_out), unseen)


# ---- whose episodes


@dataclass(frozen=True, slots=True)
class StoredEpisode:
    """A whole episode of a folder: its record, and the histories that have its parts, by their index in the folder."""

    record: Episode
    indices: tuple[int, ...]


def whole_episodes(runs: StoredRuns) -> list[StoredEpisode]:
    """Return the episodes of a folder that can be replayed, in the order in which they ended.

    For example::

        for episode in whole_episodes(runs := runnerkit.load("runs")):
            print(episode.record.total_return, [runs[k] for k in episode.indices])

    """
    episodes, _ = _whole(_parts_of(runs), None)
    found = [
        StoredEpisode(
            whole_record([part.record for part in parts]), tuple(part.place for part in parts if part.place is not None)
        )
        for parts in episodes
    ]
    return sorted(found, key=lambda episode: _end(runs.rows[episode.indices[-1]]))


def _end(row: Row) -> tuple[int, int, int, int]:
    """Return what orders the parts of a folder by their ends: envs step side by side in a rollout."""
    return row.run, row.rollout, row.episode.start + row.episode.length, row.episode.env_index


class _Part(NamedTuple):
    """An episode, or its part in one rollout, which may have to be read first."""

    made_by: MadeBy
    record: Episode
    read: Callable[[], AnyEpisode]
    place: int | None = None
    """Its index in a folder."""


def _parts_of(histories: object) -> Iterator[_Part]:
    if isinstance(histories, StoredRuns):
        for k, (record, made_by) in enumerate(zip(histories.episodes, histories.made_by, strict=True)):
            yield _Part(made_by, record, functools.partial(_read, histories, k), k)
        return
    if isinstance(histories, str | os.PathLike):
        raise ArgumentError(
            f"replay needs histories, not a path. Use replay(runnerkit.load({os.fspath(histories)!r}))."
        )
    if isinstance(histories, ColumnHistory) or not isinstance(histories, Iterable):
        histories = [histories]
    is_empty = True
    for history in histories:
        is_empty = False
        if not isinstance(history, ColumnHistory):
            raise ArgumentError(
                f"replay needs histories with columns, as 'arrays', 'torch' and 'npz' make them, not {history!r:.80}."
            )
        for block, i in history.parts():
            for episode in ArrayHistory[Any, Any](block, i, len(history)).split():
                yield _Part(history.made_by, episode.record, functools.partial(_itself, episode))
    if is_empty:
        raise ArgumentError("replay needs at least one history, as rollout returns them, but there is none.")


def _read(runs: StoredRuns, k: int) -> AnyEpisode:
    return runs[k].split()[0]


def _itself(episode: AnyEpisode) -> AnyEpisode:
    return episode


def _whole(
    parts: Iterable[_Part], which: Callable[[Episode], bool] | None
) -> tuple[list[list[_Part]], list[tuple[Episode, str]]]:
    """Join the parts of each episode; return whole episodes, runner by runner and env by env, and what is left out."""
    whole: list[tuple[tuple[int, int, int], list[_Part]]] = []
    going: dict[tuple[int, int, int], list[_Part]] = {}
    left_out: list[tuple[Episode, str]] = []
    runners: list[MadeBy] = []
    for part in parts:
        record = part.record
        if which is not None and not which(record):
            continue
        if part.made_by not in runners:
            runners.append(part.made_by)
        key = runners.index(part.made_by), record.env_index, record.episode_index
        begun = going.get(key, [])
        reached = [*accumulate(one.record.length for one in begun)]
        if record.continued and record.steps_before in reached:
            before = begun[: reached.index(record.steps_before) + 1]
            if len(before) == len(begun):
                begun.append(part)
            else:  # the runner went back, and the episode goes on in two ways
                going[key] = [*before, part]
                whole.append((key, going[key]))
        elif why := not_replayable(record):
            left_out.append((record, why))
        else:
            going[key] = [part]
            whole.append((key, going[key]))
    return [found for _, found in sorted(whole, key=lambda entry: entry[0])], left_out


# ---- the env


def maker(env: str | EnvKey[Any, Any] | AnyMakeEnv) -> Callable[[int | None], AnyEnv]:
    """Return a function (seed) -> env that makes an env as a runner would; it can be sent to other processes."""
    return functools.partial(_made, resolve_env(env, installed_plugins(), {}).make)


def _made(make: EnvMaker, seed: int | None) -> AnyEnv:
    made = make(seed, 0)
    if isinstance(made, VectorEnv):
        made.close()
        raise ArgumentError("A single env is needed, not a vector env. Pass an id, or a function (seed) -> env.")
    return made


def remade(
    made_by: MadeBy,
    i: int,
    env: object = None,
    env_options: Mapping[str, Any] | None = None,
    render_mode: str | None = None,
) -> AnyEnv:
    """Make env i as the runner did, unless another env or other options are given.

    With `render_mode`, it can be drawn; a function that takes no `render_mode` must make an env that can.
    """
    options = _options_of(made_by) if env_options is None and env is None else env_options or {}
    given = _recorded_env(made_by) if env is None else env
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) <= i:
        raise ArgumentError(
            f"env= is a list of {count(len(given), 'env')}, but env {i} is to be made, too. Give one each."
        )
    if render_mode is not None and (not callable(given) or _takes_render_mode(given)):
        options = {**options, "render_mode": render_mode}
    make = resolve_env(cast(Any, given), installed_plugins(), options, made_by.n_envs).make
    if env is None:
        names = [(part.name, dict(part.options)) for part in made_by.parts if part.kind == "wrapper"]
        make = wrapped(make, [find_wrapper(name) for name in names])
    seed = None if made_by.seed is None else SeedSchedule(made_by.seed).env_seed(i)
    try:
        made = make(seed, i)
    except Exception as error:
        if env is not None:
            raise EnvError(f"could not be made: {describe(error)}", env_index=i) from error
        raise ArgumentError(
            f"The env cannot be made as its record says: {describe(error)}. Of options that are no numbers, texts, "
            "lists or dicts, the record has the text only. Pass env=, as the runner got it; in a terminal, --env."
        ) from error
    if isinstance(made, VectorEnv):
        made.close()
        raise ArgumentError(
            "The histories were recorded with a vector env, which has no single envs to replay them in. Pass env=, a "
            "function (seed) -> env that makes one that does the same."
        )
    if seed is not None:
        seed_spaces(made, seed)
    return made


def _takes_render_mode(function: Callable[..., object]) -> bool:
    try:
        return "render_mode" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # of what has no signature
        return False


def _options_of(made_by: MadeBy) -> Mapping[str, Any]:
    by_kind = {part.kind: part.options for part in made_by.parts}
    return by_kind.get("env factory", by_kind.get("env", {}))


def _import_package_of(made_by: MadeBy) -> None:
    """Import the package of an env, as the program that recorded it did: many register their envs only then."""
    package = made_by.parts[0].distribution.replace("-", "_") if made_by.parts else ""
    if package and ":" not in made_by.env_id and made_by.env_id not in gymnasium.registry:
        with contextlib.suppress(ImportError):  # then nothing has that name, which the error is about
            importlib.import_module(package)


def _recorded_env(made_by: MadeBy) -> str | AnyMakeEnv:
    """Return the id, or the function, that the runner got as its env."""
    if not made_by.env_id:
        raise ArgumentError(
            "The histories do not know how their envs were made. Pass env=, as the runner got it; in a terminal, --env."
        )
    if not made_by.is_function:
        _import_package_of(made_by)
        return made_by.env_id
    module, _, path = made_by.env_id.partition(":")
    try:
        function: Any = importlib.import_module(module)
        for name in path.split("."):
            function = getattr(function, name)
    except (ImportError, AttributeError) as error:
        raise ArgumentError(
            f"The envs were made by {made_by.env_id}, which cannot be imported: {describe(error)}. "
            "Pass env=, a function (seed) -> env that does the same; in a terminal, --env MODULE:FUNCTION."
        ) from error
    return cast(MakeEnv, function)
