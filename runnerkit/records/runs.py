"""What a run is made of, and what runners and executors tell about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, TypeAlias

from gymnasium import Space
from gymnasium.envs.registration import EnvSpec

from runnerkit.records.episodes import Seeding

__all__ = [
    "EnvFacts",
    "ExecutorReport",
    "MadeBy",
    "PartRecord",
    "Progress",
    "ProgressCallback",
    "RunOptions",
    "RunSpec",
]


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
        spare_envs: how many spares each env has, in which its next episodes begin while it is stepped.
        repeatable: whether episodes are functions of their seed and their actions; None if unknown.
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
    spare_envs: int = 0
    repeatable: bool | None = None
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
        options: the options that were given, as they were passed on. Of an object, those that it keeps: its attribute
            `options`, or arguments of its constructor that are attributes of the same name, unless they are defaults.

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
        shares: for each worker, the envs that it steps; empty if one steps all, or if this is unknown.

    """

    name: str
    chosen: str | None
    workers: int
    reason: str = ""
    seconds_per_step: Mapping[str, float] = field(default_factory=dict)
    advice: str = ""
    shares: Sequence[Sequence[int]] = ()


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


ProgressCallback: TypeAlias = Callable[[Progress], None]
"""A function that a rollout calls with its `Progress`, at most ten times a second and once at the end."""
