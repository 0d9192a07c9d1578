"""Extra columns: what an agent returns beside its actions belongs to the rows of these actions, in every history."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import SampleEnv
from gymnasium import spaces
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit import GymRunner, RandomAgent, gae, stack
from runnerkit.errors import AgentError, ArgumentError
from runnerkit.history.block import Block
from runnerkit.testing import check_agent

Obs = NDArray[np.float32]
Answer = tuple[NDArray[np.int64], Mapping[str, Any]]

EXECUTORS: dict[str, dict[str, Any]] = {
    "serial": {"executor": "serial"},
    "threads": {"executor": "threads", "workers": 2},
    "processes": {"executor": "processes", "workers": 2},
}


class Actor:
    """Its columns tell to which observation each row belongs."""

    def act(self, observations: Obs) -> Answer:
        actions = (observations[:, 2] > 0).astype(np.int64)
        return actions, {
            "value": observations[:, 0].astype(np.float64),
            "logits": observations[:, :2],
            "old": actions > 0,
        }


def check(extras: Mapping[str, Any], observations: Any, actions: Any) -> None:
    """Compare columns with those of `Actor`, bit for bit."""
    assert list(extras) == ["value", "logits", "old"]
    wanted = observations[..., 0].astype(np.float64), observations[..., :2], actions > 0
    for given, expected in zip(extras.values(), wanted, strict=True):
        assert given.dtype == expected.dtype
        np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_columns_belong_to_the_rows_of_every_env(executor: str) -> None:
    with runnerkit.make("CartPole-v1", n_envs=3, seed=0, **EXECUTORS[executor]) as runner:
        rollouts = [runner.rollout(Actor(), steps=100), runner.rollout(Actor(), episodes=8)]
        runner.auto_reset = False  # envs are left out one after the other
        rollouts.append(runner.rollout(Actor(), steps=300))
        runner.auto_reset = True
        rollouts.append([batch.__copy__() for _, batch in zip(range(9), runner.stream(Actor(), steps=7), strict=False)])
    for history in [history for histories in rollouts for history in histories]:
        check(history.extras, history.observations, history.actions)
        for episode in history.split():
            check(episode.extras, episode.observations[:-1], episode.actions)


@pytest.mark.parametrize("steps", [1, 80])
def test_columns_of_envs_that_rest_have_no_rows_of_rests(steps: int) -> None:
    with runnerkit.make("vector:CartPole-v1", n_envs=3, seed=0) as runner:
        histories = [history for _ in range(3) for history in runner.rollout(Actor(), steps=steps)]
    for history in histories:
        check(history.extras, history.observations, history.actions)
    assert steps == 1 or min(map(len, histories)) < steps


class Breaks(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An env whose fifth step fails."""

    @override
    def step(self, action: Any) -> Any:
        self.made = getattr(self, "made", 0) + 1
        if self.made == 5:
            raise RuntimeError("broken")
        return super().step(action)


def test_a_step_that_failed_has_no_row() -> None:
    def make(seed: int | None) -> Any:
        return Breaks(gymnasium.make("CartPole-v1"))

    with runnerkit.make(make, n_envs=2, seed=0, executor="serial", on_env_error="restart") as runner:
        for history in runner.rollout(Actor(), steps=12):
            assert len(history) == 10
            check(history.extras, history.observations, history.actions)


