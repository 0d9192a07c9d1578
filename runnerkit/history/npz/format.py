"""The `npz` format: histories on disk, one file per episode, that survive a program that is killed.

A folder has `manifest.jsonl` and one `.npz` file per episode, or per part of an episode that a rollout cut. The
manifest is only ever appended to. A file is complete before the line that lists it is written, so that whatever is
listed can be read. Nothing is pickled.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from runnerkit.errors import ArgumentError
from runnerkit.history.npz.manifest import Manifest, cannot_write, folder_of, sync_folder
from runnerkit.history.npz.recorder import NpzRecorder
from runnerkit.history.npz.runs import StoredRun, run_document
from runnerkit.records import RunSpec

__all__ = ["NpzFormat"]

_PARTS: Final = {
    "preprocessed": "preprocessors",
    "postprocessed": "postprocessors",
    "reward_processed": "reward processors",
}
"""What a run has or lacks, and what these parts are called."""


class NpzFormat:
    """Writes every episode to a folder, and returns histories that are read from there when they are asked for::

        with runnerkit.make("CartPole-v1", seed=0, history=("npz", {"path": "runs"})) as runner:
            runner.rollout(agent, steps=1000)
        runs = runnerkit.load("runs")
        runs[0].observations, runs.episodes[0].return_

    Episodes are written as they end, and what rollout returns needs no memory before it is read. The episodes that
    ended are synced to disk together, at most half a second later and at the end of each rollout, and then listed.

    A folder that is there already is appended to, if it is of the same env and spaces. Infos and options of resets are
    kept as far as JSON or NumPy has them; anything else in them is kept as its text.

    Args:
        path: the folder. None makes a new one in the current folder, called after env id and run seed:
            `cartpole-v1-seed0`, or `cartpole-v1-seed0-2` if that is there already.

    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path: Path | None = None if path is None else folder_of(path)

    def open(self, spec: RunSpec, /) -> NpzRecorder:
        """Create the folder, or go on in it, and return a recorder.

        Raises:
            SpaceError: a sub-space is of a class that the format does not know.
            ArgumentError: the folder is of another env, or cannot be written to.

        """
        document, path = run_document(spec), self.path or folder_of(_derived_name(spec))
        try:
            if self.path is None:
                path = _new_folder(path)
            path.mkdir(parents=True, exist_ok=True)
            manifest = Manifest(path)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            runs = manifest.mend()
            if runs:
                _check_same(path, runs[-1], StoredRun(spec), document)
            manifest.append([document])
            sync_folder(path)
        except BaseException as error:
            manifest.close()
            if isinstance(error, OSError):
                raise cannot_write(path, error) from error
            raise
        return NpzRecorder(manifest, len(runs), StoredRun(spec))


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


def _check_same(folder: Path, there: StoredRun, new: StoredRun, new_document: Mapping[str, Any]) -> None:
    """Refuse to append a run whose episodes have other columns."""
    difference = _difference(there, new, there.document, new_document)
    if difference:
        raise ArgumentError(f"{folder} has episodes of another runner: {difference}. Choose another path.")


def _difference(there: StoredRun, new: StoredRun, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs, in words; the documents have every bit of the spaces."""
    if before["env_id"] != now["env_id"]:
        return f"its env is {before['env_id']}, this one's is {now['env_id']}"
    for name in before["spaces"]:
        if before["spaces"][name] != now["spaces"][name]:
            spaces = [getattr(run.spec, f"{name}_space") for run in (there, new)]
            return f"its {name.replace('_', ' ')} space is {spaces[0]}, this one's is {spaces[1]}"
    for flag, parts in _PARTS.items():
        if before[flag] != now[flag]:
            return f"it had {'' if before[flag] else 'no '}{parts}, this one has {'some' if now[flag] else 'none'}"
    keeps = [run.spec.options.keep_raw for run in (there, new)]
    return "" if keeps[0] == keeps[1] else f"its keep_raw is {keeps[0]}, this one's is {keeps[1]}"
