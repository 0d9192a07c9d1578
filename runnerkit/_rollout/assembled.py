"""AssembledRunner: a runner's parts, what they are, and what of them may be overridden."""

from __future__ import annotations

import contextvars
import functools
import os
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, cast

import gymnasium
from gymnasium import Space
from typing_extensions import override

from runnerkit import _sentences as sentences
from runnerkit._core.loglevel import gymnasium_log_level
from runnerkit._core.types import ActT, Answer, AnyEnv, AnyVectorEnv, ObsT
from runnerkit._envs.resolve import EnvMaker, seed_spaces, told
from runnerkit._plugins.manager import Plugins
from runnerkit._rollout.assembly import Assembly, Blueprint, close_dropped
from runnerkit._rollout.async_agents import awaited
from runnerkit._rollout.config import RunnerConfig
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.runner import BaseRunner
from runnerkit.agents import Agent
from runnerkit.errors import ArgumentError
from runnerkit.executors.base import SupportsReport, SupportsShares
from runnerkit.history.arrays import HistoryT
from runnerkit.history.base import SupportsAppend
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, RewardProcessor
from runnerkit.records import ExecutorReport, MadeBy, Transition

__all__ = ["AssembledRunner"]

_ENV_INDEX: Final[contextvars.ContextVar[int]] = contextvars.ContextVar("env_index", default=0)
"""Which env is being made."""


