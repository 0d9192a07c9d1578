"""Rows of histories as replay buffers take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, overload

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.trees import each_array
from runnerkit._core.types import ActT, ObsT
from runnerkit.errors import ArgumentError
from runnerkit.history.arrays import ArrayHistory
from runnerkit.history.columns import ColumnHistory
from runnerkit.history.stacking import stacked

__all__ = ["TransitionBatch", "transitions"]


@dataclass(frozen=True, slots=True)
class TransitionBatch(Generic[ObsT, ActT]):
    """Transitions of several envs as arrays; see `transitions`.

    Attributes:
        observations: `[n, *shape]`, nested as the observation space is.
        actions: `[n, *shape]`, nested as the action space is.
        rewards: the rewards after reward processors, float64 `[n]`.
        next_observations: `[n, *shape]`; at the end of an episode the final observation, not that of the next episode.
        terminated: bool `[n]`.
        truncated: bool `[n]`. Also True where an env failed and was made anew, as no row goes on from there.
        env_indices: of which env each row is, int64 `[n]`.
        n_envs: how many rows each step has.

    """

    observations: ObsT
    actions: ActT
    rewards: NDArray[np.float64]
    next_observations: ObsT
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    env_indices: NDArray[np.int64]
    n_envs: int

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def done(self) -> NDArray[np.bool_]:
        """Whether the episode ended with this row, bool `[n]`."""
        return self.terminated | self.truncated

    def __iter__(self) -> Iterator[TransitionBatch[ObsT, ActT]]:
        """Yield the rows step by step, each with one row per env."""
        for start in range(0, len(self), self.n_envs):
            yield self._rows(slice(start, start + self.n_envs))

    def _rows(self, rows: slice) -> TransitionBatch[ObsT, ActT]:
        return TransitionBatch(
            each_array(self.observations, lambda array: array[rows]),
            each_array(self.actions, lambda array: array[rows]),
            self.rewards[rows],
            each_array(self.next_observations, lambda array: array[rows]),
            self.terminated[rows],
            self.truncated[rows],
            self.env_indices[rows],
            self.n_envs,
        )

    def sb3(self) -> tuple[ObsT, ObsT, ActT, NDArray[np.float64], NDArray[np.bool_], list[dict[str, Any]]]:
        """Return the arguments of `stable_baselines3.common.buffers.ReplayBuffer.add`, for one step of all envs::

            for step in runnerkit.transitions(histories):
                model.replay_buffer.add(*step.sb3())

        Its buffers bootstrap where only `truncated` is set.
        """
        infos: list[dict[str, Any]] = [
            {"TimeLimit.truncated": timeout} for timeout in (self.truncated & ~self.terminated).tolist()
        ]
        return self.observations, self.next_observations, self.actions, self.rewards, self.done, infos

    def tianshou(self) -> dict[str, Any]:
        """Return the arrays of a Tianshou `Batch`, and the arguments of `ReplayBuffer.from_data`::

            for step in runnerkit.transitions(histories):
                buffer.add(Batch(step.tianshou()), buffer_ids=step.env_indices)

        This is a `VectorReplayBuffer`, which has one buffer per env.
        """
        return {
            "obs": self.observations,
            "act": self.actions,
            "rew": self.rewards,
            "terminated": self.terminated,
            "truncated": self.truncated,
            "done": self.done,
            "obs_next": self.next_observations,
        }

    def torchrl(self) -> dict[str, Any]:
        """Return the arrays of a TensorDict with the keys of TorchRL::

            batch = runnerkit.transitions(histories)
            buffer.extend(TensorDict(batch.torchrl(), len(batch)))

        Rewards are float32 there, and rewards and flags have shape `[n, 1]`.
        """
        following = {
            "observation": self.next_observations,
            "reward": self.rewards[:, None].astype(np.float32),
            "terminated": self.terminated[:, None],
            "truncated": self.truncated[:, None],
            "done": self.done[:, None],
        }
        return {"observation": self.observations, "action": self.actions, "next": following}


@overload
def transitions(
    histories: ArrayHistory[ObsT, ActT] | Iterable[ArrayHistory[ObsT, ActT]],
) -> TransitionBatch[ObsT, ActT]: ...
@overload
def transitions(
    histories: ColumnHistory[Any, Any, Any, Any] | Iterable[ColumnHistory[Any, Any, Any, Any]],
) -> TransitionBatch[Any, Any]: ...
def transitions(
    histories: ColumnHistory[Any, Any, Any, Any] | Iterable[ColumnHistory[Any, Any, Any, Any]],
) -> TransitionBatch[Any, Any]:
    """Return the rows of histories as arrays that replay buffers take: those of the first step, of the second, ...::

        batch = runnerkit.transitions(runner.rollout(agent, steps=100))
        batch.observations, batch.actions, batch.rewards, batch.next_observations, batch.terminated
        for step in batch:                          # one row per env
            model.replay_buffer.add(*step.sb3())
        for episode in runnerkit.load("runs"):      # of different lengths: one at a time
            transitions(episode)

    Buffers of Stable-Baselines3 take them step by step (`TransitionBatch.sb3`), those of Tianshou do so, too
    (`TransitionBatch.tianshou`), and those of TorchRL take all at once (`TransitionBatch.torchrl`).

    Args:
        histories: the histories of a rollout, a stacked one, a batch of a stream, or one history. Arrays are copies.

    Raises:
        ArgumentError: lengths or spaces differ, or a vector env did not provide final observations.

    """
    given: object = histories  # the value may differ from the annotation
    if not isinstance(given, (ColumnHistory, Iterable)):
        raise ArgumentError(f"transitions needs a history, or the histories of a rollout, not {given!r}.")
    batch = histories if isinstance(histories, ColumnHistory) else stacked("transitions", histories)
    if not _array(batch.next_known).all():
        raise ArgumentError(
            "Replay buffers need every next observation, but this vector env does not provide final observations (see "
            "history.next_known). Use another auto-reset mode of it, or single envs."
        )
    terminated = _array(batch.terminated)
    breaks = _array(batch.bootstrap).copy()
    breaks[-1:] = _array(batch.truncated)[-1:]  # what the rollout cut goes on
    flat = 1 if batch.is_of_one_env else 2
    envs = np.array([block.env_indices[i] for block, i in batch.parts()], np.int64)
    return TransitionBatch(
        observations=_flat(batch.observations, flat),
        actions=_flat(batch.actions, flat),
        rewards=_flat(batch.processed_rewards, flat),
        next_observations=_flat(batch.next_observations, flat),
        terminated=_flat(terminated, flat),
        truncated=_flat(_array(batch.truncated) | (breaks & ~terminated), flat),
        env_indices=np.tile(envs, len(batch)),
        n_envs=len(envs),
    )


def _flat(tree: Any, dimensions: int) -> Any:
    """Return copies of arrays whose leading dimensions, `[T]` or `[T, N]`, are one."""

    def flat(column: Any) -> Any:
        if isinstance(column, list):  # of objects
            return list(column) if dimensions == 1 else [item for row in column for item in row]
        return np.array(_array(column)).reshape(-1, *column.shape[dimensions:])

    return each_array(tree, flat)


def _array(column: Any) -> NDArray[Any]:
    """Return a column of either kind as an array."""
    return np.asarray(column.detach().cpu().numpy() if hasattr(column, "detach") else column)
