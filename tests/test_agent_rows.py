"""Random numbers of rows: those of an env, episode and step are the same however the envs are stepped."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit.agents import ActiveRows
from runnerkit.errors import AgentError, ArgumentError
from runnerkit.executors.seeds import SeedSchedule

EXECUTORS: dict[str, dict[str, Any]] = {
    "serial": {"executor": "serial"},
    "threads": {"executor": "threads", "workers": 2},
    "processes": {"executor": "processes", "workers": 2},
    "own pace": {"executor": "threads", "workers": 2, "min_batch": 1},
    "restarts": {"executor": "serial", "on_env_error": "restart"},
    "schedule": {"executor": "serial", "schedule": SeedSchedule(7)},
}


class Sampler:
    """Samples pushes with a probability that depends on the pole, and tells of which rows it was asked."""

    rows: ActiveRows

    def set_rows(self, rows: ActiveRows) -> None:
        self.rows = rows

    def act(self, observations: NDArray[np.float32]) -> Any:
        rows = self.rows
        right = 1 / (1 + np.exp(-3 * observations[:, 2].astype(np.float64)))
        actions = rows.choice(np.stack([1 - right, right], axis=1))
        where = {"env": rows.env_indices, "episode": rows.episode_indices, "step": rows.steps}
        return actions, {**where, "noise": rows.standard_normal(3), "next": rows.random()}


def play(env: Any = "CartPole-v1", n_envs: int = 3, **options: Any) -> list[Any]:
    """Return all that was drawn, by env, episode and step."""
    with runnerkit.make(env, n_envs=n_envs, seed=7, **options) as runner:
        agent = Sampler()
        rollouts = [runner.rollout(agent, steps=60), runner.rollout(agent, steps=30), runner.rollout(agent, episodes=5)]
    return [history for histories in rollouts for history in histories]


def check_where(history: Any) -> None:
    """Compare what the agent was told of its rows with the records."""
    for episode in history.split():
        record, extras = episode.record, episode.extras
        assert (extras["env"] == record.env_index).all()
        assert (extras["episode"] == record.episode_index).all()
        assert extras["step"].tolist() == list(range(record.steps_before, record.total_length))


@pytest.fixture(scope="module")
def drawn() -> list[Any]:
    return play(executor="serial")


@pytest.mark.parametrize("name", EXECUTORS)
def test_actions_do_not_depend_on_who_steps(name: str, drawn: list[Any]) -> None:
    for history, wanted in zip(play(**EXECUTORS[name]), drawn, strict=True):
        check_where(history)
        np.testing.assert_array_equal(history.actions, wanted.actions)
        for column, of in wanted.extras.items():
            np.testing.assert_array_equal(history.extras[column], of)


def test_actions_do_not_depend_on_other_envs(drawn: list[Any]) -> None:
    for k in range(2):
        alone = play(n_envs=1, executor="serial")[k]
        wanted = drawn[3 * k]
        np.testing.assert_array_equal(alone.actions, wanted.actions)
        np.testing.assert_array_equal(alone.extras["noise"], wanted.extras["noise"])


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_actions_of_vector_envs_are_the_same(mode: str, drawn: list[Any]) -> None:
    def make(seed: int | None) -> Any:
        which = gymnasium.vector.AutoresetMode[mode]
        return gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 3, autoreset_mode=which)

    with runnerkit.make(make, n_envs=3, seed=7) as runner:
        agent = Sampler()
        rollouts = [runner.rollout(agent, steps=steps) for steps in (60, 1, 30)]
    for histories in rollouts:
        for history in histories:
            check_where(history)
    for history, wanted in zip(rollouts[0], drawn, strict=False):
        first, of = history.split()[0].extras, wanted.split()[0].extras  # later ones have other seeds
        for column, values in of.items():
            np.testing.assert_array_equal(first[column], values)


class Breaks(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An env whose 37th step fails."""

    made = 0

    @override
    def step(self, action: Any) -> Any:
        self.made += 1
        if self.made == 37:
            raise RuntimeError("broken")
        return super().step(action)


def test_rows_of_envs_that_were_made_anew_are_told_right() -> None:
    def make(seed: int | None) -> Any:
        return Breaks(gymnasium.make("CartPole-v1"))

    histories = play(make, executor="serial", on_env_error="restart")
    assert any(history.faults for history in histories)
    for history in histories:
        check_where(history)