def test_formats_have_the_same_columns(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")

    def roll(**options: Any) -> Any:
        with runnerkit.make("CartPole-v1", n_envs=2, seed=0, executor="serial", **options) as runner:
            return runner.rollout(Actor(), steps=40)

    wanted = roll()
    for history, tensors, steps in zip(wanted, roll(history="torch"), roll(history="transitions"), strict=True):
        assert tensors.extras["value"].dtype is torch.float64
        check({name: column.numpy() for name, column in tensors.extras.items()}, history.observations, history.actions)
        for t, step in enumerate(steps):
            assert list(step.extras) == list(history.extras)
            np.testing.assert_array_equal(step.extras["logits"], history.extras["logits"][t])


def test_files_have_the_same_columns(tmp_path: Any) -> None:
    with runnerkit.make("CartPole-v1", n_envs=2, seed=0, history=("npz", {"path": tmp_path / "runs"})) as runner:
        written: list[Any] = [history for _ in range(2) for history in runner.rollout(Actor(), steps=40)]
        plain: list[Any] = runner.rollout(lambda observations: [0, 1], steps=3)
        some, none = runner.rollout(Actor(), episodes=1)
    assert [(name, column.dtype, column.shape) for name, column in none.extras.items()] == [
        (name, column.dtype, (0, *column.shape[1:])) for name, column in some.extras.items()
    ]
    read = runnerkit.load(tmp_path / "runs")
    for history in (*written, *read[: len(read) - 3], read[len(read) - 1]):
        check(history.extras, history.observations, history.actions)
    assert [history.extras for history in (*plain, *read[len(read) - 3 : len(read) - 1])] == [{}] * 4


def test_columns_go_where_histories_go() -> None:
    seen: list[Any] = []
    with runnerkit.make("CartPole-v1", n_envs=2, seed=0) as runner:
        first, second = (runner.rollout(Actor(), steps=30, on_episode=lambda e: seen.append(e.history())) for _ in "ab")
        plain = runner.rollout(lambda observations: [0, 1], steps=30)
    for history in (stack(first), stack([second[1], first[0]]), pickle.loads(pickle.dumps(first[1])), *seen):
        check(history.extras, history.observations, history.actions)
    assert seen
    assert plain[0].extras == {}
    with pytest.raises(ArgumentError, match=r"the same extra columns, not 'value' \(float64 of shape \(\) per row\)"):
        stack([first[0], plain[1]])


def test_an_own_history_gets_columns_step_by_step() -> None:
    class Values(GymRunner[Any, Any, list[float]]):
        @override
        def process_transition(self, history: list[float] | None, transition: Any) -> list[float]:
            assert transition.extras["value"] == transition.observation[0]
            return [*(history or []), float(transition.extras["value"])]

    with Values("CartPole-v1", n_envs=2, seed=0) as runner:
        assert [len(values) for values in runner.rollout(Actor(), steps=9)] == [9, 9]


def zeros(observations: Any) -> Any:
    return np.zeros(len(observations), np.int64)


def late(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return an agent whose fourth answer is another one."""
    answers = 0

    def act(observations: Any) -> Any:
        nonlocal answers
        answers += 1
        columns = {"value": observations[:, 0]}
        return (zeros(observations), columns) if answers < 4 else change(observations)

    return act


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (late(zeros), r"column 'value' of agent act .* \(step 3 .*: it is missing, but was there at step 0"),
        (late(lambda o: (zeros(o), {})), "'value'.* is missing"),
        (late(lambda o: (zeros(o), {"value": o[:, 0], "v": o})), r"'v'.* is new: at step 0 there were \['value'\]"),
        (late(lambda o: (zeros(o), {"value": o[:1, 0]})), r"float32 of shape \(2,\), .* not float32 of shape \(1,\)"),
        (late(lambda o: (zeros(o), {"value": o[:, 0] * 1.0j})), r"must be float32 of shape \(2,\), as at step 0"),
        (late(lambda o: (zeros(o), {"value": [[1.0], [1.0, 2.0]]})), "NumPy cannot read it"),
        (lambda o: (zeros(o), {"value": o[0]}), r"it must have shape \(2, \.\.\.\), not \(4,\)"),
        (lambda o: (zeros(o), {"value": "high"}), "it must hold numbers or bools, not <U4"),
        (lambda o: (zeros(o), {"the value": o}), "must be an identifier"),
    ],
)
def test_columns_that_do_not_fit_are_refused(agent: Any, said: str) -> None:
    with (
        runnerkit.make("CartPole-v1", n_envs=2, seed=0, executor="serial") as runner,
        pytest.raises(AgentError, match=said) as caught,
    ):
        runner.rollout(agent, steps=9)
    assert "must return the same columns at each step" in str(caught.value)


@pytest.mark.parametrize("action", [spaces.Discrete(2), spaces.Dict({"a": spaces.Discrete(2)})], ids=["array", "dict"])
def test_columns_that_come_late_are_refused(action: spaces.Space[Any]) -> None:
    zero = [0, 0] if isinstance(action, spaces.Discrete) else {"a": [0, 0]}
    answers: list[Any] = [zero, zero, (zero, {"value": [0.0, 0.0]})]
    make = lambda seed: SampleEnv(spaces.Box(0, 1, (1,)), action)  # noqa: E731
    with (
        runnerkit.make(make, n_envs=2, seed=0, executor="serial") as runner,
        pytest.raises(AgentError, match=r"step 2 .* a pair of actions and extra columns.* from its first step on"),
    ):
        runner.rollout(lambda observations: answers.pop(0), steps=9)


BINARY = spaces.Discrete(2)
TWO: dict[str, spaces.Space[Any]] = {"a": spaces.Discrete(2)}
ACTIONS: dict[str, tuple[spaces.Space[Any], Any]] = {
    "pair with a dict": (spaces.Tuple((BINARY, spaces.Dict(TWO))), ([0, 1], {"a": [1, 0]})),
    "samples": (spaces.Tuple((BINARY, spaces.Dict(TWO))), [(0, {"a": 1}), (1, {"a": 0})]),
    "nested": (
        spaces.Tuple((spaces.Tuple((BINARY, spaces.Dict(TWO))), spaces.Dict(TWO))),
        (([0, 1], {"a": [1, 0]}), {"a": [1, 0]}),
    ),
    "pair": (spaces.Tuple((BINARY, BINARY)), ([0, 1], [1, 0])),
    "dict": (spaces.Dict(TWO), {"a": [1, 0]}),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_tuples_of_actions_are_no_columns(name: str) -> None:
    space, actions = ACTIONS[name]
    make = lambda seed: SampleEnv(spaces.Box(0, 1, (1,)), space)  # noqa: E731
    with runnerkit.make(make, n_envs=2, seed=0, executor="serial", history="transitions") as runner:
        plain = runner.rollout(lambda observations: actions, steps=1)
        both = runner.rollout(lambda observations: (actions, {"a": [5, 7]}), steps=1)
    assert [steps[0].action for steps in both] == [steps[0].action for steps in plain]
    assert [steps[0].extras for steps in plain] == [{}, {}]
    assert [steps[0].extras for steps in both] == [{"a": 5}, {"a": 7}]


def test_values_of_the_agent_serve_gae() -> None:
    asked: list[int] = []

    def critic(observations: Any) -> Any:
        asked.append(len(observations))
        return observations[:, 0].astype(np.float64)

    with runnerkit.make("CartPole-v1", n_envs=3, seed=0) as runner:
        batch = stack(runner.rollout(Actor(), steps=50))
    wanted = gae(batch, value=critic)
    asked.clear()
    found = gae(batch, value=critic, values="value")
    assert asked == [int(batch.bootstrap.sum())]
    np.testing.assert_array_equal(found.advantages, wanted.advantages)
    np.testing.assert_array_equal(found.values, batch.extras["value"])
    with pytest.raises(ArgumentError, match=r"'values' is none: it has \['value', 'logits', 'old'\]"):
        gae(batch, value=critic, values="values")
    with pytest.raises(ArgumentError, match="one number per row"):
        gae(batch, value=critic, values="logits")


def test_the_kit_takes_agents_with_columns() -> None:
    box = spaces.Box(-1, 1, (4,), np.float32)
    check_agent(Actor, box, spaces.Discrete(2))
    assert RandomAgent(BINARY, seed=0).act(np.zeros((2, 4))).shape == (2,)


@pytest.mark.parametrize("min_batch", [None, 1])
def test_no_block_waits_for_the_garbage_collector(min_batch: int | None) -> None:
    def act(observations: NDArray[Any]) -> Any:
        return np.zeros(len(observations), np.int64), {"value": np.zeros(len(observations))}

    with runnerkit.make("CartPole-v1", n_envs=2, seed=0, executor="serial") as runner:
        gc.collect()
        gc.disable()
        before = sum(type(one) is Block for one in gc.get_objects())
        try:
            runner.rollout(act, steps=20, min_batch=min_batch, on_episode=lambda ended: None)
            assert sum(type(one) is Block for one in gc.get_objects()) == before
        finally:
            gc.enable()
