"""Targets for learners: advantages and discounted returns that are right at every end of an episode's rows.

They are made of `processed_rewards`, which without reward processors are the rewards.

The rows of an episode end in one of three ways. If the env *terminated* it, the value of what follows is zero. If the
env *truncated* it, or the rollout *cut* it, the value is that of the final observation, which the history has (Pardo et
al., "Time Limits in Reinforcement Learning", 2018). `ColumnHistory.bootstrap` marks these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from runnerkit._core.trees import each_array
from runnerkit._core.types import TensorLike
from runnerkit.errors import ArgumentError
from runnerkit.history.columns import ColumnHistory
from runnerkit.history.stacking import each_of

__all__ = ["Targets", "ValueFunction", "discounted_returns", "gae"]

ColumnT = TypeVar("ColumnT", default=NDArray[np.float64])

ValueFunction: TypeAlias = Callable[[Any], "NDArray[Any] | TensorLike"]
"""Returns the values `[n]` or `[n, 1]` of a batch of n observations, as an array or a tensor."""

AnyHistory: TypeAlias = ColumnHistory[Any, Any, ColumnT, Any]


@dataclass(frozen=True)
class Targets(Generic[ColumnT]):
    """The targets of a learner. Each is float64 `[T]`, or `[T, N]` for stacked histories.

    Attributes:
        advantages: the estimated advantage of each action.
        returns: advantages plus values: the targets of the value function (TD(lambda) returns).
        values: the value of each observation.

    """

    advantages: ColumnT
    returns: ColumnT
    values: ColumnT


@overload
def gae(
    histories: AnyHistory[ColumnT],
    gamma: float = 0.99,
    lam: float = 0.95,
    *,
    value: ValueFunction,
    values: str | None = None,
) -> Targets[ColumnT]: ...
@overload
def gae(
    histories: Iterable[AnyHistory[ColumnT]],
    gamma: float = 0.99,
    lam: float = 0.95,
    *,
    value: ValueFunction,
    values: str | None = None,
) -> list[Targets[ColumnT]]: ...
def gae(
    histories: AnyHistory[ColumnT] | Iterable[AnyHistory[ColumnT]],
    gamma: float = 0.99,
    lam: float = 0.95,
    *,
    value: ValueFunction,
    values: str | None = None,
) -> Targets[ColumnT] | list[Targets[ColumnT]]:
    """Return advantages by generalized advantage estimation (Schulman et al., 2016, arXiv:1506.02438)::

        batch = runnerkit.stack(runner.rollout(agent, steps=128))
        targets = runnerkit.gae(batch, gamma=0.99, lam=0.95, value=critic)
        targets.advantages, targets.returns, targets.values          # [128, 8] each

    If the agent returned the values beside its actions, `values` names that column, and `value` is only asked for those
    of `last_observations`, in one batch::

        targets = runnerkit.gae(batch, value=critic, values="value")

    Args:
        histories: a history, a stacked one, or several. The targets are arrays or tensors, as its columns are.
        gamma: the discount per step, in [0, 1].
        lam: lambda, in [0, 1]: 0 relies on the values, 1 on the rewards.
        value: a function that returns the values of a batch of observations. It is called with all observations, then
            with those of `last_observations`. No gradient is kept.
        values: the name of the extra column that has the values of all observations.

    Raises:
        ArgumentError: gamma or lam outside of [0, 1], no column of that name, or not one number per observation.

    """
    _check_fraction("gamma", gamma)
    _check_fraction("lam", lam)
    if not isinstance(histories, ColumnHistory):
        return [gae(history, gamma, lam, value=value, values=values) for history in each_of("gae", histories)]
    rewards, end = _rewards(histories), _ends(histories)
    if values is None:
        known = _values(value, histories.observations, rewards.shape)
    else:
        known = _recorded(histories, values, rewards.shape)
    advantages = rewards + gamma * _following(histories, value, known, end) - known
    _accumulate(advantages, gamma * lam, end)
    return Targets(*(histories.as_column(column) for column in (advantages, advantages + known, known)))


@overload
def discounted_returns(
    histories: AnyHistory[ColumnT], gamma: float = 0.99, *, value: ValueFunction | None = None
) -> ColumnT: ...
@overload
def discounted_returns(
    histories: Iterable[AnyHistory[ColumnT]], gamma: float = 0.99, *, value: ValueFunction | None = None
) -> list[ColumnT]: ...
def discounted_returns(
    histories: AnyHistory[ColumnT] | Iterable[AnyHistory[ColumnT]],
    gamma: float = 0.99,
    *,
    value: ValueFunction | None = None,
) -> ColumnT | list[ColumnT]:
    """Return the discounted sum of the rewards from each row to the end of its episode, float64 `[T]`::

        returns = runnerkit.discounted_returns(history, gamma=0.99, value=critic)

    If an episode's rows end without a terminal state, the value of the final observation is added. Without `value` it
    counts as zero, which is right only for terminated episodes. `gae` explains the arguments.
    """
    _check_fraction("gamma", gamma)
    if not isinstance(histories, ColumnHistory):
        several = each_of("discounted_returns", histories)
        return [discounted_returns(history, gamma, value=value) for history in several]
    returns, end = _rewards(histories), _ends(histories)
    if value is not None:
        returns += gamma * _at_breaks(histories, value, returns.shape)
    _accumulate(returns, gamma, end)
    column: ColumnT = histories.as_column(returns)
    return column


def _following(
    history: AnyHistory[Any], value: ValueFunction, values: NDArray[np.float64], end: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the value of what follows each row: zero after a terminal state."""
    following = np.zeros_like(values)
    following[:-1] = values[1:]
    following[end] = 0.0
    return following + _at_breaks(history, value, values.shape)


