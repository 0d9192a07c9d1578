"""What a block is made of: its layout, and where episodes lie in its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

from runnerkit._core.spaces import Layout
from runnerkit.records import EndReason, EpisodeStart, RunSpec

__all__ = ["BlockLayout", "Mark", "Span"]


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Which columns the blocks of a runner have.

    Without processors, the env's spaces are the agent's, and are stored once.

    Attributes:
        n_envs: the number of envs, N.
        raw: the layout of the env's own observation space.
        observation: the layout of the observation space as the agent sees it, after preprocessors.
        action: the layout of the action space as the agent sees it, before postprocessors.
        env_action: the layout of the env's own action space.
        preprocessed: whether there are preprocessors, so that `raw` and `observation` are stored apart.
        postprocessed: whether there are postprocessors, so that `action` and `env_action` are stored apart.
        keep_raw: whether all raw observations are kept, and not only the last two.
        reward_processed: whether there are reward processors, so that processed rewards are stored beside the rewards.

    """

    n_envs: int
    raw: Layout
    observation: Layout
    action: Layout
    env_action: Layout
    preprocessed: bool = False
    postprocessed: bool = False
    keep_raw: bool = False
    reward_processed: bool = False

    @classmethod
    def of(cls, spec: RunSpec, n_envs: int) -> Self:
        """Return the columns that so many envs of a run have."""
        return cls(
            n_envs=n_envs,
            raw=Layout(spec.env_observation_space, "observation"),
            observation=Layout(spec.observation_space, "observation"),
            action=Layout(spec.action_space, "action"),
            env_action=Layout(spec.env_action_space, "action"),
            preprocessed=spec.preprocessed,
            postprocessed=spec.postprocessed,
            keep_raw=spec.options.keep_raw,
            reward_processed=spec.reward_processed,
        )

    @property
    def signature(self) -> tuple[object, ...]:
        """What must be equal if blocks are to be stacked."""
        spaces = (self.raw.space, self.observation.space, self.action.space, self.env_action.space)
        return (*spaces, self.preprocessed, self.postprocessed, self.keep_raw, self.reward_processed)

    @property
    def bytes_per_step(self) -> int:
        """The bytes that one step of all envs takes."""
        size = self.observation.nbytes + self.action.nbytes + 8 + 1 + 1
        if self.preprocessed and self.keep_raw:
            size += self.raw.nbytes
        if self.postprocessed:
            size += self.env_action.nbytes
        if self.reward_processed:
            size += 8
        return size * self.n_envs


class Mark(NamedTuple):
    """Where an episode begins in an env's rows, or where a continued one goes on.

    Attributes:
        row: its first row.
        episode_index: which episode of the env it is.
        start: the seed and options of its reset.
        steps_before: its steps in earlier rollouts.
        return_before: its return in earlier rollouts.

    """

    row: int
    episode_index: int
    start: EpisodeStart
    steps_before: int = 0
    return_before: float = 0.0


class Span(NamedTuple):
    """The rows of an episode in a block.

    Attributes:
        mark: where it begins.
        stop: the row after its last step.
        otherwise: why it ends there, if no flag of its last step says so.
        final: the row of `final_columns` that has its final observation; None if observation `stop` is the final one.

    """

    mark: Mark
    stop: int
    otherwise: EndReason | None
    final: int | None
