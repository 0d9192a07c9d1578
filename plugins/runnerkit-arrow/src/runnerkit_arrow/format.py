"""The history format `arrow`: its options, and what it refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path

from runnerkit import RunSpec
from runnerkit.errors import ArgumentError
from runnerkit.typing import Recorder
from runnerkit_arrow.columns import space_columns
from runnerkit_arrow.history import ArrowHistory

__all__ = ["ArrowFormat"]


class ArrowFormat:
    """An Arrow stream on disk, readable after a crash::

        with runnerkit.make("CartPole-v1", seed=0, history=ArrowFormat("cartpole.arrows")) as runner:
            runner.rollout(agent, steps=1000)
            runner.rollout(agent, steps=1000)         # goes on in the same stream
        run = runnerkit_arrow.load("cartpole.arrows")

    Each row is one step: `env_index`, `episode_index`, `step`, the observation, the action, `reward`, `terminated`
    and `truncated`. After the last step of an episode one more row has its final observation, and no action or reward.
    What is written stays readable if the program is killed. If the agent returns extra columns, they are there as
    `extras.value`; all rollouts of a stream must have the same. With reward processors there is `processed_reward`.

    Args:
        path: of the file; None derives `cartpole-v1-seed0.arrows` in the current folder from env id and run seed.
        append: go on in a stream that is there, of the same columns; a torn end is cut off first.

    Raises:
        ArgumentError: an argument cannot be, or the file is there already.

    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, append: bool = False) -> None:
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise ArgumentError(f"path must be the path of a file, not {path!r}.")
        self.path: Path | None = None if path is None else Path(path)
        self.append: bool = append

    def open(self, spec: RunSpec, /) -> Recorder[ArrowHistory]:
        """Create the file and return a recorder.

        Raises:
            SpaceError: Arrow cannot hold a sub-space.
            ArgumentError: the file is there already, or another run's columns are in it.

        """
        columns = space_columns(spec)
        from runnerkit_arrow.recorder import ArrowRecorder  # imports pyarrow
        from runnerkit_arrow.stream import StreamWriter

        run = {
            "env_id": spec.env_id,
            "seed": spec.seed,
            "n_envs": spec.n_envs,
            "env_spec": None if spec.env_spec is None else _spec_as_json(spec),
            "made_by": spec.made_by.document(),
        }
        path = self.path or Path(_derived_name(spec))
        return ArrowRecorder(StreamWriter(path, columns, run, append=self.append))


def _derived_name(spec: RunSpec) -> str:
    name = re.sub(r"[^a-z0-9_]+", "-", spec.env_id.lower()).strip("-") or "env"
    return f"{name}-seed{spec.seed}.arrows"


def _spec_as_json(spec: RunSpec) -> str | None:
    """Return the env's spec, or None where it has parts that JSON does not have."""
    assert spec.env_spec is not None
    try:
        return spec.env_spec.to_json()
    except (TypeError, ValueError):
        return None
