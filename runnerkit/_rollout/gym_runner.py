"""GymRunner: builds its parts, rolls out agents, and lets derived runners override a step."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, cast, overload

import gymnasium
from gymnasium import Space
from typing_extensions import TypeVar, Unpack, override

from runnerkit._core.interrupts import Interrupt
from runnerkit._core.interrupts import deadline as stop_after
from runnerkit._core.loglevel import gymnasium_log_level
from runnerkit._core.types import ActArrayT, ActT, AnyEnv, AnyVectorEnv, MakeEnv, ObsArrayT, ObsT, TensorLike
from runnerkit._envs.resolve import EnvMaker, seed_spaces, told
from runnerkit._plugins.manager import Plugins, installed_plugins
from runnerkit._rollout.assembly import Assembly, Blueprint, close_dropped
from runnerkit._rollout.config import RunnerConfig, check_callable, check_seconds, explains_wrong_calls, is_count
from runnerkit._rollout.ends import tell_of
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.loop import Rollout
from runnerkit._rollout.plan import Plan, limit_of
from runnerkit._rollout.rendering import Screen
from runnerkit._rollout.runner import BaseRunner
from runnerkit._rollout.stream import batches, check_streams
from runnerkit.agents import Agent
from runnerkit.errors import ArgumentError, ClosedError, RolloutError, RolloutInterrupted
from runnerkit.executors.base import SupportsReport
from runnerkit.executors.hanging import WATCH
from runnerkit.history.arrays import ArrayHistory, HistoryT
from runnerkit.history.base import HistoryFormat, SupportsAppend
from runnerkit.history.ended import EpisodeCallback
from runnerkit.keys import EnvKey, HistoryKey, PartName, Use
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, RewardProcessor
from runnerkit.records import ExecutorReport, MadeBy, ProgressCallback, Transition
from runnerkit.typing import PlainOptions, RunnerOptions

if TYPE_CHECKING:
    from runnerkit.history.torch import TorchHistory

__all__ = ["GymRunner"]

# For overloads of the constructor that annotate `self`: the class's own type variables are not allowed there. Overloads
# without an annotated `self` are valid for derived runners, too.
O = TypeVar("O")  # noqa: E741
A = TypeVar("A")
H = TypeVar("H")


_ENV_INDEX: Final[contextvars.ContextVar[int]] = contextvars.ContextVar("env_index", default=0)
"""Which env is being made."""


class GymRunner(BaseRunner[ObsT, ActT, HistoryT]):
    """Rolls out an agent in `n_envs` Gymnasium envs::

        with GymRunner("CartPole-v1", seed=0, n_envs=8) as runner:
            agent = RandomAgent(runner.action_space, seed=0)
            histories = runner.rollout(agent, steps=1000)       # one ArrayHistory per env
            histories[0].rewards, histories[0].episodes

    The same seed, agent and number of envs give the same bytes with every executor. To change a part, derive from this
    class and override `make_env`, `compute_action` or `process_transition`.

    Args:
        env_id: a Gymnasium id; `"atari:Pong"` for the env Pong of a plugin's factory `atari`; an `EnvKey`; a function
            (seed) -> env; or a list of such functions, one per env. A function with a parameter `env_index` or
            `n_envs` gets it. A function may return one `gymnasium.vector.VectorEnv` of n_envs envs.
        seed: the seed of the run, from which all seeds of envs and episodes follow. None draws one, see `runner.seed`.
        n_envs: the number of envs.
        log_level: the level of Gymnasium's logger while this runner works: 30 shows warnings, 40 only errors.
        history: the format of the histories: "arrays", "torch", "transitions", a plugin's format, or a
            HistoryFormat object.
        executor: "serial", "threads" or "processes"; "auto", which measures and chooses "serial" or "threads"; a
            plugin's executor; an executor object; or a function (n_envs, workers) that makes one.
        workers: how many workers step the envs, including the calling thread, and n_envs at most. By default the
            executor chooses.
        auto_reset: whether an env begins a new episode as soon as one ends. If False, the env is left out of
            the next batches, and the rollout ends when no env is left.
        preprocessors: names or objects, in the order in which they process observations.
        postprocessors: names or objects, in the order in which they process actions.
        reward_processors: names, functions or objects, in the order in which they process rewards for the learner. The
            histories have both `rewards` and `processed_rewards`.
        schedule: chooses the seed and reset options of each episode, see `EpisodeSchedule`. The default is
            `SeedSchedule`, whose seeds follow from the run's seed.
        keep_infos: keep the infos that are not empty.
        keep_raw: keep the observations from before the preprocessors, too.
        thread_safe: whether the envs may be stepped in several threads at once; None if you do not know.
        isolate: run every env outside of the calling process, so that an env that crashes cannot end it. It needs
            "processes".
        strict_spaces: raise EnvSpaceError where an env breaks its own spaces, even if no data is lost. Otherwise this
            is an EnvSpaceWarning.
        step_timeout: the most seconds that one step of an env may take; then EnvTimeoutError is raised. It needs
            "processes", which kills the env's process, or "threads", which leaves the env's thread behind. Then the
            calling thread steps no env itself, and "auto" means "processes". Without a timeout, a call of more than
            60 s is warned of.
        reset_timeout: the same for a reset.
        make_timeout: the same for making an env.
        on_env_error: "raise" ends the rollout where an env fails. "restart" makes that env anew: its episode ends as
            crashed or timed out, and its next one begins. All other envs go on as if nothing had happened.
            `history.faults` tells of it. The step that failed has no row, so that the history is a row shorter.
            "restart" needs "serial" or "threads", and "auto" means "serial" then, or "threads" with a timeout.
        max_restarts: how often each env may be made anew during the life of the runner, or a pair (each env, all of
            them together). The next fault is raised.
        render_mode: the render mode of the envs: "rgb_array" or "human" for `rollout(render=True)`.
        env_options: more keyword arguments for `gymnasium.make`, or for the factory.
        lock: a file that `runnerkit lock -o run.lock` wrote. A runner of other parts or versions is refused.
        plugins: where names are looked up; by default in the installed plugins.

    Raises:
        ArgumentError: an argument has an invalid value.
        UnknownNameError: no env, format, processor or executor has that name.
        SpaceError: a link of env -> preprocessors -> agent -> postprocessors -> env -> history does not fit.
        EnvError: an env could not be made.
        LockError: the runner is made of other parts or versions than `lock` has.

    """

    @overload
    def __init__(
        self,
        env_id: EnvKey[ObsT, ActT],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["arrays"] = "arrays",
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[O, A, list[Transition[O, A]]],
        env_id: EnvKey[O, A],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["transitions"],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[ObsArrayT, ActArrayT, TorchHistory],
        env_id: EnvKey[ObsArrayT, ActArrayT],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["torch"],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[O, A, TorchHistory[Any, Any]],
        env_id: EnvKey[O, A],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["torch"],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        env_id: EnvKey[ObsT, ActT],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: HistoryKey[HistoryT] | Use[HistoryT] | HistoryFormat[HistoryT],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, ArrayHistory[Any, Any]],
        env_id: str | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["arrays"] = "arrays",
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, ArrayHistory[Any, Any]],
        env_id: EnvKey[Any, Any],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["arrays"] = "arrays",
        preprocessors: Sequence[PartName | ActionPreprocessor],
        postprocessors: Sequence[PartName | ActionPostprocessor] = (),
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, ArrayHistory[Any, Any]],
        env_id: EnvKey[Any, Any],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["arrays"] = "arrays",
        postprocessors: Sequence[PartName | ActionPostprocessor],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, list[Transition[Any, Any]]],
        env_id: str | EnvKey[Any, Any] | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["transitions"],
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, TorchHistory[Any, Any]],
        env_id: str | EnvKey[Any, Any] | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["torch"],
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, H],
        env_id: str | EnvKey[Any, Any] | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: HistoryKey[H] | Use[H] | HistoryFormat[H],
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[O, A, object],
        env_id: EnvKey[O, A],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: str | tuple[str, Mapping[str, object]],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, object],
        env_id: str | EnvKey[Any, Any] | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: str | tuple[str, Mapping[str, object]],
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        env_id: str | EnvKey[ObsT, ActT] | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: str
        | tuple[str, Mapping[str, object]]
        | HistoryKey[HistoryT]
        | Use[HistoryT]
        | HistoryFormat[HistoryT] = "arrays",
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    def __init__(
        self,
        env_id: str | EnvKey[Any, Any] | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: PartName | HistoryKey[Any] | HistoryFormat[Any] = "arrays",
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None:
        config = RunnerConfig.of(env_id, seed, n_envs, log_level, history, **options)
        self.log_level: int = config.log_level
        self.auto_reset: bool = config.auto_reset
        self._was_interrupted = False
        self._owes_interrupt = False  # a rollout returned after Ctrl-C, and `interrupted` was not read since
        with gymnasium_log_level(log_level):
            own_make_env = not _is(self.make_env, GymRunner.make_env)
            self._blueprint: Blueprint = Blueprint.resolve(
                plugins or installed_plugins(), config, own_make_env=own_make_env
            )
            make_env: EnvMaker = self._blueprint.make_env  # lighter to pickle than a runner
            if own_make_env:
                make_env = functools.partial(_make_own, told(self.make_env, {}, config.n_envs))
            self._parts: Assembly = self._blueprint.build(make_env)
        self._busy = threading.Lock()
        self._claim = _Claim()
        self._claim.is_over = True
        self._streams: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()
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
            return executor.report(name)
        return ExecutorReport(name, name, executor.workers)

    @property
    def made_by(self) -> MadeBy:
        """The parts of this runner, with distributions, versions and options; its histories have it, too."""
        return self._parts.spec.made_by

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the last rollout early.

        After `rollout(on_interrupt="return")`, read it before the next rollout; otherwise that one raises.
        """
        self._owes_interrupt = False
        return self._was_interrupted

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
    def make_env(self, seed: int | None = None) -> AnyEnv:
        """Return a new env, made as the runner makes its own envs.

        The seed is for factories that build random envs; each episode gets its own seed when it is reset.
        """
        env = self._blueprint.make_env(seed, _ENV_INDEX.get())
        if seed is not None and isinstance(env, gymnasium.Env):
            seed_spaces(env, seed)
        return cast(AnyEnv, env)  # or a vector env, if the factory makes one

    @override
    def process_transition(self, history: HistoryT | None, transition: Transition[ObsT, ActT]) -> HistoryT:
        """Return the history with one more transition; override it to make your own kind of history::

            def process_transition(self, history, transition):
                return [*(history or []), transition.reward]

        If it is overridden, the runner calls it for every step of every env, in the order of the envs. The first call
        of a rollout for an env gets None. `rollout` returns the result of the last call for each env, or None for an
        env without a step (as with `episodes=1` in three envs).

        If it is not overridden, the runner never calls it, as formats accept whole blocks of arrays.
        """
        recorder = self._parts.recorder
        if not isinstance(recorder, SupportsAppend):
            raise ArgumentError(
                "This history format accepts only whole rollouts, so there is no default process_transition. "
                "Build the runner with history='transitions', or return a history of your own."
            )
        return cast(HistoryT, recorder.append(history, transition))

    # ---- what it does

    def maybe_reset(self) -> None:
        """Begin an episode in every env that has none. The next rollout continues these episodes."""
        executor = self._parts.executor
        with self._working():
            block = self._parts.block(1, window=True)
            executor.attach(block)
            try:
                self._standing.begin(block, range(self.n_envs))
                self._standing.keep(block, 0)
                self._standing.reset_infos += executor.drain().reset_infos
            except BaseException:
                self._standing.abandon()
                raise
            finally:
                executor.drain()
                executor.attach(None)

    @override
    @explains_wrong_calls("rollout", "an agent")
    def rollout(
        self,
        agent: Agent[ObsT, ActT | TensorLike | list[Any]] | Callable[[ObsT], ActT | TensorLike | list[Any]],
        steps: int | None = None,
        render: bool = False,
        fps: int = 30,
        *,
        episodes: int | None = None,
        deadline: float | None = None,
        progress: ProgressCallback | None = None,
        on_episode: EpisodeCallback[ObsT, ActT] | None = None,
        on_interrupt: Literal["raise", "return"] = "raise",
    ) -> list[HistoryT]:
        """Roll out an agent and return one history per env::

            histories = runner.rollout(agent, steps=1000)           # 1000 steps of each env
            histories = runner.rollout(agent, episodes=20)          # 20 whole episodes, over all envs
            histories = runner.rollout(lambda observations: observations.argmax(axis=1), steps=1000)

        Each env continues where the last rollout left it. The record of a continued episode says so.

        Args:
            agent: an object with `act(observations)`, or a function of observations that returns actions. See `Agent`,
                `SupportsBeginEpisodes` and `SupportsSetActiveEnvs`.
            steps: the number of steps per env. Without `steps` and `episodes`, it is MAX_STEPS.
            render: whether to draw every step; the runner needs a `render_mode`.
            fps: the most steps that are drawn per second.
            episodes: the number of whole episodes to collect over all envs, instead of `steps`. They are the first ones
                by order of start, so short episodes are not over-represented. All of them are new: an episode that
                the last rollout cut is given up.
            deadline: return what there is after so many seconds, as if the steps were up. The step that is under way is
                finished first; `step_timeout` limits that.
            progress: a function that gets a `Progress`, at most ten times a second.
            on_episode: a function that gets an `EndedEpisode` as soon as an episode ends, or a queue with `put`. Calls
                come in the order of the last steps; episodes that end in the same step come in the order of their envs.
                The order is the same with every executor. An episode that the rollout cuts has not ended.
            on_interrupt: what happens after Ctrl-C, as soon as the current step is finished. "raise" raises
                RolloutInterrupted, a KeyboardInterrupt whose `histories` hold what was collected. "return" returns
                these histories and sets `interrupted`; the next rollout raises unless `interrupted` was read.

        Returns:
            One history per env. If `episodes` is below n_envs, some envs make no step. Their histories are empty, or
            None if `process_transition` is overridden.

        Raises:
            ArgumentError: steps or episodes is below 1, or both are given.
            AgentError: the agent failed, or did not return a batch of actions.
            EnvError: an env failed.
            RolloutError: `progress`, `on_episode` or a schedule raised.
            MemoryBudgetError: the arrays would not fit into memory.
            RenderError: render is set, but the envs cannot be drawn, or there is no display.
            RolloutInterrupted: Ctrl-C was pressed. The running episodes are over. A second Ctrl-C raises a plain
                KeyboardInterrupt at once.

        Any other exception that ends the rollout, such as `sys.exit()` in an env, has `histories`, too.

        """
        check_callable(progress, "progress", "a function that takes a Progress")
        tell_ended = tell_of(on_episode)
        check_seconds(deadline, "deadline")
        if on_interrupt not in ("raise", "return"):
            raise ArgumentError(f"on_interrupt must be 'raise' or 'return', not {on_interrupt!r}.")
        if self._owes_interrupt:
            self._owes_interrupt = False
            raise RolloutInterrupted
        plan = Plan(
            limit=limit_of(steps, episodes, self.auto_reset, self.n_envs, self.MAX_STEPS),
            episodes=None if episodes is None else int(episodes),
            auto_reset=self.auto_reset,
            compute_action=self._chooser(agent),
            process_transition=self.process_transition if self._makes_own_history() else None,
        )
        claim, interrupt, histories = _Claim(), Interrupt(), None
        try:
            self._take(claim)
            self._check_open()
            with interrupt, gymnasium_log_level(self.log_level), self._screen(render, fps) as screen:
                self._was_interrupted = False
                rollout = Rollout(self._parts, self._standing, plan, agent, screen, progress, tell_ended)
                try:
                    with stop_after(interrupt, deadline):
                        histories = rollout.run(interrupt)
                except BaseException:
                    if not rollout.is_over:  # what was raised may have come as it was being finished
                        self._standing.abandon()
                    raise
                finally:
                    self._was_interrupted = interrupt.requested
        except KeyboardInterrupt as press:
            if histories is None:  # a second press, or one before anything was collected
                raise
            raise RolloutInterrupted(histories) from press
        except RolloutError as error:
            if interrupt.requested:  # that, too, may not be lost
                raise RolloutInterrupted(error.histories) from error
            raise
        finally:  # no call, so that no signal handler's exception can come before it is done
            claim.is_over = interrupt.is_over = True
        if interrupt.requested:  # asked now that no other press can come
            self._was_interrupted = True
            if on_interrupt == "raise":
                raise RolloutInterrupted(histories or ())
            self._owes_interrupt = True
        return cast("list[HistoryT]", histories)

    @explains_wrong_calls("stream", "an agent")
    def stream(
        self,
        agent: Agent[ObsT, ActT | TensorLike | list[Any]] | Callable[[ObsT], ActT | TensorLike | list[Any]],
        steps: int,
    ) -> Generator[HistoryT, None, None]:
        """Roll out an agent without an end, and give batch after batch of `steps` steps per env::

            for batch in runner.stream(agent, steps=16):
                learner.update(batch.observations, batch.actions, batch.rewards, batch.next_observations)

        A batch is one history of all envs, with columns `[steps, n_envs]`, as `stack(runner.rollout(...))` makes it.
        The data are those of one long rollout. Short batches cost much less than short rollouts, as all batches use
        the same arrays: **read a batch before you ask for the next one, and copy what you keep.** A batch that is over
        refuses to be read; arrays that you took from it change.

        Leave the loop whenever you like: the next rollout goes on where the stream ended. While a stream is open, the
        runner is busy; `close()` of the generator ends it.

        Args:
            agent: as for `rollout`.
            steps: the number of steps per env in each batch.

        Raises:
            ArgumentError: steps is below 1, or the runner cannot stream: it overrides `process_transition`, its history
                format has no columns, `auto_reset` is False, or it has a vector env whose envs skip a step.
            RolloutInterrupted: Ctrl-C was pressed while envs stepped. Its histories are those of the last batch.

        Whatever `rollout` raises, `stream` raises, too; the histories are those of the batch that was being made.

        """
        if not is_count(steps):
            raise ArgumentError(f"steps must be a whole number of at least 1, not {steps!r}.")
        plan = Plan(
            limit=limit_of(steps, None, self.auto_reset, self.n_envs, self.MAX_STEPS),
            episodes=None,
            auto_reset=self.auto_reset,
            compute_action=self._chooser(agent),
            process_transition=None,
            has_windows=True,
        )
        recorder = check_streams(
            self._parts, self._standing, auto_reset=self.auto_reset, makes_own=self._makes_own_history()
        )
        stream = batches(self._parts, self._standing, plan, agent, recorder, self._streaming)
        self._streams.add(stream)
        return stream

    @contextlib.contextmanager
    def _streaming(self, interrupt: Interrupt) -> Iterator[None]:
        with self._working(), interrupt:
            try:
                yield
            finally:
                self._was_interrupted = interrupt.requested

    @override
    def close(self) -> None:
        """Close the envs and the executor. You may call it twice. A stream that is open ends."""
        if not self._finalizer.alive:
            return
        for stream in self._open_streams():
            stream.close()
        with Interrupt() as interrupt, self._claimed():
            if self._finalizer.detach() is not None:  # else another thread was faster
                try:
                    self._parts.executor.close()
                finally:
                    self._parts.claims.release()
                    self._parts.close_recorder()
                    WATCH.rest()
        if interrupt.requested:
            raise KeyboardInterrupt  # now that nothing is left behind

    # ---- inside

    def _makes_own_history(self) -> bool:
        return not _is(self.process_transition, GymRunner.process_transition)

    def _chooser(self, agent: object) -> Callable[[Any], object]:
        plainly = _is(self.compute_action, BaseRunner.compute_action)
        acting: Agent[Any, Any] = self._parts.gate.admit(agent, called_plainly=plainly)
        if plainly:
            return acting.act  # what the default does, a call less
        return functools.partial(self.compute_action, acting)

    def _screen(self, render: bool, fps: int) -> contextlib.AbstractContextManager[Screen | None]:
        if not render:
            return contextlib.nullcontext()
        return contextlib.closing(Screen(self._parts.render_mode, fps, self.env_id))

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        with self._claimed():
            self._check_open()
            yield

    def _check_open(self) -> None:
        if not self._finalizer.alive:  # asked after the claim, as another thread may just have closed it
            raise ClosedError(f"{self!r} was closed. Build a new runner.")

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[None]:
        claim = _Claim()
        try:
            self._take(claim)
            with gymnasium_log_level(self.log_level):
                yield
        finally:
            claim.is_over = True

    def _open_streams(self) -> list[Generator[Any, None, None]]:
        """Return the streams that have given a batch and wait to be asked for the next one."""
        return [s for s in list(self._streams) if inspect.getgeneratorstate(s) == inspect.GEN_SUSPENDED]

    def _take(self, claim: _Claim) -> None:
        """Reserve the runner for one caller until the claim is over."""
        with self._busy:
            if not self._claim.is_over and self._open_streams():
                raise ArgumentError(
                    f"{self!r} has an open stream. Call close() of the stream first, or use another runner."
                )
            if not self._claim.is_over:
                raise ArgumentError(
                    f"{self!r} is already in a rollout. Wait until it ends, or use one runner per thread."
                )
            self._claim = claim


class _Claim:
    """One caller's reservation of a runner. A lock could stay locked if a signal handler raises in its `acquire`."""

    def __init__(self) -> None:
        self.is_over: bool = False


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
