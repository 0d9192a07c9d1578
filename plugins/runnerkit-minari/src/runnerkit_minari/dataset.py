"""The only module that touches Minari, which has no types: `Any` stays in here. Importing it imports Minari."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import minari  # type: ignore[import-untyped]
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari.data_collector.episode_buffer import EpisodeBuffer  # type: ignore[import-untyped]
from minari.dataset.minari_dataset import parse_dataset_id  # type: ignore[import-untyped]
from minari.dataset.minari_storage import MinariStorage  # type: ignore[import-untyped]
from minari.namespace import create_namespace, list_local_namespaces  # type: ignore[import-untyped]
from minari.storage import get_dataset_path  # type: ignore[import-untyped]
from numpy.typing import NDArray

from runnerkit import RunSpec
from runnerkit.errors import ArgumentError, MissingDependencyError
from runnerkit_minari.loaded import Dataset
from runnerkit_minari.metadata import storable_options, storable_seed
from runnerkit_minari.parts import Part, View

__all__ = ["DatasetWriter", "load"]

# Arrow's reader splits longer episodes in two, and Minari then takes the halves for episodes.
_LONGEST_ARROW_EPISODE: Final = 131_071


def load(dataset_id: str) -> Dataset:
    """Return a local dataset."""
    return cast(Dataset, minari.load_dataset(dataset_id))


class DatasetWriter:
    """A new dataset on disk: made at once, so that its id is taken, and removed again if nothing is written."""

    def __init__(
        self, dataset_id: str, spec: RunSpec, view: View, data_format: str, about: Mapping[str, object]
    ) -> None:
        self.dataset_id: str = dataset_id
        self.episodes: int = 0
        self._data_format = data_format
        self._path = _claimed(dataset_id)
        try:
            self._storage: Any = MinariStorage.new(
                self._path / "data",
                observation_space=spec.env_observation_space if view == "env" else spec.observation_space,
                action_space=spec.env_action_space if view == "env" else spec.action_space,
                env_spec=_readable(spec.env_spec),
                data_format=data_format,
                jpeg_encoding=False,  # the default is lossy
            )
            self._storage.update_metadata(_metadata(dataset_id, spec, view, about))
        except ImportError as error:
            self.close()
            raise MissingDependencyError(
                f"data_format={data_format!r} needs a package that is not installed ({error}): "
                "pip install 'runnerkit-minari[arrow]', or use data_format='hdf5'."
            ) from error
        except BaseException:
            self.close()
            raise

    def append(self, episodes: Sequence[Part]) -> None:
        """Write whole episodes, with one opening of the file."""
        if not episodes:
            return
        self._check_lengths(episodes)
        ids = range(self.episodes, self.episodes + len(episodes))
        self._storage.update_episodes([_buffer(i, part.closed()) for i, part in zip(ids, episodes, strict=True)])
        self._storage.update_episode_metadata([_origin(part) for part in episodes], ids)
        self.episodes += len(episodes)

    def close(self) -> None:
        """Leave no empty dataset behind."""
        if not self.episodes:
            shutil.rmtree(self._path)

    def _check_lengths(self, episodes: Sequence[Part]) -> None:
        longest = max(len(part.rewards) for part in episodes)
        if self._data_format != "hdf5" and longest > _LONGEST_ARROW_EPISODE:
            raise ArgumentError(
                f"Minari cannot read an episode of {longest} steps from data_format={self._data_format!r}, only up to "
                f"{_LONGEST_ARROW_EPISODE}. Use data_format='hdf5', or a time limit."
            )


def _claimed(dataset_id: str) -> Path:
    path = Path(get_dataset_path(dataset_id))
    namespace, _, _ = parse_dataset_id(dataset_id)
    for depth in range(1, dataset_id.count("/") + 1):
        parent = dataset_id.rsplit("/", depth)[0]
        if (Path(get_dataset_path(parent)) / "data").is_dir():
            raise ArgumentError(
                f"dataset_id={dataset_id!r} lies in the folder of the Minari dataset {parent!r}. Use another namespace."
            )
    if namespace is not None and namespace not in list_local_namespaces():
        create_namespace(namespace)
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise ArgumentError(
            f"There is a Minari dataset {dataset_id!r} already, and episodes of two runs are never mixed. Give the "
            f"next version, history=MinariFormat({_next_version(dataset_id)!r}), or remove the old one, "
            f"minari.delete_dataset({dataset_id!r})."
        ) from None
    (path / "data").mkdir()
    return path


def _next_version(dataset_id: str) -> str:
    name, _, version = dataset_id.rpartition("-v")
    version_number = int(version) + 1
    while Path(get_dataset_path(f"{name}-v{version_number}")).exists():
        version_number += 1
    return f"{name}-v{version_number}"


def _readable(spec: EnvSpec | None) -> EnvSpec | None:
    """Return the spec if it can be written and read again; warn where it cannot, or comes back as another one."""
    if spec is None:
        return None
    try:
        again = EnvSpec.from_json(spec.to_json())
    except Exception as error:  # whatever an argument raises that is to become text
        warnings.warn(
            f"The spec of {spec.id} cannot be written as JSON ({type(error).__name__}: {error}), so the dataset has no "
            "env_spec, and recover_environment() cannot make the env. Give the env arguments that JSON can hold.",
            stacklevel=2,
        )
        return None
    changed = [name for name, value in spec.kwargs.items() if repr(again.kwargs.get(name)) != repr(value)]
    if changed:
        values = ", ".join(f"{name}: {spec.kwargs[name]!r} becomes {again.kwargs.get(name)!r}" for name in changed)
        warnings.warn(
            f"JSON changes arguments of {spec.id} in the dataset's env_spec ({values}), so recover_environment() may "
            "make another env.",
            stacklevel=2,
        )
    return spec


def _metadata(dataset_id: str, spec: RunSpec, view: View, about: Mapping[str, object]) -> dict[str, object]:
    run = {"env_id": spec.env_id, "seed": spec.seed, "n_envs": spec.n_envs, "view": view}
    return {
        "dataset_id": dataset_id,
        "minari_version": minari.__version__,
        "runnerkit": {**run, "made_by": spec.made_by.document()},
        **about,
    }


def _buffer(episode_id: int, part: Part) -> Any:
    buffer: Any = EpisodeBuffer  # arrays will do where it is annotated with lists
    return buffer(
        id=episode_id,
        seed=storable_seed(part.record.seed),
        options=storable_options(part.record),
        observations=part.observations,
        actions=part.actions,
        rewards=part.rewards,
        terminations=part.terminated,
        truncations=part.truncated,
        infos={name: _info(column) for name, column in part.extras.items()},  # its own repr fails on None
    )


def _info(column: NDArray[Any]) -> Any:
    """Return an extra column as an info, which has a row for the final observation, too: NaN, 0 or False."""
    last = np.full((1, *column.shape[1:]), np.nan if column.dtype.kind == "f" else 0).astype(column.dtype)
    rows = np.concatenate([column, last])
    return list(rows) if rows.ndim == 1 else rows  # its Arrow storage cannot read flat arrays


def _origin(part: Part) -> dict[str, object]:
    record = part.record
    return {
        "env_index": record.env_index,
        "episode_index": record.episode_index,
        "end_reason": record.end_reason.value,
    }
