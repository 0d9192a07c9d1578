"""What runs in an actor: a runner of one env, which makes units one after another."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import cloudpickle  # type: ignore[import-untyped]
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import EnvKey, GymRunner, default_registry
from runnerkit.errors import ArgumentError, EnvError, RolloutError
from runnerkit.executors import SeedSchedule
from runnerkit.history import Block, EpisodeStart, RunSpec
from runnerkit.processors import SupportsStateDict
from runnerkit.typing import AnyEnv, EpisodeSchedule
from runnerkit_ray.agents import SupportsSetWeights, placed
from runnerkit_ray.data import UnitData, data_of
from runnerkit_ray.units import Unit

__all__ = ["EpisodeActor", "Hello", "Recipe"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an actor makes its runners: the arguments of `GymRunner`.

    Attributes:
        env: what makes an env.
        seed: the seed of the run.
        n_envs: the number of envs of the run. A runner of an actor has one of them.
        options: the options of `GymRunner`.

    """

    env: Any
    seed: int
    n_envs: int
    options: Mapping[str, Any]

    @property
    def is_list(self) -> bool:
        """Whether each env has a function of its own."""
        return isinstance(self.env, Sequence) and not isinstance(self.env, str)

    @property
    def schedule(self) -> EpisodeSchedule | None:
        """The user's schedule."""
        return cast("EpisodeSchedule | None", self.options.get("schedule"))


@dataclass(frozen=True, slots=True)
class Hello:
    """What an actor tells as it begins.

    Attributes:
        pid: its process.
        node: the machine it is on.
        spec: what its runner is.

    """

    pid: int
    node: str
    spec: RunSpec


class EpisodeActor:
    """Makes units. It keeps one runner per env of which it has made a unit.

    Args:
        recipe: how to make the runners, pickled, as each needs processors of its own.
        paths: where the driver finds modules. Those that are on this machine, too, are searched here.

    """

    def __init__(self, recipe: bytes, paths: Sequence[str]) -> None:
        sys.path += [path for path in paths if path not in sys.path and os.path.isdir(path)]
        self._recipe = recipe
        self._lanes: dict[int, _Lane] = {}

    def hello(self, env_index: int) -> Hello:
        """Make the first runner, and tell what it is."""
        lane = self._lane(env_index)
        return Hello(os.getpid(), os.uname().nodename, lane.spec)

    def answer(self) -> None:
        """Show that the actor is there."""

    def play(self, unit: Unit, agent: NDArray[Any], weights: Mapping[str, NDArray[Any]] | None) -> UnitData:
        """Make a unit. The agent is made anew, so that a unit does not depend on those before it."""
        chosen = cloudpickle.loads(agent.data)
        if weights is not None:
            cast(SupportsSetWeights, chosen).set_weights(weights)
        return self._lane(unit.env_index).play(unit, chosen)

    def close(self) -> None:
        """Close the envs."""
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            lane.runner.close()

    def _lane(self, env_index: int) -> _Lane:
        if env_index not in self._lanes:
            self._lanes[env_index] = _Lane(cloudpickle.loads(self._recipe), env_index)
        return self._lanes[env_index]


class _Lane:
    """A runner of one env of the run, whose episodes begin wherever a unit does."""

    def __init__(self, recipe: Recipe, env_index: int) -> None:
        self._recipe, self._env_index = recipe, env_index
        self.blocks = _Blocks()
        self._starts = _Starts(recipe, env_index)
        options: dict[str, Any] = {"executor": "serial", **recipe.options, "schedule": self._starts}
        env = _env_of(recipe, env_index)
        self.runner: GymRunner[Any, Any, _Whole] = _OfOneEnv(env, recipe.seed, history=self.blocks, **options)
        try:
            for kind in ("preprocessors", "postprocessors", "reward_processors"):
                for processor in getattr(self.runner, kind):
                    _check_addressable(processor)
        except BaseException:
            self.runner.close()
            raise

    @property
    def spec(self) -> RunSpec:
        """What the runner is. No name stands for the envs of a list, as each has a function of its own."""
        spec = self.blocks.spec
        return replace(spec, made_by=replace(spec.made_by, env_id="")) if self._recipe.is_list else spec

    def play(self, unit: Unit, agent: Any) -> UnitData:
        self._starts.turn_to(unit.first)
        told = placed(agent, self._recipe.seed, self._recipe.n_envs, unit.env_index, self._starts.shift)
        try:
            (whole,) = self.runner.rollout(cast(Any, told), episodes=unit.episodes)
        except RolloutError as error:
            error.histories = []  # blocks of an unfinished unit, which is no unit
            if isinstance(error, EnvError):
                error.env_index, error.course = unit.env_index, None
                if error.episode_index is not None:
                    error.episode_index += self._starts.shift
            raise
        return data_of(whole.block, unit, self._starts.shift, own_schedule=self._recipe.schedule is not None)


