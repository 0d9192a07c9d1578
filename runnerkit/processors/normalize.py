"""The preprocessor `normalize`: running statistics of all observations."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit.errors import ArgumentError, SpaceError

__all__ = ["Normalize"]


class Normalize:
    """Preprocessor `normalize`: zero mean and unit variance, from running statistics of each component::

        normalize = Normalize()
        runner = GymRunner("HalfCheetah-v5", n_envs=8, preprocessors=[normalize])
        ...
        evaluation = GymRunner("HalfCheetah-v5", preprocessors=[normalize.frozen()])
        torch.save(normalize.state_dict(), path)                # or json.dump, or numpy.savez
        normalize.load_state_dict(torch.load(path))

    With `preprocessors=["normalize"]`, the object is `runner.preprocessors[0]`.

    Every observation is counted once, before it is normalised. Batches are added with the parallel update of Chan,
    Golub and LeVeque (1979). The output is float32 of the same shape, clipped to [-clip, clip]. NaN and infinite
    observations raise ValueError and are not counted. Several runners may share one, in several threads, too,
    if their observations have the same shape.

    Args:
        epsilon: a number above 0 that is added to the variance.
        clip: the bound of the output, above 0.

    Attributes:
        count: the number of observations that were counted.
        mean: float64, of the observations' shape.
        var: the variance, float64, of the observations' shape.
        is_frozen: whether counting has stopped.
        epsilon: as given.
        clip: as given.

    """

    def __init__(self, *, epsilon: float = 1e-8, clip: float = 10.0) -> None:
        if epsilon <= 0 or clip <= 0:
            raise ArgumentError(f"Normalize needs epsilon > 0 and clip > 0, not {epsilon} and {clip}.")
        self.epsilon: float = epsilon
        self.clip: float = clip
        self.count: int = 0
        self.mean: NDArray[np.float64] = np.zeros(0)
        self.var: NDArray[np.float64] = np.ones(0)
        self.is_frozen: bool = False
        self._lock = threading.Lock()  # count, mean and var change together

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the lock, which cannot be copied or pickled."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore what `__getstate__` returned."""
        vars(self).update(state, _lock=threading.Lock())

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the float32 space of the same shape. Raises SpaceError unless the space is a Box of that shape."""
        if not isinstance(space, spaces.Box):
            raise SpaceError(f"normalize needs a Box, not {space}. Put flatten before it.")
        with self._lock:
            if self.count and self.mean.shape != space.shape:
                raise SpaceError(
                    f"normalize has statistics of shape {self.mean.shape}, the observations have shape {space.shape}. "
                    "Use a Normalize of its own for each kind of env."
                )
            if not self.count:
                self.mean, self.var = np.zeros(space.shape), np.ones(space.shape)
        return spaces.Box(-self.clip, self.clip, space.shape, np.float32)

    def __call__(self, observations: NDArray[Any], /) -> NDArray[np.float32]:
        """Count the batch, unless frozen, and return it normalised. Raises ValueError for NaN and infinity."""
        finite = np.isfinite(observations)
        if not finite.all():
            row = int(np.argwhere(~finite)[0][0])
            raise ValueError(f"observations must be finite, row {row} has {observations[~finite][0]}")
        with self._lock:
            if not self.is_frozen:
                self._update(observations)
            mean, var = self.mean, self.var
        normal = (observations - mean) / np.sqrt(var + self.epsilon)
        return np.clip(normal, -self.clip, self.clip).astype(np.float32)

    def _update(self, batch: NDArray[Any]) -> None:
        n = len(batch)
        mean, var = batch.mean(axis=0, dtype=np.float64), batch.var(axis=0, dtype=np.float64)
        total = self.count + n
        delta = mean - self.mean
        spread = self.var * self.count + var * n + delta**2 * (self.count * n / total)
        self.mean, self.var, self.count = self.mean + delta * (n / total), spread / total, total

    def freeze(self, frozen: bool = True) -> None:
        """Stop counting; with `frozen=False`, count again."""
        self.is_frozen = frozen

    def frozen(self) -> Normalize:
        """Return a frozen copy, for evaluation."""
        copy = Normalize(epsilon=self.epsilon, clip=self.clip)
        copy.load_state_dict(self.state_dict())
        copy.freeze()
        return copy

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics: `count`, an int, and `mean` and `var`, nested lists of the observations' shape.

        JSON, `torch.save` and `numpy.savez` keep every bit.
        """
        with self._lock:
            return {"count": self.count, "mean": self.mean.tolist(), "var": self.var.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load statistics that `state_dict` returned. `mean` and `var` may be lists, arrays or tensors."""
        missing = {"count", "mean", "var"} - state.keys()
        if missing:
            raise ArgumentError(f"Normalize.load_state_dict needs count, mean and var; missing: {sorted(missing)}.")
        mean, var = np.array(state["mean"], np.float64), np.array(state["var"], np.float64)
        with self._lock:
            if mean.shape != var.shape or (self.mean.size and mean.shape != self.mean.shape):
                raise ArgumentError(
                    f"mean has shape {mean.shape} and var {var.shape}, but the statistics have shape {self.mean.shape}."
                )
            self.count, self.mean, self.var = int(state["count"]), mean, var
