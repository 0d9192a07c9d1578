"""Putting a runner together: names become things, and every link between their spaces is checked.

    env -> preprocessors -> agent -> postprocessors -> env -> history

Whatever does not fit is refused here, before the first step.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import gymnasium
from gymnasium import Space
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv
from typing_extensions import TypeIs, TypeVar

from runnerkit import _sentences as sentences
from runnerkit._checks.agents import AgentGate
from runnerkit._checks.contracts import EXECUTOR, HISTORY_FORMAT, RECORDER
from runnerkit._core.batches import BatchReader
from runnerkit._core.faults import close_after, describe
from runnerkit._core.origins import packages, plain, qualified_name
from runnerkit._core.spaces import Layout
from runnerkit._core.types import AnyEnv, AnyVectorEnv
from runnerkit._envs.resolve import EnvMaker, ResolvedEnv, resolve_env, seed_spaces, seed_vector_spaces
from runnerkit._plugins.manager import Plugins
from runnerkit._rollout.claims import Claims
from runnerkit._rollout.config import RunnerConfig
from runnerkit._rollout.env_facts import check_envs
from runnerkit._rollout.ordering import check_order
from runnerkit._rollout.parts import Part, find_part
from runnerkit._rollout.spares import check_repeatable, check_takes_spares, with_spares
from runnerkit._rollout.wrapping import Wrapper, find_wrapper, wrapped
from runnerkit.agents import SupportsBeginEpisodes
from runnerkit.errors import ArgumentError, EnvError, PluginError, RolloutError, RunnerKitError
from runnerkit.executors.base import (
    Executor,
    MakeExecutor,
    SupportsAllocate,
    SupportsRestarts,
    SupportsTimeouts,
    SupportsVectorEnvs,
)
from runnerkit.executors.hanging import WATCH
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.executors.serial import SerialExecutor
from runnerkit.executors.vector.executor import VectorExecutor
from runnerkit.history.arrays import ArrayFormat
from runnerkit.history.base import HistoryFormat, Recorder
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, ProcessorContext, RewardProcessor
from runnerkit.processors.chain import (
    Chain,
    RewardChain,
    bind_postprocessors,
    bind_preprocessors,
    set_contexts,
    stream_of,
)
from runnerkit.records import EnvFacts, EpisodeSchedule, EpisodeStart, MadeBy, PartRecord, RunSpec, Seeded, Seeding

__all__ = ["Assembly", "Blueprint", "close_dropped"]

T = TypeVar("T")

_IN_PROCESS: Final = ("asyncio", "auto", "serial", "threads")
_ARRAYS: Final = Part(ArrayFormat(), "arrays", PartRecord("history format", "arrays"))
_SERIAL: Final = Part(SerialExecutor, "serial", PartRecord("executor", "serial"))


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of a runner, fitted to each other."""

    spec: RunSpec
    schedule: EpisodeSchedule
    executor: Executor
    recorder: Recorder[Any]
    history_title: str
    """What errors call the history format."""
    layout: BlockLayout
    preprocess: Chain
    postprocess: Chain
    process_rewards: RewardChain
    read_actions: BatchReader
    read_env_actions: BatchReader
    render_mode: str | None
    gate: AgentGate
    """What agents must pass."""
    claims: Claims
    """Its processors, which no other runner may have."""

    def block(self, steps: int, most: int | None = None, *, window: bool = False) -> Block:
        """Return a new block of so many steps, which may be resized to as many as `most`."""
        if _allocates(self.executor):
            block = self.executor.allocate(self.layout, steps, most or steps, window)
        else:
            block = Block(self.layout, steps, window=window)
        block.made_by = self.spec.made_by
        return block

    def close_recorder(self) -> None:
        """Close the history format; raises PluginError, which names it.

        If a rollout failed and its error is on its way, as in a `finally`, that one stays, with a note.
        """
        under_way = sys.exception()
        try:
            _asked(self.recorder.close, f"History format {self.history_title} failed to close")
        except RunnerKitError as fault:
            if not isinstance(under_way, RolloutError):
                raise
            under_way.add_note(f"Besides, closing failed: {describe(fault)}")


