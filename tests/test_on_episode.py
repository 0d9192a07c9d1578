"""`on_episode`: each episode once, as it ends, with the record and the rows that the histories have of it later."""

from __future__ import annotations

import pickle
import queue
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from envs import SPACES, HashAgent, SampleEnv, ScriptedEnv, ZeroAgent, exact
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from typing_extensions import override

from runnerkit import EndReason, EpisodeStart, GymRunner, Progress, RandomAgent, Transition
from runnerkit.errors import ArgumentError, EnvError, RolloutError
from runnerkit.history import EndedEpisode
from runnerkit.processors import Normalize

N = 3
ROLLOUTS = (("steps", 20), ("steps", 7), ("episodes", 4), ("once", 10), ("steps", 1))


def plain(seed: int | None) -> Any:
    return SampleEnv(SPACES["float32"], SPACES["Discrete"])


def nested(seed: int | None) -> Any:
    return SampleEnv(SPACES["nested"], SPACES["Dict"])


def vector(mode: AutoresetMode) -> Callable[[int | None], Any]:
    return lambda seed: SyncVectorEnv([lambda: ScriptedEnv((3, 1, 4, 2))] * N, autoreset_mode=mode)


def by_index(env_index: int, episode_index: int) -> EpisodeStart:
    return EpisodeStart(10 * env_index + episode_index)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "the tight loop": (plain, {}),
    "nested spaces": (nested, {"keep_infos": True}),
    "preprocessors": (plain, {"preprocessors": [Normalize], "keep_raw": True}),
    "a schedule": (plain, {"schedule": by_index}),
    "threads": (plain, {"executor": "threads", "workers": 2}),
    "processes": (plain, {"executor": "processes", "workers": 2}),
    "processes, nested": (nested, {"executor": "processes", "workers": 2, "keep_infos": True}),
    **{f"a vector env, {mode.name}": (vector(mode), {}) for mode in AutoresetMode},
}


@cache
def told(case: str) -> list[tuple[list[Any], list[Any]]]:
    """Return, for each rollout, what was told of each episode, and what the histories have of those that ended."""
    results = []
    make, options = CASES[case]
    options = {**options, "preprocessors": [kind() for kind in options.get("preprocessors", ())]}
    with GymRunner(make, seed=0, n_envs=N, **options) as runner:
        agent = HashAgent(runner.action_space)
        before = 0
        for kind, number in ROLLOUTS:
            runner.auto_reset = kind != "once"
            live: list[Any] = []

            def on_episode(ended: EndedEpisode[Any, Any], live: list[Any] = live) -> None:
                history = ended.history()
                (part,) = history.split()
                assert (part.record.start, len(history)) == (0, ended.record.length)
                live.append((ended.record, ended.steps, columns(part)))

            limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
            histories = runner.rollout(agent, **limit, on_episode=on_episode)
            after = before + sum(map(len, histories))
            assert all(before < steps <= after for _, steps, _ in live)
            before = after
            parts = [part for history in histories for part in history.split() if part.record.complete]
            results.append((live, [(part.record, columns(part)) for part in parts]))
    return results


def columns(part: Any) -> Any:
    names = ("observations", "actions", "rewards", "terminated", "truncated", "raw_observations", "infos", "next_known")
    return [exact(getattr(part, name)) for name in names], exact(part.reset_info)


@pytest.mark.parametrize("case", CASES)
def test_each_episode_is_told_once_as_the_histories_have_it(case: str) -> None:
    for live, kept in told(case):
        assert sorted((record.env_index, record.start) for record, _, _ in live) == [
            (record.env_index, record.start) for record, _ in kept
        ]
        by_place = {(record.env_index, record.start): (record, rows) for record, rows in kept}
        for record, _, rows in live:
            assert (record, rows) == by_place[record.env_index, record.start]


@pytest.mark.parametrize("case", ["the tight loop", "nested spaces", "a vector env, SAME_STEP"])
def test_episodes_come_in_the_order_of_their_last_steps_and_of_their_envs(case: str) -> None:
    for live, _ in told(case):
        order = [(record.start + record.length, record.env_index) for record, _, _ in live]
        assert order == sorted(order)


@pytest.mark.parametrize(
    ("one", "other"),
    [("the tight loop", "threads"), ("the tight loop", "processes"), ("nested spaces", "processes, nested")],
)
def test_every_executor_tells_the_same_in_the_same_order(one: str, other: str) -> None:
    assert told(one) == told(other)


def test_the_steps_are_those_of_all_envs_without_the_ones_in_which_envs_rest() -> None:
    steps = []
    with GymRunner(vector(AutoresetMode.NEXT_STEP), n_envs=N) as runner:
        histories = runner.rollout(ZeroAgent(), steps=9, on_episode=lambda ended: steps.append(ended.steps))
    assert steps == [9] * 3 + [12] * 3
    assert sum(map(len, histories)) == 12 + 3 * 3


