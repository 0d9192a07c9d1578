"""The built-in preprocessors with state per env: `frame-stack`, `last-action` and `time-aware`.

They belong to one runner at a time. What a row becomes depends only on the rows of the same env in the same episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from gymnasium import Space, spaces
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.utils import create_zero_array
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit._core.spaces import Column, Layout
from runnerkit.errors import ArgumentError, SpaceError
from runnerkit.processors.base import BoundOnce, ProcessorContext
from runnerkit.processors.observations import Flatten
from runnerkit.processors.per_env import PerEnv

__all__ = ["FrameStack", "LastAction", "TimeAware"]


class FrameStack(BoundOnce, PerEnv):
    """Preprocessor `frame-stack`: the last k observations of the same episode, oldest first::

        runner = GymRunner("ALE/Pong-v5", n_envs=8, preprocessors=[FrameStack(k=4)])

    An array `[n, *shape]` becomes `[n, k, *shape]`, of the same dtype; in Dict and Tuple each array does. It equals
    `gymnasium.wrappers.FrameStackObservation`.

    Args:
        k: how many observations, at least 1.
        padding: what stands for observations before the first one of an episode: "reset" repeats the first one, "zero"
            is zero, or the number of the space that is nearest to it.

    """

    def __init__(self, *, k: int = 4, padding: Literal["reset", "zero"] = "reset") -> None:
        super().__init__()
        if not _is_count(k):
            raise ArgumentError(f"FrameStack needs a whole number k of at least 1, not {k!r}.")
        if padding not in ("reset", "zero"):
            raise ArgumentError(f"FrameStack needs padding='reset' or padding='zero', not {padding!r}.")
        self.k: int = int(k)
        self.padding: str = padding
        self._frames: list[Column] = []

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the space of k samples. Raises SpaceError unless all of the space is arrays."""
        layout = Layout(space, "observation")
        for leaf in layout.leaves:
            if leaf.is_object:
                raise SpaceError(f"frame-stack needs arrays, not {leaf}. Put flatten before it, or leave it out.")
        if not layout.leaves:
            raise SpaceError(f"frame-stack needs arrays, but {space} has none. Leave it out.")
        stacked = batch_space(space, self.k)
        self._bind_once(space, "frame-stack")
        self._layout = layout
        self._zeros = [np.asarray(zero) for zero in layout.split(create_zero_array(space))]
        self._frames = [leaf.allocate(len(self._begins), self.k) for leaf in layout.leaves]
        return stacked

    def __call__(self, observations: Any, /) -> Any:
        """Return `[n, k, *shape]` for each array."""
        columns: list[Any] = self._layout.split(observations)
        envs = self._rows(len(columns[0]))
        begins = self._take_begins(envs)
        stacks = []
        for frames, column, zero in zip(self._frames, columns, self._zeros, strict=True):
            stack = np.empty((len(envs), *frames.shape[1:]), frames.dtype)
            stack[:, :-1] = frames[envs, 1:]
            stack[:, -1] = column
            if begins.any():
                stack[begins, :-1] = zero if self.padding == "zero" else stack[begins, -1:]
            frames[envs] = stack
            stacks.append(stack)
        return self._layout.join(stacks)

    @override
    def _tables(self) -> list[Column]:
        return self._frames

    @override
    def _set_tables(self, tables: Sequence[Column]) -> None:
        self._frames = list(tables)


class _Extended(BoundOnce, PerEnv):
    """Adds an array to the observation, as an entry of its own or flattened with it."""

    name: str
    """Of the processor, for errors."""

    def __init__(self, *, flatten: bool, key: str) -> None:
        super().__init__()
        self.flatten: bool = flatten
        self.key: str = key
        self._flat = Flatten()

    def _extend_space(self, space: Space[Any], entry: Space[Any]) -> Space[Any]:
        """Return the space with one more entry."""
        self._bind_once(space, self.name)
        self._flat = Flatten()  # for what is added, too, which may differ in another runner
        self._kind = type(space)
        if isinstance(space, spaces.Dict):
            if self.key in space.spaces:
                raise SpaceError(f"{self.name} cannot add {self.key!r}, as {space} has that key. Pass another key=.")
            keeps_order = not getattr(space, "sort_keys", True)  # Gymnasium 1.3 has no such option
            extended: Space[Any] = spaces.Dict({self.key: entry, **space.spaces})
            if keeps_order:
                extended = spaces.Dict([(self.key, entry), *space.spaces.items()])
        elif isinstance(space, spaces.Tuple):
            extended = spaces.Tuple((*space.spaces, entry))
        else:
            extended = spaces.Dict([("obs", space), (self.key, entry)])
        try:
            return self._flat.bind(extended) if self.flatten else extended
        except SpaceError as error:
            raise SpaceError(f"{self.name} cannot flatten {extended}. Pass flatten=False.") from error

    def _extend(self, observations: Any, values: Column) -> Any:
        """Return the batch with one more entry."""
        if issubclass(self._kind, spaces.Dict):
            extended: Any = {**observations, self.key: values}
        elif issubclass(self._kind, spaces.Tuple):
            extended = (*observations, values)
        else:
            extended = {"obs": observations, self.key: values}
        return self._flat(extended) if self.flatten else extended


