"""The `npz` format: histories on disk, one file per episode, that survive a program that is killed.

A folder has `manifest.jsonl` and one `.npz` file per episode, or per part of an episode that a rollout cut. The
manifest is only ever appended to. A file is complete before the line that lists it is written, so that whatever is
listed can be read. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from runnerkit.errors import ArgumentError, RolloutError
from runnerkit.history.arrays import ArrayHistory
from runnerkit.history.block import Block
from runnerkit.history.npz.episodes import OpenEpisode
from runnerkit.history.npz.files import zipped
from runnerkit.history.npz.manifest import PARTIAL, Manifest, Row, fault_document, sync_folder
from runnerkit.history.npz.runs import StoredRun, layout_of, run_document
from runnerkit.history.npz.stored import StoredBlock
from runnerkit.records import EnvFault, RunSpec

__all__ = ["NpzFormat", "NpzRecorder"]

_SAME: Final = ("env_id", "spaces", "preprocessed", "postprocessed", "reward_processed")
"""What must be equal if a run is to be appended."""


class NpzFormat:
    """Writes every episode to a folder, and returns histories that are read from there when they are asked for::

        with runnerkit.make("CartPole-v1", seed=0, history=("npz", {"path": "runs"})) as runner:
            runner.rollout(agent, steps=1000)
        runs = runnerkit.load("runs")
        runs[0].observations, runs.episodes[0].return_

    A folder that is there already is appended to, if it is of the same env and spaces. Infos and options of resets are
    kept as far as JSON or NumPy has them; anything else in them is kept as its text.

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
            SpaceError: a sub-space is of a class that the format does not know.
            ArgumentError: the folder is of another env, or cannot be written to.

        """
        document, path = run_document(spec), self.path or Path(_derived_name(spec))
        try:
            if self.path is None:
                path = _new_folder(path)
            path.mkdir(parents=True, exist_ok=True)
            manifest = Manifest(path)
        except OSError as error:
            raise ArgumentError(f"{path} cannot be written to: {error.strerror}. Choose another path.") from error
        try:
            runs = manifest.mend()
            if runs:
                _check_same(path, runs[-1].document, document)
            manifest.append([document])
            sync_folder(path)
        except BaseException:
            manifest.close()
            raise
        return NpzRecorder(manifest, len(runs), StoredRun(spec))


class NpzRecorder:
    """Writes the episodes of one runner, rollout by rollout."""

    def __init__(self, manifest: Manifest, run: int, stored: StoredRun) -> None:
        self._manifest, self._folder, self._run, self._stored = manifest, manifest.folder, run, stored
        self._layout = layout_of(stored.spec)
        self._rollout = -1

    def finish(self, block: Block, /) -> list[ArrayHistory[Any, Any]]:
        """Write the episodes of a rollout, and return one history per env."""
        self._rollout += 1
        try:
            rows = [self._written(block, i, span) for i in range(block.n_envs) for span in block.spans(i)]
            entries = [row.document() for row in rows]
            entries += [fault_document(self._run, self._rollout, fault) for fault in block.faults]
            if entries:
                sync_folder(self._folder)
                self._manifest.append(entries)
        except OSError as error:
            raise RolloutError(
                f"{self._folder} cannot be written to: {error.strerror}. The error's histories have this rollout; "
                "what was written before stays readable. Free space or choose another path."
            ) from error
        return [self._history(i, rows, block.lengths[i], block.faults) for i in range(block.n_envs)]

    def _history(self, i: int, rows: Sequence[Row], length: int, faults: Sequence[EnvFault]) -> ArrayHistory[Any, Any]:
        mine = [row for row in rows if row.episode.env_index == i]
        block = StoredBlock(self._folder, self._stored, lambda: mine, i, length)
        block.faults = [fault for fault in faults if fault.env_index == i]
        return ArrayHistory(block, 0, length)

    def close(self) -> None:
        """Let others write to the folder."""
        self._manifest.close()

    def _written(self, block: Block, i: int, span: Any) -> Row:
        episode = OpenEpisode(self._layout, i, span.mark)
        episode.add(block, span.mark.row, span.stop)
        episode.end(block, span.stop, span.final)
        name = f"run{self._run}-{episode.name}.npz"
        partial = self._folder / f"{name}{PARTIAL}"
        data = zipped(episode.members())
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:  # as of a full disk: half a file is of no use to anybody
            partial.unlink(missing_ok=True)
            raise
        partial.replace(self._folder / name)
        record = episode.record(block.reason(i, span))
        return Row(self._run, self._rollout, record, name, hashlib.sha256(data).hexdigest())


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


def _check_same(folder: Path, there: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for what in (*_SAME, "keep_raw"):
        before, now = (run["options"][what] if what == "keep_raw" else run[what] for run in (there, new))
        if before != now:
            raise ArgumentError(
                f"{folder} has episodes of another runner: its {what} is {before}, this one's is {now}. "
                "Choose another path."
            )
