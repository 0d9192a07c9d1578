"""What a vector env returns, checked and taken apart: batches, final observations, infos."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from gymnasium.spaces import Discrete, Text
from numpy.typing import NDArray

from runnerkit._core.spaces import Column, Layout, Leaf, MisfitError
from runnerkit._core.types import AnyVectorEnv

__all__ = ["NUMBERS", "Finals", "Infos", "Unpacker"]

_FINAL_OBS: Final = ("final_obs", "final_observation")
_FINAL_INFO: Final = "final_info"
_FINALS: Final = frozenset({*_FINAL_OBS, _FINAL_INFO, *(f"_{key}" for key in (*_FINAL_OBS, _FINAL_INFO))})
_BOOL: Final = np.dtype(np.bool_)
NUMBERS: Final = "fiub"
"""The kinds of dtypes that rewards may be of."""


class Unpacker:
    """Checks whole batches at once, and takes them apart into one array `[n, *shape]` per leaf.

    The arrays may be the env's own, so that they must be copied.
    """

    def __init__(self, layout: Layout, n_envs: int) -> None:
        self._layout, self._n = layout, n_envs
        self._flags = (n_envs,)

    def observations(self, batch: Any) -> list[Column]:
        """Return a batch of observations by leaf; raises MisfitError."""
        return [
            self._objects(leaf, value) if leaf.is_object else self._array(leaf, value)
            for leaf, value in zip(self._layout.leaves, self._layout.split(batch), strict=True)
        ]

    def flags(self, value: Any, what: str) -> NDArray[np.bool_]:
        """Return flags; raises MisfitError where they are no bools, one per env."""
        array = _as_array(value)
        if array is None or array.dtype != _BOOL or array.shape != self._flags:
            raise MisfitError(f"{what} must be an array of {self._n} bools, not {_brief(value)}")
        return array

    def rewards(self, value: Any) -> Column:
        """Return rewards; raises MisfitError where they are no numbers, one per env."""
        array = _as_array(value)
        if array is None or array.dtype.kind not in NUMBERS or array.shape != self._flags:
            raise MisfitError(f"rewards must be an array of {self._n} numbers, not {_brief(value)}")
        return array

    def _array(self, leaf: Leaf, value: Any) -> Column:
        array, shape = _as_array(value), (self._n, *leaf.shape)
        if array is not None and array.shape == shape:
            if array.dtype == leaf.dtype:
                return array
            if isinstance(leaf.space, Discrete) and array.dtype.kind in "iu":
                cast = array.astype(leaf.dtype)
                if (cast == array).all():
                    return cast
        raise MisfitError(f"{leaf.path} must be an array of dtype {leaf.dtype} and shape {shape}, not {_brief(value)}")

    def _objects(self, leaf: Leaf, value: Any) -> Column:
        if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != self._n:
            raise MisfitError(f"{leaf.path} must be a tuple of {self._n} samples of {leaf.space}, not {_brief(value)}")
        column = np.empty(self._n, object)
        for i, sample in enumerate(value):
            column[i] = copy.deepcopy(sample)
        return column


class Finals:
    """Finds the final observations in the infos of an env that resets in the step in which an episode ends."""

    def __init__(self, layout: Layout, env: AnyVectorEnv) -> None:
        self._layout = layout
        self._env: Any = env.unwrapped
        self._one: list[Column] = layout.allocate(1, 1)
        self._write = layout.writer(self._one)
        # leaves that an env can write over: numbers and strings are new ones each time
        leaves = enumerate(layout.leaves)
        self._buffers = [k for k, leaf in leaves if (leaf.is_object or leaf.shape) and not isinstance(leaf.space, Text)]
        self._trusted: set[int] = set()  # envs that were seen to hand out new arrays

    def of(self, infos: Any, i: int) -> list[Column] | None:
        """Return the final observation of an env, `[1, 1, *shape]` per leaf, good until the next; None if unknown."""
        key = next((key for key in _FINAL_OBS if key in infos), None) if isinstance(infos, Mapping) else None
        if key is None or not infos.get(f"_{key}", _Always())[i]:
            return None
        batch = infos[key]
        if isinstance(batch, (list, np.ndarray)):
            sample: Any = batch[i]
        else:
            sample = self._layout.join([value[i] for value in self._layout.split(batch)])  # type: ignore[index]
        if sample is None or self._was_overwritten(sample, i):
            return None
        if self._layout.is_single and self._layout.leaves[0].is_scalar_box:
            sample = np.asarray(sample)
        self._write(0, 0, sample)
        return self._one

    def is_doubtful(self, i: int, columns: Sequence[Column], row: int) -> bool:
        """Whether what `of` found may be a buffer that the env wrote over before anyone could copy it.

        It is then equal to the first observation in this row. So it may well be where the env came back to where it
        began; but only until the two differ for the first time. Where the observation before is the same, too, nothing
        is lost.
        """
        if i in self._trusted or not self._buffers:
            return False
        final, first = self._bytes(self._one, 0, 0), self._bytes(columns, row, i)
        if final != first:
            self._trusted.add(i)
        return final == first and self._bytes(columns, row - 1, i) != first

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
        if not isinstance(observed, list) or len(observed) <= i:
            return False
        try:
            pairs = zip(self._layout.split(sample), self._layout.split(observed[i]), strict=True)
        except MisfitError:
            return False
        return any(
            isinstance(final, np.ndarray) and isinstance(first, np.ndarray) and np.may_share_memory(final, first)
            for final, first in pairs
        )


class Infos:
    """Takes the infos of a vector env apart: a dict of arrays, with a mask `_key` beside `key` where not all have it.

    An env's own info has copies of what is its; what is of no one env in particular (no array of n) is in all of them.
    """

    def __init__(self, n_envs: int) -> None:
        self._n = n_envs

    def of_step(self, infos: Mapping[str, Any], i: int) -> dict[str, Any]:
        """Return what is of an env's step."""
        return self._own(infos, i, frozenset())

    def of_end(self, infos: Mapping[str, Any], i: int) -> dict[str, Any]:
        """Return what is of an env's last step, where the rest is of the first observation that comes with it."""
        final = infos.get(_FINAL_INFO)
        if final is None or not infos.get(f"_{_FINAL_INFO}", _Always())[i]:
            return {}
        if isinstance(final, Mapping):
            return self._own(final, i, frozenset())
        own = final[i]
        return dict(copy.deepcopy(own)) if isinstance(own, Mapping) else {}

    def of_reset(self, infos: Mapping[str, Any], i: int) -> dict[str, Any]:
        """Return what came with an env's first observation."""
        return self._own(infos, i, _FINALS)

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
            elif isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) > 0 and len(value) == self._n:
                own[key] = copy.deepcopy(value[i])
            else:
                own[key] = copy.deepcopy(value)
        return own


class _Always:
    """A mask that all envs are in."""

    def __getitem__(self, i: int) -> bool:
        return True


def _as_array(value: Any) -> Column | None:
    """Return an array, also for what other libraries call one."""
    if type(value) is np.ndarray:
        return value
    try:
        return np.asarray(value) if hasattr(value, "__array__") else None
    except Exception:  # such as a tensor on a GPU
        return None


def _brief(value: object) -> str:
    array = _as_array(value)
    return type(value).__name__ if array is None else f"{array.dtype} of shape {array.shape}"
