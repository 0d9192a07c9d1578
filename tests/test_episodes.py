"""Invariant 4, every episode is addressable; and which episodes a rollout holds, where they begin and end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import SPACES, SampleEnv, ScriptedEnv, ZeroAgent, exact, follow
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import EndReason, EpisodeStart, GymRunner, RandomAgent
from runnerkit.errors import ArgumentError, RolloutError
from runnerkit.executors.seeds import SeedSchedule


class Made:
    """A factory of scripted envs, one script per env, that remembers what it made."""

    def __init__(self, *scripts: Sequence[int]) -> None:
        self._scripts = scripts
        self.envs: list[ScriptedEnv] = []
        self.seeds: list[int | None] = []

    def __call__(self, seed: int | None) -> ScriptedEnv:
        self.envs.append(ScriptedEnv(self._scripts[len(self.envs) % len(self._scripts)]))
        self.seeds.append(seed)
        return self.envs[-1]


def runner_of(*scripts: Sequence[int], **options: Any) -> GymRunner[Any, Any, Any]:
    options = {"seed": 0, **options}
    return GymRunner(Made(*scripts), n_envs=len(scripts), **options)


def sample_env(seed: int | None) -> SampleEnv:
    return SampleEnv(SPACES["float32"], SPACES["Discrete"])


# ---- seeds


def test_seeds_are_a_pure_function_of_run_env_and_episode() -> None:
    forwards, backwards = SeedSchedule(7), SeedSchedule(7)
    cells = [(i, k) for i in range(3) for k in range(200)]
    expected = {cell: forwards(*cell) for cell in cells}
    assert {cell: backwards(*cell) for cell in reversed(cells)} == expected
    assert all(SeedSchedule(7)(*cell) == expected[cell] for cell in [(2, 199), (0, 64), (1, 63), (0, 0)])


@given(run=st.integers(0, 2**128), env=st.integers(0, 2**20), episode=st.integers(0, 300), asked=st.integers(0, 300))
@settings(max_examples=50)
def test_a_seed_does_not_depend_on_what_was_asked_before(run: int, env: int, episode: int, asked: int) -> None:
    schedule = SeedSchedule(run)
    schedule(env, asked)
    seed = schedule(env, episode).seed
    assert seed == SeedSchedule(run)(env, episode).seed
    assert seed is not None
    assert 0 <= seed < 2**63
    assert schedule(env, episode).options is None


def test_runs_with_neighbouring_seeds_and_envs_share_no_seed() -> None:
    seeds = [SeedSchedule(run)(i, k).seed for run in range(10) for i in range(20) for k in range(50)]
    made = [SeedSchedule(run).env_seed(i) for run in range(10) for i in range(20)]
    assert len({*seeds, *made}) == len(seeds) + len(made)


def test_the_bits_of_seeds_are_fair() -> None:
    seeds = np.array(
        [SeedSchedule(run)(i, k).seed for run in range(5) for i in range(5) for k in range(200)], np.uint64
    )
    ones = [np.mean((seeds >> np.uint64(bit)) & np.uint64(1)) for bit in range(63)]
    assert np.all(np.abs(np.array(ones) - 0.5) < 0.04)  # more than five standard errors


@pytest.mark.parametrize(("executor", "workers"), [("serial", None), ("threads", 2)])
def test_every_reset_and_every_record_has_the_seed_of_its_cell(executor: str, workers: int | None) -> None:
    made = Made((1, 3), (2,), (5, 1, 1))
    with GymRunner(made, seed=11, n_envs=3, executor=executor, workers=workers) as runner:
        histories = runner.rollout(ZeroAgent(), steps=20) + runner.rollout(ZeroAgent(), episodes=5)
    assert made.seeds == [SeedSchedule(11).env_seed(i) for i in range(3)]
    for i, env in enumerate(made.envs):
        assert env.resets == [(SeedSchedule(11)(i, k).seed, None) for k in range(len(env.resets))]
    for episode in (episode for history in histories for episode in history.episodes):
        assert episode.seed == SeedSchedule(11)(episode.env_index, episode.episode_index).seed


def test_a_run_without_a_seed_draws_one_that_repeats_it() -> None:
    with GymRunner(sample_env, n_envs=2) as first, GymRunner(sample_env, n_envs=2) as other:
        assert first.seed != other.seed
        drawn = first.rollout(ZeroAgent(), steps=10)
        assert drawn[1].episodes[0].seed == SeedSchedule(first.seed)(1, 0).seed
    with GymRunner(sample_env, seed=first.seed, n_envs=2) as again:
        repeated = again.rollout(ZeroAgent(), steps=10)
    assert [exact(h.observations) for h in drawn] == [exact(h.observations) for h in repeated]


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
def test_a_seed_that_cannot_be_is_refused(seed: Any) -> None:
    with pytest.raises(ArgumentError, match="seed"):
        GymRunner(sample_env, seed=seed)


def test_each_record_can_be_replayed_by_itself_from_its_seed() -> None:
    with GymRunner(sample_env, seed=5, n_envs=2) as runner:
        histories = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=25)
    part = histories[1].split()[2]
    env = sample_env(None)
    observation, _ = env.reset(seed=part.record.seed)
    assert exact(observation) == exact(part.observations[0])
    for t, action in enumerate(part.env_actions):
        observation, reward, *_ = env.step(action)
        assert (exact(observation), reward) == (exact(part.observations[t + 1]), float(part.rewards[t]))


# ---- episodes and rollouts


def test_a_cut_episode_goes_on_in_the_next_rollout_and_says_so() -> None:
    with runner_of((5,), (2,)) as runner:
        (first, _), (second, _) = runner.rollout(ZeroAgent(), steps=3), runner.rollout(ZeroAgent(), steps=3)
    (cut,), (rest, fresh) = first.episodes, second.episodes
    assert (cut.length, cut.return_, cut.end_reason, cut.continued, cut.complete) == (
        3,
        6.0,
        EndReason.CUT,
        False,
        False,
    )
    assert (rest.episode_index, rest.seed, rest.start, rest.length) == (0, cut.seed, 0, 2)
    assert rest.continued
    assert rest.complete
    assert rest.end_reason is EndReason.TERMINATED
    assert (rest.steps_before, rest.return_before, rest.total_length, rest.total_return) == (3, 6.0, 5, 15.0)
    assert (fresh.episode_index, fresh.start, fresh.steps_before, fresh.total_length) == (1, 2, 0, 1)


def test_an_episode_may_span_many_rollouts() -> None:
    with runner_of((100,)) as runner:
        records = [runner.rollout(ZeroAgent(), steps=7)[0].episodes for _ in range(4)]
    assert [(r.steps_before, r.total_length, r.total_return) for (r,) in records] == [
        (7 * k, 7 * (k + 1), sum(range(1, 7 * (k + 1) + 1))) for k in range(4)
    ]


def test_an_episode_that_ends_with_the_rollout_is_complete_and_the_next_one_begins_in_the_next() -> None:
    with runner_of((3,)) as runner:
        (first,), (second,) = runner.rollout(ZeroAgent(), steps=3), runner.rollout(ZeroAgent(), steps=3)
    assert [e.end_reason for e in (*first.episodes, *second.episodes)] == [EndReason.TERMINATED, EndReason.TRUNCATED]
    assert exact(first.next_observations[-1]) == exact(np.array([0, 3], np.float32))
    assert exact(second.observations[0]) == exact(np.array([1, 0], np.float32))
    assert not second.episodes[0].continued


def test_both_flags_at_once_are_kept_and_the_reason_is_terminated() -> None:
    class Both(ScriptedEnv):
        @override
        def step(self, action: Any) -> Any:
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated or truncated, terminated or truncated, info

    with GymRunner(lambda seed: Both((2,)), seed=0) as runner:
        (history,) = runner.rollout(ZeroAgent(), steps=4)
    assert history.terminated.tolist() == history.truncated.tolist() == [False, True, False, True]
    assert [episode.end_reason for episode in history.episodes] == [EndReason.TERMINATED] * 2


@given(
    scripts=st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 15), min_size=1, max_size=3),
)
@settings(max_examples=40)
def test_there_are_no_ghost_steps_and_records_tile_the_rows(scripts: list[list[int]], cuts: list[int]) -> None:
    with runner_of(*scripts) as runner:
        rollouts = [runner.rollout(ZeroAgent(), steps=steps) for steps in cuts]
    for steps, histories in zip(cuts, rollouts, strict=True):
        records = [episode for history in histories for episode in history.episodes]
        assert sum(episode.length for episode in records) == steps * len(scripts)
        for history in histories:
            assert [e.start for e in history.episodes] == np.cumsum([0, *(e.length for e in history.episodes)])[
                :-1
            ].tolist()
            assert np.array_equal(history.observations[:, 1] + 1, history.next_observations[:, 1])
            assert np.array_equal(history.observations[:, 0], history.next_observations[:, 0])
    for i, script in enumerate(scripts):
        complete = [e.total_length for histories in rollouts for e in histories[i].episodes if e.complete]
        assert complete == [script[k % len(script)] for k in range(len(complete))]


def test_total_lengths_and_returns_hold_for_runners_with_a_history_of_their_own() -> None:
    class Rewards(GymRunner[Any, Any, list[float]]):
        @override
        def process_transition(self, history: list[float] | None, transition: Any) -> list[float]:
            return [*(history or []), transition.reward]

    agent = ZeroAgent()
    with Rewards(Made((4,), (3, 9)), seed=0, n_envs=2) as runner:
        told = [runner.rollout(agent, steps=5) for _ in range(2)]
    assert told == [
        [[1.0, 2.0, 3.0, 4.0, 1.0], [1.0, 2.0, 3.0, 1.0, 2.0]],
        [[2.0, 3.0, 4.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0, 7.0]],
    ]


# ---- episodes=K


def first_started(scripts: Sequence[Sequence[int]], count: int, begun: Sequence[int]) -> list[tuple[int, int, int]]:
    """Simulate all envs on one clock; return (env, episode, length) of the first so many by order of start."""
    started: list[tuple[int, int, int, int]] = []
    for i, script in enumerate(scripts):
        clock = 0
        for k in range(count):
            length = script[(begun[i] + k) % len(script)]
            started.append((clock, i, begun[i] + k, length))
            clock += length
    return [(i, k, length) for _, i, k, length in sorted(started)[:count]]


@given(
    scripts=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=5),
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    history=st.sampled_from(["arrays", "transitions"]),
    scheduled=st.booleans(),
    executor=st.sampled_from(["serial", "threads"]),
)
@settings(max_examples=60)
def test_episodes_k_gives_the_first_k_by_order_of_start(
    scripts: list[list[int]], counts: list[int], history: str, scheduled: bool, executor: str
) -> None:
    begun = [0] * len(scripts)
    schedule = SeedSchedule(0) if scheduled else None
    with runner_of(*scripts, history=history, schedule=schedule, executor=executor) as runner:
        for count in counts:
            histories = runner.rollout(ZeroAgent(), episodes=count)
            expected = first_started(scripts, count, begun)
            for i in range(len(scripts)):
                mine = [(k, length) for env, k, length in expected if env == i]
                begun[i] += len(mine)
                assert len(histories[i]) == sum(length for _, length in mine)
                if history == "transitions":
                    assert sum(step.done for step in histories[i]) == len(mine)
                elif mine:
                    assert [(e.episode_index, e.length) for e in histories[i].episodes] == mine
                    assert all(episode.complete for episode in histories[i].episodes)


def test_episodes_k_is_not_biased_towards_short_episodes() -> None:
    class Coin(ScriptedEnv):
        """Half of its episodes take 1 step, half 40."""

        @override
        def reset(self, **kwargs: Any) -> Any:
            gymnasium.Env.reset(self, seed=kwargs["seed"])
            self._lengths = [int(self.np_random.choice([1, 40]))]
            kwargs["seed"] = None
            return super().reset(**kwargs)

    with GymRunner(lambda seed: Coin(), seed=1, n_envs=8) as runner:
        records = [e for h in runner.rollout(ZeroAgent(), episodes=400) for e in h.episodes]
    assert len(records) == 400
    assert abs(np.mean([e.length == 1 for e in records]) - 0.5) < 0.1


def test_an_env_with_nothing_to_do_has_an_empty_history() -> None:
    with runner_of((3,), (3,), (3,)) as runner:
        histories = runner.rollout(ZeroAgent(), episodes=2)
    assert [len(history) for history in histories] == [3, 3, 0]
    idle = histories[2]
    assert idle.observations.shape == idle.next_observations.shape == (0, 2)
    assert idle.rewards.shape == idle.bootstrap.shape == (0,)
    assert idle.episodes == []
    assert idle.split() == []
    assert "episodes=0" in repr(idle)


def test_episodes_k_gives_up_what_was_going_and_begins_anew() -> None:
    with runner_of((10,), (10,)) as runner:
        runner.rollout(ZeroAgent(), steps=4)
        (first, second) = runner.rollout(ZeroAgent(), episodes=2)
        (after, _) = runner.rollout(ZeroAgent(), steps=1)
    assert [(e.episode_index, e.start, e.length, e.continued) for e in first.episodes] == [(1, 0, 10, False)]
    assert [e.episode_index for e in second.episodes] == [1]
    assert [e.episode_index for e in after.episodes] == [2]


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_no_episode_is_lost_when_a_block_of_unknown_length_grows(executor: str) -> None:
    with runner_of((3,), (1, 2), executor=executor) as runner:
        histories = runner.rollout(ZeroAgent(), episodes=600)
    assert [[e.length for e in h.episodes] for h in histories] == [
        [3] * 200, [1 + k % 2 for k in range(400)],
    ]  # fmt: skip
    for history in histories:
        assert np.array_equal(history.observations[:, 0], history.next_observations[:, 0])


def test_long_rollouts_of_unknown_length_outgrow_their_first_block() -> None:
    with runner_of((400, 300), (1000,)) as runner:
        long, longer = runner.rollout(ZeroAgent(), episodes=3)
    assert [e.length for e in long.episodes] == [400, 300]
    assert longer.observations[:, 1].tolist() == list(range(1000))
    assert longer.rewards.sum() == 1000 * 1001 / 2


# ---- auto_reset=False


@pytest.mark.parametrize(("executor", "workers"), [("serial", None), ("threads", 2), ("threads", 3)])
def test_without_auto_reset_every_env_runs_one_episode(executor: str, workers: int | None) -> None:
    agent = ZeroAgent()
    with runner_of((4,), (2,), (7,), auto_reset=False, executor=executor, workers=workers) as runner:
        histories = runner.rollout(agent)
        again = runner.rollout(ZeroAgent())
    assert [[(e.length, e.complete, e.episode_index) for e in h.episodes] for h in histories] == [
        [(4, True, 0)], [(2, True, 0)], [(7, True, 0)],
    ]  # fmt: skip
    assert [[e.episode_index for e in h.episodes] for h in again] == [[1], [1], [1]]
    assert [len(seen) for seen in agent.seen] == [3, 3, 2, 2, 1, 1, 1]
    assert agent.active[:3] == [[0, 1, 2], [0, 2], [2]]


def test_without_auto_reset_a_cut_episode_goes_on_and_an_ended_env_begins_anew() -> None:
    with runner_of((2,), (5,), auto_reset=False) as runner:
        runner.rollout(ZeroAgent(), steps=3)
        short, long = runner.rollout(ZeroAgent(), steps=9)
    assert [(e.episode_index, e.steps_before, e.length) for e in short.episodes] == [(1, 0, 2)]
    assert [(e.episode_index, e.steps_before, e.length) for e in long.episodes] == [(0, 3, 2)]


# ---- schedules


class Curriculum:
    """A schedule with a memory; it notes how it is called, and in which thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.threads: set[int] = set()

    def __call__(self, env_index: int, episode_index: int, /) -> EpisodeStart:
        self.calls.append((env_index, episode_index))
        self.threads.add(threading.get_ident())
        return EpisodeStart(seed=100 + len(self.calls), options={"length": 1 + len(self.calls) % 4})