def _allocates(executor: object) -> TypeIs[SupportsAllocate]:
    # `isinstance` with a Protocol takes as long as a step of CartPole, and each rollout asks.
    return callable(getattr(executor, "allocate", None))


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a runner will be of: everything is looked up and checked, nothing is made yet."""

    config: RunnerConfig
    env: ResolvedEnv
    history: Part[HistoryFormat[Any]]
    executor: Part[MakeExecutor]
    preprocessors: Sequence[Part[ActionPreprocessor]]
    postprocessors: Sequence[Part[ActionPostprocessor]]
    reward_processors: Sequence[Part[RewardProcessor]]
    wrappers: Sequence[Wrapper] = ()
    own_make_env: bool = False
    """Whether the runner makes its envs itself."""

    @property
    def env_id(self) -> str:
        """The name of the env, or of the function that makes it."""
        return self.env.env_id

    @property
    def make_env(self) -> EnvMaker:
        """What makes env i, with its wrappers."""
        return wrapped(self.env.make, self.wrappers)

    def made_by(self, spec: EnvSpec | None) -> MadeBy:
        """Return what the runner is made of; `spec` is that of its envs."""
        made = (*self.preprocessors, *self.postprocessors, *self.reward_processors, self.executor, self.history)
        env = self.env.parts(spec)
        records = [*env, *(wrapper.record for wrapper in self.wrappers), *(part.record for part in made)]
        function, config = self.env.function, self.config
        is_list = isinstance(config.env, Sequence) and not isinstance(config.env, str)
        env_id = self.env_id if function is None else qualified_name(function)
        return MadeBy(
            tuple(_plain(record) for record in records),
            packages(),
            env_id="" if is_list or self.own_make_env else env_id,
            is_function=function is not None,
            seed=config.run.seed,
            n_envs=config.n_envs,
        )

    @classmethod
    def resolve(cls, plugins: Plugins, config: RunnerConfig, *, own_make_env: bool) -> Blueprint:
        """Look everything up. With `own_make_env`, the runner makes envs itself, so that the id may be unknown."""
        env = resolve_env(config.env, plugins, config.all_env_options, config.n_envs, lazily=own_make_env)
        if config.run.isolate and config.executor_name in _IN_PROCESS:
            raise ArgumentError(
                f"isolate=True keeps every env out of the calling process, but executor={config.executor_name!r} steps "
                "envs in it. Add executor='processes'."
            )
        if own_make_env and config.wrappers:
            raise ArgumentError("The runner overrides make_env, so that wrappers= has no place. Wrap the env there.")
        blueprint = cls(
            config=config,
            env=env,
            history=find_part("history_formats", config.history, plugins),
            executor=find_part("executors", config.executor, plugins),
            preprocessors=[find_part("action_preprocessors", part, plugins) for part in config.preprocessors],
            postprocessors=[find_part("action_postprocessors", part, plugins) for part in config.postprocessors],
            reward_processors=[find_part("reward_processors", part, plugins) for part in config.reward_processors],
            wrappers=[find_wrapper(given) for given in config.wrappers],
            own_make_env=own_make_env,
        )
        check_order("preprocessors", blueprint.preprocessors)
        check_order("postprocessors", blueprint.postprocessors)
        check_order("reward_processors", blueprint.reward_processors)
        return blueprint

    def build(self, make_env: EnvMaker) -> Assembly:
        """Make all envs and fit the parts to their spaces; leave nothing behind if something does not fit."""
        stateful = [part for part in self.reward_processors if isinstance(part.thing, SupportsBeginEpisodes)]
        claims = Claims([*_titled(self.preprocessors), *_titled(self.postprocessors), *_titled(stateful)])
        try:
            return self._build(make_env, claims)
        except BaseException:
            claims.release()
            WATCH.rest()
            raise

    def _build(self, make_env: EnvMaker, claims: Claims) -> Assembly:
        schedule, executor = SeedSchedule(self.config.run.seed), self._made_executor()
        refused = self._refused_to_vectors(executor)

        def make(i: int) -> AnyEnv:
            env = make_env(schedule.env_seed(i), i)
            if not isinstance(env, VectorEnv):
                if isinstance(env, gymnasium.Env):  # what else it may be is refused by the executor
                    try:
                        seed_spaces(env, schedule.env_seed(i))
                    except BaseException as error:  # raised by a space, and nobody else knows of the env yet
                        close_after(error, env.close)
                        raise
                return env
            # a vector env, even if it is an Env, too, as those of EnvPool are
            if refused is None and i == 0:
                return cast(AnyEnv, env)
            env.close()
            raise ArgumentError(
                f"The factory made a vector env ({type(env).__name__}), which steps all its envs itself, so that there "
                f"cannot be {refused or 'others beside it'}. Leave it out, or let the factory make a gymnasium.Env."
            )

        try:
            makes: Callable[[int], AnyEnv] = make
            if refused is None:  # the executor would make env 0 here and now, too
                first: AnyEnv | AnyVectorEnv = _made_first(make)
                if isinstance(first, VectorEnv):
                    return self._build_lockstep(first, schedule, claims, instead_of=executor)
                makes = functools.partial(_first_or_made, [first], make)
            if self.config.run.spare_envs:
                makes = with_spares(makes, self.config)
            with WATCH.over(executor):
                facts = executor.open(makes, self.config.run)
            if self.config.run.spare_envs:
                check_repeatable(make_env, self.config, facts)
            return self._fit(facts, schedule, executor, Seeding(), claims)
        except BaseException as error:
            close_after(error, executor.close)
            raise

    def for_envs(self) -> Blueprint:
        """Return all that is needed of it to make envs in another process."""
        needed = replace(
            self.config,
            env=self.env_id,
            history="arrays",
            executor="serial",
            preprocessors=(),
            postprocessors=(),
            reward_processors=(),
            schedule=None,
        )
        return replace(
            self,
            config=needed,
            history=_ARRAYS,
            executor=_SERIAL,
            preprocessors=(),
            postprocessors=(),
            reward_processors=(),
        )

    def _build_lockstep(
        self, env: AnyVectorEnv, schedule: SeedSchedule, claims: Claims, instead_of: Executor
    ) -> Assembly:
        try:
            instead_of.close()
            executor = VectorExecutor(env, self.config.n_envs)
            facts = executor.open(_make_none, self.config.run)
            seed_vector_spaces(env, schedule.env_seed)
            if self.config.schedule is not None and not executor.takes_schedule:
                raise ArgumentError(
                    f"schedule= needs envs that can be reset one by one with a seed each, but {type(env).__name__} "
                    "resets its envs by itself, or takes one seed for all. Leave schedule out, or make it with "
                    "autoreset_mode=AutoresetMode.DISABLED if it can (SyncVectorEnv, AsyncVectorEnv)."
                )
            known = executor.seeding.seeded is Seeded.ALL
            return self._fit(facts, schedule if known else _unseeded, executor, executor.seeding, claims)
        except BaseException as error:
            close_after(error, env.close)
            raise

    def _made_executor(self) -> Executor:
        what = f"executor {self.executor.title}"
        try:
            executor = self.executor.thing(self.config.n_envs, self.config.workers)
        except RunnerKitError:
            raise
        except (Exception, SystemExit) as error:  # a part must not end the program
            raise PluginError(f"{what} could not be made: {describe(error)}") from error
        fault = EXECUTOR.look(executor).fault
        if not fault and not hasattr(executor, "workers"):
            fault = sentences.lacks_attribute(EXECUTOR.what, type(executor).__name__, "workers", "how many step envs")
        if fault:
            raise PluginError(f"{what}: {fault}")
        try:
            self._check_executor(executor)
        except BaseException as error:  # it may have begun threads
            close_after(error, executor.close)
            raise
        return executor

    def _check_executor(self, executor: Executor) -> None:
        """Refuse what the executor cannot do."""
        self._check_timeouts(executor)
        check_takes_spares(executor, self.config)
        if self.config.run.restarts and not isinstance(executor, SupportsRestarts):
            raise ArgumentError(
                "on_env_error='restart' works with executor='serial', 'threads' and 'processes', but executor="
                f"{self.config.executor_name!r} cannot make an env anew. Use one of these, or on_env_error='raise'."
            )

    def _check_timeouts(self, executor: Executor) -> None:
        """Refuse timeouts where a call of an env cannot be given up."""
        timeouts = " and ".join(self.config.run.timeouts)
        if timeouts and not (isinstance(executor, SupportsTimeouts) and executor.can_time_out):
            raise ArgumentError(
                f"{timeouts} cannot be kept by executor={self.config.executor_name!r}: it cannot interrupt an env that "
                "hangs. Use executor='processes', which kills the env's process, or 'threads', which leaves the env's "
                "thread behind."
            )

    def _refused_to_vectors(self, executor: Executor) -> str | None:
        """Return what was asked for that cannot be of a vector env, as it would have to be shared out."""
        if self.config.workers is not None:
            return f"workers={self.config.workers}"
        if self.config.run.restarts:
            return "on_env_error='restart': it fails as a whole, with the episodes of all its envs"
        if self.config.run.timeouts:
            return " and ".join(self.config.run.timeouts)
        if self.config.run.spare_envs:
            return f"spare_envs={self.config.run.spare_envs}: it begins all episodes itself"
        takes = isinstance(executor, SupportsVectorEnvs) and executor.takes_vector_envs
        return None if takes else f"executor={self.config.executor_name!r}"

    def _fit(
        self,
        facts: Sequence[EnvFacts],
        schedule: EpisodeSchedule,
        executor: Executor,
        seeding: Seeding,
        claims: Claims,
    ) -> Assembly:
        check_envs(facts)
        first = facts[0]
        made_by = self.made_by(first.spec)
        if self.config.lock is not None:
            from runnerkit._plugins.lock import check_lock

            check_lock(made_by, Path(self.config.lock))
        pre, post = _titled(self.preprocessors), _titled(self.postprocessors)
        set_contexts(post, self._contexts(1, first, first.action_space), "Postprocessor")
        postprocess, action = bind_postprocessors(post, first.action_space)
        rewards = _titled(self.reward_processors)
        set_contexts(rewards, self._contexts(2, first, action.space), "Reward processor")
        set_contexts(pre, self._contexts(0, first, action.space), "Preprocessor")
        preprocess, observation = bind_preprocessors(pre, first.observation_space)
        env_action = Layout(first.action_space, "action")
        layout = BlockLayout(
            n_envs=self.config.n_envs,
            raw=Layout(first.observation_space, "observation"),
            observation=observation,
            action=action,
            env_action=env_action,
            preprocessed=bool(preprocess),
            postprocessed=bool(postprocess),
            keep_raw=self.config.run.keep_raw,
            reward_processed=bool(rewards),
        )
        spec = RunSpec(
            env_id=self.env_id,
            options=self.config.run,
            n_envs=self.config.n_envs,
            observation_space=observation.space,
            action_space=action.space,
            env_observation_space=first.observation_space,
            env_action_space=first.action_space,
            env_spec=first.spec,
            preprocessed=bool(preprocess),
            postprocessed=bool(postprocess),
            reward_processed=bool(rewards),
            seeding=seeding,
            made_by=made_by,
            env_function=None if self.env.function is None else qualified_name(self.env.function),
            workers=self.config.workers,
            auto_reset=self.config.auto_reset,
            own_schedule=self.config.schedule is not None,
        )
        readers = BatchReader(action, bounded=True), BatchReader(env_action, bounded=True)
        return Assembly(
            spec=spec,
            schedule=schedule,
            executor=executor,
            recorder=_opened(self.history.thing, self.history.title, spec),  # last, as it may create files
            history_title=self.history.title,
            layout=layout,
            preprocess=preprocess,
            postprocess=postprocess,
            process_rewards=RewardChain(rewards),
            read_actions=readers[0],
            read_env_actions=readers[1],
            render_mode=first.render_mode,
            gate=AgentGate(action.space),
            claims=claims,
        )

    def _contexts(self, kind: int, env: EnvFacts, action_space: Space[Any]) -> Callable[[int], ProcessorContext]:
        """Return what makes the contexts of processors of one kind, by their place."""

        def context_of(place: int) -> ProcessorContext:
            stream = stream_of(self.config.run.seed, kind, place)
            return ProcessorContext(self.config.n_envs, env.spec, action_space, stream)

        return context_of


def _made_first(make: Callable[[int], AnyEnv | AnyVectorEnv]) -> AnyEnv | AnyVectorEnv:
    try:
        return make(0)
    except RunnerKitError:
        raise
    except Exception as error:  # in the words of an executor
        raise EnvError(f"could not be made: {describe(error)}", env_index=0) from error


def _first_or_made(first: list[AnyEnv], make: Callable[[int], AnyEnv], i: int) -> AnyEnv:
    """Return env 0, which is made already, the first time; else make the env."""
    return first.pop() if i == 0 and first else make(i)


def _plain(record: PartRecord) -> PartRecord:
    """Return a record that can be pickled, and written as JSON, whatever its options are."""
    return replace(record, options={name: plain(value) for name, value in record.options.items()})


def _titled(parts: Sequence[Part[T]]) -> list[tuple[str, T]]:
    return [(part.title, part.thing) for part in parts]


def _make_none(i: int) -> AnyEnv:
    raise EnvError("was made already", env_index=i)


def _unseeded(*of: int) -> EpisodeStart:
    """Return the start of an episode of which nobody knows how it began."""
    del of
    return EpisodeStart()


def _asked(call: Callable[[], T], what: str) -> T:
    """Call a part; what it raises is told with what failed, unless it is an error of ours."""
    try:
        return call()
    except RunnerKitError:
        raise
    except (Exception, SystemExit) as error:  # a part must not end the program
        raise PluginError(f"{what}: {describe(error)}") from error


def _opened(history: HistoryFormat[Any], name: str, spec: RunSpec) -> Recorder[Any]:
    recorder = _asked(functools.partial(history.open, spec), f"History format {name} failed to open")
    made: object = recorder  # the value may differ from the annotation
    if made is None:
        raise PluginError(sentences.wrong_method_result(HISTORY_FORMAT.what, name, "open", "None", "Recorder[object]"))
    fault = RECORDER.look(made).fault
    if fault:
        refusal = PluginError(f"History format {name}: {fault}")
        if not isinstance(made, type) and callable(getattr(made, "close", None)):
            close_after(refusal, recorder.close)  # it may have opened a file
        raise refusal
    return recorder


def close_dropped(executor: Executor, close_recorder: Callable[[], None], claims: Claims, name: str, pid: int) -> None:
    """Close what a runner of process `pid` leaves behind that nobody closed, and say so."""
    if os.getpid() != pid:
        return  # envs, workers and files belong to the process that this one is a fork of
    try:
        executor.close()
    finally:
        claims.release()
        close_recorder()
        WATCH.rest()
        warnings.warn(f"{name} was dropped without close(). Use it in a with statement.", ResourceWarning, stacklevel=2)
