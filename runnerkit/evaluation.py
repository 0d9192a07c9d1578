"""How good an agent is: its returns in a fixed set of episodes, and how certain their mean is.

Episode k of an evaluation begins with the k-th seed that follows from the evaluation's seed, in whichever env it runs.
So the episodes do not depend on `n_envs` or the executor, and several agents can be compared on common episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from runnerkit._core.cores import available_cores
from runnerkit._core.types import ActT, Answer, AnyMakeEnv, ObsT
from runnerkit._core.wording import count
from runnerkit._plugins.manager import Plugins
from runnerkit._rollout.config import is_count
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit.agents import Agent, AnyAgent
from runnerkit.errors import ArgumentError, RolloutError
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.history.block import Block
from runnerkit.keys import EnvKey
from runnerkit.records import EndReason, Episode, EpisodeStart, RunSpec
from runnerkit.statistics import Interval, mean_interval
from runnerkit.typing import RunnerOptions

__all__ = ["AgentMaker", "Comparison", "Difference", "Evaluation", "Interval", "compare", "evaluate"]

AgentMaker: TypeAlias = Callable[[GymRunner[Any, Any, Any]], AnyAgent]
"""A function that returns the agent for a runner, for example from `runner.action_space`."""

_CHUNK: Final = 128  # steps per rollout: so many rows are in memory at a time


@dataclass(frozen=True)
class Evaluation:
    """The episodes of an evaluation, in the order of their seeds.

    For example::

        found = runnerkit.evaluate(agent, "CartPole-v1", episodes=20, seed=0)
        print(found)                                # the mean, and its interval, in a line
        found.mean, found.interval(0.95), found.returns, found.lengths, found.end_reasons

    Attributes:
        env: the name of the env.
        seed: the seed of the evaluation.
        episodes: the record of each episode.

    """

    env: str
    seed: int
    episodes: tuple[Episode, ...]

    @property
    def returns(self) -> NDArray[np.float64]:
        """The undiscounted return of each episode, float64 `[episodes]`."""
        return np.array([episode.total_return for episode in self.episodes])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of steps of each episode, int64 `[episodes]`."""
        return np.array([episode.total_length for episode in self.episodes], np.int64)

    @property
    def seeds(self) -> list[int | None]:
        """The seed that each episode began with."""
        return [episode.seed for episode in self.episodes]

    @property
    def end_reasons(self) -> list[EndReason]:
        """How each episode ended."""
        return [episode.end_reason for episode in self.episodes]

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """The standard deviation of the returns, over n - 1; 0 for one episode."""
        return float(self.returns.std(ddof=1)) if len(self.episodes) > 1 else 0.0

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Return the percentile bootstrap interval of the mean (Efron, 1979), the same in every call.

        One episode gives none: it does not say how far returns scatter.
        """
        return mean_interval(self.returns, confidence)

    @override
    def __str__(self) -> str:
        ended = count(len(self.episodes), "episode")
        return f"{self.env}: mean return {_told(self.mean, self.interval())}, {ended}"

    def to_json(self) -> dict[str, object]:
        """Return everything as a dict for JSON."""
        return {
            "env": self.env,
            "seed": self.seed,
            "mean": self.mean,
            "std": self.std,
            "interval95": _listed(self.interval()),
            "returns": self.returns.tolist(),
            "lengths": self.lengths.tolist(),
            "seeds": self.seeds,
            "end_reasons": [str(reason) for reason in self.end_reasons],
        }


@dataclass(frozen=True)
class Difference:
    """How much better an agent is than the first one, episode by episode.

    Attributes:
        agent: the name of the agent.
        baseline: the name of the first agent.
        differences: the agent's return minus the baseline's, float64 `[episodes]`.

    """

    agent: str
    baseline: str
    differences: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """The mean difference; above 0, the agent is better than the baseline."""
        return float(self.differences.mean())

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Return the percentile bootstrap interval of the mean difference; None for one episode."""
        return mean_interval(self.differences, confidence)

    @override
    def __str__(self) -> str:
        return f"{self.agent} - {self.baseline}: {_told(self.mean, self.interval())}"