@pytest.mark.parametrize(("executor", "workers"), [("serial", None), ("threads", 2), ("threads", 3)])
def test_a_schedule_is_asked_once_per_episode_in_order_of_start_in_the_calling_thread(
    executor: str, workers: int | None
) -> None:
    curriculum = Curriculum()
    with GymRunner(sample_env, n_envs=3, executor=executor, workers=workers, schedule=curriculum, seed=0) as runner:
        histories = runner.rollout(ZeroAgent(), steps=12)
    started = sorted((e.start, e.env_index, e.episode_index) for h in histories for e in h.episodes)
    assert curriculum.calls == [(i, k) for _, i, k in started]
    assert curriculum.threads == {threading.get_ident()}
    given_ = {call: (101 + n, 1 + (n + 1) % 4) for n, call in enumerate(curriculum.calls)}
    for e in (episode for history in histories for episode in history.episodes):
        seed, length = given_[e.env_index, e.episode_index]
        assert e.seed == seed
        assert e.options == {"length": length}
        assert e.length == length or not e.complete
    for i in range(3):
        assert follow(lambda: sample_env(None), [histories[i]]) == 12


def test_a_fixed_list_of_seeds_evaluates_each_of_them_once() -> None:
    seeds = [3, 1, 4, 1, 5, 9, 2]
    queue: Iterator[int] = iter(seeds)
    with GymRunner(sample_env, n_envs=3, schedule=lambda i, k: EpisodeStart(next(queue)), seed=0) as runner:
        records = [e for h in runner.rollout(ZeroAgent(), episodes=len(seeds)) for e in h.episodes]
    assert sorted(e.seed for e in records if e.seed is not None) == sorted(seeds)
    assert next(queue, None) is None