class TimeAware(_Extended):
    """Preprocessor `time-aware`: adds the number of steps since the episode began.

    It equals `gymnasium.wrappers.TimeAwareObservation`. By default the output is one vector per env, with the time in
    it. With `flatten=False`, the time is an array of shape `(1,)`: an entry of a Dict, the last item of a Tuple, and
    beside any other observation in `Dict(obs=..., time=...)`.

    Args:
        flatten: flatten the observation with the time, as `flatten` does.
        normalize: divide the time by the limit; it is a float32 then, not an int32.
        key: the name of the entry in a Dict.
        limit: the most steps of an episode; by default the `max_episode_steps` of the env's spec.

    """

    name = "time-aware"

    def __init__(
        self, *, flatten: bool = True, normalize: bool = False, key: str = "time", limit: int | None = None
    ) -> None:
        super().__init__(flatten=flatten, key=key)
        if limit is not None and not _is_count(limit):
            raise ArgumentError(f"TimeAware needs a limit of a whole number of steps, at least 1, not {limit!r}.")
        self.normalize: bool = normalize
        self.limit: int | None = limit
        self._most: int | None = limit
        self._times: NDArray[np.int32] = np.zeros(0, np.int32)

    def set_context(self, context: ProcessorContext, /) -> None:
        """Learn the limit from the env's spec."""
        if self.limit is None:
            self._most = context.env_spec.max_episode_steps if context.env_spec is not None else None

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the space with the time. Raises SpaceError if no limit is known."""
        if self._most is None:
            raise SpaceError(
                "time-aware needs the most steps of an episode, but the env's spec has no max_episode_steps. "
                "Use TimeAware(limit=...)."
            )
        time = spaces.Box(0.0, 1.0) if self.normalize else spaces.Box(0, self._most, dtype=np.int32)
        return self._extend_space(space, time)

    def __call__(self, observations: Any, /) -> Any:
        """Return the batch with the time of each row."""
        envs = self._rows(_count(observations))
        times = np.where(self._take_begins(envs), np.int32(0), self._times[envs] + np.int32(1))
        self._times[envs] = times
        column = times[:, None]
        return self._extend(observations, (column / self._most).astype(np.float32) if self.normalize else column)

    @override
    def _tables(self) -> list[Column]:
        return [self._times]

    @override
    def _set_tables(self, tables: Sequence[Column]) -> None:
        (self._times,) = tables


class LastAction(_Extended):
    """Preprocessor `last-action`: adds the agent's last action in this episode, as recurrent agents need it.

    The action is a vector, as `gymnasium.spaces.utils.flatten` makes it: a Discrete one is one-hot. It is all zeros in
    the first row of an episode. By default the output is one vector per env, with the action in it. With
    `flatten=False`, the action is an entry of a Dict, the last item of a Tuple, and beside any other observation in
    `Dict(obs=..., last_action=...)`.

    Args:
        flatten: flatten the observation with the action, as `flatten` does.
        key: the name of the entry in a Dict.

    """

    name = "last-action"

    def __init__(self, *, flatten: bool = True, key: str = "last_action") -> None:
        super().__init__(flatten=flatten, key=key)
        self._action_space: Space[Any] | None = None
        self._vector = Flatten()
        self._last: Column = np.zeros((0, 0))

    def set_context(self, context: ProcessorContext, /) -> None:
        """Learn the action space."""
        self._action_space = context.action_space

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the space with the action. Raises SpaceError if actions have no fixed length."""
        if self._action_space is None:
            raise SpaceError("last-action needs the action space, which a runner tells with set_context before bind.")
        self._vector = Flatten()
        try:
            flat = self._vector.bind(self._action_space)
        except SpaceError as error:
            raise SpaceError(f"last-action cannot make a vector of actions: {error}") from error
        assert isinstance(flat, spaces.Box)  # says Flatten
        self._last = np.zeros((len(self._begins), *flat.shape), flat.dtype)
        low, high = np.minimum(flat.low, 0), np.maximum(flat.high, 0)
        return self._extend_space(space, spaces.Box(low, high, dtype=np.dtype(flat.dtype).type))

    def note_actions(self, actions: Any, /) -> None:
        """Keep the actions."""
        vectors = self._vector(actions)
        self._last[self._rows(len(vectors))] = vectors

    def __call__(self, observations: Any, /) -> Any:
        """Return the batch with the last action of each row's env."""
        envs = self._rows(_count(observations))
        last = self._last[envs]
        last[self._take_begins(envs)] = 0
        return self._extend(observations, last)

    @override
    def _tables(self) -> list[Column]:
        return [self._last]

    @override
    def _set_tables(self, tables: Sequence[Column]) -> None:
        (self._last,) = tables


def _count(batch: Any) -> int:
    """Return the number of rows of a batch."""
    if isinstance(batch, (dict, tuple)):
        parts = batch.values() if isinstance(batch, dict) else batch
        return max((_count(part) for part in parts), default=0)
    return len(batch)


def _is_count(value: object) -> bool:
    """Whether it is a whole number of at least 1; the value may differ from the annotation, and True is none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1