@dataclass(frozen=True)
class Comparison:
    """Several agents on common episodes.

    For example::

        found = runnerkit.compare({"old": old, "new": new}, "CartPole-v1", episodes=50, seed=0)
        print(found)                                # the mean of each agent, and how they differ
        found.evaluations["new"].returns, found.differences[0].interval(0.95)

    Attributes:
        evaluations: what each agent reached, by its name.

    """

    evaluations: Mapping[str, Evaluation]

    @property
    def differences(self) -> list[Difference]:
        """Each agent but the first, against the first."""
        (baseline, first), *others = self.evaluations.items()
        return [Difference(name, baseline, found.returns - first.returns) for name, found in others]

    @override
    def __str__(self) -> str:
        agents = (f"{name}: {found}" for name, found in self.evaluations.items())
        return "\n".join((*agents, *map(str, self.differences)))

    def to_json(self) -> dict[str, object]:
        """Return everything as a dict for JSON."""
        return {
            "agents": {name: found.to_json() for name, found in self.evaluations.items()},
            "differences": [
                {"agent": d.agent, "baseline": d.baseline, "mean": d.mean, "interval95": _listed(d.interval())}
                for d in self.differences
            ],
        }


@overload
def evaluate(
    agent: Agent[ObsT, Answer[ActT]] | Callable[[ObsT], Answer[ActT]] | None,
    env: EnvKey[ObsT, ActT],
    episodes: int = 20,
    seed: int = 0,
    *,
    make_agent: AgentMaker | None = None,
    n_envs: int | None = None,
    plugins: Plugins | None = None,
    **options: Unpack[RunnerOptions],
) -> Evaluation: ...
@overload
def evaluate(
    agent: AnyAgent | None,
    env: str | AnyMakeEnv,
    episodes: int = 20,
    seed: int = 0,
    *,
    make_agent: AgentMaker | None = None,
    n_envs: int | None = None,
    plugins: Plugins | None = None,
    **options: Unpack[RunnerOptions],
) -> Evaluation: ...
def evaluate(
    agent: AnyAgent | None,
    env: str | EnvKey[Any, Any] | AnyMakeEnv,
    episodes: int = 20,
    seed: int = 0,
    *,
    make_agent: AgentMaker | None = None,
    n_envs: int | None = None,
    plugins: Plugins | None = None,
    **options: Unpack[RunnerOptions],
) -> Evaluation:
    """Play whole episodes with an agent and return their returns, lengths, seeds and end reasons::

        found = runnerkit.evaluate(agent, "CartPole-v1", episodes=20, seed=0)

    The episodes are the same each time, whatever `n_envs` and the executor are, as long as a row of the agent's actions
    depends on the same row of observations alone. Only `episodes` counts: memory does not grow with them.

    Args:
        agent: anything with `act(observations)`, or a function of observations; None, if `make_agent` makes it.
        env: as for `runnerkit.make`. With an EnvKey, type checkers compare the agent with its types.
        episodes: how many.
        seed: of the evaluation; episode k begins with its k-th seed.
        make_agent: makes the agent for the runner, for agents that need its spaces.
        n_envs: how many envs are stepped side by side; by default four per core, at most `episodes`.
        plugins: where names are looked up; by default what is installed.
        **options: those of `GymRunner`, such as `executor` and `preprocessors` (frozen ones, as a rule).

    Raises:
        ArgumentError: an argument cannot be; a schedule is given, or the env cannot be reset with given seeds.
        RolloutError: an episode does not end within `GymRunner.MAX_STEPS` steps, or the rollout failed.

    """
    for what, given, least in (("episodes", episodes, 1), ("seed", seed, 0)):
        if not is_count(given, least=least):
            raise ArgumentError(f"{what} must be a whole number of at least {least}, not {given!r}.")
    if (agent is None) is (make_agent is None):
        raise ArgumentError("Give evaluate an agent, or make_agent, which makes one for the runner.")
    if options.get("schedule") is not None or options.get("auto_reset") is False:
        raise ArgumentError("evaluate sets schedule and auto_reset itself. Leave them out, and choose a seed.")
    if "history" in options:
        raise ArgumentError("evaluate keeps no histories. Leave history out, or use runnerkit.make and rollout.")
    if options.get("on_env_error") == "restart":
        raise ArgumentError(
            "evaluate needs each episode to its end, but on_env_error='restart' gives up the episodes of envs that "
            "fail. Leave it out."
        )
    schedule = _InOrder(seed)
    options["schedule"] = schedule
    n_envs = min(episodes, 4 * available_cores()) if n_envs is None else n_envs
    with GymRunner(env, seed, n_envs, history=_Records(), plugins=plugins, **options) as runner:
        chosen = agent if make_agent is None else make_agent(runner)
        assert chosen is not None
        found: dict[int, Episode] = {}
        for records in _rollouts(runner, chosen):
            for record in records:
                k = schedule.number[record.env_index, record.episode_index]
                if record.complete and k < episodes:
                    found[k] = record
            if len(found) == episodes:
                break
        return Evaluation(runner.env_id, seed, tuple(found[k] for k in range(episodes)))


