"""The values of rollouts: transitions, episodes and their end reasons, and what runners tell their parts."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, Protocol, Self, TypeAlias

from gymnasium import Space
from gymnasium.envs.registration import EnvSpec
from typing_extensions import TypeVar

__all__ = [
    "EpisodeSchedule",
    "ProgressCallback",
    "EndReason",
    "EnvFacts",
    "EnvFault",
    "Episode",
    "EpisodeStart",
    "ExecutorReport",
    "MadeBy",
    "PartRecord",
    "Progress",
    "Seeding",
    "RunOptions",
    "RunSpec",
    "Seeded",
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


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a runner that are plain values. Executors and history formats get them.

    Attributes:
        seed: the seed of the run; the drawn one if the user gave none.
        keep_infos: whether infos that are not empty are kept.
        keep_raw: whether observations from before the preprocessors are kept, too.
        thread_safe: whether envs may be stepped in several threads at once; None if unknown.
        isolate: whether every env must run outside of the calling process.
        strict_spaces: whether an env that breaks its own spaces is an error, even if no data is lost.
        step_timeout: the most seconds that one step of an env may take; None if it may take any time.
        reset_timeout: the same for a reset.
        make_timeout: the same for making the env.
        on_env_error: whether an env that fails ends the rollout ("raise"), or is made anew ("restart").
        timings: whether it is measured where the time goes.
        max_restarts: how often an env may be made anew, and optionally how often all of them together.

    """

    # A new option is a field here and an entry of `runnerkit.typing.PlainOptions`.
    seed: int
    keep_infos: bool = False
    keep_raw: bool = False
    thread_safe: bool | None = None
    isolate: bool = False
    strict_spaces: bool = False
    step_timeout: float | None = None
    reset_timeout: float | None = None
    make_timeout: float | None = None
    timings: bool = False
    on_env_error: Literal["raise", "restart"] = "raise"
    max_restarts: int | tuple[int, int] = 10

    @property
    def restarts(self) -> bool:
        """Whether an env that fails is made anew."""
        return self.on_env_error == "restart"

    @property
    def timeouts(self) -> dict[str, float]:
        """The timeouts that are set, by name."""
        given = {name: getattr(self, name) for name in ("step_timeout", "reset_timeout", "make_timeout")}
        return {name: seconds for name, seconds in given.items() if seconds is not None}


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A part that a runner was built of, and who offers it.

    Attributes:
        kind: "env", "env factory", "wrapper", "preprocessor", "postprocessor", "reward processor", "executor" or
            "history format".
        name: the name under which it is offered. If it was passed as an object, `module:Class`, or `module:function`.
        distribution: the distribution that offers it, or that it is defined in; empty if there is none.
        version: the version of the distribution.
        options: the options that were given, as they were passed on.

    """

    kind: str
    name: str
    distribution: str = ""
    version: str = ""
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MadeBy:
    """Who made the data: the parts of the runner, and the packages that it stands on::

        history.made_by.parts[0].name, history.made_by.packages["numpy"]
        json.dumps(runner.made_by.document())

    Attributes:
        parts: the env, the env factory if a plugin offers it, wrappers, preprocessors, postprocessors, reward
            processors, executor and history format, in this order. Their options are plain values: what JSON does not
            have is written as text.
        packages: the versions of "python", "runnerkit", "gymnasium" and "numpy".
        env_id: the env as the runner got it, an id or `module:function`. Empty for a list, and for an own `make_env`.
        is_function: whether `env_id` names a function.
        seed: the seed of the run.
        n_envs: the number of envs.

    """

    parts: tuple[PartRecord, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    env_id: str = ""
    is_function: bool = False
    seed: int | None = None
    n_envs: int = 1

    def document(self) -> dict[str, Any]:
        """Return all of it as dicts, lists and texts, for JSON."""
        return {**asdict(self), "parts": [asdict(part) for part in self.parts]}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the record that `document` wrote."""
        known = {name: value for name, value in document.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, "parts": tuple(PartRecord(**part) for part in document["parts"])})


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a history format gets when a runner is built, so that it can prepare for its data or refuse it.

    Attributes:
        env_id: the name of the env, or of the function that makes it.
        options: the options of the runner that are plain values.
        n_envs: the number of envs.
        observation_space: the space of one observation as the agent sees it, after preprocessors.
        action_space: the space of one action as the agent chooses it, before postprocessors.
        env_observation_space: the env's own observation space.
        env_action_space: the env's own action space.
        env_spec: Gymnasium's spec of the env, or None.
        preprocessed: whether the runner has preprocessors, even if they keep the space.
        postprocessed: whether the runner has postprocessors.
        reward_processed: whether the runner has reward processors.
        seeding: which facts about the envs will be known, as far as this is clear before the first step.
        made_by: the parts of the runner, with distributions, versions and options.
        env_function: the function that makes the envs, as `module:function`; None if they were asked for by name.
        workers: how many workers were asked for, or None.
        auto_reset: whether envs begin again after an episode.
        own_schedule: whether a schedule of the user chooses seeds and reset options.

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
    postprocessed: bool = False
    reward_processed: bool = False
    seeding: Seeding = field(default_factory=Seeding)
    made_by: MadeBy = field(default_factory=MadeBy)
    env_function: str | None = None
    workers: int | None = None
    auto_reset: bool = True
    own_schedule: bool = False

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.options.seed


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is, as `rollout(progress=...)` reports it.

    Attributes:
        steps: the steps so far, of all envs together.
        total_steps: the steps that the rollout will have, of all envs together; None if unknown.
        episodes: the episodes that have ended in this rollout.
        total_episodes: the episodes that the rollout will have; None if unknown.
        mean_return: the mean return of the episodes that have ended in this rollout; None before the first one.
        recent_return: the same, but only of the last 100 of these episodes.
        recent_length: the mean length of the last 100 of these episodes; None before the first one.
        seconds: the time since the first step of the rollout.
        restarts: how often envs were made anew in this rollout, see `on_env_error="restart"`.

    """

    steps: int
    total_steps: int | None
    episodes: int
    total_episodes: int | None
    mean_return: float | None
    recent_return: float | None = None
    recent_length: float | None = None
    seconds: float = 0.0
    restarts: int = 0

    @property
    def seconds_left(self) -> float | None:
        """The time that the rest will take at the mean speed so far; None if unknown."""
        done, total = self.steps, self.total_steps
        if self.total_episodes is not None:
            done, total = self.episodes, self.total_episodes
        return None if total is None or not done else self.seconds * max(total - done, 0) / done


@dataclass(frozen=True, slots=True)
class ExecutorReport:
    """Which executor steps the envs of a runner, and why::

        report = runner.executor_report
        print(report.name, report.chosen, report.workers, report.reason)    # auto threads 2 threads took 0.61 of ...

    Attributes:
        name: the executor that the user asked for.
        chosen: the executor that steps the envs. For "auto", it is None until the choice is made.
        workers: the number of workers that step envs now, including the calling thread.
        reason: why it was chosen; empty if there was no choice.
        seconds_per_step: the measured seconds for one step of all envs, for each executor that was tried.
        advice: what another executor would probably achieve; empty if this is unknown.

    """

    name: str
    chosen: str | None
    workers: int
    reason: str = ""
    seconds_per_step: Mapping[str, float] = field(default_factory=dict)
    advice: str = ""


@dataclass(frozen=True, slots=True)
class EnvFacts:
    """What an executor reports about an env that it has made.

    Attributes:
        observation_space: the env's observation space.
        action_space: the env's action space.
        spec: Gymnasium's spec of the env, or None.
        render_mode: the env's render mode, or None.
        identity: the process id and the `id` of the env. It shows when a factory returns the same env twice.
        thread_safe: whether the env is known to be thread-safe, because the user or the env says so.

    """

    observation_space: Space[Any]
    action_space: Space[Any]
    spec: EnvSpec | None
    render_mode: str | None
    identity: tuple[int, int]
    thread_safe: bool = False


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


ProgressCallback: TypeAlias = Callable[[Progress], None]
"""A function that a rollout calls with its `Progress`, at most ten times a second and once at the end."""
