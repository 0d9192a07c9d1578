"""The history format `minari`: its options, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

from runnerkit import RunSpec
from runnerkit.errors import ArgumentError
from runnerkit.typing import Recorder
from runnerkit_minari.history import MinariHistory
from runnerkit_minari.ids import check_id
from runnerkit_minari.parts import View
from runnerkit_minari.spaces import check_space

__all__ = ["DataFormat", "Incomplete", "MinariFormat"]

DataFormat: TypeAlias = Literal["hdf5", "arrow", "parquet"]
Incomplete: TypeAlias = Literal["truncate", "drop"]


class MinariFormat:
    """A Minari dataset on disk, exact and replayable::

        with runnerkit.make("CartPole-v1", seed=0, history=MinariFormat("cartpole/random-v0")) as runner:
            runner.rollout(agent, steps=1000)
            runner.rollout(agent, steps=1000)         # goes on in the same dataset
        dataset = minari.load_dataset("cartpole/random-v0")

    A dataset holds whole episodes. One that the end of a rollout cuts is held back, in memory, until it ends in
    a later rollout. What has not ended when the runner closes, or was interrupted or crashed, is written as
    truncated at its last step. Images are stored as they are, never as JPEG.

    Args:
        dataset_id: `namespace/name-v0`; None derives `runnerkit/cartpole-v1-seed0-v0` from env id and run seed.
        data_format: "hdf5", "arrow" or "parquet"; the latter two need pyarrow.
        view: "env" records the env's own observations and what it was given as actions, so that episodes can
            be replayed in the env; with preprocessors it needs `keep_raw=True`. "agent" records what the agent
            saw and chose, with the spaces of these.
        incomplete: "truncate" or "drop" episodes that the env did not end.
        author: one name, or several.
        author_email: one address, or several.
        description: of the dataset.
        algorithm_name: of what chose the actions.
        code_permalink: where the code is.

    Raises:
        ArgumentError: an argument cannot be.

    """

    def __init__(
        self,
        dataset_id: str | None = None,
        data_format: DataFormat = "hdf5",
        *,
        view: View = "env",
        incomplete: Incomplete = "truncate",
        author: str | Iterable[str] | None = None,
        author_email: str | Iterable[str] | None = None,
        description: str | None = None,
        algorithm_name: str | None = None,
        code_permalink: str | None = None,
    ) -> None:
        if dataset_id is not None:
            check_id(dataset_id)
        _require("data_format", data_format, get_args(DataFormat))
        _require("view", view, get_args(View))
        _require("incomplete", incomplete, get_args(Incomplete))
        self.dataset_id: str | None = dataset_id
        self.data_format: DataFormat = data_format
        self.view: View = view
        self.incomplete: Incomplete = incomplete
        about = {
            "author": _set(author),
            "author_email": _set(author_email),
            "description": description,
            "algorithm_name": algorithm_name,
            "code_permalink": code_permalink,
        }
        self._about: dict[str, object] = {key: value for key, value in about.items() if value is not None}

    def open(self, spec: RunSpec, /) -> Recorder[MinariHistory]:
        """Make the dataset and return a recorder.

        Raises:
            SpaceError: Minari cannot hold a sub-space.
            ArgumentError: there is a dataset of that id, or raw observations are needed and not kept.
            MissingDependencyError: pyarrow is needed and not there.

        """
        self._check(spec)
        from runnerkit_minari.dataset import DatasetWriter  # imports Minari
        from runnerkit_minari.recorder import MinariRecorder

        writer = DatasetWriter(self.dataset_id or _derived_id(spec), spec, self.view, self.data_format, self._about)
        return MinariRecorder(
            writer, self.view, keep_incomplete=self.incomplete == "truncate", processed=spec.reward_processed
        )

    def _check(self, spec: RunSpec) -> None:
        if self.view == "env" and spec.preprocessed and not spec.options.keep_raw:
            raise ArgumentError(
                "history='minari' records the env's own observations, which preprocessors replace. Build the runner "
                "with keep_raw=True, or record what the agent saw: history=MinariFormat(view='agent')."
            )
        own = self.view == "env"
        observation = spec.env_observation_space if own else spec.observation_space
        check_space(observation, "observation", data_format=self.data_format)
        action = spec.env_action_space if own else spec.action_space
        check_space(action, "action", data_format=self.data_format)


def _derived_id(spec: RunSpec) -> str:
    name = re.sub(r"[^a-z0-9_]+", "-", spec.env_id.lower()).strip("-") or "env"
    return f"runnerkit/{name}-seed{spec.seed}-v0"


def _require(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r}.")


def _set(names: str | Iterable[str] | None) -> set[str] | None:
    if names is None:
        return None
    return {names} if isinstance(names, str) else set(names)
