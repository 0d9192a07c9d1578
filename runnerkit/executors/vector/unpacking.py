"""What a vector env returns, checked and taken apart: batches, final observations, infos."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from gymnasium.spaces import Discrete, Text
from gymnasium.vector import SyncVectorEnv, VectorWrapper

from runnerkit._core.arrays import as_array, copied, kind_of
from runnerkit._core.faults import describe
from runnerkit._core.spaces import Column, Layout, Leaf, MisfitError
from runnerkit._core.types import AnyVectorEnv
from runnerkit._core.wording import result_kind
from runnerkit.executors.vector.faults import misfit

__all__ = ["Finals", "Infos", "Unpacker", "by_key"]

_FINAL_OBS: Final = ("final_obs", "final_observation")
_FINAL_INFO: Final = "final_info"
_FINALS: Final = frozenset({*_FINAL_OBS, _FINAL_INFO, *(f"_{key}" for key in (*_FINAL_OBS, _FINAL_INFO))})


class Unpacker:
    """Checks whole batches at once, and takes them apart into one array `[n, *shape]` per leaf.

    The arrays may be the env's own, so that they must be copied.
    """

    def __init__(self, layout: Layout, n_envs: int) -> None:
        self._layout, self._n = layout, n_envs

    def observations(self, batch: Any) -> list[Column]:
        """Return a batch of observations by leaf; raises MisfitError."""
        return [
            self._objects(leaf, value) if leaf.is_object else self._array(leaf, value)
            for leaf, value in zip(self._layout.leaves, self._layout.split(batch), strict=True)
        ]

    def _array(self, leaf: Leaf, value: Any) -> Column:
        array, shape = as_array(value), (self._n, *leaf.shape)
        if array is not None and array.shape == shape:
            if array.dtype == leaf.dtype:
                return array
            if isinstance(leaf.space, Discrete) and array.dtype.kind in "iu":
                cast = array.astype(leaf.dtype)
                if (cast == array).all():
                    return cast
        raise MisfitError(f"{leaf.path} must be an array of dtype {leaf.dtype} and shape {shape}, not {kind_of(value)}")

    def _objects(self, leaf: Leaf, value: Any) -> Column:
        if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != self._n:
            raise MisfitError(f"{leaf.path} must be a tuple of {self._n} samples of {leaf.space}, not {kind_of(value)}")
        column = np.empty(self._n, object)
        for i, sample in enumerate(value):
            column[i] = copy.deepcopy(sample)
        return column


class Finals:
    """Finds the final observations in the infos of an env that resets in the step in which an episode ends.

    What the env says is believed, until it is seen to be wrong: the final observation of an env that hands out one
    array again and again was written over by the reset before anyone could copy it, and is then equal to the first
    observation of the next episode. That is seen where the two share memory, or where such an observation is
    not what the last episode began with, so that the env can hardly have come back to it.
    """

    def __init__(self, layout: Layout, env: AnyVectorEnv) -> None:
        self._layout = layout
        self._env: Any = env.unwrapped
        self._is_plain = isinstance(self._env, SyncVectorEnv)  # whose memory can be looked at
        self._one: list[Column] = layout.allocate(1, 1)
        self._write = layout.writer(self._one)
        # leaves that an env can write over: numbers and strings are new ones each time
        leaves = enumerate(layout.leaves)
        self._buffers = [k for k, leaf in leaves if (leaf.is_object or leaf.shape) and not isinstance(leaf.space, Text)]
        self._trusted: set[int] = set()  # envs that were seen to hand out new arrays
        self._begun: dict[int, list[bytes]] = {}  # what the episodes began with of those that were not

    def note_first(self, columns: Sequence[Column], row: int, env_indices: Iterable[int]) -> None:
        """Note the first observations of episodes, before they are stepped."""
        if self._buffers:
            self._begun.update({i: self._bytes(columns, row, i) for i in env_indices if i not in self._trusted})

    def of(self, infos: Any, i: int) -> list[Column] | None:
        """Return the final observation of an env, `[1, 1, *shape]` per leaf, good until the next; None if unknown.

        Raises EnvSpaceError.
        """
        try:
            return self._read(infos, i)
        except MisfitError as error:
            raise misfit(f"returned a final observation for env {i} that does not fit: {error}") from error
        except Exception as error:
            raise misfit(f"returned infos['final_obs'] that has nothing for env {i}: {describe(error)}") from error

    def _read(self, infos: Any, i: int) -> list[Column] | None:
        sample = self._found(infos, i)
        if sample is None or self._was_overwritten(sample, i):
            return None
        if self._layout.is_single and self._layout.leaves[0].is_scalar_box:
            sample = np.asarray(sample)
        self._write(0, 0, sample)
        self._sample = sample
        return self._one

    def _found(self, infos: Any, i: int) -> Any:
        key = next((key for key in _FINAL_OBS if key in infos), None) if isinstance(infos, Mapping) else None
        if key is None or not infos.get(f"_{key}", _Always())[i]:
            return None
        batch = infos[key]
        if isinstance(batch, (list, np.ndarray)):
            return batch[i]
        return self._layout.join([value[i] for value in self._layout.split(batch)])  # type: ignore[index]

    def is_wrong(self, i: int, columns: Sequence[Column], row: int, observations: Any) -> bool:
        """Whether what `of` found was seen to be no final observation, but the first one, in this row.

        `observations` is the batch that the env returned, of which the row is a copy.
        """
        if i in self._trusted or self._is_plain or not self._buffers:
            return False
        final, first, begun = self._bytes(self._one, 0, 0), self._bytes(columns, row, i), self._begun.get(i)
        self._begun[i] = first
        if final != first:
            self._trusted.add(i)
            return False
        return first != begun or self._share_memory(self._sample, observations)

    def _bytes(self, columns: Sequence[Column], row: int, i: int) -> list[bytes]:
        return [pickle.dumps(columns[k][row, i]) for k in self._buffers]

    def unknown(self) -> list[Column]:
        """Return what stands for an unknown observation: NaN where there is one, else zeros and None."""
        for column in self._one:
            column[...] = None if column.dtype == object else np.nan if column.dtype.kind == "f" else 0
        return self._one

    def _was_overwritten(self, sample: Any, i: int) -> bool:
        """Whether the reset has already written over it: `SyncVectorEnv` hands on the buffers of its envs."""
        observed = getattr(self._env, "_env_obs", None)
        return isinstance(observed, list) and len(observed) > i and self._share_memory(sample, observed[i])

    def _share_memory(self, sample: Any, other: Any) -> bool:
        try:
            pairs = list(zip(self._layout.split(sample), self._layout.split(other), strict=True))
        except MisfitError:
            return False
        arrays = [(as_array(one), as_array(two)) for one, two in pairs]
        return any(one is not None and two is not None and np.may_share_memory(one, two) for one, two in arrays)


def by_key(infos: Any, n_envs: int) -> Any:
    """Return infos as a dict by key, with masks, if they are a list of one dict per env; else as they are.

    Such a list is what `gymnasium.wrappers.vector.DictInfoToList` makes of infos.
    """
    if not isinstance(infos, (list, tuple)) or len(infos) != n_envs:
        return infos
    if not all(isinstance(info, Mapping) for info in infos):
        return infos
    keys = dict.fromkeys(key for info in infos for key in info)
    values = {key: [info.get(key) for info in infos] for key in keys}
    return values | {f"_{key}": [key in info for info in infos] for key in keys}


class Infos:
    """Takes the infos of a vector env apart: a dict of arrays, with a mask `_key` beside `key` where not all have it.

    An env's own info has copies of what is its; what is of no one env in particular (no array of n) is in all of them.
    Lists are brought into this form by `by_key`. What cannot be taken apart is an EnvSpaceError.
    """

    def __init__(self, env: AnyVectorEnv) -> None:
        self._n: int = env.num_envs
        self._statistics = _statistics_keys(env)

    def of_step(self, infos: Any, i: int) -> dict[str, Any]:
        """Return what is of an env's step."""
        return self._read(self._all_of, infos, i)

    def of_end(self, infos: Any, i: int) -> dict[str, Any]:
        """Return what is of an env's last step, where the rest is of the first observation that comes with it."""
        return self._read(self._end_of, infos, i)

    def of_reset(self, infos: Any, i: int, *, after_step: bool = False) -> dict[str, Any]:
        """Return what came with an env's first observation."""
        return self._read(self._first_of, infos, i, after_step=after_step)

    def _read(
        self, read: Callable[[Mapping[str, Any], int], dict[str, Any]], infos: Any, i: int, *, after_step: bool = False
    ) -> dict[str, Any]:
        if not isinstance(infos, Mapping):
            what = f"returned {result_kind(infos)} as infos, not a dict or a list of {self._n} dicts"
            raise misfit(what, after_step=after_step)
        try:
            return read(infos, i)
        except Exception as error:
            what = f"returned infos of which those of env {i} cannot be kept ({describe(error)}): leave keep_infos out"
            raise misfit(what, after_step=after_step) from error

    def _all_of(self, infos: Mapping[str, Any], i: int) -> dict[str, Any]:
        return self._own(infos, i, frozenset())

    def _end_of(self, infos: Mapping[str, Any], i: int) -> dict[str, Any]:
        own = {key: infos[key] for key in self._statistics if key in infos}
        own |= {f"_{key}": infos[f"_{key}"] for key in own if f"_{key}" in infos}
        return self._own(own, i, frozenset()) | self._of_final(infos, i)

    def _first_of(self, infos: Mapping[str, Any], i: int) -> dict[str, Any]:
        return self._own(infos, i, _FINALS | self._statistics)

    def _of_final(self, infos: Mapping[str, Any], i: int) -> dict[str, Any]:
        final = infos.get(_FINAL_INFO)
        if final is None or not infos.get(f"_{_FINAL_INFO}", _Always())[i]:
            return {}
        if isinstance(final, Mapping):
            return self._own(final, i, frozenset())
        own = final[i]
        return dict(copied(own)) if isinstance(own, Mapping) else {}

    def _own(self, infos: Mapping[Any, Any], i: int, without: frozenset[str]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        for key, value in infos.items():
            if key in without or (isinstance(key, str) and key[:1] == "_" and key[1:] in infos):
                continue
            mask = infos.get(f"_{key}")
            if mask is not None and not mask[i]:
                continue
            if isinstance(value, Mapping):
                sub = self._own(value, i, frozenset())
                if sub or mask is not None:
                    own[key] = sub
            else:
                own[key] = copied(value[i] if self._is_split(value) else value)
        return own

    def _is_split(self, value: Any) -> bool:
        """Whether a value has one item for each env."""
        if isinstance(value, (list, tuple)):
            return bool(len(value) == self._n)
        return isinstance(value, np.ndarray) and value.shape[:1] == (self._n,)


def _statistics_keys(env: Any) -> frozenset[str]:
    """Return the keys under which wrappers tell of episodes that ended, beside what envs tell of the next ones."""
    if not isinstance(env, VectorWrapper):
        return frozenset()
    from gymnasium.wrappers.vector import RecordEpisodeStatistics  # no sooner, as it costs some milliseconds

    keys = set()
    while isinstance(env, VectorWrapper):
        if isinstance(env, RecordEpisodeStatistics):
            keys.add(env._stats_key)
        env = env.env
    return frozenset(keys)


class _Always:
    """A mask that all envs are in."""

    def __getitem__(self, i: int) -> bool:
        return True
