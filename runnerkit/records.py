"""The values that rollouts are made of: transitions, episodes, and what a rollout is about."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias

from gymnasium import Space
from gymnasium.envs.registration import EnvSpec
from typing_extensions import TypeVar

__all__ = [
    "EpisodeSchedule",
    "ProgressCallback",
    "EndReason",
    "EnvFacts",
    "Episode",
    "EpisodeStart",
    "ExecutorReport",
    "Progress",
    "Provenance",
    "RunOptions",
    "RunSpec",
    "Seeded",
    "Transition",
]


ObsT_co = TypeVar("ObsT_co", covariant=True)
ActT_co = TypeVar("ActT_co", covariant=True)


@dataclass(frozen=True)  # with slots, Transition[O, A](...) is a TypeError before Python 3.12
class Transition(Generic[ObsT_co, ActT_co]):
    """One step of one env, as `process_transition` gets it::

        observation, action, reward, next_observation, done = transition.classic()

    `observation` and `next_observation` are rows of the batches that the agent sees (a NumPy scalar where the
    space has shape ()), `action` is the agent's own. `next_observation` is exact: at the end of an episode it
    is the final observation, never that of the next episode. The transition owns its arrays.

    Of a vector env that does not say how an episode ended, the last `next_observation` of an episode is None.
    """

    observation: ObsT_co
    action: ActT_co
    reward: float
    next_observation: ObsT_co
    terminated: bool
    truncated: bool
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the episode ended with this step, for either reason."""
        return self.terminated or self.truncated

    def classic(self) -> tuple[ObsT_co, ActT_co, float, ObsT_co, bool]:
        """Return (observation, action, reward, next_observation, done), the tuple of the 2018 runners."""
        return self.observation, self.action, self.reward, self.next_observation, self.done


class EndReason(enum.StrEnum):
    """Why the rows of an episode end where they do."""

    TERMINATED = "terminated"
    """The env reached a terminal state: the value of what follows is zero."""
    TRUNCATED = "truncated"
    """The env cut the episode short, by a time limit for instance: bootstrap from the final observation."""
    CUT = "cut"
    """The rollout ended first; the episode goes on in the next rollout."""
    INTERRUPTED = "interrupted"
    """Ctrl-C, or a fault elsewhere, stopped the rollout; the episode does not go on."""
    CRASHED = "crashed"
    """The env itself failed."""
    TIMED_OUT = "timed out"
    """The env did not answer in time. Executors that have deadlines say so; the built-in ones wait."""


@dataclass(frozen=True, slots=True)
class EpisodeStart:
    """How an episode begins: `env.reset(seed=seed, options=options)`. What an `EpisodeSchedule` returns."""

    seed: int | None = None
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """The record of an episode, or of the part of it that lies in one rollout.

    It fills the rows `start : start + length` of its env's history. An episode that a rollout cut goes on in
    the next one under the same `episode_index`; there, `steps_before` and `return_before` say what it had by
    then, so that `total_length` and `total_return` hold for the whole of it.
    """

    env_index: int
    episode_index: int
    seed: int | None
    options: Mapping[str, Any] | None
    start: int
    length: int
    return_: float
    """The undiscounted sum of the rewards in these rows (a trailing underscore, as `return` is a keyword)."""
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
        """Steps since the reset, those of earlier rollouts included."""
        return self.steps_before + self.length

    @property
    def total_return(self) -> float:
        """The sum of the rewards since the reset, those of earlier rollouts included."""
        return self.return_before + self.return_


