"""`runnerkit rollout --ray ADDRESS`: on the actors of a Ray cluster, of which the package runnerkit-ray knows.

With `--episodes`, actors make whole episodes; with `--steps`, they make each step together.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, cast

from typing_extensions import Unpack

from runnerkit._core.wording import count
from runnerkit.errors import ArgumentError, RolloutInterrupted
from runnerkit.keys import Use
from runnerkit.records import ExecutorReport

if TYPE_CHECKING:
    from runnerkit._cli.options import Keywords
    from runnerkit._rollout.gym_runner import GymRunner
    from runnerkit.history.base import HistoryFormat
    from runnerkit.tuning import AgentMaker

__all__ = ["agent_for_actors", "executor_of", "require_whole_episodes", "whole_episodes_on_ray"]


def executor_of(address: str) -> Use[Any]:
    """Return the executor of actors that make each step together."""
    return Use("ray", {"address": address})


def require_whole_episodes(options: Sequence[str]) -> None:
    """Raise ArgumentError if there are options that need a runner that makes step by step."""
    if options:
        raise ArgumentError(
            f"With --ray and --episodes, actors make whole episodes, which cannot do {' and '.join(options)}. With "
            "--steps, they make each step together."
        )


def agent_for_actors(name: str, make: AgentMaker) -> AgentMaker:
    """Return what makes the agent of that name for actors, where a random one must draw by episode and step."""
    from runnerkit_ray import RowAgent

    return make if name != "random" else lambda runner: RowAgent(runner.action_space)


def whole_episodes_on_ray(
    env: str, seed: int | None, n_envs: int, **options: Unpack[_Options]
) -> GymRunner[Any, Any, Any]:
    """Return a runner whose actors make whole episodes, with all that the command asks a runner for, and no more."""
    return cast("GymRunner[Any, Any, Any]", _EpisodesOnRay(env, seed, n_envs, **options))


class _Options(TypedDict):
    address: str
    actors: int | None
    history: HistoryFormat[Any]
    on_env_error: Literal["raise", "restart"]
    max_restarts: int | tuple[int, int] | None
    parts: Keywords


class _EpisodesOnRay:
    timings: None = None

    def __init__(self, env: str, seed: int | None, n_envs: int, **options: Unpack[_Options]) -> None:
        from runnerkit_ray import RayRunner, join

        make: Any = RayRunner  # it has overloads for what is typed in programs
        given: dict[str, Any] = {name: value for name, value in options["parts"].items() if name != "lock"}
        if options["max_restarts"] is not None:
            given["max_env_restarts"] = options["max_restarts"]
        for name in ("address", "history", "on_env_error"):
            given[name] = options[name]
        with join(options["address"]) as cluster:  # which the runner joins, too
            n = max(1, int(cluster.cpus)) if options["actors"] is None else options["actors"]
            given["actor_options"] = {
                "num_cpus": 0.0 if cluster.is_local else 1.0
            }  # any number share one's own machine
            self._runner: RayRunner[Any, Any, Any] = make(env, seed, n_envs, actors=n, **given)
            where = f"{count(n, 'actor')} for whole episodes, on the Ray cluster at {cluster.address}"
        self.executor_report: ExecutorReport = ExecutorReport("ray", "ray", n, where)
        self.interrupted: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def rollout(self, agent: Any, *_: object, episodes: int, **__: object) -> None:
        """Roll the agent out. Each episode is written as it comes; what was collected until Ctrl-C counts."""
        try:
            made = self._runner.collect(episodes, agent, ordered=False)
            collections.deque(made, maxlen=0)  # no line of Python, at which Ctrl-C would lose what was made
        except RolloutInterrupted:
            self.interrupted = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.close()