def test_streams_have_the_numbers_of_rollouts(drawn: list[Any]) -> None:
    with runnerkit.make("CartPole-v1", n_envs=3, seed=7, executor="serial") as runner:
        stream = runner.stream(Sampler(), steps=12)
        batches = [batch.extras["noise"].copy() for _, batch in zip(range(5), stream, strict=False)]
    for i in range(3):
        np.testing.assert_array_equal(np.concatenate(batches)[:, i], drawn[i].extras["noise"])


def test_formats_that_take_windows_have_the_numbers_of_others(drawn: list[Any], tmp_path: Path) -> None:
    for history, wanted in zip(play(executor="serial", history=("npz", {"path": tmp_path})), drawn, strict=True):
        check_where(history)
        np.testing.assert_array_equal(history.extras["noise"], wanted.extras["noise"])


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_vector_envs_in_windows_are_told_of_the_right_rows(mode: str, tmp_path: Path) -> None:
    def make(seed: int | None) -> Any:
        which = gymnasium.vector.AutoresetMode[mode]
        return gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 3, autoreset_mode=which)

    for history in play(make, history=("npz", {"path": tmp_path})):
        check_where(history)


def test_numbers_are_a_pure_function_of_where_they_are() -> None:
    some, others = ActiveRows(3, 40), ActiveRows(3, 40)
    for rows in (some, others):
        for i in range(40):
            rows.begin(i, i % 7, -i)
    some.turn_to(..., 5)
    whole = [some.random(2), some.standard_normal(5), some.random(2)]
    for which in ([3], [0, 17, 39], list(range(1, 40, 2))):
        others.turn_to(which, 5)
        for wanted, numbers in zip(whole, [others.random(2), others.standard_normal(5), others.random(2)], strict=True):
            np.testing.assert_array_equal(numbers, wanted[which])
    assert not (whole[0] == whole[2]).any()
    pinned = ActiveRows(0, 1)
    pinned.begin(0, 0, 0)
    pinned.turn_to(..., 0)
    assert pinned.random(2).tolist() == [[0.21276836465733584, 0.23549153674650947]]


def _distance(found: NDArray[np.float64]) -> float:
    """Return how far numbers are from a uniform distribution."""
    return float(np.abs(np.sort(found) - np.arange(len(found)) / len(found)).max())


def test_numbers_have_their_distributions() -> None:
    rows = ActiveRows(1, 50)
    for i in range(50):
        rows.begin(i, 2, 0)
    uniform, normal, chosen = [], [], []
    for t in range(40):
        rows.turn_to(..., t)
        uniform.append(rows.random(10))
        normal.append(rows.standard_normal(10))
        chosen.append(rows.choice(np.tile([0.0, 1.0, 3.0, 0.0], (50, 1))))
    assert _distance(np.ravel(uniform)) < 0.013  # Kolmogorov and Smirnov: 0.2 % of samples of 20,000 are further away
    assert _distance(np.array([NormalDist().cdf(x) for x in np.ravel(normal).tolist()])) < 0.013
    for axis in ((0, 2), (1, 2), (0, 1)):  # neither envs, nor steps, nor draws go together
        assert np.abs(np.mean(uniform, axis=axis) - 0.5).max() < 0.08
    counts = np.bincount(np.ravel(chosen), minlength=4)
    assert counts[0] == counts[3] == 0
    assert abs(counts[2] / counts.sum() - 0.75) < 0.04
    assert len(np.unique(uniform)) == 20_000


@pytest.mark.parametrize(
    "weights", [np.ones(3), np.ones((1, 3)), np.zeros((2, 3)), [[1, -1, 3]] * 2, [[np.nan, 1]] * 2]
)
def test_weights_that_are_none_are_refused(weights: Any) -> None:
    rows = ActiveRows(0, 2)
    with pytest.raises(ArgumentError, match="choice needs probabilities"):
        rows.choice(np.array(weights))


def test_an_agent_that_fails_to_take_rows_is_named() -> None:
    class Fails(Sampler):
        @override
        def set_rows(self, rows: ActiveRows) -> None:
            raise KeyError("rows")

    with runnerkit.make("CartPole-v1", seed=0) as runner, pytest.raises(AgentError, match="KeyError"):
        runner.rollout(Fails(), steps=1)


def test_a_misspelt_set_rows_is_refused() -> None:
    class Misspelt:
        def set_row(self, rows: ActiveRows) -> None: ...

        def act(self, observations: Any) -> Any: ...

    agent: Any = Misspelt()
    with runnerkit.make("CartPole-v1", seed=0) as runner, pytest.raises(ArgumentError, match=r"set_rows\(rows\)"):
        runner.rollout(agent, steps=1)