class Seeded(enum.StrEnum):
    """Which episodes can be begun again by the seed in their record."""

    ALL = "all"
    """Every one, unless a schedule gave it none."""
    SOME = "some"
    """Those that began as all envs were reset; the env began the others by itself, and their seed is None."""
    NONE = "none"
    """None: the env takes one seed for all its envs, or takes it only as it is made."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a history can tell of its envs, and what they themselves did not tell::

        assert history.provenance == Provenance()      # everything is exact

    That is what any `gymnasium.Env` gives. A `gymnasium.vector.VectorEnv` may withhold something.
    """

    seeded: Seeded = Seeded.ALL
    final_observations: bool = True
    """Whether the final observation of every episode is known; if not, `next_known` says in which rows."""
    every_step: bool = True
    """Whether every env takes part in every step. If not, an env rests for a step before each new episode, so that
    its history may have fewer rows than the rollout had steps."""

    def and_(self, other: Provenance) -> Provenance:
        """Return what can be told of two histories together."""
        order = list(Seeded)
        return Provenance(
            seeded=max(self.seeded, other.seeded, key=order.index),
            final_observations=self.final_observations and other.final_observations,
            every_step=self.every_step and other.every_step,
        )


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a runner that are plain values, as executors and history formats are told them.

    `GymRunner` explains them. A new one is a field here and an entry of `runnerkit.typing.PlainOptions`.
    """

    seed: int
    """Of the run, the drawn one if none was given."""
    keep_infos: bool = False
    keep_raw: bool = False
    thread_safe: bool | None = None
    isolate: bool = False
    strict_spaces: bool = False


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a history format is told when a runner is built: enough to prepare for, or to refuse, its data.

    `observation_space` and `action_space` are the agent's, after preprocessors and before postprocessors;
    `env_observation_space` and `env_action_space` are the env's own.
    """

    env_id: str
    options: RunOptions
    n_envs: int
    observation_space: Space[Any]
    action_space: Space[Any]
    env_observation_space: Space[Any]
    env_action_space: Space[Any]
    env_spec: EnvSpec | None
    preprocessed: bool = False
    """Whether preprocessors stand between the env and the agent, even such as keep the space."""
    postprocessed: bool = False
    """Whether postprocessors stand between the agent and the env."""
    provenance: Provenance = field(default_factory=Provenance)
    """What the env can tell, as far as it is known before the first step."""

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.options.seed


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is, as `rollout(progress=...)` reports it.

    `steps` and `total_steps` count steps of all envs together; the totals are None where they are not known.
    `mean_return` is over the episodes that ended in this rollout, None before the first.
    """

    steps: int
    total_steps: int | None
    episodes: int
    total_episodes: int | None
    mean_return: float | None


@dataclass(frozen=True, slots=True)
class ExecutorReport:
    """Who steps the envs of a runner, and why, as `runner.executor_report` tells it::

    report = runner.executor_report
    print(report.name, report.chosen, report.workers, report.reason)    # auto threads 2 threads took 0.61 of ...
    """

    name: str
    """The name that was asked for."""
    chosen: str | None
    """Who steps the envs: of "auto", what it chose, None as long as it has not; of others, the name again."""
    workers: int
    """How many workers step envs now, the calling thread included."""
    reason: str = ""
    """Why it was chosen."""
    seconds_per_step: Mapping[str, float] = field(default_factory=dict)
    """What was measured: the seconds that a step of all envs typically takes, for each executor that was tried."""
    advice: str = ""
    """What another executor would probably give, where that can be told."""


@dataclass(frozen=True, slots=True)
class EnvFacts:
    """What an executor tells about an env that it has made."""

    observation_space: Space[Any]
    action_space: Space[Any]
    spec: EnvSpec | None
    render_mode: str | None
    identity: tuple[int, int]
    """Process and object: a factory that returns the same env twice is found out by it."""
    thread_safe: bool = False
    """Whether the env is known to be thread-safe: the user, or the env itself, says so."""


class EpisodeSchedule(Protocol):
    """Says how each episode begins: with which seed, and which reset options.

    A runner asks it once per episode, in its own thread, in the order in which episodes start (env by env
    where several start at once), so that it may be a curriculum as well as a fixed list of seeds.
    """

    def __call__(self, env_index: int, episode_index: int, /) -> EpisodeStart:
        """Return seed and options of that episode."""
        ...


ProgressCallback: TypeAlias = Callable[[Progress], None]
"""Gets told how far a rollout is, a few times a second and once at its end."""
