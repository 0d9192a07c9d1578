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
from runnerkit.history.npz.manifest import Manifest, cannot_write, sync_folder
from runnerkit.history.npz.recorder import NpzRecorder
from runnerkit.history.npz.runs import StoredRun, run_document
from runnerkit.records import RunSpec

__all__ = ["NpzFormat"]

_SAME: Final = ("env_id", "spaces", "preprocessed", "postprocessed", "reward_processed")
"""What must be equal if a run is to be appended."""


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
            raise cannot_write(path, error) from error
        try:
            runs = manifest.mend()
            if runs:
                _check_same(path, runs[-1].document, document)
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


def _check_same(folder: Path, there: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for what in (*_SAME, "keep_raw"):
        before, now = (run["options"][what] if what == "keep_raw" else run[what] for run in (there, new))
        if before != now:
            raise ArgumentError(
                f"{folder} has episodes of another runner: its {what} is {before}, this one's is {now}. "
                "Choose another path."
            )
