"""Where a runner stands, as plain values, and a runner that goes on from there.

A running episode is saved as its seed and its actions: the envs make it once more when it is loaded. Envs that have
snapshots of their own are brought there by these instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runnerkit._core.comparing import exact
from runnerkit._core.faults import describe
from runnerkit._rollout.assembly import Assembly, Blueprint
from runnerkit._rollout.env_states import EnvStates
from runnerkit.agents import SupportsBeginEpisodes, SupportsSetActiveEnvs
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.executors.base import Executor
from runnerkit.executors.env_calls import EnvCall, SupportsEnvCalls
from runnerkit.executors.reexecution import Course, re_execute
from runnerkit.executors.step_faults import StepFaultsError, first_fault
from runnerkit.history.block import Block
from runnerkit.history.npz.codec import decode, encode
from runnerkit.processors.base import (
    SupportsEpisodeState,
    SupportsNoteActions,
    SupportsSetContext,
    SupportsStateDict,
)
from runnerkit.records import EpisodeStart

__all__ = ["load_state", "state_of"]

_VERSION: Final = 1
_KINDS: Final = ("preprocessors", "postprocessors", "reward_processors")
_TOLD: Final = (SupportsBeginEpisodes, SupportsSetActiveEnvs, SupportsNoteActions)
"""What processors are told from which they make state of running episodes."""
_NOTE: Final = "It failed as the episode was made once more to load the state of the runner."


def state_of(blueprint: Blueprint, parts: Assembly, standing: EnvStates) -> dict[str, Any]:
    """Return the state of a runner between two rollouts."""
    return {
        "version": _VERSION,
        **_identity(blueprint, parts),
        "steps": standing.steps,
        "restarts": [0] * parts.spec.n_envs if standing.restarts is None else standing.restarts.state(),
        "schedule": _state(blueprint.config.schedule, "the schedule"),
        "processors": {
            kind: [_processor_state(part.title, part.thing) for part in getattr(blueprint, kind)] for kind in _KINDS
        },
        "envs": _env_states(parts, standing),
    }


def load_state(blueprint: Blueprint, parts: Assembly, standing: EnvStates, state: Mapping[str, Any]) -> None:
    """Bring a runner where another one of the same parts stood."""
    _check(_identity(blueprint, parts), state)
    saved: Sequence[Mapping[str, Any]] = state["envs"]
    standing.abandon()
    try:
        _go_there(parts, standing, saved, state["restarts"])
        for kind in _KINDS:
            for part, own in zip(getattr(blueprint, kind), state["processors"][kind], strict=True):
                _load_processor(part.thing, decode(own))
        if state["schedule"] is not None:
            _loaded(blueprint.config.schedule, decode(state["schedule"]))
    except BaseException:
        standing.abandon()
        raise
    standing.steps = state["steps"]


# ---- who it is


def _identity(blueprint: Blueprint, parts: Assembly) -> dict[str, Any]:
    """Return what must be equal where a state is loaded. Executors, formats and versions may differ."""
    spec = parts.spec
    records = [part for part in spec.made_by.parts if part.kind not in ("executor", "history format")]
    return {
        "env_id": blueprint.env_id,
        "n_envs": spec.n_envs,
        "seed": spec.seed,
        "env_observation_space": str(spec.env_observation_space),
        "env_action_space": str(spec.env_action_space),
        "parts": [f"{part.kind} {part.name} {dict(part.options)}" for part in records],
    }


def _check(mine: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    given: object = state  # the value may differ from the annotation
    if not isinstance(given, Mapping) or state.get("version") != _VERSION or not _is_whole(mine, state):
        raise ArgumentError("load_state_dict needs what state_dict() of this version of RunnerKit returned.")
    for what, own in mine.items():
        saved = state[what]
        if saved == own:
            continue
        if what == "parts":
            different = [f"{part!r} is missing" for part in saved if part not in own]
            different += [f"{part!r} was not there" for part in own if part not in saved]
            raise ArgumentError(
                f"The state is of a runner of other parts: {'; '.join(different) or 'their order differs'}. Build the "
                "runner of the same parts with the same options."
            )
        raise ArgumentError(
            f"The state is of a runner whose {what} is {saved!r}, but this one's is {own!r}. Build the runner with the "
            "same."
        )


def _is_whole(mine: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Return whether a state has all that `state_of` writes, so that nothing is found missing halfway."""
    if not {*mine, "steps", "restarts", "schedule", "processors", "envs"} <= state.keys():
        return False
    kinds, envs, numbers = state["processors"], state["envs"], [state["steps"]]
    for name in ("parts", "restarts", "envs"):
        if not isinstance(state[name], list):
            return False
    numbers += state["restarts"]
    return (
        all(type(number) is int and number >= 0 for number in numbers)
        and len(envs) == len(state["restarts"]) == state["n_envs"]
        and all(isinstance(env, Mapping) and {"running", "episode_index"} <= env.keys() for env in envs)
        and isinstance(kinds, Mapping)
        and all(isinstance(kinds.get(kind), list) for kind in _KINDS)
    )