def test_a_schedule_may_leave_the_seed_to_the_env() -> None:
    made = Made((2,))
    with GymRunner(made, seed=0, schedule=lambda i, k: EpisodeStart(options={"k": k})) as runner:
        (history,) = runner.rollout(ZeroAgent(), steps=4)
    assert made.envs[0].resets == [(None, {"k": 0}), (None, {"k": 1})]
    assert [(e.seed, e.options) for e in history.episodes] == [(None, {"k": 0}), (None, {"k": 1})]


def test_the_options_on_record_are_those_that_the_episode_began_with() -> None:
    level = {"length": 0}

    def harder(env_index: int, episode_index: int, /) -> EpisodeStart:
        level["length"] += 1
        return EpisodeStart(seed=0, options=level)

    with GymRunner(sample_env, seed=0, schedule=harder) as runner:
        (history,) = runner.rollout(ZeroAgent(), episodes=3)
    assert [episode.length for episode in history.episodes] == [1, 2, 3]
    assert [episode.options for episode in history.episodes] == [{"length": 1}, {"length": 2}, {"length": 3}]


# ---- limits, maybe_reset


def test_a_lower_max_steps_of_a_subclass_is_respected() -> None:
    class Short(GymRunner[Any, Any, Any]):
        MAX_STEPS = 10

    with Short(Made((4,)), seed=0) as runner:
        assert len(runner.rollout(ZeroAgent())[0]) == 10
        assert len(runner.rollout(ZeroAgent(), steps=10)[0]) == 10
        with pytest.raises(ArgumentError, match="MAX_STEPS"):
            runner.rollout(ZeroAgent(), steps=11)
        with pytest.raises(RolloutError, match="48 of 50 episodes did not end within MAX_STEPS, 10") as caught:
            runner.rollout(ZeroAgent(), episodes=50)
        history: Any = caught.value.histories[0]
        assert len(history) == 10
        runner.auto_reset = False
        assert [len(h) for h in runner.rollout(ZeroAgent())] == [2]


