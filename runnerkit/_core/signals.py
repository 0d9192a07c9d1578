"""Rewards and flags that are not plain numbers and bools: accepted if their meaning is unambiguous, else refused.

Nothing here runs for an env that keeps its contract. An accepted value that breaks the contract is an **oddity**: it is
noted once, so that the runner warns of it, or refused if the runner is strict.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.arrays import as_array, kind_of
from runnerkit._core.wording import short_repr

__all__ = ["NUMBERS", "Oddities", "SignalError", "read_flag", "read_flags", "read_reward", "read_rewards"]

_FLAGS = (bool, np.bool_)
NUMBERS = "fiub"
"""The kinds of dtypes that rewards may be of."""


class SignalError(Exception):
    """An invalid reward or flag. The message continues a sentence that begins with "returned"."""


class Oddities:
    """The oddities that envs returned, where nothing was lost: one sentence of each kind."""

    def __init__(self, *, strict: bool = False) -> None:
        self.strict: bool = strict
        self.found: dict[str, str] = {}

    def note(self, kind: str, who: str, what: str) -> None:
        """Note the first oddity of a kind, of env `who`; raises SignalError if the runner is strict."""
        if self.strict:
            raise SignalError(f"{what} (strict_spaces=True refuses it)")
        self.found.setdefault(kind, f"{who} returned {what}")


def read_flag(value: Any, name: str, who: str, oddities: Oddities, reward: Any) -> bool:
    """Return a flag of one env as a bool; raises SignalError if it is ambiguous. `reward` is what came with it."""
    if isinstance(value, _FLAGS):
        return bool(value)
    array = np.asarray(value) if isinstance(value, int | float) else _as_array(value)
    if array is None or array.size != 1 or not _are_flags(array, reward):
        raise SignalError(f"the flag {name}={short_repr(value)}, but flags must be bools")
    if array.dtype != np.bool_ or array.shape:
        oddities.note("flags", who, f"the flag {name}={short_repr(value)}, which is not a bool")
    return bool(array.item())


def read_flags(value: Any, n: int, name: str, who: str, oddities: Oddities, rewards: Any) -> NDArray[np.bool_]:
    """Return the flags of n envs; raises SignalError if they are not n bools. `rewards` is what came with them."""
    array = as_array(value)
    if array is None or array.shape not in ((n,), (n, 1)) or not _are_flags(array, rewards):
        raise SignalError(f"{name} must be an array of {n} bools, not {kind_of(value)}")
    if array.dtype != np.bool_ or array.shape != (n,):
        oddities.note("flags", who, f"{name} that are not {n} bools, but {kind_of(value)}")
    return array.reshape(n).astype(np.bool_)


def read_reward(value: Any, who: str, oddities: Oddities) -> float:
    """Return the reward of one env; raises SignalError if it is not one number."""
    array = _as_array(value)
    if array is None or array.dtype.kind not in NUMBERS or not array.size:
        raise SignalError(f"the reward {short_repr(value)}, but a reward must be a number")
    if array.size > 1:
        raise SignalError(
            f"the reward {short_repr(value)} of shape {array.shape}, but a reward must be one number. "
            "A wrapper can make one of them:\n\n"
            "    class OneReward(gymnasium.RewardWrapper):\n"
            f"        def reward(self, reward): return float(np.dot(reward, {_weights(array.shape)}))\n"
        )
    if array.shape:
        oddities.note("rewards", who, f"a reward of shape {array.shape}, which is not a plain number")
    return float(array.item())


def read_rewards(value: Any, n: int, who: str, oddities: Oddities) -> NDArray[Any]:
    """Return the rewards of n envs; raises SignalError if they are not one number per env."""
    array = as_array(value)
    if array is not None and array.dtype.kind in NUMBERS and array.ndim == 2 and array.shape[0] == n:
        if array.shape[1] != 1:
            raise SignalError(
                f"rewards must be an array of {n} numbers, not {kind_of(value)}. "
                "A wrapper can make one number of each row:\n\n"
                "    class OneReward(gymnasium.vector.VectorRewardWrapper):\n"
                f"        def rewards(self, rewards): return rewards @ {_weights(array.shape[1:])}\n"
            )
        oddities.note("rewards", who, f"rewards of shape {array.shape} instead of {(n,)}")
        return array.reshape(n)
    if array is None or array.dtype.kind not in NUMBERS or array.shape != (n,):
        raise SignalError(f"rewards must be an array of {n} numbers, not {kind_of(value)}")
    return array


def _as_array(value: Any) -> NDArray[Any] | None:
    """Read one reward or flag, which may also stand in a list, in a tuple, or in an array of objects."""
    array = as_array(value)
    if array is None and type(value) in (list, tuple):
        with contextlib.suppress(ValueError):  # rows of different lengths
            array = np.asarray(value)
    if array is not None and array.dtype == object and array.size == 1:
        return np.asarray(array.tolist())
    return array


def _are_flags(array: NDArray[Any], rewards: Any) -> bool:
    """Whether all are bools, or numbers that are exactly 0 or 1.

    Floats are refused if the rewards are bools: the env returned the two in the wrong order.
    """
    kind = array.dtype.kind
    if kind == "b":
        return True
    if kind not in NUMBERS or (kind == "f" and _are_bools(rewards)):
        return False
    return bool(((array == 0) | (array == 1)).all())


def _are_bools(rewards: Any) -> bool:
    if isinstance(rewards, _FLAGS):
        return True
    array = as_array(rewards)
    return array is not None and array.dtype.kind == "b"


def _weights(shape: tuple[int, ...]) -> str:
    equal = ", ".join([f"{1 / shape[0]:.3g}"] * shape[0])
    return f"[{equal}]" if len(shape) == 1 and shape[0] <= 8 else "weights"