# ---- envs


def _env_states(parts: Assembly, standing: EnvStates) -> list[dict[str, Any]]:
    running = [i for i, env in enumerate(standing.envs) if env.running]
    if running and standing.trail is None:
        raise ArgumentError(
            f"The state cannot be saved while {_where(standing, running[0])} runs: a vector env cannot be brought back "
            "into the middle of an episode. Save it after rollout(episodes=...), or use single envs."
        )
    # where envs are made anew, lost ones are brought back by their actions, so that these must be known
    snapshots = {} if standing.restarts is not None else _snapshots(parts, running)
    return [_env_state(parts, standing, i, snapshots.get(i)) for i in range(len(standing.envs))]


def _snapshots(parts: Assembly, env_indices: Sequence[int]) -> dict[int, Sequence[Any] | None]:
    """Return the snapshots of envs that have them, layer by layer."""
    executor = parts.executor
    if not isinstance(executor, SupportsEnvCalls):
        return {}
    try:
        snapshots = executor.call_envs(EnvCall("snapshot"), env_indices)
    except EnvError as error:
        if error.__cause__ is None or isinstance(error.__cause__, EnvError):
            return {}  # a process has died, so that nobody can be asked; the actions are here
        raise
    return dict(zip(env_indices, snapshots, strict=True))


def _env_state(parts: Assembly, standing: EnvStates, i: int, snapshot: Sequence[Any] | None) -> dict[str, Any]:
    """Return where an env stands."""
    env, where = standing.envs[i], _where(standing, i)
    found: dict[str, Any] = {"running": env.running, "episode_index": env.episode_index}
    if not env.running:
        return found
    raw, observations = standing.last_observations(i)
    what = f"An observation of {where}"
    found |= {
        "seed": env.start.seed,
        "options": _encoded(env.start.options, f"The reset options of {where}"),
        "steps": env.steps,
        "return": encode(env.return_),
        "untold": i in standing.untold,
        "digest": _digest(raw),
        "observations": [_encoded(value, what) for value in observations] if parts.layout.preprocessed else None,
    }
    if snapshot is not None and (env.start.seed is not None or i not in standing.untold):
        state = [_encoded(layer, f"The snapshot of {where}") for layer in snapshot]
        return {**found, "snapshot": state, "raw": [_encoded(value, what) for value in raw]}
    assert standing.trail is not None
    actions = standing.trail.last(i, env.steps)
    if actions is None:
        raise ArgumentError(
            f"The state cannot be saved: {where} has {env.steps} steps, and only 256 MiB of actions are kept. Save it "
            "earlier, give the env a time limit (gymnasium.wrappers.TimeLimit), or give it the methods of "
            "runnerkit.typing.SupportsSnapshot."
        )
    if env.start.seed is None:
        raise ArgumentError(
            f"The state cannot be saved while {where} runs: its schedule gave it no seed. Let the schedule return "
            "EpisodeStart(seed=...)."
        )
    return {**found, "actions": [_encoded(column, f"An action of {where}") for column in actions]}


def _where(standing: EnvStates, i: int) -> str:
    return f"episode {standing.envs[i].episode_index} of env {i}"


def _go_there(
    parts: Assembly, standing: EnvStates, saved: Sequence[Mapping[str, Any]], restarts: Sequence[int]
) -> None:
    """Make the running episodes once more."""
    courses = {i: _course(one) for i, one in enumerate(saved) if one["running"]}
    if courses and standing.trail is None:
        raise ArgumentError(
            "The state has running episodes, into which a vector env cannot be brought. Use single envs."
        )
    snapshots = {i: saved[i]["snapshot"] for i in courses if "snapshot" in saved[i]}
    if snapshots and standing.restarts is not None:
        raise ArgumentError(
            "The state has snapshots of the envs, but on_env_error='restart' needs the actions of running episodes. "
            "Load it in a runner without, or save it in one with on_env_error='restart'."
        )
    executor, block = parts.executor, parts.block(1, window=True)
    executor.attach(block)
    try:
        try:
            rewards = _rewards(executor, block, courses, saved)
        except StepFaultsError as faults:
            if standing.restarts is None:
                raise
            standing.restarts.revive(faults)  # such as those of a helper that died meanwhile
            executor.drain()
            rewards = _rewards(executor, block, courses, saved)
        for i, one in enumerate(saved):
            env = standing.envs[i]
            env.begin(one["episode_index"], EpisodeStart())
            env.running = one["running"]
            if not env.running:
                continue
            course = courses[i]
            env.begin(course.episode_index, course.start)
            env.steps, env.return_ = one["steps"], decode(one["return"])
            raw = [column[block.raw_row(course.steps), i] for column in block.raw]
            if i in snapshots:
                raw = [decode(value) for value in one["raw"]]
            if _digest(raw) != one["digest"]:
                raise _other(i, one, "its observation is another one")
            standing.put_observations(i, raw, [decode(value) for value in one["observations"] or ()])
        _restore(parts, snapshots, saved)
        standing.untold = [i for i in courses if saved[i]["untold"]]
        standing.reset_infos = [entry for entry in executor.drain().reset_infos if entry[0] in standing.untold]
    except StepFaultsError as faults:
        first = first_fault(faults.faults)
        first.add_note(_NOTE)
        raise first from faults
    except EnvError as error:
        error.add_note(_NOTE)
        raise
    finally:
        executor.drain()
        executor.attach(None)
    if standing.trail is None:
        return
    columns = standing.trail.load({i: course for i, course in courses.items() if i not in snapshots})
    if standing.restarts is not None:
        for i, course in courses.items():  # to end in the last row, as the actions
            rewards[:, i] = np.roll(rewards[:, i], len(rewards) - course.steps)
        standing.restarts.load(restarts, courses, columns, rewards)