class _Starts:
    """The schedule of a lane: its episodes begin as those of the run do, from wherever it was turned to."""

    def __init__(self, recipe: Recipe, env_index: int) -> None:
        self._schedule: EpisodeSchedule = recipe.schedule or SeedSchedule(recipe.seed)
        self._env_index, self._next = env_index, 0
        self.shift: int = 0
        """How much higher than in the lane's runner the episodes count in the run."""

    def turn_to(self, episode_index: int) -> None:
        """Let the next episode be this one."""
        self.shift = episode_index - self._next

    def __call__(self, env_index: int, episode_index: int, /) -> EpisodeStart:
        del env_index
        self._next = episode_index + 1
        return self._schedule(self._env_index, episode_index + self.shift)


class _Whole:
    """A history that is a block, with all that it has."""

    def __init__(self, block: Block) -> None:
        self.block: Block = block
        self.faults: object = block.faults
        self.infos: object = block.log.infos


class _Blocks:
    """A history format whose histories are the blocks themselves, for the format of the driver."""

    spec: RunSpec

    def open(self, spec: RunSpec, /) -> _Blocks:
        self.spec = spec
        return self

    def finish(self, block: Block, /) -> list[_Whole]:
        return [_Whole(block)]

    def close(self) -> None:
        """Nothing is open."""


class _OfOneEnv(GymRunner[Any, Any, _Whole]):
    """A runner whose env is no vector env.

    It leaves `make_env` alone: a runner that overrides it takes no wrappers, and its data cannot be replayed without
    `env=`.
    """

    @override
    def _maker(self) -> Callable[[int | None, int], AnyEnv]:
        return functools.partial(_single, super()._maker(), self.env_id)


def _single(make: Callable[[int | None, int], object], env_id: str, seed: int | None, env_index: int) -> AnyEnv:
    env = make(seed, env_index)
    if isinstance(env, VectorEnv):
        env.close()
        raise ArgumentError(
            f"RayRunner needs single envs, but {env_id} is a vector env ({type(env).__name__}). A unit has whole "
            "episodes of one env, each with its own seed, and a vector env steps and resets its envs together. Let the "
            "factory make one gymnasium.Env (or leave out 'vector:'), and say how many with n_envs. To roll out the "
            "vector env, use runnerkit.make, in one process."
        )
    return cast(AnyEnv, env)


def _check_addressable(processor: object) -> None:
    if isinstance(processor, SupportsStateDict) and not getattr(processor, "is_frozen", False):
        raise ArgumentError(
            f"{type(processor).__name__} has running statistics, which would depend on what an actor did before. "
            "Freeze it (Normalize has freeze() and frozen()), or normalize in the learner."
        )


# ---- envs


def _env_of(recipe: Recipe, env_index: int) -> Any:
    """Return what makes this env in a runner of one env, told what it would be told in a runner of all."""
    env, tell = recipe.env, functools.partial(_telling, recipe, env_index)
    if isinstance(env, EnvKey):
        env = env.name
    if isinstance(env, str):
        return _of_family(recipe, env_index, env) if env_index else env
    return tell(env[env_index] if recipe.is_list else env)


def _of_family(recipe: Recipe, env_index: int, env_id: str) -> Any:
    """Return what asks the factory of a plugin, which may make another env for each index; or the id of one env."""
    family, colon, name = env_id.partition(":")
    registry = default_registry
    registry.discover()
    offer = registry.env_factories.get(family) if colon else None
    if offer is None:
        return env_id
    factory, seed = offer.make(), SeedSchedule(recipe.seed).env_seed(env_index)
    asked, facts = inspect.signature(factory).parameters, {"env_index": env_index, "n_envs": recipe.n_envs}
    told = {fact: value for fact, value in facts.items() if fact in asked}

    def made(_: int | None, **given: Any) -> Any:
        return factory(name, seed=seed, **{**told, **given})

    return made


def _telling(recipe: Recipe, env_index: int, make: Callable[..., Any]) -> Callable[..., Any]:
    seed = SeedSchedule(recipe.seed).env_seed(env_index)
    facts = {"env_index": env_index, "n_envs": recipe.n_envs}

    @functools.wraps(make)
    def made(_: int | None, **given: Any) -> Any:
        return make(seed, **{name: facts.get(name, value) for name, value in given.items()})

    return made
