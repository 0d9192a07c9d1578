"""Putting a runner together: names become things, and every link between their spaces is checked.

    env -> preprocessors -> agent -> postprocessors -> env -> history

Whatever does not fit is refused here, before the first step.
"""

from __future__ import annotations

import operator
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, SupportsIndex, TypeAlias

from gymnasium import Space
from typing_extensions import TypeVar

from runnerkit.batches import BatchReader
from runnerkit.envs import resolve_env
from runnerkit.episodes import SeedSchedule, close_after
from runnerkit.errors import ArgumentError, SpaceError
from runnerkit.history.block import BlockLayout
from runnerkit.keys import EnvKey, HistoryKey
from runnerkit.plugins import Kind, Plugins
from runnerkit.processors import Chain, bind_postprocessors, bind_preprocessors
from runnerkit.records import EnvFacts, RunSpec, ShareOptions
from runnerkit.spaces import Layout
from runnerkit.typing import (
    ActionPostprocessor,
    ActionPreprocessor,
    AnyEnv,
    Executor,
    HistoryFormat,
    MakeEnv,
    Recorder,
)

__all__ = ["Assembly", "AssemblyOptions", "assemble"]

T = TypeVar("T")

Named: TypeAlias = "str | T"
"""A thing, or the name under which a plugin offers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblyOptions:
    """What is to be put together; the arguments of `GymRunner` that say so."""

    env: str | EnvKey[Any, Any] | MakeEnv
    seed: int | None
    n_envs: int
    history: str | HistoryKey[Any] | HistoryFormat[Any]
    executor: str
    workers: int | None
    preprocessors: Sequence[Named[ActionPreprocessor]]
    postprocessors: Sequence[Named[ActionPostprocessor]]
    keep_infos: bool
    keep_raw: bool
    render_mode: str | None
    env_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of a runner, fitted to each other."""

    spec: RunSpec
    schedule: SeedSchedule
    executor: Executor
    recorder: Recorder[Any]
    layout: BlockLayout
    preprocess: Chain
    postprocess: Chain
    read_actions: BatchReader
    read_env_actions: BatchReader
    render_mode: str | None


def assemble(
    plugins: Plugins, options: AssemblyOptions
) -> tuple[MakeEnv, Callable[[Callable[[int | None], AnyEnv]], Assembly]]:
    """Look everything up; return how an env is made, and a function that makes all envs and fits the parts.

    The two steps are apart so that a runner may put its own `make_env` between them.
    """
    _check_numbers(options)
    name, make_env = resolve_env(options.env, plugins, _env_options(options))
    history = _history_format(options.history, plugins)
    pre = [_named(p, "action_preprocessors", plugins) for p in _listed(options.preprocessors, "preprocessors")]
    post = [_named(p, "action_postprocessors", plugins) for p in _listed(options.postprocessors, "postprocessors")]
    if not isinstance(options.executor, str):
        raise ArgumentError(f"executor must be a name such as 'serial' or 'threads', not {options.executor!r}.")
    make_executor = plugins.get("executors", options.executor).make()

    n_envs, workers = int(options.n_envs), None if options.workers is None else int(options.workers)
    options = replace(options, n_envs=n_envs, workers=workers)

    def fit(make_env: Callable[[int | None], AnyEnv]) -> Assembly:
        schedule = SeedSchedule(secrets.randbits(63) if options.seed is None else int(options.seed))
        executor: Executor = make_executor(options.n_envs, options.workers)
        try:
            facts = executor.open(
                lambda i: make_env(schedule.env_seed(i)), ShareOptions(schedule.seed, options.keep_infos)
            )
            return _fit(name, options, facts, schedule, executor, history, pre, post)
        except BaseException as error:
            close_after(error, executor.close)
            raise

    return make_env, fit