def test_a_queue_gets_the_episodes_and_may_send_them_elsewhere_without_their_rows() -> None:
    episodes: queue.SimpleQueue[EndedEpisode[Any, Any]] = queue.SimpleQueue()
    with GymRunner(lambda seed: ScriptedEnv((2, 3)), seed=0, n_envs=1) as runner:
        runner.rollout(RandomAgent(runner.action_space, seed=0), steps=7, on_episode=episodes)
        first, second = episodes.get(), episodes.get()
        assert episodes.qsize() == 1
        with pytest.raises(ArgumentError, match="available only until on_episode returns"):
            first.history()
        assert pickle.loads(pickle.dumps(second)).record == second.record
        with pytest.raises(ArgumentError, match=r"on_episode must be a function .* or a queue .* not 5"):
            runner.rollout(ZeroAgent(), steps=1, on_episode=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["the tight loop", "nested spaces", "processes", "a vector env, NEXT_STEP"])
def test_an_exception_of_it_stops_the_rollout_and_loses_nothing(case: str) -> None:
    make, options = CASES[case]
    with GymRunner(make, seed=0, n_envs=N, **options) as runner:
        agent = HashAgent(runner.action_space)
        records = []

        def on_episode(ended: EndedEpisode[Any, Any]) -> None:
            records.append(ended.record)
            if len(records) == 4:
                raise ZeroDivisionError("table")

        with pytest.raises(RolloutError, match="on_episode raised ZeroDivisionError: table") as caught:
            runner.rollout(agent, steps=50, on_episode=on_episode)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        kept = [episode for history in caught.value.histories for episode in history.episodes]  # type: ignore[attr-defined]
        assert all(record in kept for record in records)
        assert {episode.end_reason for episode in kept if not episode.complete} <= {EndReason.INTERRUPTED}
        again = runner.rollout(agent, steps=2)
        assert all(history.episodes[0].steps_before == 0 for history in again)


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_episodes_that_end_in_the_last_step_before_a_fault_are_told(executor: str) -> None:
    class Failing(ScriptedEnv):
        @override
        def reset(self, **options: Any) -> Any:
            if self.episode == 1:
                raise OSError("level")
            return super().reset(**options)

    records = []
    options: dict[str, Any] = {"executor": executor, "n_envs": 2, "workers": 2 if executor == "processes" else None}
    with GymRunner(lambda seed: Failing((2,)), seed=0, **options) as runner:
        with pytest.raises(EnvError, match="level") as caught:
            runner.rollout(ZeroAgent(), steps=9, on_episode=lambda ended: records.append(ended.record))
        kept = [episode for history in caught.value.histories for episode in history.episodes]  # type: ignore[attr-defined]
        assert sorted(records, key=lambda record: record.env_index) == kept
        assert len(kept) == 4


def test_a_runner_with_its_own_histories_tells_of_episodes_without_rows() -> None:
    class Returns(GymRunner[Any, Any, list[float]]):
        @override
        def process_transition(self, history: list[float] | None, transition: Transition[Any, Any]) -> list[float]:
            return [*(history or []), transition.reward]

    records = []
    with Returns(lambda seed: ScriptedEnv((2, 3)), seed=0, n_envs=2) as runner:
        runner.rollout(ZeroAgent(), steps=4, on_episode=lambda ended: records.append(ended.record))
        histories = runner.rollout(ZeroAgent(), steps=2, on_episode=lambda ended: records.append(ended.record))
        assert [len(history) for history in histories] == [2, 2]
        with pytest.raises(RolloutError, match="no history of an ended episode"):
            runner.rollout(ZeroAgent(), steps=9, on_episode=lambda ended: ended.history())
    facts = [
        (r.env_index, r.episode_index, r.start, r.length, r.return_, r.steps_before, r.end_reason) for r in records
    ]
    assert facts == [
        *[(i, 0, 0, 2, 3.0, 0, EndReason.TERMINATED) for i in range(2)],
        *[(i, 1, 0, 1, 3.0, 2, EndReason.TRUNCATED) for i in range(2)],
    ]


def test_progress_has_means_of_the_last_hundred_episodes_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._rollout.progress._INTERVAL", 0.0)
    told: list[Progress] = []
    with GymRunner(lambda seed: ScriptedEnv([1] * 50 + [3] * 300), seed=0, n_envs=1) as runner:
        runner.rollout(ZeroAgent(), steps=50 + 3 * 100, progress=told.append)
        first, middle, last = told[0], told[49 + 150], told[-1]
        assert (first.recent_return, first.recent_length) == (1.0, 1.0)
        assert middle.episodes == 100
        assert middle.recent_length == middle.steps / 100
        assert (last.recent_return, last.recent_length) == (6.0, 3.0)
        assert last.mean_return == pytest.approx((50 * 1 + 100 * 6) / 150)
        assert middle.seconds_left == pytest.approx(middle.seconds * 150 / 200)
        assert last.seconds_left == 0.0
        runner.rollout(ZeroAgent(), episodes=4, progress=told.append)
        assert told[-1].seconds_left == 0.0
        assert told[-2].seconds_left is not None
    assert np.isfinite(told[-1].seconds)
