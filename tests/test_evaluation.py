"""Evaluations: the same episodes whatever plays them, and those of a plain loop over their seeds."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit import RandomAgent, compare, evaluate
from runnerkit._cli.main import main
from runnerkit.errors import ArgumentError, RolloutError
from runnerkit.evaluation import Evaluation


class Upright:
    def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        return (observations[:, 2] + 0.2 * observations[:, 3] > 0).astype(np.int64)


class Left:
    def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.zeros(len(observations), np.int64)


def key(found: Evaluation) -> Any:
    return found.returns.tolist(), found.lengths.tolist(), found.seeds, found.end_reasons


@pytest.mark.parametrize("executor", ["serial", "threads", "processes", "auto"])
@pytest.mark.parametrize("n_envs", [1, 3, 8, 30])
def test_the_episodes_are_the_same_whatever_plays_them(n_envs: int, executor: str) -> None:
    expected = evaluate(Left(), "CartPole-v1", episodes=20, seed=5, n_envs=4, executor="serial")
    assert key(evaluate(Left(), "CartPole-v1", episodes=20, seed=5, n_envs=n_envs, executor=executor)) == key(expected)


def test_the_returns_are_those_of_a_plain_loop_over_the_seeds() -> None:
    found = evaluate(Upright(), "CartPole-v1", episodes=6, seed=1)
    env = gymnasium.make("CartPole-v1")
    for episode in found.episodes:
        observation, _ = env.reset(seed=episode.seed)
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(Upright().act(observation[None])[0])
            total, ended = total + float(reward), terminated or truncated
        assert (total, total) == (episode.total_return, episode.total_length)
    env.close()
    assert len({episode.seed for episode in found.episodes}) == 6
    assert found.seeds != evaluate(Upright(), "CartPole-v1", episodes=6, seed=2).seeds


def test_long_episodes_go_over_many_rollouts() -> None:
    found = evaluate(Upright(), "CartPole-v1", episodes=3, seed=1)
    assert found.lengths.max() > 200
    assert found.mean == pytest.approx(found.returns.mean())
    bounds = found.interval(0.9)
    assert bounds is not None
    low, high = bounds
    assert found.returns.min() <= low <= found.mean <= high <= found.returns.max()
    assert found.interval(0.9) == (low, high)


def test_agents_are_compared_on_common_episodes() -> None:
    found = compare({"left": Left(), "upright": Upright()}, "CartPole-v1", episodes=10, seed=3)
    left, upright = found.evaluations.values()
    assert left.seeds == upright.seeds
    (difference,) = found.differences
    assert (difference.agent, difference.baseline) == ("upright", "left")
    np.testing.assert_array_equal(difference.differences, upright.returns - left.returns)
    bounds = difference.interval()
    assert bounds is not None
    assert bounds[0] > 0
    assert found.to_json()["differences"] == [
        {"agent": "upright", "baseline": "left", "mean": difference.mean, "interval95": list(bounds)}
    ]
    told = f"upright - left: {difference.mean:.6g} (95 % interval {bounds[0]:.6g} to {bounds[1]:.6g})"
    assert str(found).splitlines() == [f"left: {left}", f"upright: {upright}", told]
    assert str(left).startswith(f"CartPole-v1: mean return {left.mean:.6g} (95 % interval ")
    assert str(left).endswith("), 10 episodes")


def test_an_agent_that_needs_spaces_is_made_for_the_runner() -> None:
    found = evaluate(
        None, "Pendulum-v1", episodes=2, make_agent=lambda runner: RandomAgent(runner.action_space, seed=0)
    )
    assert [str(reason) for reason in found.end_reasons] == ["truncated"] * 2
    assert found.lengths.tolist() == [200, 200]
    assert found.to_json()["end_reasons"] == ["truncated"] * 2


def test_many_episodes_are_played_by_few_envs() -> None:
    sizes = []

    class Watching(Left):
        @override
        def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
            sizes.append(len(observations))
            return super().act(observations)

    evaluate(Watching(), "CartPole-v1", episodes=200, n_envs=2)
    assert max(sizes) == 2


def test_an_env_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runnerkit.GymRunner, "MAX_STEPS", 300)
    with pytest.raises(RolloutError, match="No episode ended within MAX_STEPS, 300 steps"):
        evaluate(
            None,
            lambda seed: gymnasium.make("Pendulum-v1").unwrapped,
            episodes=1,
            make_agent=lambda runner: RandomAgent(runner.action_space, seed=0),
        )


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"episodes": 0}, "episodes must be a whole number of at least 1, not 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"agent": None}, "Give evaluate an agent, or make_agent"),
        ({"auto_reset": False}, "evaluate sets schedule and auto_reset itself"),
        ({"env": "vector:CartPole-v1"}, "schedule"),
        ({"history": "arrays"}, "evaluate keeps no histories"),
        ({"on_env_error": "restart"}, "evaluate needs each episode to its end"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], wanted: str) -> None:
    given: Any = {"agent": Left(), "env": "CartPole-v1", **arguments}
    with pytest.raises(ArgumentError, match=wanted):
        evaluate(**given)
    with pytest.raises(ArgumentError, match="compare needs a dict of agents, at least one, by name, not"):
        compare({}, "CartPole-v1")
    with pytest.raises(ArgumentError, match="between 0 and 1, not 95"):
        evaluate(Left(), "CartPole-v1", episodes=2).interval(95)


def test_one_episode_gives_no_interval_and_the_command_line_says_so() -> None:
    found = evaluate(Left(), "CartPole-v1", episodes=1)
    assert found.interval() is None
    assert found.to_json()["interval95"] is None
    result = CliRunner().invoke(main, ["evaluate", "CartPole-v1", "--episodes", "1"])
    assert result.exit_code == 0, result.output
    assert "(one episode gives no interval)" in result.stdout
