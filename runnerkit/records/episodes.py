"""Transitions, episodes, how they begin and end, and what is known of their seeds."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar

__all__ = [
    "EndReason",
    "EnvFault",
    "Episode",
    "EpisodeSchedule",
    "EpisodeStart",
    "Seeded",
    "Seeding",
    "Transition",
]

ObsRowT_co = TypeVar("ObsRowT_co", covariant=True)
ActRowT_co = TypeVar("ActRowT_co", covariant=True)


@dataclass(frozen=True)  # with slots, Transition[O, A](...) is a TypeError before Python 3.12
class Transition(Generic[ObsRowT_co, ActRowT_co]):
    """One step of one env, as `process_transition` gets it::

        observation, action, reward, next_observation, done = transition.classic()

    The transition owns its arrays. Its types are those of one row, and not those of batches: a runner of
    `GymRunner[NDArray[np.float32], NDArray[np.int64]]` for CartPole makes `Transition[NDArray[np.float32], np.int64]`.

    Attributes:
        observation: what the agent saw, after preprocessors: one row of its batch, a NumPy scalar for shape ().
        action: what the agent chose, before postprocessors.
        reward: the env's reward, a float.
        next_observation: what the step led to. At the end of an episode it is the final observation, never the first
            one of the next episode. It is None if a vector env does not provide the final observation.
        terminated: whether the env reached a terminal state.
        truncated: whether the env cut the episode short.
        info: the env's info dict; empty unless the runner has `keep_infos=True`.
        processed_reward: the reward after reward processors; None if the runner has none.
        extras: what the agent gave beside its action, by name; empty if it gave nothing.

    """

    observation: ObsRowT_co
    action: ActRowT_co
    reward: float
    next_observation: ObsRowT_co
    terminated: bool
    truncated: bool
    info: Mapping[str, Any] = field(default_factory=dict)
    processed_reward: float | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the episode ended with this step, for either reason."""
        return self.terminated or self.truncated

    def classic(self) -> tuple[ObsRowT_co, ActRowT_co, float, ObsRowT_co, bool]:
        """Return (observation, action, reward, next_observation, done), the tuple of the 2018 runners."""
        return self.observation, self.action, self.reward, self.next_observation, self.done


class EndReason(enum.StrEnum):
    """Why the rows of an episode end where they do.

    Attributes:
        TERMINATED: "terminated". The env reached a terminal state; the value of what follows is zero.
        TRUNCATED: "truncated". The env cut the episode short, for example by a time limit.
        CUT: "cut". The rollout ended first; the episode continues in the next rollout.
        INTERRUPTED: "interrupted". Ctrl-C or a fault elsewhere stopped the rollout; the episode does not continue.
        CRASHED: "crashed". The env itself failed.
        TIMED_OUT: "timed out". The env did not answer in time, see `step_timeout`, and was given up.

    """

    TERMINATED = "terminated"
    """The env reached a terminal state: the value of what follows is zero."""
    TRUNCATED = "truncated"
    """The env cut the episode short, for example by a time limit. Bootstrap from the final observation."""
    CUT = "cut"
    """The rollout ended first; the episode continues in the next rollout."""
    INTERRUPTED = "interrupted"
    """Ctrl-C or a fault elsewhere stopped the rollout; the episode does not continue."""
    CRASHED = "crashed"
    """The env itself failed."""
    TIMED_OUT = "timed out"
    """The env did not answer in time, see the runner's `step_timeout` and `reset_timeout`, and was given up.

    An executor says so with `EpisodeLog.begin`, or raises an `EnvError` with this `end_reason`.
    """


@dataclass(frozen=True, slots=True)
class EpisodeStart:
    """How an episode begins: `env.reset(seed=seed, options=options)`. An `EpisodeSchedule` returns it.

    Attributes:
        seed: the seed for `env.reset`; None resets without a seed.
        options: the options for `env.reset`, or None.

    """

    seed: int | None = None
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class EnvFault:
    """An env that failed and was made anew, as `history.faults` has it; see `on_env_error="restart"`.

    Attributes:
        env_index: the env.
        episode_index: which of its episodes failed; None if the env could not be made.
        seed: the seed of that episode, or None.
        step: the steps that the episode had behind it; None if it failed in reset or could not be made.
        action: the action of the step that failed, or None.
        end_reason: how the episode ended: crashed or timed out. `cut` means that it goes on: the process of the env
            was killed while no env was at work, and the env was brought back.
        error: the exception in words.

    """

    env_index: int
    episode_index: int | None
    seed: int | None
    step: int | None
    action: Any
    end_reason: EndReason
    error: str