def _rewards(
    executor: Executor, block: Block, courses: Mapping[int, Course], saved: Sequence[Mapping[str, Any]]
) -> NDArray[np.float64]:
    """Make the running episodes once more, and return their rewards, `[T, N]`."""
    rewards = np.zeros((max((course.steps for course in courses.values()), default=0), block.n_envs))
    for t, ended in re_execute(executor, block, courses):
        if t:
            rewards[t - 1] = block.rewards[block.at(t - 1)]
        for i in ended:
            raise _other(i, saved[i], f"it ended after {t} steps")
    return rewards


def _course(saved: Mapping[str, Any]) -> Course:
    start = EpisodeStart(saved["seed"], decode(saved["options"]))
    if "snapshot" in saved:  # no step is made once more
        return Course(saved["episode_index"], start, (), 0)
    return Course(saved["episode_index"], start, [decode(column) for column in saved["actions"]], saved["steps"])


def _restore(parts: Assembly, snapshots: Mapping[int, Any], saved: Sequence[Mapping[str, Any]]) -> None:
    """Bring envs to where their snapshots were taken."""
    if not snapshots:
        return
    executor = parts.executor
    if not isinstance(executor, SupportsEnvCalls):
        raise ArgumentError(
            f"The state has snapshots of the envs, which {type(executor).__name__} cannot hand to them. Use 'serial', "
            "'threads' or 'processes'."
        )
    for i, state in snapshots.items():
        executor.call_envs(EnvCall("restore", args=([decode(layer) for layer in state],)), [i])
    for i, layers in _snapshots(parts, [*snapshots]).items():
        if layers is None or exact(layers) != exact([decode(layer) for layer in snapshots[i]]):
            raise _other(i, saved[i], "its snapshot after restore() is another one")


def _other(i: int, saved: Mapping[str, Any], what: str) -> ArgumentError:
    return ArgumentError(
        f"Env {i} does not come where it stood: once more, episode {saved['episode_index']} (seed {saved['seed']}) "
        f"goes another way: after {saved['steps']} steps, {what}. Either the env is made in another way (options, "
        "wrappers, versions), or it is not a function of its seed (`runnerkit replay --check` says how)."
    )


def _digest(values: Sequence[Any]) -> str:
    """Return a text that depends on every bit of an observation."""
    return hashlib.sha256(repr([exact(value) for value in values]).encode()).hexdigest()


# ---- parts with state


def _processor_state(title: str, processor: object) -> dict[str, Any]:
    """Return the statistics of a processor, and its state of running episodes."""
    what = f"processor {title}"
    has_both = isinstance(processor, SupportsStateDict), isinstance(processor, SupportsEpisodeState)
    if isinstance(processor, SupportsSetContext) and not any(has_both):
        raise ArgumentError(f"The state cannot be saved: {what} knows its runner (set_context). {_ADD}")
    if isinstance(processor, _TOLD) and not has_both[1]:
        raise ArgumentError(f"The state cannot be saved: {what} has state of running episodes. {_ADD}")
    return {
        "statistics": _state(processor, what),
        "episodes": _encoded(processor.episode_state(), f"The state of {what}")
        if isinstance(processor, SupportsEpisodeState)
        else None,
    }


_ADD: Final = (
    "Add episode_state() and load_episode_state(state), and state_dict() and load_state_dict(state) for what outlives "
    "episodes, such as a random generator."
)


def _load_processor(processor: object, state: Mapping[str, Any]) -> None:
    if isinstance(processor, SupportsStateDict) and state["statistics"] is not None:
        processor.load_state_dict(state["statistics"])
    if isinstance(processor, SupportsEpisodeState) and state["episodes"] is not None:
        processor.load_episode_state(state["episodes"])


def _state(part: object, what: str) -> Any:
    if not isinstance(part, SupportsStateDict):
        return None
    return _encoded(part.state_dict(), f"The state of {what}")


def _loaded(part: object, state: Any) -> None:
    if not isinstance(part, SupportsStateDict):
        raise ArgumentError("The state has one of the schedule, but this runner's schedule has no load_state_dict.")
    part.load_state_dict(state)


def _encoded(value: object, what: str) -> Any:
    try:
        return encode(value)
    except TypeError as error:
        raise ArgumentError(f"{what} cannot be saved: {describe(error)}.") from error
