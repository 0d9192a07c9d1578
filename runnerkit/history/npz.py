"""The `npz` format: histories on disk, one file per episode, that survive a program that is killed.

A folder has `manifest.jsonl` and one `.npz` file per episode, or per part of an episode that a rollout cut. The
manifest is only ever appended to. Its lines are runs (what was recorded, of which spaces, by which parts) and episodes
(the record, the file, and its checksum). A file is there before the line that lists it, so that whatever is listed
can be read. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit._core.faults import describe
from runnerkit._core.origins import plain
from runnerkit._core.space_json import space_from_json, space_to_json
from runnerkit._core.spaces import Column, Layout
from runnerkit.errors import ArgumentError, RolloutError
from runnerkit.history.arrays import ArrayHistory
from runnerkit.history.block import Block, BlockLayout, Mark
from runnerkit.history.columns import EpisodeColumns
from runnerkit.records import EndReason, Episode, EpisodeStart, MadeBy, RunSpec

if os.name == "posix":
    import fcntl

__all__ = ["NpzFormat", "StoredRuns", "load"]

VERSION: Final = 1
_MANIFEST: Final = "manifest.jsonl"
_FILE: Final = re.compile(r"run\d+-env\d+-episode\d+-step\d+\.npz")
_SPACES: Final = ("observation", "action", "env_observation", "env_action")
_SAME: Final = ("env_id", "spaces", "preprocessed", "postprocessed", "keep_raw", "reward_processed")
"""What must be equal if a run is to be appended."""


class NpzFormat:
    """Writes every episode to a folder, and returns the same histories as `arrays`::

        with runnerkit.make("CartPole-v1", seed=0, history=("npz", {"path": "runs"})) as runner:
            runner.rollout(agent, steps=1000)
        runs = runnerkit.load("runs")
        runs[0].observations, runs.episodes[0].return_

    Episodes are written at the end of each rollout, so that short rollouts lose least if the program is killed. A
    folder that is there already is appended to, if it is of the same env and spaces. Infos and faults are not in it.

    Args:
        path: the folder. None makes a new one in the current folder, called after env id and run seed:
            `cartpole-v1-seed0`, or `cartpole-v1-seed0-2` if that is there already.

    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        given: object = path  # the value may differ from the annotation
        if given is not None and (not isinstance(given, str | os.PathLike) or not os.fspath(given)):
            raise ArgumentError(f"The path of history='npz' must be a folder, or None, not {path!r}.")
        self.path: Path | None = None if path is None else Path(path)

    def open(self, spec: RunSpec, /) -> NpzRecorder:
        """Create the folder, or go on in it, and return a recorder.

        Raises:
            SpaceError: NumPy's files cannot hold a sub-space.
            ArgumentError: the folder is of another env, or infos are to be kept.

        """
        if spec.options.keep_infos:
            raise ArgumentError("history='npz' does not keep infos. Leave keep_infos out, or use history='arrays'.")
        document, path = _run_of(spec), self.path or Path(_derived_name(spec))
        try:
            if self.path is None:
                path = _new_folder(path)
            path.mkdir(parents=True, exist_ok=True)
            manifest = _Manifest(path)
        except OSError as error:
            raise ArgumentError(f"{path} cannot be written to: {error.strerror}. Choose another path.") from error
        try:
            runs = manifest.mend()
            if runs:
                _check_same(path, runs[-1], document)
            manifest.append([document])
        except BaseException:
            manifest.close()
            raise
        return NpzRecorder(manifest, len(runs))


