"""The history format `tensordict`: its options, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from gymnasium import Space, spaces

from runnerkit import RunSpec
from runnerkit.errors import ArgumentError, SpaceError
from runnerkit.history import Block
from runnerkit.typing import Recorder

if TYPE_CHECKING:
    from runnerkit_tensordict.convert import TensorDict

__all__ = ["RewardDtype", "TensorDictFormat"]

RewardDtype: TypeAlias = Literal["float32", "float64"]


class TensorDictFormat:
    """TensorDicts with the keys of TorchRL, one per env, `batch_size=[T]`::

        history["observation"], history["action"]                     # [T, *shape]
        history["next", "observation"], history["next", "reward"]     # [T, *shape], [T, 1]
        history["next", "terminated"], history["next", "truncated"], history["next", "done"]      # bool [T, 1]
        history["episode"], history["env"]                            # int64 [T]
        history["extras", "value"]                                    # what the agent gave beside its actions

    `("next", "observation")` is exact: at the end of an episode it is the final observation. Tensors share the memory
    of the rollout where that is possible. Dict spaces give nested TensorDicts; Tuple spaces do, too, with the keys
    "0", "1", ...

    Args:
        reward_dtype: "float32", which most losses want, or "float64", which is what the env's reward was recorded in.

    Raises:
        ArgumentError: an argument cannot be.

    """

    def __init__(self, reward_dtype: RewardDtype = "float32") -> None:
        if reward_dtype not in get_args(RewardDtype):
            raise ArgumentError(f"reward_dtype must be 'float32' or 'float64', not {reward_dtype!r}.")
        self.reward_dtype: RewardDtype = reward_dtype

    def open(self, spec: RunSpec, /) -> Recorder[TensorDict]:
        """Return a recorder; raises SpaceError, naming the sub-space, for what a tensor cannot hold."""
        _check(spec.observation_space, "observation")
        _check(spec.action_space, "action")
        return TensorDictRecorder(self.reward_dtype)


class TensorDictRecorder:
    """Turns blocks into TensorDicts."""

    def __init__(self, reward_dtype: RewardDtype) -> None:
        self._reward_dtype: RewardDtype = reward_dtype

    def finish(self, block: Block, /) -> list[TensorDict]:
        """Return one TensorDict per env."""
        from runnerkit_tensordict.convert import tensordicts  # imports torch

        return tensordicts(block, self._reward_dtype)

    def close(self) -> None:
        """Do nothing: the tensors belong to the caller."""


def _check(space: Space[Any], path: str) -> None:
    if isinstance(space, spaces.Dict):
        for key, sub in space.spaces.items():
            _check(sub, f"{path}[{key!r}]")
    elif isinstance(space, spaces.Tuple):
        for i, sub in enumerate(space.spaces):
            _check(sub, f"{path}[{i}]")
    elif not isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)):
        raise SpaceError(
            f"history='tensordict' cannot hold {path}, {space}: it has no tensors. Use history='arrays', or a "
            "preprocessor that makes numbers of it."
        )