class AssembledRunner(BaseRunner[ObsT, ActT, HistoryT]):
    """A runner whose parts are assembled from a configuration. `SteppingRunner` puts them to work."""

    def _assemble(self, plugins: Plugins, config: RunnerConfig) -> None:
        self.log_level: int = config.log_level
        self.auto_reset: bool = config.auto_reset
        with gymnasium_log_level(config.log_level):
            own_make_env = not _is(self.make_env, AssembledRunner.make_env)
            self._blueprint: Blueprint = Blueprint.resolve(plugins, config, own_make_env=own_make_env)
            self._parts: Assembly = self._blueprint.build(self._maker())
        self._finalizer = weakref.finalize(
            self,
            close_dropped,
            self._parts.executor,
            self._parts.close_recorder,
            self._parts.claims,
            repr(self),
            os.getpid(),
        )
        self._standing: EnvStates = EnvStates(self._parts, config.schedule)

    def _maker(self) -> EnvMaker:
        """Return what makes the envs."""
        if _is(self.make_env, AssembledRunner.make_env):
            return self._blueprint.make_env  # lighter to pickle than a runner
        return functools.partial(_make_own, told(self.make_env, {}, self.n_envs))

    # ---- what it is

    @property
    def env_id(self) -> str:
        """The name of the env, or of the function that makes it."""
        return self._blueprint.env_id

    @property
    def seed(self) -> int:
        """The seed of the run; if none was given, the drawn one."""
        return self._blueprint.config.run.seed

    @property
    def n_envs(self) -> int:
        """The number of envs."""
        return self._blueprint.config.n_envs

    @property
    def workers(self) -> int:
        """The number of workers that step the envs now, including the calling thread."""
        return self._parts.executor.workers

    @property
    def executor_report(self) -> ExecutorReport:
        """Which executor steps the envs. For `"auto"`, also what it measured, what it chose, and why."""
        name, executor = self._blueprint.config.executor_name, self._parts.executor
        if isinstance(executor, SupportsReport):
            report = executor.report(name)
        else:
            report = ExecutorReport(name, name, executor.workers)
        if not report.shares and isinstance(executor, SupportsShares):
            report = replace(report, shares=executor.shares)
        return report

    @property
    def made_by(self) -> MadeBy:
        """The parts of this runner, with distributions, versions and options; its histories have it, too."""
        return self._parts.spec.made_by

    @property
    def observation_space(self) -> Space[Any]:
        """The space of one observation as the agent sees it, after preprocessors."""
        return self._parts.spec.observation_space

    @property
    def action_space(self) -> Space[Any]:
        """The space of one action as the agent chooses it, before postprocessors."""
        return self._parts.spec.action_space

    def links(self) -> list[tuple[str, Space[Any]]]:
        """Return the space at each link, in order: what the env observes, what each preprocessor makes of it, ...

        The last one is what the env gets as an action. `runnerkit why NAME --env ENV` prints them.
        """
        spec, parts = self._parts.spec, self._parts
        after = [(f"after {name}", space) for name, space in parts.preprocess.outputs()]
        before = [(f"after {name}", space) for name, space in parts.postprocess.outputs()]
        observation, action = ("observation", spec.env_observation_space), ("action", spec.action_space)
        return [observation, *after, action, *before]

    @property
    def preprocessors(self) -> tuple[ActionPreprocessor, ...]:
        """The preprocessors as objects, in order: `runner.preprocessors[0]` may be a `Normalize`."""
        return tuple(part.thing for part in self._blueprint.preprocessors)

    @property
    def postprocessors(self) -> tuple[ActionPostprocessor, ...]:
        """The postprocessors as objects, in order."""
        return tuple(part.thing for part in self._blueprint.postprocessors)

    @property
    def reward_processors(self) -> tuple[RewardProcessor, ...]:
        """The reward processors as objects, in order."""
        return tuple(part.thing for part in self._blueprint.reward_processors)

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.env_id} n_envs={self.n_envs} seed={self.seed}>"

    @override
    def __getstate__(self) -> dict[str, object]:
        """Let a derived runner travel to worker processes while it is built. A finished runner cannot be copied."""
        if "_parts" in vars(self):
            raise TypeError(f"{self!r} cannot be copied or pickled. Build another one, or send its histories.")
        return {**vars(self), "_blueprint": self._blueprint.for_envs()}

    # ---- what may be overridden

    @override
    def compute_action(self, agent: Agent[ObsT, Answer[ActT]], obs_list: ObsT) -> Answer[ActT]:
        """Return the agent's actions for a batch of observations; override it to pre- or post-process by hand::

            def compute_action(self, agent: Agent[Obs, Answer[Act]], obs_list: Obs) -> Answer[Act]:
                return agent.act(obs_list / 255)

        What it returns is read as the actions of agents are: an array, a list or a tensor, alone or with extra columns.
        As agents may return all of these, an override that computes with actions looks at what they are first.
        """
        return agent.act(obs_list)

    def empty_history(self) -> HistoryT:
        """Return the history of an env that made no step; override it together with `process_transition`::

            def empty_history(self):
                return []

        Only runners that override `process_transition` are asked, and only where an env makes no step: in
        `rollout(episodes=1)` of three envs, say. Without it, such a rollout is an error.
        """
        raise ArgumentError(sentences.no_empty_history(type(self).__name__))

    @override
    def make_env(self, seed: int | None = None) -> AnyEnv:
        """Return a new env, made as the runner makes its own envs.

        The seed is for factories that build random envs; each episode gets its own seed when it is reset.
        """
        env = self._blueprint.make_env(seed, _ENV_INDEX.get())
        if seed is not None and isinstance(env, gymnasium.Env):
            seed_spaces(env, seed)
        return cast(AnyEnv, env)  # or a vector env, if the factory makes one

    @override
    def process_transition(self, history: HistoryT | None, transition: Transition[Any, Any]) -> HistoryT:
        """Return the history with one more transition; override it to make your own kind of history::

            def process_transition(self, history, transition):
                return [*(history or []), transition.reward]

        If it is overridden, the runner calls it for every step of every env, in the order of the envs. The first call
        of a rollout for an env gets None. `rollout` returns the result of the last call for each env, and that of
        `empty_history` for an env without a step (as with `episodes=1` in three envs).

        The types of a transition are those of one row: what the batches are made of.

        If it is not overridden, the runner never calls it, as formats accept whole blocks of arrays.
        """
        recorder = self._parts.recorder
        if not isinstance(recorder, SupportsAppend):
            raise ArgumentError(
                "This history format accepts only whole rollouts, so there is no default process_transition. "
                "Build the runner with history='transitions', or return a history of your own."
            )
        return cast(HistoryT, recorder.append(history, transition))

    # ---- inside

    def _makes_own_history(self) -> bool:
        return not _is(self.process_transition, AssembledRunner.process_transition)

    def _empty_history(self, episodes: int | None) -> Callable[[], object] | None:
        """Return what makes the histories of envs without a step; raises ArgumentError if such are sure to come."""
        if not self._makes_own_history():
            return None
        if not _is(self.empty_history, AssembledRunner.empty_history):
            return self.empty_history
        if episodes is not None and episodes < self.n_envs:
            raise ArgumentError(sentences.no_empty_history(type(self).__name__, episodes, self.n_envs))
        return None

    def _chooser(self, agent: object) -> Callable[[Any], object]:
        plainly = _is(self.compute_action, AssembledRunner.compute_action)
        agent = awaited(agent, self._parts.executor)
        acting: Agent[Any, Any] = self._parts.gate.admit(agent, called_plainly=plainly)
        if plainly:
            return acting.act  # what the default does, a call less
        return functools.partial(self.compute_action, acting)


def _make_own(make_env: EnvMaker, seed: int | None, env_index: int) -> AnyEnv | AnyVectorEnv:
    """Make env i with an overridden `make_env`, which may call `super().make_env()` to make env i."""
    token = _ENV_INDEX.set(env_index)
    try:
        return make_env(seed, env_index)
    finally:
        _ENV_INDEX.reset(token)


def _is(bound: object, function: object) -> bool:
    """Whether a method is still this one: neither a class nor the object overrides it."""
    return getattr(bound, "__func__", None) is function