def _fit(
    name: str,
    options: AssemblyOptions,
    facts: Sequence[EnvFacts],
    schedule: SeedSchedule,
    executor: Executor,
    history: HistoryFormat[Any],
    pre: Sequence[tuple[str, ActionPreprocessor]],
    post: Sequence[tuple[str, ActionPostprocessor]],
) -> Assembly:
    _check_equal(facts)
    first = facts[0]
    preprocess, observation = bind_preprocessors(pre, first.observation_space)
    postprocess, action = bind_postprocessors(post, first.action_space)
    env_action = Layout(first.action_space, "action")
    layout = BlockLayout(
        n_envs=options.n_envs,
        raw=Layout(first.observation_space, "observation"),
        observation=observation,
        action=action,
        env_action=env_action,
        preprocessed=bool(preprocess),
        postprocessed=bool(postprocess),
        keep_raw=options.keep_raw,
    )
    spec = RunSpec(
        env_id=name,
        seed=schedule.seed,
        n_envs=options.n_envs,
        observation_space=observation.space,
        action_space=action.space,
        env_observation_space=first.observation_space,
        env_action_space=first.action_space,
        env_spec=first.spec,
        keep_infos=options.keep_infos,
        keep_raw=options.keep_raw,
        preprocessed=bool(preprocess),
        postprocessed=bool(postprocess),
    )
    readers = BatchReader(action, bounded=True), BatchReader(env_action, bounded=True)
    return Assembly(
        spec=spec,
        schedule=schedule,
        executor=executor,
        recorder=history.open(spec),  # last, as it may create files
        layout=layout,
        preprocess=preprocess,
        postprocess=postprocess,
        read_actions=readers[0],
        read_env_actions=readers[1],
        render_mode=first.render_mode,
    )


def _check_numbers(options: AssemblyOptions) -> None:
    for what, value in (("n_envs", options.n_envs), ("workers", options.workers)):
        if value is not None and not is_count(value):
            raise ArgumentError(f"{what} must be a whole number of at least 1, not {value!r}.")
    seed = options.seed
    if seed is not None and not is_count(seed, least=0):
        raise ArgumentError(f"seed must be a whole number of at least 0, or None to draw one, not {seed!r}.")


def is_count(value: object, least: int = 1) -> bool:
    return isinstance(value, SupportsIndex) and not isinstance(value, bool) and operator.index(value) >= least


def _env_options(options: AssemblyOptions) -> dict[str, Any]:
    rendering = {} if options.render_mode is None else {"render_mode": options.render_mode}
    return {**options.env_options, **rendering}


def _history_format(history: str | HistoryKey[Any] | HistoryFormat[Any], plugins: Plugins) -> HistoryFormat[Any]:
    if isinstance(history, HistoryKey):
        history = history.name
    if isinstance(history, str):
        made: HistoryFormat[Any] = plugins.get("history_formats", history).make()
        return made
    if not callable(getattr(history, "open", None)) or isinstance(history, type):
        raise ArgumentError(f"history must be a name, a HistoryKey or a HistoryFormat object, not {history!r}.")
    return history


def _listed(processors: Sequence[Named[T]], what: str) -> Sequence[Named[T]]:
    if isinstance(processors, str) or not isinstance(processors, Sequence):
        raise ArgumentError(
            f"{what} must be a list of names and objects, such as [{processors!r}], not {processors!r}."
        )
    return processors


def _named(processor: Named[T], kind: Kind, plugins: Plugins) -> tuple[str, T]:
    if isinstance(processor, str):
        return processor, plugins.get(kind, processor).make()
    if isinstance(processor, type) or not callable(processor) or not callable(getattr(processor, "bind", None)):
        raise ArgumentError(f"A processor must be a name or an object with bind and __call__, not {processor!r}.")
    return type(processor).__name__, processor


def _check_equal(facts: Sequence[EnvFacts]) -> None:
    """All envs of a runner share the columns of a block, so that they need equal spaces."""
    for i, fact in enumerate(facts):
        for what in ("observation_space", "action_space"):
            own, first = getattr(fact, what), getattr(facts[0], what)
            if not isinstance(own, Space):
                raise SpaceError(f"Env {i} has no gymnasium Space as its {what}, but {own!r}.")
            if own != first:
                raise SpaceError(
                    f"All envs of a runner need the same {what}: that of env {i} is {own}, that of env 0 is {first}. "
                    "Use a runner for each kind of env."
                )