@pytest.mark.parametrize("limit", [{"steps": 0}, {"steps": -1}, {"episodes": 0}, {"steps": 1.5}, {"steps": True},
                                   {"steps": 1, "episodes": 1}])  # fmt: skip
def test_limits_that_cannot_be_are_refused(limit: dict[str, Any]) -> None:
    with runner_of((4,)) as runner, pytest.raises(ArgumentError):
        runner.rollout(ZeroAgent(), **limit)


def test_maybe_reset_begins_what_is_not_going_and_nothing_else() -> None:
    made = Made((3,), (10,))
    with GymRunner(made, seed=0, n_envs=2) as runner:
        runner.maybe_reset()
        runner.maybe_reset()
        assert [len(env.resets) for env in made.envs] == [1, 1]
        runner.rollout(ZeroAgent(), steps=3)
        assert [len(env.resets) for env in made.envs] == [1, 1]
        runner.maybe_reset()
        assert [len(env.resets) for env in made.envs] == [2, 1]
        first, second = runner.rollout(ZeroAgent(), steps=2)
    assert [len(env.resets) for env in made.envs] == [2, 1]
    assert [(e.episode_index, e.steps_before) for e in (*first.episodes, *second.episodes)] == [(1, 0), (0, 3)]
    assert first.observations.tolist() == [[1, 0], [1, 1]]
    assert second.observations.tolist() == [[0, 3], [0, 4]]