def _at_breaks(history: AnyHistory[Any], value: ValueFunction, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the values of final observations in the rows of `bootstrap`, zero elsewhere."""
    found = np.zeros(shape)
    where = _array(history.bootstrap)
    if where.any():
        found[where] = _values(value, history.last_observations, (int(where.sum()),))
    return found


def _accumulate(column: NDArray[np.float64], decay: float, end: NDArray[np.bool_]) -> None:
    """Add to each row the decayed next one, unless an episode ends between them; in place, from the last row on."""
    keep = decay * ~end
    for t in range(len(column) - 2, -1, -1):
        column[t] += keep[t] * column[t + 1]


def _rewards(history: AnyHistory[Any]) -> NDArray[np.float64]:
    return _array(history.processed_rewards).astype(np.float64)


def _ends(history: AnyHistory[Any]) -> NDArray[np.bool_]:
    """Return in which rows an episode, or what there is of it, ends."""
    columns = (history.terminated, history.truncated, history.bootstrap)
    ends: NDArray[np.bool_] = np.logical_or.reduce([_array(column) for column in columns])
    ends |= ~_array(history.next_known)
    return ends


def _values(value: ValueFunction, observations: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Ask for the values of observations with these leading dimensions, as one batch."""
    asked: object = value  # the value may differ from the annotation
    if not callable(asked):
        raise ArgumentError(
            f"value must be a function of a batch of observations, not {asked!r:.80}. The name of an extra column with "
            "values goes into values=..., beside value=..., which is asked for those of final observations."
        )
    count = int(np.prod(shape))
    given: Any = value(_flat(observations, len(shape))) if count else np.zeros(0)
    values = _array(given).astype(np.float64)
    if values.shape not in ((count,), (count, 1)):
        raise ArgumentError(
            f"value must return one number per observation, of shape ({count},) or ({count}, 1), not {values.shape}."
        )
    return values.reshape(shape)


def _recorded(history: AnyHistory[Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the values that the agent gave with its actions."""
    if name not in history.extras:
        there = f"it has {list(history.extras)}" if history.extras else "it has none"
        raise ArgumentError(
            f"values must be the name of an extra column of the history, but {name!r} is none: {there}. Let act() "
            f"return (actions, {{{name!r}: ...}}), or leave values out."
        )
    values = _array(history.extras[name]).astype(np.float64)
    if values.shape not in (shape, (*shape, 1)):
        raise ArgumentError(f"The column {name!r} must have one number per row, of shape {shape}, not {values.shape}.")
    return values.reshape(shape)


def _array(column: Any) -> NDArray[Any]:
    """Return a column of either kind as an array."""
    return np.asarray(column.detach().cpu().numpy() if hasattr(column, "detach") else column)


def _flat(tree: Any, dimensions: int) -> Any:
    """Merge the leading dimensions of a batch into one."""
    if dimensions == 1:
        return tree
    return each_array(tree, lambda column: _merged(column, dimensions))


def _merged(column: Any, dimensions: int) -> Any:
    if isinstance(column, list):  # of objects
        return [item for row in column for item in row]
    return column.reshape(-1, *column.shape[dimensions:])


def _check_fraction(name: str, given: float) -> None:
    if not 0 <= given <= 1:
        raise ArgumentError(f"{name} must be a number in [0, 1], not {given!r}.")
