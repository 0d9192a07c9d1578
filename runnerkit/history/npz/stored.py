"""What a folder of the format `npz` has, as histories that are read when they are asked for."""

from __future__ import annotations

import functools
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit._core.spaces import Column
from runnerkit._core.wording import count
from runnerkit.errors import ArgumentError
from runnerkit.history.arrays import ArrayHistory
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout, Mark
from runnerkit.history.npz.codec import decode
from runnerkit.history.npz.files import EXTRAS, checksum, joined, objects_of, trees_of
from runnerkit.history.npz.manifest import FILE, Contents, Manifest, Row, folder_of, read, said_of_torn
from runnerkit.history.npz.runs import StoredRun
from runnerkit.records import EndReason, EnvFault, Episode, EpisodeStart, MadeBy, Seeding

__all__ = ["StoredBlock", "StoredRuns", "load", "mend_folder"]


class StoredRuns(Sequence[ArrayHistory[Any, Any]]):
    """The episodes in a folder of the format `npz`, as histories that are read when they are asked for::

        runs = runnerkit.load("runs")
        len(runs), runs.episodes[0].return_
        for history in runs:                       # one episode, or part of one, each
            history.observations, history.rewards

    A history opens its file when its columns are asked for, and keeps them. The records need no file.

    Attributes:
        path: the folder.
        runs: the runners that wrote to it.
        episodes: the records of the episodes, or of their parts in one rollout, rollout by rollout, and
            within a rollout env by env. Their `start` is 0.
        rows: for each of them, its run, its rollout, its file and the checksum of that.
        files: for each of them, its file.
        env_faults: the envs that failed and were made anew, see `on_env_error="restart"`. The history of the episode
            that a fault ended has it in its `faults`.
        torn: how many bytes of a torn line the manifest ends in; they are left out.

    """

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path: Path = path
        self.runs: list[StoredRun] = contents.runs
        self.rows: list[Row] = sorted(contents.rows, key=_place)
        self.episodes: list[Episode] = [replace(row.episode, start=0) for row in self.rows]
        self.files: list[str] = [row.file for row in self.rows]
        self.torn: int = contents.torn
        self.env_faults: list[EnvFault] = [fault for _, _, fault in contents.faults]
        last = {(row.run, row.episode.env_index, row.episode.episode_index): k for k, row in enumerate(self.rows)}
        self._faults: dict[int, list[EnvFault]] = {}
        for run, _, fault in contents.faults:
            if fault.episode_index is not None and (run, fault.env_index, fault.episode_index) in last:
                k = last[run, fault.env_index, fault.episode_index]
                self._faults.setdefault(k, []).append(fault)

    @override
    def __repr__(self) -> str:
        """Say what there is."""
        return f"<StoredRuns {self.path}: {count(len(self), 'episode')} of {count(len(self.runs), 'run')}>"

    @property
    def made_by(self) -> list[MadeBy]:
        """For each episode, the parts of the runner."""
        return [self.runs[row.run].made_by for row in self.rows]

    @override
    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> ArrayHistory[Any, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[ArrayHistory[Any, Any]]: ...
    @override
    def __getitem__(self, index: int | slice) -> ArrayHistory[Any, Any] | list[ArrayHistory[Any, Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        row, episode = self.rows[index], self.episodes[index]
        block = StoredBlock(
            self.path, self.runs[row.run], lambda: [replace(row, episode=episode)], episode.env_index, episode.length
        )
        block.faults = self._faults.get(range(len(self))[index], [])
        return ArrayHistory(block, 0, episode.length)

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with each file that is missing, or that was changed since it was written."""
        for row in self.rows:
            path = self.path / row.file
            if not path.is_file():
                yield f"{row.file} is missing"
            elif checksum(path) != row.sha256:
                yield f"{row.file} was changed since it was written: its checksum differs"

    def unlisted(self) -> list[str]:
        """Return the files of episodes that a program left when it was killed before it had listed them."""
        listed = {*self.files}
        return sorted(
            path.name
            for path in self.path.iterdir()
            if path.name not in listed and FILE.fullmatch(re.sub(r"\.partial$", "", path.name))
        )


def _place(row: Row) -> tuple[int, int, int, int]:
    return row.run, row.rollout, row.episode.env_index, row.episode.start


class StoredBlock(Block):
    """The rows of one env, in files that are read as soon as a column is asked for.

    Args:
        folder: where the files are.
        run: the runner that wrote them.
        rows: returns what the manifest lists of this env and rollout, in order.
        env_index: the env.
        length: the number of its steps.

    """

    def __init__(
        self, folder: Path, run: StoredRun, rows: Callable[[], Sequence[Row]], env_index: int, length: int
    ) -> None:
        self.layout: BlockLayout = run.layout()
        self.n_envs: int = 1
        self.steps: int = length
        self.env_indices: list[int] = [env_index]
        self.lengths: list[int] = [length]
        self.made_by: MadeBy = run.made_by
        self.seeding: Seeding = run.spec.seeding
        self.faults: list[EnvFault] = []
        self._folder, self._listed = folder, rows

    def __getattr__(self, name: str) -> Any:
        """Read the files: what is asked for is no attribute yet."""
        if name not in _COLUMNS:
            raise AttributeError(f"a block has no {name}")
        whole = _whole(self._folder, self.layout, self._rows)
        mine = vars(self)
        mine.update({name: mine.get(name, value) for name, value in vars(whole).items()})
        return mine[name]

    @functools.cached_property
    def _rows(self) -> Sequence[Row]:
        return self._listed()

    @override
    def episodes(self, env_index: int) -> list[Episode]:
        return [row.episode for row in self._rows]


_COLUMNS: Final = {
    *("observations", "actions", "rewards", "processed_rewards", "terminated", "truncated", "raw", "env_actions"),
    *("extras", "tails", "first_marks", "log", "raw_log", "schedule", "given", "_window"),
}


_MOST_STEPS_PER_BYTE: Final = 110  # 10 bytes at least per step, of which compression makes 1/1032 at best


def _whole(folder: Path, layout: BlockLayout, rows: Sequence[Row]) -> Block:
    """Return the rows of several episodes of one env, one after the other."""
    for row in rows:
        _check_size(folder / row.file, row.episode.length)  # before there is memory for so many rows
    block = Block(layout, sum(row.episode.length for row in rows))
    block.lengths = [block.steps]
    for k, row in enumerate(rows):
        path = folder / row.file
        try:
            with path.open("rb") as file:
                if not zipfile.is_zipfile(file):
                    raise ValueError("it is not a whole .npz file")
                file.seek(0)
                with np.load(file, allow_pickle=False) as columns:
                    finals = _put(block, row.episode, columns, is_first=k == 0)
            if k + 1 < len(rows):
                _log_next(block, row.episode, rows[k + 1].episode, finals)
        except Exception as error:  # of zipfile, zlib and NumPy: there are many ways to be damaged
            raise _unreadable(path, error) from error
    if rows:
        block.tails = [rows[-1].episode.end_reason]
    return block


def _check_size(path: Path, length: int) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    if length > size * _MOST_STEPS_PER_BYTE:
        raise _unreadable(path, f"it has {size} bytes, too few for the {length} steps that are listed")


def _unreadable(path: Path, why: object) -> ArgumentError:
    return ArgumentError(f"{path} cannot be read: {why}. `runnerkit verify {path.parent}` checks all files.")


def _put(block: Block, record: Episode, columns: Mapping[str, Any], *, is_first: bool) -> dict[str, list[Column]]:
    """Write an episode into its rows, and return its final observations."""
    start, stop = record.start, record.start + record.length
    begin = EpisodeStart(record.seed, record.options)
    if is_first:
        block.first_marks = {0: Mark(start, record.episode_index, begin, record.steps_before, record.return_before)}
    else:
        block.given[0, record.episode_index] = begin
    plain: list[tuple[str, Column]] = [
        ("rewards", block.rewards), ("terminated", block.terminated), ("truncated", block.truncated)
    ]  # fmt: skip
    if block.layout.reward_processed:
        plain.append(("processed_rewards", block.processed_rewards))
    for name, leaf in plain:
        _fill(leaf[start:stop], joined(columns, name, np.asarray), name)
    into = {"observations": block.observations, "actions": block.actions}
    into |= {"env_actions": block.env_actions, "raw": block.raw}
    finals = {}
    for name, layout in trees_of(block.layout):
        stored = [
            joined(columns, f"{name}.{k}", objects_of if leaf.is_object else np.asarray)
            for k, leaf in enumerate(layout.leaves)
        ]
        has_final = name in ("observations", "raw")
        for k, (leaf, values) in enumerate(zip(into[name], stored, strict=True)):
            _fill(leaf[start : stop + has_final], values, f"{name}.{k}")
        finals[name] = stored
    _put_extras(block, slice(start, stop), columns, is_first=is_first)
    _put_notes(block, record, columns)
    return finals


def _fill(rows: Column, stored: NDArray[Any], name: str) -> None:
    if stored.dtype != rows.dtype or stored.shape != (len(rows), *rows.shape[2:]):
        raise ValueError(f"{name} is {stored.dtype} of shape {stored.shape}, which does not fit {len(rows)} rows")
    rows[:, 0] = stored


def _put_extras(block: Block, rows: slice, columns: Mapping[str, Any], *, is_first: bool) -> None:
    """Write the columns that the agent gave: all episodes of a rollout have the same."""
    found = [name.removeprefix(EXTRAS).partition("@")[0] for name in columns if name.startswith(EXTRAS)]
    stored = {name: joined(columns, f"{EXTRAS}{name}", np.asarray) for name in dict.fromkeys(found)}
    if is_first:
        block.extras = {name: np.zeros((block.steps, 1, *of.shape[1:]), of.dtype) for name, of in stored.items()}
    if stored.keys() != block.extras.keys():
        raise ValueError(f"it has the extra columns {list(stored)}, but the episode before has {list(block.extras)}")
    for name, values in stored.items():
        _fill(block.extras[name][rows], values, f"{EXTRAS}{name}")


def _put_notes(block: Block, record: Episode, columns: Mapping[str, Any]) -> None:
    """Write what is not of every step: infos, and next observations that are not known."""
    if "infos" in columns:
        infos = json.loads(columns["infos"].tobytes())
        block.log.infos += [(0, record.start + t, decode(info)) for t, info in infos["steps"]]
        if infos["reset"] is not None:
            block.log.reset_infos.append((0, record.episode_index, decode(infos["reset"])))
    if "next_known" in columns:
        block.log.unknown += [(0, record.start + int(t) + 1) for t in np.flatnonzero(~columns["next_known"])]


def _log_next(block: Block, record: Episode, following: Episode, finals: Mapping[str, list[Column]]) -> None:
    """Log that the next episode begins, with the final observation of this one."""
    whys = None if record.end_reason in (EndReason.TERMINATED, EndReason.TRUNCATED) else record.end_reason
    at = (following.start, following.episode_index)
    block.log.begin(0, *at, finals["observations"], -1, whys)
    if block.raw_log is not None:
        block.raw_log.begin(0, *at, finals["raw"], -1)


def load(path: str | os.PathLike[str]) -> StoredRuns:
    """Open a folder of the format `npz` for reading::

        for history in runnerkit.load("runs"):
            history.rewards.sum()

    A torn last line, of a program that was killed, is left out, with a warning. Raises ArgumentError if the folder
    is none of this format and version.
    """
    folder = folder_of(path)
    contents = read(folder)
    if contents.torn:
        warnings.warn(said_of_torn(folder, contents.torn), RuntimeWarning, stacklevel=2)
    return StoredRuns(folder, contents)


def mend_folder(path: str | os.PathLike[str]) -> list[str]:
    """Cut a torn line off a folder's manifest, and remove the files that a killed program had not listed yet.

    Returns what was done, in words. Raises ArgumentError if a runner writes to the folder, or if its manifest is
    damaged otherwise.
    """
    folder = folder_of(path)
    read(folder)  # or a manifest would be made in any folder
    manifest = Manifest(folder)
    try:
        contents = read(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is returned
            unlisted = StoredRuns(folder, contents).unlisted()
            manifest.mend()
        for name in unlisted:
            (folder / name).unlink(missing_ok=True)
    finally:
        manifest.close()
    done = [f"cut {contents.torn} bytes of a torn line off the manifest"] if contents.torn else []
    return done + [f"removed {name}" for name in unlisted]