def test_maybe_reset_does_not_change_what_is_collected() -> None:
    def collect(reset: bool) -> Any:
        with GymRunner(sample_env, seed=3, n_envs=3, keep_infos=True) as runner:
            agent = RandomAgent(runner.action_space, seed=0)
            found = []
            for _ in range(4):
                if reset:
                    runner.maybe_reset()
                found += [(exact(h.observations), exact(h.actions), h.episodes) for h in runner.rollout(agent, steps=5)]
        return found

    assert collect(True) == collect(False)


def test_infos_of_first_observations_survive_maybe_reset() -> None:
    with runner_of((3,), keep_infos=True) as runner:
        runner.maybe_reset()
        (history,) = runner.rollout(ZeroAgent(), steps=5)
    assert dict(history.reset_infos) == {0: {"episode": 0}, 3: {"episode": 1}}


# ---- what agents are told


def test_a_stateful_agent_is_told_of_every_episode_before_it_first_acts_in_it() -> None:
    agent = ZeroAgent()
    with runner_of((2,), (3,)) as runner:
        runner.rollout(agent, steps=4)
        assert agent.begun == [[0, 1], [0], [1]]
        runner.rollout(agent, steps=2)
    assert agent.begun == [[0, 1], [0], [1], [0]]
    steps_before = [
        len([c for c in agent.calls[:n] if c[0] == "act"]) for n, c in enumerate(agent.calls) if c[0] == "begin"
    ]
    assert steps_before == [0, 2, 3, 4]


