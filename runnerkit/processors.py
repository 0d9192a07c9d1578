"""Preprocessors work on what the agent sees before it acts, postprocessors on its actions before the env gets them.

Plugins offer them through the hooks `action_preprocessors` and `action_postprocessors`; the built-in ones are here.
A runner binds its processors to their spaces when it is built; a processor that cannot work on its space refuses it
then. Each runner needs its own processors, as all but Normalize refuse a second, different space::

    GymRunner("HalfCheetah-v5", preprocessors=[Normalize()], postprocessors=["rescale"])
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import Space, spaces
from gymnasium.spaces.utils import flatten, flatten_space
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import _sentences as sentences
from runnerkit._checks.contracts import POSTPROCESSOR, PREPROCESSOR, Facts
from runnerkit._core.batches import BatchReader
from runnerkit._core.spaces import Column, Layout, MisfitError
from runnerkit.errors import ArgumentError, PluginError, ProcessorError, SpaceError

__all__ = [
    "ActionPreprocessor",
    "ActionPostprocessor",
    "Chain",
    "Clip",
    "Flatten",
    "Normalize",
    "Rescale",
    "ScaleImage",
]


class ActionPreprocessor(Protocol):
    """Changes observations before the agent sees them: scales, flattens or normalises them, for example.

    A runner binds its preprocessors once, in the given order: env -> first -> ... -> last -> agent. Then it calls
    each of them exactly once for each batch of observations. Final observations come as a batch of their own.
    """

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the space of the output for the given space of the input.

        Raises SpaceError if the preprocessor cannot work on such observations.
        """
        ...

    def __call__(self, observations: Any, /) -> object:
        """Return the processed batch, of as many rows; must not change its argument."""
        ...


class ActionPostprocessor(Protocol):
    """Changes the agent's actions before the env gets them: clips or rescales them, for example.

    A runner calls its postprocessors in the given order: agent -> first -> ... -> last -> env. It binds them in the
    reverse order, as the env's action space is the fixed end.
    """

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the space of the input for the given space of the output.

        Raises SpaceError if the postprocessor cannot make such actions.
        """
        ...

    def __call__(self, actions: Any, /) -> object:
        """Return the processed batch, of as many rows; must not change its argument."""
        ...


_binding = threading.Lock()


class _BoundOnce:
    """Refuses a second, different space: the processor would work only for the last one."""

    _bound: Space[Any] | None = None

    def _bind_once(self, space: Space[Any], name: str) -> None:
        with _binding:
            if self._bound is None:
                self._bound = space
        bound = self._bound
        # Dicts are equal whatever the order of their keys, but are not laid out alike.
        if bound != space or repr(bound) != repr(space):
            raise SpaceError(f"{name} is already bound to {bound}. Use a new one for each runner.")


class Flatten(_BoundOnce):
    """Preprocessor `flatten`: any space that Gymnasium can flatten becomes one vector per env.

    It works like `gymnasium.spaces.utils.flatten`: Discrete becomes one-hot; the parts of Dict and Tuple are
    concatenated. The output is `[n, d]`, of the dtype of the flattened space.
    """

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the flattened space. Raises SpaceError if it has no fixed length."""
        flat = _flattened(space)
        self._bind_once(space, "flatten")
        self._layout = Layout(space, "observation")
        self._space = space
        self._dtype = flat.dtype
        self._plain = self._layout.is_single and isinstance(space, spaces.Box)
        return flat

    def __call__(self, observations: Any, /) -> NDArray[Any]:
        """Return `[n, d]`."""
        if self._plain:
            return np.array(observations).reshape(len(observations), -1)
        columns: list[Any] = self._layout.split(observations)
        rows = self._layout.rows(columns, len(columns[0]))
        flat: list[NDArray[Any]] = [np.asarray(flatten(self._space, row)) for row in rows]
        return np.stack(flat).astype(self._dtype, copy=False)


class ScaleImage(_BoundOnce):
    """Preprocessor `scale-image`: integer images, usually uint8 in [0, 255], become float32 in [0, 1]."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the float32 space of the same shape. Raises SpaceError unless the space is a Box of integers."""
        if not isinstance(space, spaces.Box) or space.dtype.kind not in "iu":
            raise SpaceError(f"scale-image needs a Box of integers such as uint8, not {space}. Leave it out.")
        self._bind_once(space, "scale-image")
        self._low = space.low.astype(np.float32)
        self._range = np.maximum(space.high.astype(np.float32) - self._low, 1)
        return spaces.Box(0.0, 1.0, space.shape, np.float32)

    def __call__(self, observations: NDArray[Any], /) -> NDArray[np.float32]:
        """Return float32 of the same shape."""
        scaled: NDArray[Any] = (observations.astype(np.float32) - self._low) / self._range
        return scaled


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


