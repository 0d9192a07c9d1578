"""Spare envs: whether a runner can have them, and how its episodes will probably begin."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Final, cast

from runnerkit._core.faults import describe
from runnerkit._core.types import AnyEnv
from runnerkit._envs.resolve import EnvMaker
from runnerkit._rollout.config import RunnerConfig
from runnerkit.errors import ArgumentError
from runnerkit.executors.base import Executor, SupportsSpareEnvs
from runnerkit.executors.processes.transport import twin
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.executors.spares import MakeWithSpares
from runnerkit.records import EnvFacts, EpisodeSchedule

__all__ = ["check_repeatable", "check_takes_spares", "with_spares"]

_WAY_OUT: Final = "Leave spare_envs out, or, if you know better, pass repeatable=True."


def check_takes_spares(executor: Executor, config: RunnerConfig) -> None:
    """Raise ArgumentError if the envs of an executor cannot have spares."""
    if config.run.spare_envs and not (isinstance(executor, SupportsSpareEnvs) and executor.takes_spare_envs):
        raise ArgumentError(
            f"spare_envs needs executor='threads', 'processes', 'serial' or 'auto', not {config.executor_name!r}. Use "
            "one of these, or leave spare_envs out; min_batch, too, lets other envs go on while one is reset."
        )


def with_spares(make_env: Callable[[int], AnyEnv], config: RunnerConfig) -> Callable[[int], AnyEnv]:
    """Return what makes envs that have spares."""
    schedule: EpisodeSchedule = SeedSchedule(config.run.seed)
    if config.schedule is not None:
        try:
            schedule = twin(config.schedule)  # the schedule itself may be a curriculum, and is asked only in order
        except Exception as error:
            raise ArgumentError(
                f"spare_envs asks a copy of the schedule which episodes come next, but it cannot be copied: "
                f"{describe(error)}. Leave spare_envs out, or let the schedule hold only what can be pickled."
            ) from error
    return MakeWithSpares(make_env, config.run.spare_envs, schedule)


def check_repeatable(make_env: EnvMaker, config: RunnerConfig, facts: Sequence[EnvFacts]) -> None:
    """Raise ArgumentError if spares would change the data of these envs, or open windows."""
    if facts[0].render_mode == "human":
        raise ArgumentError(
            "spare_envs cannot be combined with render_mode='human': each spare would open a window of its own. Use "
            "render_mode='rgb_array', which rollout(render=True) shows in one window, or leave spare_envs out."
        )
    if config.run.repeatable:
        return
    if config.run.repeatable is False:
        raise ArgumentError("spare_envs needs a repeatable env, but repeatable=False says that it is none.")
    from runnerkit._envs.elsewhere import end_processes, process_ids  # which few runners need

    is_kept = bool(process_ids())
    try:
        _check_episodes(make_env, config)
    finally:
        if not is_kept:
            end_processes()


def _check_episodes(make_env: EnvMaker, config: RunnerConfig) -> None:
    from runnerkit._envs.repeatable import depends_on_apart

    own_factories = isinstance(config.env, Sequence) and not isinstance(config.env, str)
    for i in range(config.n_envs if own_factories else 1):
        try:
            found = depends_on_apart(functools.partial(_make, make_env, i), infos=config.run.keep_infos)
        except ArgumentError as error:
            raise ArgumentError(f"spare_envs: {error} {_WAY_OUT}") from error
        if found:
            findings = " ".join(str(one) for one in found)
            raise ArgumentError(
                "spare_envs needs an env whose episodes are functions of their seed and their actions, but this one is "
                f"none. {findings} {_WAY_OUT}"
            )


def _make(make_env: EnvMaker, env_index: int, seed: int | None) -> AnyEnv:
    return cast(AnyEnv, make_env(seed, env_index))  # a vector env was refused before