class NpzRecorder:
    """Writes the episodes of one runner, rollout by rollout."""

    def __init__(self, manifest: _Manifest, run: int) -> None:
        self._manifest, self._folder, self._run = manifest, manifest.folder, run
        self._told_of_faults = False

    def finish(self, block: Block, /) -> list[ArrayHistory[Any, Any]]:
        """Write the episodes of a rollout, and return one history per env."""
        histories: list[ArrayHistory[Any, Any]] = [ArrayHistory(block, i, n) for i, n in enumerate(block.lengths)]
        if block.faults and not self._told_of_faults:
            self._told_of_faults = True
            warnings.warn(
                f"history='npz' does not store faults: {self._folder} has the episodes that crashed, but not why. Read "
                "history.faults of what rollout returns.",
                RuntimeWarning,
                stacklevel=2,
            )
        try:
            rows = [self._written(block.layout, part) for history in histories for part in history.split()]
            if rows:
                _sync(self._folder)
                self._manifest.append(rows)
        except OSError as error:
            raise RolloutError(
                f"{self._folder} cannot be written to: {error.strerror}. The error's histories have this rollout; "
                "what was written before stays readable. Free space or choose another path."
            ) from error
        return histories

    def close(self) -> None:
        """Let others write to the folder."""
        self._manifest.close()

    def _written(self, layout: BlockLayout, part: EpisodeColumns[Any, Any, Any, Any]) -> dict[str, Any]:
        record = part.record
        name = f"run{self._run}-env{record.env_index}-episode{record.episode_index}-step{record.steps_before}.npz"
        partial = self._folder / f"{name}.partial"
        try:
            with partial.open("wb") as file:
                _save(file, _columns(layout, part))
                file.flush()
                os.fsync(file.fileno())
            checksum = _checksum(partial)
        except BaseException:  # as of a full disk: half a file is of no use to anybody
            partial.unlink(missing_ok=True)
            raise
        partial.replace(self._folder / name)
        row = {field: getattr(record, field) for field in Episode.__dataclass_fields__ if field != "start"}
        return {"file": name, "sha256": checksum, **row, "options": plain(record.options), "run": self._run}


