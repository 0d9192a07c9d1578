"""RandomAgent: one stream per env, whoever else is there; and as random as the space itself."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import pytest
from envs import ALL_SPACES, SPACES, SampleEnv, exact, row_of
from gymnasium import Space, spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerkit import GymRunner, RandomAgent
from runnerkit.errors import ArgumentError


def rows(n: int) -> Any:
    """Return observations for n envs."""
    return np.zeros((n, 1))


def streams(agent: RandomAgent, actives: Sequence[Sequence[int]]) -> dict[int, list[Any]]:
    """Ask an agent once for each list of active envs; return what each env got, in order."""
    got: dict[int, list[Any]] = {}
    before: Sequence[int] | None = None
    for active in actives:
        if active != before:
            agent.set_active_envs(active)
            before = active
        batch = agent.act(rows(len(active)))
        for k, i in enumerate(active):
            got.setdefault(i, []).append(exact(row_of(batch, k)))
    return got


@pytest.mark.parametrize("name", ALL_SPACES)
def test_actions_are_members_of_any_space(name: str) -> None:
    space = SPACES[name]
    agent = RandomAgent(space, seed=0)
    for _ in range(20):
        batch = agent.act(rows(3))
        samples = [row_of(batch, k) for k in range(3)]
        if isinstance(space, spaces.Box):
            assert (batch.dtype, batch.shape) == (space.dtype, (3, *space.shape))
            samples = list(map(np.asarray, samples))
        if name != "Tuple":  # its Box of shape () wants arrays, a row has NumPy scalars
            assert all(space.contains(sample) for sample in samples)


@pytest.mark.parametrize("name", ALL_SPACES)
def test_the_stream_of_an_env_depends_on_nothing_but_seed_and_env(name: str) -> None:
    def stream(actives: Sequence[Sequence[int]]) -> dict[int, list[Any]]:
        return streams(RandomAgent(SPACES[name], seed=3), actives)

    alone = {i: stream([[i]] * 40)[i] for i in range(3)}
    together = stream([[0, 1, 2]] * 40)
    coming_and_going = stream([[0, 1, 2]] * 7 + [[2]] * 20 + [[0, 2]] * 5 + [[1]] * 12 + [[2, 1]] * 3)
    assert together == alone
    assert coming_and_going == {i: alone[i][: len(got)] for i, got in coming_and_going.items()}


@given(
    actives=st.lists(st.sets(st.integers(0, 3), min_size=1).map(sorted), min_size=1, max_size=60), many=st.booleans()
)
@settings(max_examples=30)
def test_streams_survive_any_order_of_activity(actives: list[list[int]], many: bool) -> None:
    space = SPACES["Discrete"] if many else SPACES["Text"]
    got = streams(RandomAgent(space, seed=1), actives)
    for i, actions in got.items():
        assert actions == streams(RandomAgent(space, seed=1), [[i]] * len(actions))[i]


def test_streams_go_on_over_the_end_of_a_table() -> None:
    got = streams(RandomAgent(SPACES["Discrete"], seed=1), [[0, 1]] * 1000 + [[1]] * 100 + [[0, 1]] * 1500)
    alone = streams(RandomAgent(SPACES["Discrete"], seed=1), [[1]] * 2600)[1]
    assert got[1] == alone
    assert got[0] == streams(RandomAgent(SPACES["Discrete"], seed=1), [[0]] * 2500)[0]
    assert len(set(alone[:1024])) > 1
    assert alone[:1024] != alone[1024:2048]


def test_envs_and_seeds_have_streams_of_their_own() -> None:
    found = [tuple(streams(RandomAgent(SPACES["float64"], seed), [[i]] * 5)[i]) for seed in range(5) for i in range(5)]
    assert len(set(found)) == 25


def test_an_agent_that_was_told_nothing_serves_row_i_from_the_stream_of_env_i() -> None:
    silent, told = RandomAgent(SPACES["float32"], seed=2), RandomAgent(SPACES["float32"], seed=2)
    told.set_active_envs([0, 1])
    for _ in range(3):
        assert exact(silent.act(rows(2))) == exact(told.act(rows(2)))


def test_an_agent_that_was_told_nothing_returns_as_many_rows_as_it_is_asked_for() -> None:
    agent = RandomAgent(SPACES["Discrete"], seed=0)
    assert [len(agent.act(rows(n))) for n in (3, 2, 5, 1)] == [3, 2, 5, 1]


@pytest.mark.parametrize("name", ["Dict", "Tuple", "Text", "nested"])
def test_rows_are_counted_in_observations_of_any_space(name: str) -> None:
    with GymRunner(lambda seed: SampleEnv(SPACES[name], SPACES["Discrete"]), seed=0, n_envs=3) as runner:
        agent = RandomAgent(runner.action_space, seed=0)

        class Silent:
            """Keeps the runner from telling the agent which envs are active."""

            def act(self, observations: Any, /) -> Any:
                return agent.act(observations)

        assert [len(history) for history in runner.rollout(Silent(), steps=4)] == [4, 4, 4]


def test_without_a_seed_one_is_drawn_and_told() -> None:
    first, other = RandomAgent(SPACES["float64"]), RandomAgent(SPACES["float64"])
    assert first.seed != other.seed
    again = RandomAgent(SPACES["float64"], seed=first.seed)
    assert exact(again.act(rows(2))) == exact(first.act(rows(2))) != exact(other.act(rows(2)))


def test_what_it_returns_is_the_callers() -> None:
    agent, other = RandomAgent(SPACES["Sequence, stacked"], seed=0), RandomAgent(SPACES["Sequence, stacked"], seed=0)
    for _ in range(40):
        batch = agent.act(rows(2))
        assert exact(batch) == exact(other.act(rows(2)))
        for sample in batch:
            sample[...] = -1
        batch.clear()


def test_it_leaves_the_random_state_of_the_space_alone() -> None:
    space, twin = spaces.Discrete(1000, seed=5), spaces.Discrete(1000, seed=5)
    RandomAgent(space, seed=0).act(rows(2))
    assert [space.sample() for _ in range(5)] == [twin.sample() for _ in range(5)]


@pytest.mark.parametrize("seed", [-1, "a", 1.5, True, np.int64(-1), np.array([1])], ids=repr)
def test_its_seed_must_be_a_whole_number(seed: Any) -> None:
    with pytest.raises(ArgumentError, match="seed must be a whole number of at least 0, or None") as caught:
        RandomAgent(SPACES["Discrete"], seed)
    assert repr(seed) in str(caught.value)


def test_a_numpy_integer_is_the_seed_that_it_counts() -> None:
    agent: Any = RandomAgent(SPACES["float64"], np.uint8(7))  # type: ignore[arg-type]
    assert type(agent.seed) is int
    assert exact(agent.act(rows(2))) == exact(RandomAgent(SPACES["float64"], 7).act(rows(2)))


def test_large_actions_are_not_tabulated_by_the_thousand() -> None:
    agent = RandomAgent(spaces.Box(-1, 1, (84, 84, 3), np.float32), seed=0)
    tracemalloc.start()
    try:
        agent.act(rows(2))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30 * 2**20


@pytest.mark.parametrize("shape", [(300, 100), (500, 600)])  # nine to a chunk, and one that fills it alone
def test_streams_of_large_actions_depend_on_nothing_but_seed_and_env(shape: tuple[int, ...]) -> None:
    space = spaces.Box(-1, 1, shape, np.float32)
    together = streams(RandomAgent(space, seed=3), [[0, 1]] * 4 + [[1]] * 7 + [[0, 1]])
    for i, actions in together.items():
        assert actions == streams(RandomAgent(space, seed=3), [[i]] * len(actions))[i]
        assert len(set(actions)) == len(actions)


def test_being_told_the_same_envs_again_draws_nothing_anew() -> None:
    agent = RandomAgent(spaces.Discrete(5), seed=0)
    with mock.patch.object(
        spaces.MultiDiscrete, "sample", autospec=True, side_effect=spaces.MultiDiscrete.sample
    ) as draw:
        for _ in range(10):
            agent.set_active_envs([0, 1])
            agent.act(rows(2))
    assert draw.call_count == 2


@pytest.mark.parametrize("n", [1, 3])
def test_an_agent_that_was_told_its_envs_refuses_another_number_of_rows(n: int) -> None:
    agent, other = RandomAgent(SPACES["float64"], seed=0), RandomAgent(SPACES["float64"], seed=0)
    for told in (agent, other):
        told.set_active_envs([0, 1])
    with pytest.raises(ArgumentError, match=rf"2 envs .* not for {n} rows.*set_active_envs\(range\({n}\)\).*new agent"):
        agent.act(rows(n))
    assert exact(agent.act(rows(2))) == exact(other.act(rows(2)))


@pytest.mark.parametrize("observations", [{}, (), {"a": {}, "b": ()}, None, np.zeros((0, 1))], ids=repr)
def test_an_agent_that_was_told_nothing_refuses_observations_without_rows(observations: Any) -> None:
    agent = RandomAgent(SPACES["Discrete"], seed=0)
    with pytest.raises(ArgumentError, match=r"no rows to count .* set_active_envs"):
        agent.act(observations)


def test_observations_without_rows_are_fine_for_an_agent_that_was_told_its_envs() -> None:
    agent = RandomAgent(SPACES["Discrete"], seed=0)
    agent.set_active_envs([0, 1])
    assert len(agent.act({})) == 2


def test_rows_are_counted_past_parts_that_have_none() -> None:
    assert len(RandomAgent(SPACES["Discrete"], seed=0).act({"a": {}, "b": rows(3)})) == 3


def test_it_needs_a_space() -> None:
    with pytest.raises(ArgumentError, match=r"runner\.action_space"):
        RandomAgent(4)  # type: ignore[arg-type]


# ---- distributions


def drawn(space: Space[Any], n: int = 20_000) -> Any:
    agent = RandomAgent(space, seed=7)
    return np.concatenate([agent.act(rows(50)) for _ in range(n // 50)])


def test_discrete_actions_are_uniform() -> None:
    values, counts = np.unique(drawn(spaces.Discrete(7, start=-3)), return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert np.all(np.abs(counts / 20_000 - 1 / 7) < 0.013)  # five standard errors


def test_multi_discrete_actions_are_uniform_and_independent() -> None:
    found = drawn(SPACES["MultiDiscrete"])
    for column, n in zip(found.T, (3, 2, 5), strict=True):
        assert np.all(np.abs(np.bincount(column) / len(column) - 1 / n) < 0.02)
    assert np.all(np.abs(np.corrcoef(found.T) - np.eye(3)) < 0.04)


def test_binary_actions_are_fair() -> None:
    assert np.all(np.abs(drawn(SPACES["MultiBinary"]).mean(axis=0) - 0.5) < 0.02)


def test_bounded_box_actions_are_uniform() -> None:
    found = drawn(spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 1.0]), dtype=np.float64))
    assert np.all(np.abs(found.mean(axis=0) - [0.0, 0.5]) < [0.05, 0.0125])
    assert np.all(np.abs(found.var(axis=0) - [16 / 12, 1 / 12]) < [0.05, 0.004])


def test_unbounded_box_actions_are_normal() -> None:
    found = drawn(SPACES["unbounded"])
    assert np.all(np.abs(found.mean(axis=0)) < 0.04)
    assert np.all(np.abs(found.var(axis=0) - 1) < 0.06)


def test_integer_box_actions_reach_both_bounds() -> None:
    found = drawn(SPACES["int8"])
    assert np.unique(found).tolist() == list(range(-5, 6))


def test_neither_envs_nor_consecutive_actions_are_correlated() -> None:
    agent = RandomAgent(spaces.Box(-1.0, 1.0, (), np.float64), seed=0)
    found = np.stack([agent.act(rows(4)) for _ in range(10_000)])
    assert np.all(np.abs(np.corrcoef(found.T) - np.eye(4)) < 0.05)
    assert all(abs(np.corrcoef(found[:-1, i], found[1:, i])[0, 1]) < 0.05 for i in range(4))
