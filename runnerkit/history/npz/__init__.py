"""The `npz` format: histories in a folder, one file per episode, that survive a program that is killed."""

from __future__ import annotations

from runnerkit.history.npz.format import NpzFormat
from runnerkit.history.npz.manifest import Row
from runnerkit.history.npz.runs import StoredRun
from runnerkit.history.npz.stored import StoredRuns, load, mend_folder

__all__ = ["NpzFormat", "Row", "StoredRun", "StoredRuns", "load", "mend_folder"]
