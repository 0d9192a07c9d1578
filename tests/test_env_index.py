"""Which env a factory makes: it is told, on every executor, whatever kind of factory it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit import Contribution, GymRunner, Registry, hookimpl
from runnerkit.errors import ArgumentError, EnvError, PluginError
from runnerkit.executors import SerialExecutor
from runnerkit.typing import AnyEnv

EXECUTORS = ["serial", "threads", "processes", "auto"]


class Numbered(gymnasium.Env[NDArray[np.float32], np.int64]):
    """An env whose reward is its number."""

    observation_space: gymnasium.Space[NDArray[np.float32]] = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space: gymnasium.Space[np.int64] = gymnasium.spaces.Discrete(2)

    def __init__(self, number: float = -1.0) -> None:
        self.number = number

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(1, np.float32), {}

    @override
    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), self.number, False, False, {}


class Zero:
    def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.zeros(len(observations), np.int64)


def numbers(runner: GymRunner[Any, Any, Any]) -> list[float]:
    with runner:
        return [float(history.rewards[0]) for history in runner.rollout(Zero(), steps=1)]


def by_function(seed: int | None, env_index: int = -1, n_envs: int = 0) -> AnyEnv:
    del seed
    return Numbered(env_index + n_envs / 10)


def by_factory(env_id: str, /, *, seed: int | None, env_index: int = -1, **options: Any) -> AnyEnv:
    del env_id, seed, options
    return Numbered(env_index)


class OwnEnvs(GymRunner[Any, Any, Any]):
    @override
    def make_env(self, seed: int | None = None) -> AnyEnv:
        return super().make_env(seed)


class Plugin:
    @hookimpl.env_factories
    def env_factories(self) -> list[Contribution[Any]]:
        return [Contribution("numbered", by_factory)]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_function_is_told_which_env_it_makes_and_of_how_many(executor: str) -> None:
    assert numbers(runnerkit.make(by_function, n_envs=4, executor=executor)) == [0.4, 1.4, 2.4, 3.4]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_factory_of_a_plugin_is_told_which_env_it_makes(executor: str) -> None:
    registry = Registry()
    registry.register(Plugin())
    assert numbers(registry.build("numbered:any", n_envs=4, executor=executor)) == [0, 1, 2, 3]


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_an_overridden_make_env_may_ask_for_the_same_env(executor: str) -> None:
    assert numbers(OwnEnvs(by_function, n_envs=3, executor=executor)) == [0.3, 1.3, 2.3]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_list_of_functions_makes_one_env_each(executor: str) -> None:
    functions: list[Callable[[int | None], AnyEnv]] = [
        lambda seed: Numbered(7),
        lambda seed: Numbered(8),
        lambda seed: Numbered(9),
    ]
    assert numbers(GymRunner(functions, executor=executor)) == [7, 8, 9]  # type: ignore[call-overload, unused-ignore]


def test_a_list_of_another_length_than_n_envs_is_refused() -> None:
    with pytest.raises(ArgumentError, match="A list of factories has one per env, but there are 2 for n_envs=3"):
        GymRunner([by_function] * 2, n_envs=3)  # type: ignore[call-overload, unused-ignore]


def test_options_come_before_what_the_runner_would_tell() -> None:
    assert numbers(runnerkit.make(by_function, n_envs=2, env_options={"env_index": 5, "n_envs": 0})) == [5, 5]


# ---- executors that are no names


class Stopwatch(SerialExecutor):
    """Steps as serial does."""


@pytest.mark.parametrize("executor", [Stopwatch, Stopwatch(2), lambda n_envs, workers: Stopwatch(n_envs, workers)])
def test_an_executor_may_be_an_object_a_class_or_a_function(executor: Any) -> None:
    with runnerkit.make("CartPole-v1", seed=0, n_envs=2, executor=executor) as runner:
        mine = runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=20)
        assert runner.executor_report.chosen in ("Stopwatch", "<lambda>")
    with runnerkit.make("CartPole-v1", seed=0, n_envs=2, executor="serial") as runner:
        plain = runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=20)
    assert all(np.array_equal(a.observations, b.observations) for a, b in zip(mine, plain, strict=True))


def test_an_executor_that_makes_envs_in_the_calling_thread_leaves_vector_envs_to_the_runner() -> None:
    with runnerkit.make("vector:CartPole-v1", n_envs=2, executor=Stopwatch) as runner:
        assert runner.executor_report.chosen == "vector"
    with pytest.raises(ArgumentError, match="there cannot be executor='threads'"):
        runnerkit.make("vector:CartPole-v1", n_envs=2, executor="threads")


def test_a_registry_of_its_own_looks_for_vector_envs_in_its_own_plugins() -> None:
    registry = Registry()
    registry.register(Plugin())
    with pytest.raises(LookupError, match="Factories of plugins: vector:, numbered:"):
        registry.build("vector:Nope-v0")


# ---- who is to blame


class NoWorkers:
    def __init__(self, n_envs: int, workers: int | None) -> None:
        self._inside = SerialExecutor(n_envs, workers)

    def __getattr__(self, name: str) -> Any:
        if name == "workers":
            raise AttributeError(name)
        return getattr(self._inside, name)


def broken(env_id: str, /, *, seed: int | None, **options: Any) -> AnyEnv:
    raise ValueError("no licence")


def failing(n_envs: int, workers: int | None) -> SerialExecutor:
    raise ValueError("no cluster")


class Faulty:
    @hookimpl.env_factories
    def env_factories(self) -> list[Contribution[Any]]:
        return [Contribution("broken", broken)]

    @hookimpl.executors
    def executors(self) -> list[Contribution[Any]]:
        lazy: Any = NoWorkers
        return [Contribution("lazy", lazy), Contribution("failing", failing)]


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_a_factory_that_raises_is_named_with_its_plugin(executor: str) -> None:
    registry = Registry()
    registry.register(Faulty(), name="faulty")
    said = "Env 0 could not be made by env factory broken of plugin faulty: ValueError: no licence"
    with pytest.raises(EnvError, match=said) as caught:
        registry.build("broken:any", executor=executor)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("executor", "said"),
    [
        ("lazy", "executor lazy of plugin faulty: Executor NoWorkers has no attribute 'workers'"),
        ("failing", "executor failing of plugin faulty could not be made: ValueError: no cluster"),
    ],
)
def test_an_executor_that_cannot_be_is_named_with_its_plugin(executor: str, said: str) -> None:
    registry = Registry()
    registry.register(Faulty(), name="faulty")
    with pytest.raises(PluginError, match=said):
        registry.build("CartPole-v1", executor=executor)


@pytest.mark.parametrize("make", [lambda n_envs: None, lambda env_index: None])
def test_a_factory_whose_first_parameter_is_not_the_seed_is_refused(make: Any) -> None:
    with pytest.raises(ArgumentError, match="first argument of an env factory is the seed"):
        GymRunner(make, n_envs=2)


@pytest.mark.parametrize("make", [lambda: None, lambda seed, port: None, lambda *, seed: None])
def test_a_factory_that_cannot_be_called_with_the_seed_alone_is_refused(make: Any) -> None:
    with pytest.raises(
        ArgumentError, match=r"called with the seed, .* has the parameters \(.*Write it as `lambda seed"
    ):
        GymRunner(make)