class StoredRuns(Sequence[ArrayHistory[Any, Any]]):
    """The episodes in a folder of the format `npz`, as histories that are read when they are asked for::

        runs = runnerkit.load("runs")
        len(runs), runs.episodes[0].return_
        for history in runs:                       # one episode, or part of one, each
            history.observations, history.rewards

    Attributes:
        path: the folder.
        episodes: the records of the episodes, or of their parts in one rollout, in the order of their end.
        made_by: for each of them, the parts of the runner.
        files: for each of them, its file.

    """

    def __init__(self, path: Path, runs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
        self.path: Path = path
        self._rows = rows
        self._layouts = [_layout_of(run) for run in runs]
        self.episodes: list[Episode] = [_record(row) for row in rows]
        made_by = [MadeBy.of(run["made_by"]) for run in runs]
        self.made_by: list[MadeBy] = [made_by[row["run"]] for row in rows]
        self.files: list[str] = [row["file"] for row in rows]

    @override
    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> ArrayHistory[Any, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[ArrayHistory[Any, Any]]: ...
    @override
    def __getitem__(self, index: int | slice) -> ArrayHistory[Any, Any] | list[ArrayHistory[Any, Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        record, layout = self.episodes[index], self._layouts[self._rows[index]["run"]]
        path = self.path / self.files[index]
        try:
            with path.open("rb") as file:
                if not zipfile.is_zipfile(file):
                    raise ValueError("it is not a whole .npz file")
                file.seek(0)
                with np.load(file, allow_pickle=False) as columns:
                    return _history(layout, record, columns.__getitem__, self.made_by[index])
        except Exception as error:  # of zipfile, zlib and NumPy: there are many ways to be damaged
            raise ArgumentError(f"{path} cannot be read: {error}. `runnerkit verify {self.path}` lists all.") from error

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with each file that is missing, or that was changed since it was written."""
        for row in self._rows:
            path = self.path / row["file"]
            if not path.is_file():
                yield f"{row['file']} is missing"
            elif _checksum(path) != row["sha256"]:
                yield f"{row['file']} was changed since it was written: its checksum differs"


def load(path: str | os.PathLike[str]) -> StoredRuns:
    """Open a folder of the format `npz` for reading::

        for history in runnerkit.load("runs"):
            history.rewards.sum()

    A torn last line, of a program that was killed, is left out, with a warning. Raises ArgumentError if the folder
    is none of this format and version.
    """
    folder = Path(path)
    runs, rows, torn = _read(folder)
    if torn:
        warnings.warn(_said_of_torn(folder, torn), RuntimeWarning, stacklevel=2)
    return StoredRuns(folder, runs, rows)


# ---- the manifest


class _Manifest:
    """The manifest of a folder, open for writing; one runner at a time may have it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = (folder / _MANIFEST).open("ab", buffering=0)
        try:
            if os.name == "posix":  # freed by the operating system if the program is killed
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ArgumentError(f"Another runner writes to {folder}. Close it, or choose another path.") from error

    def mend(self) -> list[dict[str, Any]]:
        """Cut a torn line off, remove half files, and return the runs that are there."""
        runs, _, torn = _read(self.folder)
        if torn:
            warnings.warn(_said_of_torn(self.folder, torn), RuntimeWarning, stacklevel=2)
            self._file.truncate(self._size() - torn)
        if os.name == "posix":  # elsewhere another runner may be writing one
            for half in self.folder.glob("*.partial"):
                half.unlink(missing_ok=True)
        return runs

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append lines, all or none."""
        before = self._size()
        left = memoryview("".join(json.dumps(entry) + "\n" for entry in entries).encode())
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except BaseException:  # as of a full disk: a later line must not go on in half a line
            self._file.truncate(before)
            raise
        _sync(self.folder)

    def close(self) -> None:
        """Let others write to the folder."""
        self._file.close()

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size


def _run_of(spec: RunSpec) -> dict[str, Any]:
    found = (spec.observation_space, spec.action_space, spec.env_observation_space, spec.env_action_space)
    return {
        "runnerkit": VERSION,
        "env_id": spec.env_id,
        "seed": spec.seed,
        "n_envs": spec.n_envs,
        "spaces": {name: space_to_json(space, name) for name, space in zip(_SPACES, found, strict=True)},
        "preprocessed": spec.preprocessed,
        "postprocessed": spec.postprocessed,
        "keep_raw": spec.options.keep_raw,
        "reward_processed": spec.reward_processed,
        "made_by": spec.made_by.document(),
    }


def _derived_name(spec: RunSpec) -> str:
    name = re.sub(r"[^a-z0-9_]+", "-", spec.env_id.lower()).strip("-") or "env"
    return f"{name}-seed{spec.seed}"


def _new_folder(path: Path) -> Path:
    """Make a folder of this name, or of this name and a number; runs that nobody named are not mixed."""
    for number in itertools.count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("there is always another number")


def _read(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Return runs, episodes, and how many bytes at the end are those of a torn line."""
    path = folder / _MANIFEST
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{folder} is no folder of history='npz': {path}: {error.strerror}.") from error
    whole, newline, torn = text.rpartition(b"\n")
    runs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(whole.split(b"\n") if newline else [], 1):
        is_known = True
        try:
            entry = _object(line)
            if "runnerkit" in entry:
                is_known = entry["runnerkit"] == VERSION
                runs += [_checked_run(entry)] if is_known else []
            else:
                rows.append(_checked(entry, len(runs)))
        except Exception as error:  # of JSON, spaces and records: anything may stand there
            raise ArgumentError(
                f"{path}, line {number}, is not what history='npz' writes: {describe(error)}. Restore the file, or "
                "choose another folder."
            ) from error
        if not is_known:
            raise ArgumentError(f"{path} is of another format version than {VERSION}. Read it with its own RunnerKit.")
    return runs, rows, len(torn)


def _object(line: bytes) -> dict[str, Any]:
    entry = json.loads(line)
    if not isinstance(entry, dict):
        raise TypeError("a line is a JSON object")
    return entry


def _checked_run(run: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in _SAME if name not in run]
    if missing:
        raise ValueError(f"a run has no {missing[0]}")
    _layout_of(run)
    MadeBy.of(run["made_by"])
    return run


def _checked(row: dict[str, Any], n_runs: int) -> dict[str, Any]:
    if not _FILE.fullmatch(row["file"]):  # or it could lie anywhere
        raise ValueError(f"no episode has the file {row['file']!r}")
    if not isinstance(row["run"], int) or not 0 <= row["run"] < n_runs:
        raise ValueError(f"there is no run {row['run']}")
    if not isinstance(row["length"], int):
        raise TypeError(f"no episode has the length {row['length']!r}")
    _record(row)
    return row


def _record(row: Mapping[str, Any]) -> Episode:
    fields = {name: row[name] for name in Episode.__dataclass_fields__ if name != "start"}
    return Episode(**{**fields, "start": 0, "end_reason": EndReason(row["end_reason"])})


def _said_of_torn(folder: Path, torn: int) -> str:
    return f"{folder / _MANIFEST} ends in {torn} bytes of a torn line, as its program was killed. They are left out."


def _check_same(folder: Path, there: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for what in _SAME:
        if there[what] != new[what]:
            raise ArgumentError(
                f"{folder} has episodes of another runner: its {what} is {there[what]}, this one's is {new[what]}. "
                "Choose another path."
            )


def _sync(folder: Path) -> None:
    """Have the names in a folder survive a power cut, where the operating system can do that for folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- files


def _save(file: IO[bytes], columns: Mapping[str, NDArray[Any]]) -> None:
    options: Any = columns  # the stubs take names of columns for options of savez
    np.savez(file, **options)


def _columns(layout: BlockLayout, part: EpisodeColumns[Any, Any, Any, Any]) -> dict[str, NDArray[Any]]:
    columns = {
        "rewards": part.rewards,
        "terminated": part.terminated,
        "truncated": part.truncated,
        "next_known": part.next_known,
    }
    if layout.reward_processed:
        columns["processed_rewards"] = part.processed_rewards
    trees: list[tuple[str, Layout, Any]] = [
        ("observations", layout.observation, part.observations),
        ("actions", layout.action, part.actions),
    ]
    if layout.postprocessed:
        trees.append(("env_actions", layout.env_action, part.env_actions))
    if layout.preprocessed and layout.keep_raw:
        trees.append(("raw", layout.raw, part.raw_observations))
    for name, space, tree in trees:
        columns |= {f"{name}.{k}": np.asarray(leaf) for k, leaf in enumerate(space.split(tree))}
    return columns


def _layout_of(run: Mapping[str, Any]) -> BlockLayout:
    found = {name: space_from_json(run["spaces"][name]) for name in _SPACES}
    return BlockLayout(
        n_envs=1,
        raw=Layout(found["env_observation"], "observation"),
        observation=Layout(found["observation"], "observation"),
        action=Layout(found["action"], "action"),
        env_action=Layout(found["env_action"], "action"),
        preprocessed=run["preprocessed"],
        postprocessed=run["postprocessed"],
        keep_raw=run["keep_raw"],
        reward_processed=run["reward_processed"],
    )


def _history(
    layout: BlockLayout, record: Episode, column: Callable[[str], NDArray[Any]], made_by: MadeBy
) -> ArrayHistory[Any, Any]:
    if len(column("rewards")) != record.length:
        raise ValueError(f"it has {len(column('rewards'))} steps, but {record.length} are listed")
    block = Block(layout, record.length)
    block.made_by = made_by
    block.env_indices, block.lengths, block.tails = [record.env_index], [record.length], [record.end_reason]
    start = EpisodeStart(record.seed, record.options)
    block.first_marks = {0: Mark(0, record.episode_index, start, record.steps_before, record.return_before)}
    into: list[tuple[str, Column]] = [
        ("rewards", block.rewards), ("terminated", block.terminated), ("truncated", block.truncated)
    ]  # fmt: skip
    if layout.reward_processed:
        into.append(("processed_rewards", block.processed_rewards))
    named = [("observations", block.observations), ("actions", block.actions)]
    if layout.postprocessed:
        named.append(("env_actions", block.env_actions))
    if layout.preprocessed and layout.keep_raw:
        named.append(("raw", block.raw))
    into += [(f"{name}.{k}", leaf) for name, leaves in named for k, leaf in enumerate(leaves)]
    for name, leaf in into:
        stored = column(name)
        if stored.dtype != leaf.dtype or stored.shape != (len(leaf), *leaf.shape[2:]):
            raise ValueError(f"{name} is {stored.dtype} of shape {stored.shape}")
        leaf[:, 0] = stored
    block.log.unknown = [(0, int(t) + 1) for t in np.flatnonzero(~column("next_known"))]
    return ArrayHistory(block, 0, record.length)
