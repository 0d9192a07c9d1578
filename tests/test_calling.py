"""Questions to envs between rollouts: methods are called, and attributes read and set, wherever the env lives."""

from __future__ import annotations

import os
import signal
from typing import Any

import gymnasium
import numpy as np
import pytest
from typing_extensions import override

import runnerkit
from runnerkit.errors import ArgumentError, ClosedError, EnvError
from runnerkit.executors import SerialExecutor

EXECUTORS: dict[str, dict[str, Any]] = {
    "serial": {"executor": "serial"},
    "auto": {"executor": "auto"},
    "threads": {"executor": "threads", "workers": 2},
    "threads of their own": {"executor": "threads"},
    "processes": {"executor": "processes", "workers": 2},
    "isolated": {"executor": "processes", "isolate": True},
    "tolerant": {"executor": "processes", "workers": 2, "on_env_error": "restart"},
}


class Course(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper with a level, which says in which env it is."""

    def __init__(self, env_index: int) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))
        self.level, self.env_index, self.calls = 0, env_index, 0

    def raise_level(self, by: int, *, most: int = 10) -> tuple[int, int]:
        self.calls += 1
        if self.env_index == 1 and by > 5:
            raise KeyError("too high")
        self.level = min(most, self.level + by)
        return self.env_index, self.level

    async def ask_somebody(self) -> int:
        return self.level

    def end_process(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @override
    def step(self, action: Any) -> Any:
        observation, _, *others = super().step(action)
        return observation, float(self.level), *others


def _make(seed: int | None, env_index: int) -> Course:
    return Course(env_index)


make: Any = _make  # a type checker knows functions of a seed only


def act(observations: Any) -> Any:
    return np.zeros(len(observations), np.int64)


@pytest.mark.parametrize("name", EXECUTORS)
def test_envs_answer_between_rollouts(name: str) -> None:
    with runnerkit.make(make, n_envs=3, seed=0, **EXECUTORS[name]) as runner:
        assert runner.call("raise_level", 2) == [(0, 2), (1, 2), (2, 2)]
        assert runner.call("raise_level", 9, most=5, env_indices=[2, 0]) == [(2, 5), (0, 5)]
        before = runner.rollout(act, steps=4)
        assert [history.rewards.tolist() for history in before] == [[5.0] * 4, [2.0] * 4, [5.0] * 4]
        with pytest.raises(EnvError, match=r"Env 1 .*raised in call\('raise_level'\): KeyError: 'too high'") as caught:
            runner.call("raise_level", 6)
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(EnvError, match=r"call\('ask_somebody'\): .*a coroutine \(use executor='asyncio'"):
            runner.call("ask_somebody")
        assert runner.get_attr("level") == [10, 2, 10]
        assert runner.get_attr("calls", env_indices=[1]) == [2]
        runner.set_attr("level", 7, env_indices=[1])
        runner.set_attr("gravity", 1.6)  # of what is wrapped
        assert runner.get_attr("gravity") == [1.6] * 3
        with pytest.raises(EnvError, match="has an attribute 'gravitiy'"):
            runner.set_attr("gravitiy", 1.6)
        with pytest.raises(EnvError, match="AttributeError"):
            runner.call("lower_level")
        after = runner.rollout(act, steps=4)
    assert [history.rewards[0] for history in after] == [10.0, 7.0, 10.0]
    assert [history.episodes[0].continued for history in after] == [True] * 3


def test_vector_envs_answer_all_at_once() -> None:
    def make_all(seed: int | None) -> Any:
        return gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2)

    with runnerkit.make(make_all, n_envs=2, seed=0) as runner:
        runner.set_attr("gravity", [1.0, 2.0])  # one value, a list
        assert runner.get_attr("gravity") == [[1.0, 2.0]] * 2
        runner.set_attr("gravity", 1.6)
        assert runner.get_attr("gravity") == [1.6, 1.6]
        assert runner.call("get_wrapper_attr", "gravity") == [1.6, 1.6]
        for wrong in (lambda: runner.set_attr("gravitiy", 1.6), lambda: runner.call("nothing")):
            with pytest.raises(EnvError, match="AttributeError"):
                wrong()
        with pytest.raises(ArgumentError, match="asks all envs of a vector env at once"):
            runner.get_attr("gravity", env_indices=[0])
        assert len(runner.rollout(act, steps=5)) == 2
    with (
        runnerkit.make("vector:CartPole-v1", n_envs=2, seed=0) as runner,
        pytest.raises(ArgumentError, match="with get_attr, which CartPoleVectorEnv does not have"),
    ):
        runner.get_attr("gravity")


@pytest.mark.parametrize("envs", [[3], [-1], [0, 0], [True], ["0"], [0.0], 1])
def test_envs_that_are_not_there_are_refused(envs: Any) -> None:
    with runnerkit.make(make, n_envs=3, seed=0) as runner, pytest.raises(ArgumentError, match="from 0 to 2"):
        runner.get_attr("level", env_indices=envs)


def test_questions_come_between_rollouts() -> None:
    with runnerkit.make(make, n_envs=2, seed=0) as runner:
        assert runner.call("raise_level", 1, env_indices=[]) == []
        with pytest.raises(ArgumentError, match="needs the name of an attribute, not 'a b'"):
            runner.get_attr("a b")
        stream = runner.stream(act, steps=2)
        next(stream)
        with pytest.raises(ArgumentError, match="open stream"):
            runner.get_attr("level")
    with pytest.raises(ClosedError):
        runner.get_attr("level")


def test_an_executor_that_cannot_ask_is_named() -> None:
    class Plain:
        """All that `Executor` demands, and no more."""

        def __init__(self, n_envs: int, workers: int | None) -> None:
            self._inner = SerialExecutor(n_envs, workers)
            for method in ("open", "attach", "reset", "step", "drain", "render", "close"):
                setattr(self, method, getattr(self._inner, method))
            self.workers = 1

    executor: Any = Plain
    with (
        runnerkit.make(make, n_envs=2, seed=0, executor=executor) as runner,
        pytest.raises(ArgumentError, match=r"which Plain does not have\. Use 'serial'"),
    ):
        runner.get_attr("level")


def test_an_env_whose_process_died_is_made_anew_though_a_question_found_that_out() -> None:
    with runnerkit.make(make, n_envs=3, seed=0, **EXECUTORS["tolerant"]) as runner:
        runner.rollout(act, steps=3)
        with pytest.raises(EnvError, match="killed by SIGKILL"):
            runner.call("end_process", env_indices=[0])
        histories = runner.rollout(act, steps=4)
        assert [len(history.faults) for history in histories] == [1, 0, 0]
        assert runner.get_attr("level") == [0, 0, 0]
