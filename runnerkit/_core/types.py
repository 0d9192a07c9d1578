"""Types for the annotations of the whole package: batches, envs, and functions that make envs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import gymnasium
from numpy.typing import NDArray
from typing_extensions import TypeVar

__all__ = [
    "ActArrayT",
    "ActT",
    "ActT_co",
    "ActT_contra",
    "Answer",
    "AnyEnv",
    "AnyVectorEnv",
    "AnyMakeEnv",
    "ArraysName",
    "MakeEnv",
    "MakeIndexedEnv",
    "MakeSizedEnv",
    "ObsArrayT",
    "ObsT",
    "ObsT_co",
    "ObsT_contra",
    "TensorLike",
]

ObsT = TypeVar("ObsT")
"""A batch of observations, as the agent gets it."""

ActT = TypeVar("ActT")
"""A batch of actions, as the agent returns it."""

ObsArrayT = TypeVar("ObsArrayT", bound=NDArray[Any])
"""A batch of observations that is one array, as of Box, Discrete, MultiBinary and MultiDiscrete."""

ActArrayT = TypeVar("ActArrayT", bound=NDArray[Any])
"""A batch of actions that is one array."""

ObsT_co = TypeVar("ObsT_co", covariant=True)

ObsT_contra = TypeVar("ObsT_contra", contravariant=True)

ActT_co = TypeVar("ActT_co", covariant=True)

ActT_contra = TypeVar("ActT_contra", contravariant=True)

AnyEnv: TypeAlias = gymnasium.Env[Any, Any]
"""Any Gymnasium env. Its own type arguments are those of one sample, a runner's are those of a batch."""

AnyVectorEnv: TypeAlias = gymnasium.vector.VectorEnv[Any, Any, Any]
"""Any env that steps several envs itself."""

MakeEnv: TypeAlias = Callable[[int | None], AnyEnv | AnyVectorEnv]
"""Makes an env. The seed is for factories that build random envs; episodes are seeded by `reset`.

A `gymnasium.vector.VectorEnv` is made once, and must have as many envs as the runner.
"""


class MakeIndexedEnv(Protocol):
    """Makes env `env_index`, the first of which is 0; an own port or folder is chosen by it."""

    def __call__(self, seed: int | None, /, *, env_index: int) -> AnyEnv | AnyVectorEnv:
        """Return an env."""
        ...


class MakeSizedEnv(Protocol):
    """Makes an env for a runner of `n_envs`, a vector env for instance."""

    def __call__(self, seed: int | None, /, *, n_envs: int) -> AnyEnv | AnyVectorEnv:
        """Return an env."""
        ...


AnyMakeEnv: TypeAlias = MakeEnv | MakeIndexedEnv | MakeSizedEnv
"""Makes an env, and is told as much of the runner as its parameters ask for."""


class TensorLike(Protocol):
    """What a runner needs of a torch tensor to read actions from it."""

    def detach(self) -> TensorLike:
        """Return the tensor without its graph."""
        ...

    def cpu(self) -> TensorLike:
        """Return the tensor in main memory."""
        ...

    def numpy(self) -> NDArray[Any]:
        """Return the tensor as an array."""
        ...


Answer: TypeAlias = ActT | TensorLike | list[Any] | tuple[ActT | TensorLike | list[Any], Mapping[str, object]]
"""What an agent may return: a batch of actions, or a pair of it and extra columns by name (a dict, a TypedDict)."""

ArraysName: TypeAlias = Literal["arrays", "npz"] | tuple[Literal["arrays", "npz"], Mapping[str, object]]
"""How the formats are named whose histories are `ArrayHistory`."""