@pytest.mark.parametrize("limit", [{"steps": 17}, {"episodes": 7}, {"steps": 3}])
@pytest.mark.parametrize("auto_reset", [True, False])
@pytest.mark.parametrize("scheduled", [True, False])
def test_begin_episodes_names_exactly_the_rows_that_show_first_observations(
    limit: dict[str, Any], auto_reset: bool, scheduled: bool
) -> None:
    class Checks(ZeroAgent):
        @override
        def act(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
            first = {i for i, row in zip(self.active[-1], observations, strict=True) if row[1] == 0}
            told = set(self.begun[-1]) if self.calls and self.calls[-1][0] == "begin" else set()
            assert told == first
            return super().act(observations)

    if not auto_reset and "episodes" in limit:
        limit = {"episodes": 2}  # each env makes one at the most
    agent = Checks()
    schedule = SeedSchedule(0) if scheduled else None
    with runner_of((3, 1), (2,), (5,), auto_reset=auto_reset, schedule=schedule) as runner:
        for _ in range(3):
            runner.rollout(agent, **limit)


def test_a_stateful_agent_is_told_of_episodes_that_maybe_reset_began() -> None:
    agent = ZeroAgent()
    with runner_of((2,), (3,)) as runner:
        runner.maybe_reset()
        runner.rollout(agent, steps=1)
    assert agent.begun == [[0, 1]]


def test_active_envs_are_told_before_every_act_that_they_concern() -> None:
    class Checks(ZeroAgent):
        @override
        def act(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
            assert len(observations) == len(self.active[-1])
            assert observations[:, 0].tolist() == [0.0] * len(observations)
            return super().act(observations)

    agent = Checks()
    with runner_of((1,), (3,), (2,), (3,), auto_reset=False) as runner:
        runner.rollout(agent)
    assert agent.active[:3] == [[0, 1, 2, 3], [1, 2, 3], [1, 3]]


def test_an_agent_that_wants_to_know_nothing_is_told_nothing() -> None:
    class Plain:
        def act(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
            return np.zeros(len(observations), np.int64)

    with runner_of((2,), (3,)) as runner:
        assert [len(history) for history in runner.rollout(Plain(), steps=7)] == [7, 7]
