"""The `transitions` format: a list of `Transition` per env, for teaching, tests, and code that needs records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from runnerkit.history.block import Block
from runnerkit.records import RunSpec, Transition

__all__ = ["TransitionFormat", "TransitionHistory"]

TransitionHistory: TypeAlias = "list[Transition[Any, Any]]"


class TransitionFormat:
    """The format `transitions`: it makes lists of `Transition` and accepts any space."""

    def open(self, spec: RunSpec, /) -> TransitionRecorder:
        """Return a recorder."""
        return TransitionRecorder()


class TransitionRecorder:
    """Makes transitions from a block; each owns its arrays."""

    def finish(self, block: Block, /) -> list[TransitionHistory]:
        """Return one list per env."""
        return [_transitions(block, i) for i in range(block.n_envs)]

    def append(self, history: TransitionHistory | None, transition: Transition[Any, Any], /) -> TransitionHistory:
        """Return the list with one more transition. None stands for an empty list."""
        history = [] if history is None else history
        history.append(transition)
        return history

    def close(self) -> None:
        """Do nothing: the lists belong to the caller."""


def _transitions(block: Block, env_index: int) -> TransitionHistory:
    infos = {row: info for i, row, info in block.log.infos if i == env_index}
    finals = {t: [column[k] for column in block.final_columns] for t, k in block.final_at(env_index).items()}
    unknown = set(block.unknown_after(env_index))
    return [
        transition(block, env_index, t, finals.get(t), infos.get(t, {}), known=t not in unknown)
        for t in range(block.lengths[env_index])
    ]


def transition(
    block: Block, env_index: int, t: int, final: list[Any] | None, info: Mapping[str, Any], *, known: bool = True
) -> Transition[Any, Any]:
    """Return step t of an env, with copies of its arrays.

    The next observation is `final`; if that is None, it is the next row. It is None if it is not `known`.
    """
    observation, action = block.layout.observation, block.layout.action
    at, row, next_row = block.at(t), block.row(t), block.row(t + 1)
    if final is None:
        final = [column[next_row, env_index] for column in block.observations]
    return Transition(
        observation=observation.sample(block.observations, (row, env_index)),
        action=action.sample(block.actions, (at, env_index)),
        reward=float(block.rewards[at, env_index]),
        processed_reward=float(block.processed_rewards[at, env_index]) if block.layout.reward_processed else None,
        next_observation=observation.own(final) if known else None,
        terminated=bool(block.terminated[at, env_index]),
        truncated=bool(block.truncated[at, env_index]),
        info=info,
        extras={name: column[at, env_index].copy() for name, column in block.extras.items()},
    )
