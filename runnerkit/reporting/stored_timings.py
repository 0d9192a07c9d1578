"""Where the time of stored runs went: a file beside their episodes, with a line of JSON for each rollout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from runnerkit.errors import ArgumentError
from runnerkit.records import EnvTimings, Timings, WorkerTimings

__all__ = ["keep_timings", "kept_timings"]

NAME: Final = "timings.jsonl"
_SUMS: Final = ("seconds", "steps", "agent", "env", "reset", "wait", "other")


def keep_timings(folder: str | Path, timings: Timings) -> None:
    """Write where the time of a run went to the folder of its episodes, after what is there of others."""
    document = {**dataclasses.asdict(timings), "envs": [env._asdict() for env in timings.envs]}
    file = Path(folder) / NAME
    try:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(document) + "\n")
    except OSError as error:
        raise ArgumentError(f"{file} cannot be written: {error.strerror}. Choose another folder.") from error


def kept_timings(folder: Path) -> list[Timings]:
    """Return where the time of all runs of a folder went, together; nothing if it is not known."""
    file = folder / NAME
    if not file.exists():
        return []
    try:
        found = [_timings(json.loads(line)) for line in file.read_text("utf-8").splitlines()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError(f"{file} cannot be read: {error!r}. Remove it, and the report is made without.") from error
    return [_together(found)] if found else []


def _timings(document: dict[str, Any]) -> Timings:
    workers = tuple(
        WorkerTimings(**{**worker, "env_indices": tuple(worker["env_indices"])}) for worker in document["workers"]
    )
    envs = tuple(EnvTimings(**{**env, "worker": tuple(env["worker"])}) for env in document["envs"])
    return Timings(**{**document, "workers": workers, "envs": envs})


def _together(found: Sequence[Timings]) -> Timings:
    """Return the sums over all runs; workers are those of the last one."""
    envs: dict[int, EnvTimings] = {}
    for env in (env for timings in found for env in timings.envs):
        before = envs.get(env.env_index)
        envs[env.env_index] = env if before is None else _added(before, env)
    sums = {name: sum(getattr(timings, name) for timings in found) for name in _SUMS}
    return Timings(**sums, workers=found[-1].workers, envs=tuple(envs[index] for index in sorted(envs)))


def _added(one: EnvTimings, other: EnvTimings) -> EnvTimings:
    names = ("steps", "step_seconds", "resets", "reset_seconds")
    return other._replace(**{name: getattr(one, name) + getattr(other, name) for name in names})
