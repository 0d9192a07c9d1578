"""Where the time of rollouts goes: `runner.timings`, with every executor."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from gymnasium import spaces
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit import RandomAgent
from runnerkit._cli.main import main
from runnerkit.errors import ArgumentError
from runnerkit.typing import AnyEnv

STEP_S, SLOW_S, RESET_S, AGENT_S = 0.001, 0.04, 0.004, 0.003  # far apart, as the machine may be busy
LENGTH = 5


class Sleeper(gymnasium.Env[NDArray[np.float32], np.int64]):
    """An env whose calls take a known time; that of index 2 is slow."""

    metadata: dict[str, Any] = {"thread_safe": True}  # noqa: RUF012

    def __init__(self, env_index: int) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._pause = SLOW_S if env_index == 2 else STEP_S

    @override
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        time.sleep(RESET_S)
        self._t = 0
        return np.zeros(1, np.float32), {}

    @override
    def step(self, action: Any) -> Any:
        time.sleep(self._pause)
        self._t += 1
        return np.zeros(1, np.float32), 1.0, self._t == LENGTH, False, {}


def make_env(seed: int | None, env_index: int = 0) -> AnyEnv:
    return Sleeper(env_index)


def slow_agent(observations: NDArray[Any]) -> NDArray[np.int64]:
    time.sleep(AGENT_S)
    return np.zeros(len(observations), np.int64)


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2), ("auto", 1)])
def test_the_time_of_envs_resets_and_the_agent_is_told_apart(executor: str, workers: int) -> None:
    n, steps = 4, 11
    with runnerkit.make(make_env, seed=0, n_envs=n, executor=executor, workers=workers, timings=True) as runner:
        began = time.perf_counter()
        runner.rollout(slow_agent, steps=6)
        for count, _ in enumerate(runner.stream(slow_agent, steps=1), start=1):
            if count == steps - 6:
                break
        taken = time.perf_counter() - began
        found = runner.timings
    assert found.steps == n * steps
    assert [env.steps for env in found.envs] == [steps] * n
    assert [env.resets for env in found.envs] == [3] * n
    assert found.env >= steps * (3 * STEP_S + SLOW_S)
    assert found.reset >= n * 3 * RESET_S
    assert steps * AGENT_S <= found.agent <= found.seconds <= taken
    assert found.slowest is not None
    assert found.slowest.env_index == 2
    assert found.slowest.seconds_per_step >= SLOW_S
    assert sum(worker.env for worker in found.workers) == pytest.approx(found.env)
    if executor != "auto":  # which may have moved the envs
        assert len(found.workers) == workers
        assert sorted(i for worker in found.workers for i in worker.env_indices) == list(range(n))
        assert (found.wait > 0) is (workers > 1)  # of the worker without the slow env
    if workers == 1:
        assert found.env + found.reset + found.agent + found.other == pytest.approx(found.seconds)


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_measuring_changes_no_data(executor: str) -> None:
    def observations(timings: bool) -> NDArray[np.float32]:
        with runnerkit.make("CartPole-v1", seed=0, n_envs=3, executor=executor, timings=timings) as runner:
            histories = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=100)
        return np.stack([history.observations for history in histories])

    np.testing.assert_array_equal(observations(True), observations(False), strict=True)


def test_of_a_vector_env_its_steps_are_measured_as_a_whole() -> None:
    with runnerkit.make("vector:CartPole-v1", seed=0, n_envs=3, timings=True) as runner:
        runner.rollout(RandomAgent(runner.action_space, seed=0), steps=50)
        found = runner.timings
    assert found.steps > 0
    assert 0 < found.env < found.seconds
    assert (found.workers, found.envs, found.slowest) == ((), (), None)


def test_the_command_line_shows_the_time_and_the_slowest_env() -> None:
    arguments = ["rollout", "CartPole-v1", "--n-envs", "2", "--steps", "20", "--executor", "serial", "--timings"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (times,) = [line for line in result.stdout.splitlines() if line.startswith("time")]
    assert re.fullmatch(r"time +agent \S+ s, env \S+ s, reset \S+ s, wait 0 s, other \S+ s", times)
    assert re.search(r"^slowest env +env [01]: \S+ ms per step$", result.stdout, re.MULTILINE)
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)["timings"]
    assert [env["steps"] for env in found["envs"]] == [20, 20]
    assert found["workers"][0]["envs"] == [0, 1]


def test_what_nobody_asked_to_measure_is_not_there() -> None:
    with runnerkit.make("CartPole-v1") as runner:
        with pytest.raises(ArgumentError, match="Build the runner with timings=True"):
            _ = runner.timings
        assert runner._standing.step_envs == runner._parts.executor.step  # and a step visits nothing more
