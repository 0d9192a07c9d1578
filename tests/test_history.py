"""Histories: shapes and dtypes, episodes by themselves, exact next observations, value targets, whose memory it is."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from envs import ALL_SPACES, SPACES, CountingEnv, HashAgent, SampleEnv, ScriptedEnv, ZeroAgent, exact, row_of, summary
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import EndReason, GymRunner, RandomAgent, RunSpec, Transition, stack
from runnerkit.errors import ArgumentError, MissingDependencyError, SpaceError
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.history import Block
from runnerkit.typing import MakeEnv


class Plus:
    """A preprocessor that adds a number, so that raw and processed observations differ."""

    def __init__(self, number: float) -> None:
        self._number = number

    def bind(self, space: spaces.Space[Any], /) -> spaces.Space[Any]:
        return spaces.Box(-np.inf, np.inf, space.shape, np.float64)

    def __call__(self, observations: Any, /) -> NDArray[np.float64]:
        result: NDArray[np.float64] = observations.astype(np.float64) + self._number
        return result


class Flip:
    """A postprocessor: the env gets 1 for 0 and 0 for 1."""

    def bind(self, space: spaces.Space[Any], /) -> spaces.Space[Any]:
        return space

    def __call__(self, actions: Any, /) -> object:
        return 1 - actions


def runner_of(make: MakeEnv, **options: Any) -> GymRunner[Any, Any, Any]:
    options = {"seed": 0, **options}
    return GymRunner(make, **options)


def sample_runner(observation: str = "float32", action: str = "Discrete", **options: Any) -> GymRunner[Any, Any, Any]:
    return runner_of(lambda seed: SampleEnv(SPACES[observation], SPACES[action]), **options)


def scripted(*lengths: int, **options: Any) -> GymRunner[Any, Any, Any]:
    return runner_of(lambda seed: ScriptedEnv(lengths), **options)


# ---- every format, by one suite: to test another, add a line to FORMATS


@dataclass(frozen=True)
class Format:
    """How the suite reads a format: its name, and the transitions of one of its histories."""

    name: str
    needs: str = "numpy"

    def transitions(self, history: Any) -> list[Transition[Any, Any]]:
        if isinstance(history, list):
            return history
        observations, actions, after = history.observations, history.actions, history.next_observations
        return [
            Transition(
                row_of(observations, t), row_of(actions, t), float(history.rewards[t]), row_of(after, t),
                bool(history.terminated[t]), bool(history.truncated[t]), history.infos.get(t, {}),
            )
            for t in range(len(history))
        ]  # fmt: skip


FORMATS = [Format("arrays"), Format("torch", needs="torch"), Format("transitions")]


@pytest.fixture(params=FORMATS, ids=lambda format_: format_.name)
def format_(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    pytest.importorskip(found.needs)
    return found


def told(step: Transition[Any, Any]) -> Any:
    return (
        exact(step.observation), exact(step.action), step.reward, exact(step.next_observation),
        step.terminated, step.truncated, exact(step.info),
    )  # fmt: skip


def collect(format_: Format, runner: GymRunner[Any, Any, Any], **limit: Any) -> list[Any]:
    with runner:
        histories = runner.rollout(HashAgent(runner.action_space), **limit)
    return [[told(step) for step in format_.transitions(history)] for history in histories]


@pytest.mark.parametrize("limit", [{"steps": 11}, {"episodes": 5}, {"steps": 1}])
@pytest.mark.parametrize("name", ["image", "nested", "Text", "Discrete of int8", "nothing"])
def test_a_format_holds_exactly_what_arrays_hold(format_: Format, name: str, limit: dict[str, int]) -> None:
    options: dict[str, Any] = {"n_envs": 3, "keep_infos": True}
    assert collect(format_, sample_runner(name, name, history=format_.name, **options), **limit) == collect(
        FORMATS[0], sample_runner(name, name, **options), **limit
    )


def test_a_format_holds_what_processors_make(format_: Format) -> None:
    options: dict[str, Any] = {"preprocessors": [Plus(1)], "postprocessors": [Flip()]}
    found = collect(format_, scripted(3, 2, history=format_.name, **options), steps=9)
    assert found == collect(FORMATS[0], scripted(3, 2, **options), steps=9)
    assert found[0][0][0] == exact(np.array([1.0, 1.0]))
    assert found[0][2][3] == exact(np.array([1.0, 4.0]))


def test_a_format_returns_one_history_per_env_even_if_some_have_nothing(format_: Format) -> None:
    found = collect(format_, scripted(3, history=format_.name, n_envs=4), episodes=2)
    assert [len(history) for history in found] == [3, 3, 0, 0]


def test_a_format_never_changes_what_it_has_handed_out(format_: Format) -> None:
    with runner_of(lambda seed: CountingEnv(3, 4), n_envs=2, history=format_.name) as runner:
        (first, _) = runner.rollout(ZeroAgent(), steps=6)
        before = [told(step) for step in format_.transitions(first)]
        runner.rollout(ZeroAgent(), steps=6)
        runner.rollout(ZeroAgent(), episodes=5)
    assert [told(step) for step in format_.transitions(first)] == before
    assert [step.observation.tolist() for step in format_.transitions(first)] == [[k % 4] * 3 for k in range(6)]


def test_transitions_own_their_arrays() -> None:
    with sample_runner("Dict", "float32", history="transitions") as runner:
        (steps,) = runner.rollout(HashAgent(runner.action_space), steps=5)
    before = [told(step) for step in steps[1:]]
    steps[0].observation["a"][...] = 7
    steps[0].next_observation["a"][...] = 7
    steps[0].action[...] = 7
    assert [told(step) for step in steps[1:]] == before


def test_a_classic_transition_is_the_tuple_of_2018() -> None:
    with scripted(2, history="transitions") as runner:
        (steps,) = runner.rollout(ZeroAgent(), steps=4)
    assert [step.classic()[4] for step in steps] == [step.done for step in steps] == [False, True, False, True]
    observation, action, reward, next_observation, _ = steps[1].classic()
    assert (observation.tolist(), action, reward, next_observation.tolist()) == ([0, 1], 0, 2.0, [0, 2])


# ---- columns


@pytest.mark.parametrize("name", ALL_SPACES)
def test_columns_have_t_rows_in_the_dtypes_of_their_spaces(name: str) -> None:
    def check(batch: Any, space: spaces.Space[Any], rows: int) -> None:
        if isinstance(space, spaces.Dict):
            assert list(batch) == list(space.spaces)
            for key, sub in space.spaces.items():
                check(batch[key], sub, rows)
        elif isinstance(space, spaces.Tuple):
            assert isinstance(batch, tuple)
            assert len(batch) == len(space.spaces)
            for part, sub in zip(batch, space.spaces, strict=True):
                check(part, sub, rows)
        elif isinstance(batch, list):
            assert len(batch) == rows
        else:
            assert (batch.dtype, batch.shape) == (space.dtype, (rows, *(space.shape or ())))

    with sample_runner(name, name) as runner:
        (history,) = runner.rollout(HashAgent(runner.action_space), steps=17)
    assert len(history) == 17
    for column in (history.observations, history.next_observations, history.actions, history.env_actions):
        check(column, SPACES[name], 17)
    check(history.last_observations, SPACES[name], int(history.bootstrap.sum()))
    for part in history.split():
        check(part.observations, SPACES[name], part.record.length + 1)
        check(part.actions, SPACES[name], part.record.length)
    assert (history.rewards.dtype, history.rewards.shape) == (np.float64, (17,))
    for flags in (history.terminated, history.truncated, history.bootstrap):
        assert (flags.dtype, flags.shape) == (np.bool_, (17,))


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("keep_raw", [False, True])
@pytest.mark.parametrize("preprocessed", [False, True])
def test_next_observations_are_exact_across_ends(preprocessed: bool, keep_raw: bool, scheduled: bool) -> None:
    with scripted(
        3, 1, 2, n_envs=2, keep_raw=keep_raw, schedule=SeedSchedule(0) if scheduled else None,
        preprocessors=[Plus(10)] if preprocessed else [],
    ) as runner:  # fmt: skip
        runner.rollout(ZeroAgent(), steps=2)
        histories = runner.rollout(ZeroAgent(), steps=5)
    plus = 10 if preprocessed else 0
    for history in histories:
        assert (history.observations - plus).tolist() == [[0, 2], [1, 0], [2, 0], [2, 1], [3, 0]]
        assert (history.next_observations - plus).tolist() == [[0, 3], [1, 1], [2, 1], [2, 2], [3, 1]]
        assert [part.observations.tolist()[-1] for part in history.split()] == [
            history.next_observations.tolist()[k] for k in (0, 1, 3, 4)
        ]


def test_split_gives_t_plus_one_observations_and_all_that_belongs_to_an_episode() -> None:
    with scripted(3, 2, keep_infos=True) as runner:
        (history,) = runner.rollout(ZeroAgent(), steps=9)
    first, second, third, fourth = history.split()
    assert [part.record for part in (first, second, third, fourth)] == history.episodes
    assert first.observations.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert second.observations.tolist() == [[1, 0], [1, 1], [1, 2]]
    assert third.observations.tolist() == [[2, 0], [2, 1], [2, 2], [2, 3]]
    assert fourth.observations.tolist() == [[3, 0], [3, 1]]
    assert [part.rewards.tolist() for part in (first, second, fourth)] == [[1, 2, 3], [1, 2], [1]]
    assert first.terminated.tolist() == [False, False, True]
    assert not first.truncated.any()
    assert second.truncated.tolist() == [False, True]
    assert not second.terminated.any()
    assert fourth.record.end_reason is EndReason.CUT
    assert [part.reset_info for part in (first, second, third, fourth)] == [{"episode": k} for k in range(4)]


def test_infos_are_kept_by_row_and_by_step_where_they_are_not_empty() -> None:
    with sample_runner(keep_infos=True) as runner:
        (history,) = runner.rollout(HashAgent(runner.action_space), steps=30)
    for part in history.split():
        offset = part.record.start
        assert dict(part.infos) == {
            row - offset: info for row, info in history.infos.items() if 0 <= row - offset < part.record.length
        }
        if part.record.complete:
            assert all(part.record.length - 1 - t == info["left"] for t, info in part.infos.items())
            assert len(part.infos) == part.record.length // 2
    assert history.infos


def test_infos_are_only_kept_when_asked_for() -> None:
    with sample_runner() as runner:
        (history,) = runner.rollout(HashAgent(runner.action_space), steps=30)
    assert dict(history.infos) == {} == dict(history.reset_infos)
    assert all(part.reset_info is None and not part.infos for part in history.split())


def test_an_episode_that_goes_on_has_no_reset_info_again() -> None:
    with scripted(5, keep_infos=True) as runner:
        runner.rollout(ZeroAgent(), steps=3)
        (history,) = runner.rollout(ZeroAgent(), steps=3)
    assert [part.reset_info for part in history.split()] == [None, {"episode": 1}]
    assert dict(history.reset_infos) == {2: {"episode": 1}}


def test_raw_observations_are_those_of_the_env() -> None:
    with scripted(3, 2, preprocessors=[Plus(10)], keep_raw=True) as runner, scripted(3, 2) as bare:
        for steps in (4, 5):
            (history,), (plain,) = runner.rollout(ZeroAgent(), steps=steps), bare.rollout(ZeroAgent(), steps=steps)
            assert exact(history.raw_observations) == exact(plain.observations)
            assert exact(history.observations) == exact(plain.observations.astype(np.float64) + 10)
            for part, other in zip(history.split(), plain.split(), strict=True):
                assert exact(part.raw_observations) == exact(other.observations)


def test_raw_observations_are_none_unless_they_were_kept() -> None:
    with scripted(3, preprocessors=[Plus(10)]) as runner:
        (history,) = runner.rollout(ZeroAgent(), steps=4)
    assert history.raw_observations is None
    assert all(part.raw_observations is None for part in history.split())


@pytest.mark.parametrize("history", ["arrays", "torch"])
def test_actions_are_the_agents_and_env_actions_the_envs(history: str) -> None:
    if history == "torch":
        pytest.importorskip("torch")
    heard: list[int] = []

    class Listens(ScriptedEnv):
        @override
        def step(self, action: Any) -> Any:
            heard.append(int(action))
            return super().step(action)

    with runner_of(lambda seed: Listens(), postprocessors=[Flip()], history=history) as runner:
        (found,) = runner.rollout(ZeroAgent(), steps=7)
    assert found.actions.tolist() == [0] * 7
    assert found.env_actions.tolist() == heard == [1] * 7
    assert [part.env_actions.tolist() for part in found.split()] == [[1, 1, 1], [1, 1, 1], [1]]


# ---- value targets


def value(observations: Any) -> NDArray[np.float64]:
    """A made-up value function."""
    values: NDArray[np.float64] = np.sin(np.asarray(observations, np.float64)).sum(axis=-1)
    return values


def gae_of(part: Any, gamma: float, lam: float) -> NDArray[np.float64]:
    """Advantages of one episode, as the textbook has them: a sum over all later errors."""
    ends_in_terminal_state = part.record.end_reason is EndReason.TERMINATED
    values = value(part.observations)
    if ends_in_terminal_state:
        values[-1] = 0.0
    errors = part.rewards + gamma * values[1:] - values[:-1]
    return np.array([sum((gamma * lam) ** k * e for k, e in enumerate(errors[t:])) for t in range(len(errors))])


@pytest.mark.parametrize("auto_reset", [True, False])
@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=4), steps=st.integers(1, 25))
@settings(max_examples=25)
def test_targets_from_columns_are_those_of_each_episode_by_itself(
    auto_reset: bool, lengths: list[int], steps: int
) -> None:
    gamma, lam = 0.9, 0.8
    with scripted(*lengths, n_envs=2, auto_reset=auto_reset) as runner:
        runner.rollout(ZeroAgent(), steps=2)
        histories = runner.rollout(ZeroAgent(), steps=steps)
    for h in histories:
        values, after = value(h.observations), value(h.next_observations) * ~h.terminated
        breaks = h.terminated | h.truncated
        advantages, running = np.zeros(len(h)), 0.0
        for t in reversed(range(len(h))):
            error = h.rewards[t] + gamma * after[t] - values[t]
            running = error + gamma * lam * running * (not breaks[t])
            advantages[t] = running
        expected = np.concatenate([gae_of(part, gamma, lam) for part in h.split()])
        np.testing.assert_allclose(advantages, expected, rtol=1e-12, atol=1e-12)


@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=4), steps=st.integers(1, 25), stacked=st.booleans())
@settings(max_examples=25)
def test_bootstrap_marks_where_values_from_outside_are_needed(lengths: list[int], steps: int, stacked: bool) -> None:
    with scripted(*lengths, n_envs=2) as runner:
        histories = runner.rollout(ZeroAgent(), steps=steps)
    history = stack(histories) if stacked else histories[0]
    returns = np.zeros(history.rewards.shape)
    from_outside = np.zeros(history.rewards.shape)
    from_outside[history.bootstrap] = value(history.last_observations)
    running = np.zeros(history.rewards.shape[1:])
    for t in reversed(range(steps)):
        over = history.terminated[t] | history.bootstrap[t]
        running = history.rewards[t] + 0.9 * np.where(over, from_outside[t], running)
        returns[t] = running
    for h, column in zip(histories, returns.T if stacked else [returns], strict=False):
        expected = []
        for part in h.split():
            last = 0.0 if part.record.end_reason is EndReason.TERMINATED else float(value(part.observations[-1]))
            tail = [last]
            for reward in part.rewards[::-1]:
                tail.append(float(reward) + 0.9 * tail[-1])
            expected += tail[:0:-1]
        np.testing.assert_allclose(column, expected, rtol=1e-12)


def test_bootstrap_is_set_at_truncations_and_cuts_only() -> None:
    with scripted(3, 2) as runner:
        (history,) = runner.rollout(ZeroAgent(), steps=6)
        (to_the_end,) = runner.rollout(ZeroAgent(), steps=2)
    assert history.bootstrap.tolist() == [False, False, False, False, True, True]
    assert history.last_observations.tolist() == [[1, 2], [2, 1]]
    assert to_the_end.bootstrap.tolist() == [False, False]
    assert to_the_end.last_observations.shape == (0, 2)


# ---- stacking


@pytest.mark.parametrize("history", ["arrays", "torch"])
@pytest.mark.parametrize("name", ["float32", "Dict", "Text", "nested"])
def test_a_stack_has_the_columns_of_its_histories_side_by_side(name: str, history: str) -> None:
    if history == "torch":
        pytest.importorskip("torch")
    with sample_runner(name, "float32", n_envs=3, history=history) as runner:
        histories = runner.rollout(HashAgent(runner.action_space), steps=15)
        later = runner.rollout(HashAgent(runner.action_space), steps=15)
    for chosen in (histories, histories[::-1], histories[1:], [histories[0], later[0]], [later[2], *histories]):
        stacked = stack(chosen)
        assert len(stacked) == 15
        for column in ("observations", "next_observations", "actions", "env_actions"):
            for t in range(15):
                rows = row_of(getattr(stacked, column), t)
                for k, each in enumerate(chosen):
                    assert exact(row_of(rows, k)) == exact(row_of(getattr(each, column), t))
        for column in ("rewards", "terminated", "truncated", "bootstrap"):
            parts = [np.asarray(getattr(each, column)) for each in chosen]
            assert exact(getattr(stacked, column)) == exact(np.stack(parts, axis=1))
        lengths = [e.length for e in stacked.episodes]
        assert lengths == [e.length for each in chosen for e in each.episodes]
        for part, other in zip(stacked.split(), [p for each in chosen for p in each.split()], strict=True):
            assert exact(part.observations) == exact(other.observations)
            assert exact(part.actions) == exact(other.actions)


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [1]])
def test_the_records_of_a_stack_still_say_how_to_repeat_their_episodes(order: Sequence[int]) -> None:
    with scripted(3, 2, n_envs=2, seed=5) as runner:
        histories = runner.rollout(ZeroAgent(), steps=6)
    stacked = stack([histories[k] for k in order])
    assert [e.seed for e in stacked.episodes] == [e.seed for k in order for e in histories[k].episodes]
    assert [e.seed for e in stacked.episodes] == [
        SeedSchedule(5)(e.env_index, e.episode_index).seed for e in stacked.episodes
    ]


def test_a_stack_of_one_rollout_shares_its_memory_and_any_other_does_not() -> None:
    with sample_runner("float32", "float32", n_envs=2) as runner:
        first, second = runner.rollout(HashAgent(runner.action_space), steps=15)
    for column in ("observations", "actions", "rewards", "terminated"):
        assert np.shares_memory(getattr(stack([first, second]), column), getattr(second, column))
        assert not np.shares_memory(getattr(stack([second, first]), column), getattr(second, column))
        assert not np.shares_memory(getattr(stack([second]), column), getattr(second, column))


def test_a_copied_stack_keeps_raw_observations_and_final_ones() -> None:
    with scripted(2, 3, n_envs=2, preprocessors=[Plus(1)], keep_raw=True) as runner:
        first, second = runner.rollout(ZeroAgent(), steps=6)
    stacked = stack([second, first])
    assert exact(stacked.raw_observations[:, 1]) == exact(first.raw_observations)
    assert [exact(part.raw_observations) for part in stacked.split()] == [
        exact(part.raw_observations) for part in (*second.split(), *first.split())
    ]


def test_stacks_of_a_single_env_keep_their_env_axis() -> None:
    with scripted(3) as runner:
        (history,) = runner.rollout(ZeroAgent(), steps=4)
    assert stack([history]).observations.shape == (4, 1, 2)


def test_histories_that_do_not_fit_are_not_stacked() -> None:
    with scripted(3, n_envs=2, auto_reset=True) as runner, sample_runner() as other:
        first, _ = runner.rollout(ZeroAgent(), steps=4)
        short, _ = runner.rollout(ZeroAgent(), steps=3)
        (alien,) = other.rollout(HashAgent(other.action_space), steps=4)
    with pytest.raises(ArgumentError, match="equal length"):
        stack([first, short])
    with pytest.raises(ArgumentError, match="same spaces"):
        stack([first, alien])
    with pytest.raises(ArgumentError, match="at least one"):
        stack([])
    with pytest.raises(ArgumentError, match="infos"):
        stack([first]).infos  # noqa: B018


def test_any_iterable_of_histories_is_stacked() -> None:
    with scripted(3, n_envs=2, auto_reset=True) as runner:
        histories = runner.rollout(ZeroAgent(), steps=4)
    expected = exact(stack(histories).observations)
    by_env = dict(enumerate(histories))
    for iterable in (tuple(histories), iter(histories), by_env.values(), (history for history in histories)):
        assert exact(stack(iterable).observations) == expected


def test_what_is_no_history_of_columns_is_not_stacked() -> None:
    with scripted(3, history="transitions") as runner, scripted(3) as plain:
        transitions = runner.rollout(ZeroAgent(), steps=2)
        (history,) = plain.rollout(ZeroAgent(), steps=2)
    wrong: Any
    for wrong, says in ((transitions, "not list"), ([history, None], "NoneType"), ([3], "not int"), ("ab", "not str")):
        with pytest.raises(ArgumentError, match=f"histories with columns.*{says}"):
            stack(wrong)
    for wrong in (history, 3, None):
        with pytest.raises(ArgumentError, match=r"\[history\] for one"):
            stack(wrong)


def test_histories_of_two_kinds_are_not_stacked() -> None:
    pytest.importorskip("torch")
    with scripted(3) as runner, scripted(3, history="torch") as other:
        mixed = [*runner.rollout(ZeroAgent(), steps=2), *other.rollout(ZeroAgent(), steps=2)]
    with pytest.raises(ArgumentError, match="one kind, not ArrayHistory and TorchHistory"):
        stack(mixed)


# ---- memory


def bytes_of(histories: Sequence[Any]) -> int:
    return sum(
        h.rewards.nbytes + h.terminated.nbytes + h.truncated.nbytes + h.actions.nbytes + h.observations.nbytes
        for h in histories
    )


@pytest.mark.parametrize("limit", [{"steps": 2000}, {"episodes": 40}])
def test_a_rollout_takes_little_more_memory_than_its_arrays(limit: dict[str, Any]) -> None:
    with GymRunner(lambda seed: CountingEnv(64, 100), seed=0, n_envs=2) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=300)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            histories = runner.rollout(agent, **limit)
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    size = bytes_of(histories)
    assert size > 2_000_000
    assert after - before <= 1.1 * size
    assert peak - before <= (1.1 if "steps" in limit else 1.3) * size


def test_a_runner_of_its_own_histories_needs_no_memory_for_arrays() -> None:
    class Counts(GymRunner[Any, Any, int]):
        @override
        def process_transition(self, history: int | None, transition: Transition[Any, Any]) -> int:
            return (history or 0) + 1

    with Counts(lambda seed: CountingEnv(256, 100), seed=0) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=10)
        gc.collect()
        tracemalloc.start()
        try:
            assert runner.rollout(agent, steps=1000) == [1000]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 200_000 < 1000 * 256 * 8


def test_columns_are_views_of_the_rollout_and_belong_to_the_caller() -> None:
    with scripted(4, n_envs=2) as runner:
        (first, second) = runner.rollout(ZeroAgent(), steps=3)
        first.rewards[1] = 50.0
        assert first.rewards.tolist() == [1.0, 50.0, 3.0]
        assert second.rewards.tolist() == [1.0, 2.0, 3.0]
        (later, _) = runner.rollout(ZeroAgent(), steps=3)
    assert later.episodes[0].return_before == 6.0
    assert np.shares_memory(first.observations, first.split()[0].observations)


def test_what_a_caller_does_to_the_last_row_does_not_reach_the_next_rollout() -> None:
    with scripted(9) as runner:
        (history,) = runner.rollout(ZeroAgent(), steps=3)
        history.next_observations[-1] = -5
        (later,) = runner.rollout(ZeroAgent(), steps=3)
    assert later.observations.tolist() == [[0, 3], [0, 4], [0, 5]]


# ---- torch


@pytest.mark.parametrize("name", ["float32", "float16", "image", "bool", "scalar", "nothing", "MultiDiscrete", "Dict"])
def test_tensors_are_the_arrays_without_a_copy(name: str) -> None:
    torch = pytest.importorskip("torch")
    from runnerkit.history.arrays import ArrayFormat
    from runnerkit.history.torch import TorchFormat

    class Both:
        """Hands out the same block as arrays and as tensors."""

        def open(self, spec: Any, /) -> Any:
            self._recorders = ArrayFormat().open(spec), TorchFormat().open(spec)
            return self

        def finish(self, block: Any, /) -> list[Any]:
            return list(zip(*(recorder.finish(block) for recorder in self._recorders), strict=True))

        def close(self) -> None:
            for recorder in self._recorders:
                recorder.close()

    def same_memory(tensor: Any, array: Any) -> None:
        if isinstance(array, dict):
            for key in array:
                same_memory(tensor[key], array[key])
        else:
            assert isinstance(tensor, torch.Tensor)
            assert array.size == 0 or tensor.data_ptr() == array.ctypes.data
            assert tuple(tensor.stride()) == tuple(s // array.itemsize for s in array.strides) or array.size == 0

    with sample_runner(name, "float32", n_envs=2, history=Both()) as runner:
        for arrays, tensors in runner.rollout(HashAgent(runner.action_space), steps=9):
            for column in ("observations", "actions", "rewards", "terminated", "truncated"):
                same_memory(getattr(tensors, column), getattr(arrays, column))
            assert summary(tensors) == summary(arrays)


def _sampling(space: spaces.Space[Any], seed: int | None) -> SampleEnv:
    return SampleEnv(space, SPACES["Discrete"])


def test_torch_refuses_what_it_cannot_hold_when_the_runner_is_built() -> None:
    pytest.importorskip("torch")
    other_order: Any = np.dtype(np.float32).newbyteorder()
    for dtype in (np.longdouble, other_order):
        mixed = spaces.Dict(fine=SPACES["float32"], mixed=spaces.Box(-1, 1, (2,), dtype))
        with pytest.raises(SpaceError, match=r"observation\['mixed'\].*no such dtype"):
            GymRunner(functools.partial(_sampling, mixed), history="torch")


def test_a_missing_torch_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "runnerkit.history.torch", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'runnerkit\[torch\]'"):
        scripted(3, history="torch")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_an_agent_may_answer_with_tensors(dtype: str) -> None:
    torch = pytest.importorskip("torch")

    class Torch:
        def act(self, observations: NDArray[Any], /) -> Any:
            return torch.full((len(observations), 3), 1, dtype=getattr(torch, dtype), requires_grad=dtype != "int64")

    with sample_runner("float32", "float32", n_envs=2) as runner:
        for history in runner.rollout(Torch(), steps=4):
            assert exact(history.actions) == exact(np.ones((4, 3), np.float32))


# ---- pickles


@pytest.mark.parametrize("history", ["arrays", "torch"])
def test_a_pickled_history_takes_its_own_rows_along_and_no_others(history: str) -> None:
    if history == "torch":
        pytest.importorskip("torch")
    with GymRunner("CartPole-v1", 0, 16, history=history, preprocessors=[Plus(1.0)]) as runner:
        histories: list[Any] = list(runner.rollout(RandomAgent(runner.action_space, seed=0), steps=100))
    size = len(pickle.dumps(histories[3]))
    assert size < 100 * (16 + 8 + 8 + 2) * 2 + 8000
    for one in (pickle.loads(pickle.dumps(histories[3])), copy.deepcopy(histories[3])):
        assert exact(one.observations) == exact(histories[3].observations)
        assert exact(one.next_observations) == exact(histories[3].next_observations)
        assert (one.episodes, one.seeding, repr(one)) == (
            histories[3].episodes, histories[3].seeding, repr(histories[3])
        )  # fmt: skip
    whole = stack(histories)
    assert exact(pickle.loads(pickle.dumps(whole)).rewards) == exact(whole.rewards)


# ---- infos


class Lengths:
    """A format whose histories are numbers."""

    def open(self, spec: RunSpec, /) -> Lengths:
        return self

    def finish(self, block: Block, /) -> list[int]:
        return list(block.lengths)

    def close(self) -> None:
        """Has nothing open."""


def test_a_format_without_infos_is_told_of_once_if_infos_are_asked_for() -> None:
    with sample_runner(history=Lengths(), keep_infos=True) as runner:
        agent = HashAgent(runner.action_space)
        with pytest.warns(RuntimeWarning, match="histories of Lengths do not have the infos") as warned:
            done = [runner.rollout(agent, steps=9) for _ in range(3)]
        assert done == [[9]] * 3
    assert [warning.filename for warning in warned] == [__file__]
    with sample_runner(history=Lengths()) as runner:
        runner.rollout(HashAgent(runner.action_space), steps=9)
