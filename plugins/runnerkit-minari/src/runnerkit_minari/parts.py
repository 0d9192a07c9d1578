"""Episodes in parts: what lies in one rollout, held back until the rest of it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runnerkit import Episode
from runnerkit.errors import ArgumentError
from runnerkit.history import EpisodeColumns

__all__ = ["Part", "View", "joined"]

View: TypeAlias = Literal["env", "agent"]
"""Whose observations and actions are recorded: the env's own, or what the agent saw and chose."""

PROCESSED: Final = "processed_rewards"
"""The info with the rewards after reward processors."""


@dataclass(frozen=True, slots=True)
class Part:
    """An episode, or what of it lies in one rollout: T + 1 observations and T of the rest."""

    record: Episode
    observations: Any
    actions: Any
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    extras: Mapping[str, NDArray[Any]]

    @classmethod
    def of(
        cls,
        columns: EpisodeColumns[Any, Any, NDArray[np.float64], NDArray[np.bool_]],
        view: View,
        *,
        processed: bool = False,
    ) -> Part:
        """Return the columns that are recorded; they are views still. Rewards that are `processed` are an extra one."""
        extras = {**columns.extras, PROCESSED: columns.processed_rewards} if processed else columns.extras
        return cls(
            record=columns.record,
            observations=columns.raw_observations if view == "env" else columns.observations,
            actions=columns.env_actions if view == "env" else columns.actions,
            rewards=columns.rewards,
            terminated=columns.terminated,
            truncated=columns.truncated,
            extras=extras,
        )

    def owned(self) -> Part:
        """Return a copy, so that the arrays of the rollout need not be kept for its sake."""
        return joined([self])

    def closed(self) -> Part:
        """Return the part with its last step truncated, unless the env ended it there."""
        if self.record.complete:
            return self
        truncated = self.truncated.copy()
        truncated[-1] = True
        return replace(self, truncated=truncated)


def joined(parts: Sequence[Part]) -> Part:
    """Return one part, with memory of its own, for those of one episode; its record is the last one's."""
    # each part ends with the observation that the next one begins with
    observations = [*(_but_last(part.observations) for part in parts[:-1]), parts[-1].observations]
    return Part(
        record=parts[-1].record,
        observations=_chained(observations),
        actions=_chained([part.actions for part in parts]),
        rewards=np.concatenate([part.rewards for part in parts]),
        terminated=np.concatenate([part.terminated for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
        extras=_joined_extras(parts),
    )


def _joined_extras(parts: Sequence[Part]) -> dict[str, NDArray[Any]]:
    names = [list(part.extras) for part in parts]
    if any(name != names[0] for name in names):
        record, before, after = parts[-1].record, names[0] or "none", names[-1] or "none"
        raise ArgumentError(
            f"Episode {record.episode_index} of env {record.env_index} began with the extra columns {before}, but the "
            f"agent that goes on returns {after}. Use agents with the same columns, or roll out whole episodes: "
            "rollout(agent, episodes=...)."
        )
    return {name: np.concatenate([part.extras[name] for part in parts]) for name in names[0]}


def _but_last(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _but_last(sub) for key, sub in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_but_last(sub) for sub in tree)
    return tree[:-1]


def _chained(trees: Sequence[Any]) -> Any:
    first = trees[0]
    if isinstance(first, dict):
        return {key: _chained([tree[key] for tree in trees]) for key in first}
    if isinstance(first, tuple):
        return tuple(_chained([tree[i] for tree in trees]) for i in range(len(first)))
    if isinstance(first, list):
        return [value for tree in trees for value in tree]
    return np.concatenate(trees)