class Clip(_BoundOnce):
    """Postprocessor `clip`: actions are clipped to the env's bounds."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the unbounded space of the same shape and dtype. Raises SpaceError unless the space is a float Box."""
        box = _float_box(space, "clip")
        self._bind_once(space, "clip")
        self._low, self._high = box.low, box.high
        return spaces.Box(-np.inf, np.inf, box.shape, np.dtype(box.dtype).type)

    def __call__(self, actions: NDArray[Any], /) -> NDArray[Any]:
        """Return the clipped batch."""
        clipped: NDArray[Any] = np.clip(actions, self._low, self._high)
        return clipped


class Rescale(_BoundOnce):
    """Postprocessor `rescale`: actions in [-1, 1], as a tanh policy has them, are stretched to the env's bounds."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return [-1, 1] of the same shape and dtype. Raises SpaceError unless the space is a bounded float Box."""
        box = _float_box(space, "rescale")
        if not box.is_bounded():
            raise SpaceError(
                f"rescale needs finite bounds, not {box}. Name clip before it, not after it, or leave rescale out."
            )
        self._bind_once(space, "rescale")
        self._low, self._high = box.low, box.high
        return spaces.Box(-1, 1, box.shape, np.dtype(box.dtype).type)

    def __call__(self, actions: NDArray[Any], /) -> NDArray[Any]:
        """Return the stretched batch; -1 and 1 become the exact bounds."""
        share = (actions + 1) / 2
        stretched: NDArray[Any] = self._low * (1 - share) + self._high * share
        bounded: NDArray[Any] = np.clip(stretched, self._low, self._high)
        return bounded.astype(actions.dtype)


def _flattened(space: Space[Any]) -> spaces.Box:
    try:
        flat = flatten_space(space) if space.is_np_flattenable else None
    except Exception as error:  # whatever Gymnasium makes of a space that it cannot flatten
        raise SpaceError(f"flatten cannot flatten {space}: {error}. Leave flatten out.") from error
    if not isinstance(flat, spaces.Box):
        raise SpaceError(f"flatten cannot make {space} a vector of fixed length. Leave flatten out.")
    return flat


def _float_box(space: Space[Any], name: str) -> spaces.Box:
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        raise SpaceError(f"{name} needs an action space that is a Box of floats, not {space}. Leave it out.")
    return space


class Chain:
    """Bound processors as one function, from the columns of a batch to checked columns."""

    def __init__(self, links: Sequence[tuple[str, Callable[[Any], object], Layout]]) -> None:
        self._links = [(name, process, layout, BatchReader(layout, bounded=False)) for name, process, layout in links]

    def __bool__(self) -> bool:
        return bool(self._links)

    def __call__(self, columns: list[Column], layout: Layout) -> list[Column]:
        """Return the output of the last processor, one array per leaf, for a batch that has the layout `layout`."""
        n = len(columns[0]) if columns else 0
        for name, process, out, read in self._links:
            try:
                columns = read(process(layout.present(columns)), n)
            except MisfitError as error:
                raise ProcessorError(
                    f"Processor {name} returned a batch that does not fit the space of its bind: {error}"
                ) from error
            except Exception as error:
                raise ProcessorError(f"Processor {name} raised {type(error).__name__}: {error}") from error
            layout = out
        return columns


def bind_preprocessors(named: Sequence[tuple[str, ActionPreprocessor]], space: Space[Any]) -> tuple[Chain, Layout]:
    """Bind preprocessors to the env's observation space; return the chain, and what the agent sees."""
    links: list[tuple[str, Callable[[Any], object], Layout]] = []
    layout = Layout(space, "observation")
    for name, processor in named:
        layout = Layout(_bind(name, PREPROCESSOR.look(processor), processor.bind, layout.space), "observation")
        links.append((name, processor, layout))
    return Chain(links), layout


def bind_postprocessors(named: Sequence[tuple[str, ActionPostprocessor]], space: Space[Any]) -> tuple[Chain, Layout]:
    """Bind postprocessors to the env's action space, backwards; return the chain, and what the agent chooses."""
    links: list[tuple[str, Callable[[Any], object], Layout]] = []
    layout = Layout(space, "action")
    for name, processor in reversed(named):
        links.append((name, processor, layout))
        layout = Layout(_bind(name, POSTPROCESSOR.look(processor), processor.bind, layout.space), "action")
    return Chain(links[::-1]), layout


def _bind(name: str, facts: Facts, bind: Callable[[Space[Any]], object], space: Space[Any]) -> Space[Any]:
    kind = facts.what.lower()
    try:
        bound = bind(space)
    except SpaceError as error:
        raise SpaceError(f"{kind} {name} does not fit: {error}") from error
    except Exception as error:
        raise PluginError(f"{kind} {name} raised in bind({space}): {type(error).__name__}: {error}") from error
    if not isinstance(bound, Space):
        given = "None" if bound is None else type(bound).__name__
        fault = sentences.wrong_method_result(facts.what, facts.who, "bind", given, "Space[Any]")
        raise PluginError(fault + _who_is(name, facts))
    return bound


def _who_is(name: str, facts: Facts) -> str:
    """Return who it is that a fault is about, if it was asked for by a name."""
    return "" if name == facts.who else f" {facts.who} is {facts.what.lower()} {name}."