@dataclass(frozen=True, slots=True)
class Episode:
    """The record of one episode, or of its part in one rollout::

        rows = slice(episode.start, episode.start + episode.length)
        history.rewards[rows].sum() == episode.return_

    An episode that a rollout cut continues in the next rollout, with the same `episode_index`.

    Attributes:
        env_index: the env, 0 to n_envs - 1.
        episode_index: which episode of this env it is, from 0 on, over all rollouts of the runner.
        seed: the seed of its reset; None if it had none, or if a vector env does not tell.
        options: the options of its reset, or None.
        start: its first row in the history.
        length: its number of rows, that is, of steps in this rollout.
        return_: the undiscounted sum of the rewards in these rows. (`return` is a keyword.)
        end_reason: why its rows end.
        steps_before: its steps in earlier rollouts.
        return_before: its return in earlier rollouts.

    """

    env_index: int
    episode_index: int
    seed: int | None
    options: Mapping[str, Any] | None
    start: int
    length: int
    return_: float
    end_reason: EndReason
    steps_before: int = 0
    return_before: float = 0.0

    @property
    def continued(self) -> bool:
        """Whether the episode began in an earlier rollout."""
        return self.steps_before > 0

    @property
    def complete(self) -> bool:
        """Whether the env itself ended the episode."""
        return self.end_reason in (EndReason.TERMINATED, EndReason.TRUNCATED)

    @property
    def total_length(self) -> int:
        """The steps since the reset, including those of earlier rollouts."""
        return self.steps_before + self.length

    @property
    def total_return(self) -> float:
        """The sum of the rewards since the reset, including those of earlier rollouts."""
        return self.return_before + self.return_


class Seeded(enum.StrEnum):
    """Which episodes can be repeated with the seed in their record.

    Attributes:
        ALL: "all". Every episode, unless the schedule gave it no seed.
        SOME: "some". Only the episodes that began when all envs were reset; the others have seed None.
        NONE: "none". No episode.

    """

    ALL = "all"
    """Every episode, unless the schedule gave it no seed."""
    SOME = "some"
    """Only the episodes that began when all envs were reset; the others have seed None."""
    NONE = "none"
    """No episode: the vector env accepts one seed for all its envs, or accepts a seed only when it is made."""


@dataclass(frozen=True, slots=True)
class Seeding:
    """Which facts about its envs a history knows::

        assert history.seeding == Seeding()      # everything is exact

    With a `gymnasium.Env`, everything is exact. A `gymnasium.vector.VectorEnv` may not provide some facts.

    Attributes:
        seeded: which episodes can be repeated with the seed in their record.
        final_observations: whether the final observation of every episode is known. If not, `next_known` marks the
            rows in which it is.
        every_step: whether every env takes part in every step. If not, an env skips one step before each new episode,
            so that its history may have fewer rows than the rollout had steps.

    """

    seeded: Seeded = Seeded.ALL
    final_observations: bool = True
    every_step: bool = True

    def and_(self, other: Seeding) -> Seeding:
        """Return what is known of two histories together."""
        order = list(Seeded)
        return Seeding(
            seeded=max(self.seeded, other.seeded, key=order.index),
            final_observations=self.final_observations and other.final_observations,
            every_step=self.every_step and other.every_step,
        )


class EpisodeSchedule(Protocol):
    """Chooses the seed and the reset options of each episode::

        def by_seed(env_index: int, episode_index: int) -> EpisodeStart:
            return EpisodeStart(seed=1000 * env_index + episode_index)

        runner = runnerkit.make("CartPole-v1", n_envs=8, schedule=by_seed)

    A runner calls it once per episode, in the thread of `rollout`. Calls come in the order in which episodes start;
    episodes that start in the same step come in the order of their envs. So a schedule may also be a curriculum.
    """

    def __call__(self, env_index: int, episode_index: int, /) -> EpisodeStart:
        """Return the seed and the options of that episode."""
        ...