def compare(
    agents: Mapping[str, AnyAgent],
    env: str | EnvKey[Any, Any] | AnyMakeEnv,
    episodes: int = 20,
    seed: int = 0,
    *,
    n_envs: int | None = None,
    **options: Unpack[RunnerOptions],
) -> Comparison:
    """Evaluate several agents on common episodes, so that fewer episodes show a difference::

        found = runnerkit.compare({"old": old, "new": new}, "CartPole-v1", episodes=50, seed=0)
        for difference in found.differences:
            print(difference.agent, difference.mean, difference.interval())

    The first agent is the baseline. `evaluate` explains the arguments.
    """
    given: object = agents  # the value may differ from the annotation
    if not isinstance(given, Mapping) or not given:
        raise ArgumentError(f"compare needs a dict of agents, at least one, by name, not {given!r}.")
    return Comparison(
        {name: evaluate(agent, env, episodes, seed, n_envs=n_envs, **options) for name, agent in agents.items()}
    )


class _InOrder:
    """A schedule that numbers the episodes by order of start, and gives number k the k-th seed."""

    def __init__(self, seed: int) -> None:
        self._seeds = SeedSchedule(seed)
        self.number: dict[tuple[int, int], int] = {}

    def __call__(self, env_index: int, episode_index: int, /) -> EpisodeStart:
        k = self.number.setdefault((env_index, episode_index), len(self.number))
        return EpisodeStart(self._seeds.episode_seed(0, k))


class _Records:
    """A history format that keeps the records of episodes and lets go of the arrays."""

    def open(self, spec: RunSpec, /) -> _Records:
        return self

    def finish(self, block: Block, /) -> list[list[Episode]]:
        return [block.episodes(i) for i in range(block.n_envs)]

    def close(self) -> None:
        """Nothing is open."""


def _rollouts(runner: GymRunner[Any, Any, list[Episode]], agent: AnyAgent) -> Iterator[list[Episode]]:
    """Roll out on and on, until nobody asks for more; raise RolloutError after MAX_STEPS steps without an end."""
    idle = 0
    while idle < runner.MAX_STEPS:
        records = [record for history in runner.rollout(agent, steps=_CHUNK) for record in history]
        idle = 0 if any(record.complete for record in records) else idle + _CHUNK
        yield records
    raise RolloutError(
        f"No episode ended within MAX_STEPS, {runner.MAX_STEPS} steps per env. Give the env a time limit "
        "(max_episode_steps)."
    )


def _told(mean: float, interval: Interval | None) -> str:
    known = "" if interval is None else f" (95 % interval {interval[0]:.6g} to {interval[1]:.6g})"
    return f"{mean:.6g}{known}"


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
