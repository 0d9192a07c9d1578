"""Native vector envs: each env's transitions are those of a plain loop, whatever the auto-reset mode."""

from __future__ import annotations

import copy
import functools
import importlib.util
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
from envs import SPACES, HashAgent, RecyclingEnv, SampleEnv, ScriptedEnv, ZeroAgent, any_space, exact, follow, summary
from gymnasium import Space, spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import DictInfoToList
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from programs import wait_for
from typing_extensions import override

import runnerkit
from runnerkit import Contribution, EndReason, EpisodeStart, GymRunner, RandomAgent, Registry, Transition, hookimpl
from runnerkit.errors import AgentError, ArgumentError, EnvError, EnvSpaceError, RolloutError, UnknownNameError
from runnerkit.records import Seeded, Seeding
from runnerkit.typing import AnyEnv, AnyVectorEnv, EnvFactory

MODES = list(AutoresetMode)
NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
BY_ITSELF = [NEXT_STEP, SAME_STEP]

Make = Callable[[int | None], AnyVectorEnv]

if TYPE_CHECKING:
    AnySyncVectorEnv = SyncVectorEnv[Any, Any]
else:
    AnySyncVectorEnv = SyncVectorEnv  # before Gymnasium 1.4 it had no type arguments


def sync(make: Callable[[], AnyEnv], n_envs: int, mode: AutoresetMode = NEXT_STEP, copy: bool = True) -> Make:
    """Return a factory of vector envs."""
    return lambda seed: SyncVectorEnv([make] * n_envs, copy=copy, autoreset_mode=mode)


def runner_of(make: Any, n_envs: int, **options: Any) -> GymRunner[Any, Any, Any]:
    return GymRunner(make, n_envs=n_envs, **options)


def run(make: Any, n_envs: int, rollouts: Sequence[tuple[str, int]], **options: Any) -> list[Any]:
    """Do rollouts one after the other: ("steps", 10), ("episodes", 3), ("once", 10) without auto-reset."""
    results = []
    with runner_of(make, n_envs, **options) as runner:
        agent = HashAgent(runner.action_space)
        for kind, number in rollouts:
            runner.auto_reset = kind != "once"
            limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
            results.append(runner.rollout(agent, **limit))
    return results


def is_batchable(space: Space[Any]) -> bool:
    """Whether Gymnasium's own vector envs can iterate over batches of a space: not where a Tuple is empty."""
    if isinstance(space, spaces.Dict):
        return all(is_batchable(sub) for sub in space.spaces.values())
    if isinstance(space, spaces.Tuple):
        return bool(space.spaces) and all(is_batchable(sub) for sub in space.spaces)
    return True


def in_order(space: Space[Any], sample: Any) -> Any:
    """Return a sample with the keys of dicts in the order of the space: Gymnasium's vector envs may sort them."""
    if isinstance(space, spaces.Dict):
        return {key: in_order(sub, sample[key]) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(in_order(sub, value) for sub, value in zip(space.spaces, sample, strict=True))
    return sample


class OrderlyEnv(SampleEnv):
    """A `SampleEnv` to which the order of keys means nothing."""

    @override
    def step(self, action: Any) -> Any:
        return super().step(in_order(self.action_space, action))


some_rollouts = st.lists(
    st.one_of(
        st.tuples(st.just("steps"), st.integers(1, 9)),
        st.tuples(st.just("episodes"), st.integers(1, 7)),
        st.tuples(st.just("once"), st.integers(1, 9)),
    ),
    min_size=1,
    max_size=4,
)

# ---- the same transitions


@given(
    observation=any_space().filter(is_batchable),
    action=any_space().filter(is_batchable),
    rollouts=some_rollouts,
    n_envs=st.integers(1, 4),
    mode=st.sampled_from(MODES),
    copies=st.booleans(),
    seed=st.integers(0, 2**64),
)
@settings(max_examples=60)
def test_a_plain_loop_repeats_every_env_of_a_vector_env(
    observation: Space[Any],
    action: Space[Any],
    rollouts: Sequence[tuple[str, int]],
    n_envs: int,
    mode: AutoresetMode,
    copies: bool,
    seed: int,
) -> None:
    def make() -> AnyEnv:
        return OrderlyEnv(observation, action)

    results = run(sync(make, n_envs, mode, copies), n_envs, rollouts, seed=seed, keep_infos=True)
    for i in range(n_envs):
        histories = [histories[i] for histories in results]
        assert follow(make, histories, infos=True) == sum(map(len, histories))


@given(
    observation=any_space().filter(is_batchable),
    rollouts=some_rollouts,
    n_envs=st.integers(1, 4),
    scheduled=st.booleans(),
)
@settings(max_examples=25)
def test_envs_that_are_reset_one_by_one_give_the_bytes_of_the_serial_executor(
    observation: Space[Any], rollouts: Sequence[tuple[str, int]], n_envs: int, scheduled: bool
) -> None:
    def make() -> AnyEnv:
        return SampleEnv(observation, SPACES["Discrete"])

    def schedule(env_index: int, episode_index: int) -> EpisodeStart:
        options = {"length": 1 + episode_index % 3} if env_index % 2 else None
        return EpisodeStart(100 * env_index + episode_index, options)

    more: dict[str, Any] = {"schedule": schedule if scheduled else None, "seed": 3, "keep_infos": True}
    plain = run(lambda seed: make(), n_envs, rollouts, **more)
    vector = run(sync(make, n_envs, DISABLED), n_envs, rollouts, **more)
    assert [[summary(h) for h in histories] for histories in vector] == [
        [summary(h) for h in histories] for histories in plain
    ]


def rows_of(histories: Sequence[Any]) -> list[Any]:
    """Return the transitions of one env's consecutive histories, bit by bit."""
    rows = []
    for history in histories:
        columns = (history.observations, history.actions, history.rewards, history.terminated, history.truncated)
        for t in range(len(history)):
            rows.append(exact([column[t] for column in (*columns, history.next_observations)]))
    return rows


@pytest.mark.parametrize("mode", MODES)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    n_envs=st.integers(1, 4),
)
@settings(max_examples=15)
def test_envs_that_need_no_seeds_do_the_same_in_every_mode(
    mode: AutoresetMode, lengths: list[int], cuts: list[int], n_envs: int
) -> None:
    rollouts = [("steps", cut) for cut in cuts]
    plain = run(lambda seed: ScriptedEnv(lengths), n_envs, rollouts)
    vector = run(sync(lambda: ScriptedEnv(lengths), n_envs, mode), n_envs, rollouts)
    for i in range(n_envs):
        want, have = rows_of([h[i] for h in plain]), rows_of([h[i] for h in vector])
        assert have == want[: len(have)]
        assert mode is NEXT_STEP or len(have) == len(want)
        for histories, cut in zip(vector, cuts, strict=True):
            assert sum(episode.length for episode in histories[i].episodes) == len(histories[i]) <= cut


@pytest.mark.parametrize("mode", MODES)
def test_how_rollouts_are_cut_does_not_change_the_transitions(mode: AutoresetMode) -> None:
    def transitions(cuts: Sequence[int], i: int) -> list[Any]:
        make = sync(lambda: OrderlyEnv(SPACES["float32"], SPACES["Discrete"]), 3, mode)
        return rows_of([h[i] for h in run(make, 3, [("steps", cut) for cut in cuts], seed=1)])

    for i in range(3):
        whole, parts = transitions([30], i), transitions([1, 2, 7, 1, 1, 10, 8], i)
        n = min(len(whole), len(parts))
        assert n > 18
        assert whole[:n] == parts[:n]


@pytest.mark.parametrize("mode", MODES)
def test_recycled_buffers_do_not_reach_the_history(mode: AutoresetMode) -> None:
    make = sync(RecyclingEnv, 3, mode, copy=False)
    with runner_of(make, 3, seed=0, keep_infos=True) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        results = [runner.rollout(agent, steps=13), runner.rollout(agent, steps=4)]
    before = copy.deepcopy([[h.observations for h in histories] for histories in results])
    assert exact(before) == exact([[h.observations for h in histories] for histories in results])
    for i in range(3):
        histories = [histories[i] for histories in results]
        assert all(np.abs(h.actions).max() <= 1 for h in histories)
        if mode is not SAME_STEP:  # where Gymnasium itself lets the reset overwrite the final observation
            assert follow(Careful, histories) == sum(map(len, histories))
        else:
            assert not all(h.next_known.all() for h in histories)


class Careful(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A `RecyclingEnv` that takes copies of its actions."""

    def __init__(self) -> None:
        super().__init__(RecyclingEnv())

    @override
    def step(self, action: Any) -> Any:
        return super().step(action.copy())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rollouts", [[("steps", 25)], [("steps", 7), ("episodes", 9), ("once", 5), ("steps", 6)]])
def test_all_formats_and_process_transition_tell_the_same_story(
    mode: AutoresetMode, rollouts: list[tuple[str, int]]
) -> None:
    class Own(GymRunner[Any, Any, Any]):
        @override
        def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
            return [*(history or []), transition]

    make = sync(lambda: OrderlyEnv(SPACES["Dict"], SPACES["float32"]), 3, mode)
    told = []
    with Own(make, n_envs=3, seed=2, keep_infos=True) as runner:
        agent = HashAgent(runner.action_space)
        for kind, number in rollouts:
            runner.auto_reset = kind != "once"
            limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
            told.append(runner.rollout(agent, **limit))
    arrays = run(make, 3, rollouts, seed=2, keep_infos=True)
    listed = run(make, 3, rollouts, seed=2, keep_infos=True, history="transitions")
    for own, columns, steps in zip(told, arrays, listed, strict=True):
        for i in range(3):
            assert [exact_step(step) for step in own[i] or []] == [exact_step(step) for step in steps[i]]
            assert [step.reward for step in steps[i]] == columns[i].rewards.tolist()
            assert [exact(step.info) for step in steps[i]] == [
                exact(columns[i].infos.get(t, {})) for t in range(len(columns[i]))
            ]


def exact_step(step: Transition[Any, Any]) -> Any:
    return exact([step.observation, step.action, step.reward, step.next_observation, step.terminated, step.truncated])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("keep_raw", [False, True])
def test_processors_change_nothing_about_what_the_envs_do(mode: AutoresetMode, keep_raw: bool) -> None:
    make = sync(lambda: OrderlyEnv(SPACES["float32"], SPACES["Discrete"]), 3, mode)
    agent_space = SPACES["Discrete"]
    rollouts = [("steps", 11), ("episodes", 7), ("steps", 9)]

    class Twice:
        def bind(self, space: Space[Any], /) -> Space[Any]:
            return space

        def __call__(self, observations: Any, /) -> object:
            return observations * np.float32(2)

    class Halving(HashAgent):
        @override
        def choose(self, observation: Any) -> Any:
            return super().choose(observation / np.float32(2))

    plain = run(make, 3, rollouts, seed=2)
    results = []
    with runner_of(make, 3, seed=2, preprocessors=[Twice()], keep_raw=keep_raw) as runner:
        agent = Halving(agent_space)
        for kind, number in rollouts:
            limit: dict[str, Any] = {kind: number}
            results.append(runner.rollout(agent, **limit))
    for histories, bare in zip(results, plain, strict=True):
        for history, other in zip(histories, bare, strict=True):
            assert exact(history.observations) == exact(other.observations * np.float32(2))
            assert exact(history.next_observations) == exact(other.next_observations * np.float32(2))
            assert exact(history.actions) == exact(other.actions)
            assert history.episodes == other.episodes
            if keep_raw:
                assert exact(history.raw_observations) == exact(other.observations)
                parts = zip(history.split(), other.split(), strict=True)
                assert all(exact(part.raw_observations) == exact(bare_.observations) for part, bare_ in parts)


def test_a_large_block_is_closed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    make = sync(lambda: OrderlyEnv(SPACES["Dict of objects"], SPACES["Dict"]), 3)
    (whole,) = run(make, 3, [("steps", 40)], seed=1)
    monkeypatch.setattr("runnerkit.history.compaction._ITEMS", 7)
    (pieces,) = run(make, 3, [("steps", 40)], seed=1)
    assert [summary(h) for h in pieces] == [summary(h) for h in whole]


# ---- resting


def test_an_env_that_rests_is_left_out_of_one_batch_and_told_to_begin_after_it() -> None:
    agent = ZeroAgent()
    with runner_of(lambda seed: SyncVectorEnv([lambda: ScriptedEnv((2,)), lambda: ScriptedEnv((9,))]), 2) as runner:
        first, second = runner.rollout(agent, steps=6)
    assert agent.calls == [
        ("active", [0, 1]),
        ("begin", [0, 1]), ("act", []), ("act", []),
        ("active", [1]), ("act", []),
        ("active", [0, 1]), ("begin", [0]), ("act", []), ("act", []),
        ("active", [1]), ("act", []),
    ]  # fmt: skip
    assert len(first) == 4
    assert len(second) == 6
    assert first.observations.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert first.next_observations.tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    assert [episode.end_reason for episode in first.episodes] == [EndReason.TERMINATED, EndReason.TRUNCATED]


def test_an_env_that_rests_at_the_end_of_a_rollout_goes_on_in_the_next() -> None:
    agent = ZeroAgent()
    with runner_of(
        lambda seed: SyncVectorEnv([lambda: ScriptedEnv((2,)), lambda: ScriptedEnv((9,))]), 2, keep_infos=True
    ) as runner:
        results = [runner.rollout(agent, steps=steps)[0] for steps in (2, 1, 2, 1, 3)]
    assert [len(history) for history in results] == [2, 0, 2, 0, 2]
    assert [[(e.episode_index, e.length, e.continued) for e in h.episodes] for h in results] == [
        [(0, 2, False)], [], [(1, 2, False)], [], [(2, 2, False)],
    ]  # fmt: skip
    assert results[2].reset_infos == {0: {"episode": 1}}
    assert agent.begun == [[0, 1], [0], [0]]
    assert runner.observation_space.shape == (2,)


def test_envs_that_all_end_at_once_rest_together_and_nobody_is_asked() -> None:
    agent = ZeroAgent()
    with runner_of(sync(lambda: ScriptedEnv((2,)), 2), 2) as runner:
        histories = runner.rollout(agent, steps=8)
    assert [call for call, _ in agent.calls].count("act") == 6
    assert [h.observations.tolist() for h in histories] == [[[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]] * 2


def test_a_random_agent_draws_no_number_for_an_env_that_rests() -> None:
    make = sync(lambda: ScriptedEnv((3, 1, 4)), 3)
    with runner_of(make, 3) as runner:
        vector = [runner.rollout(RandomAgent(runner.action_space, seed=0), steps=30)]
    with runner_of(lambda seed: ScriptedEnv((3, 1, 4)), 3) as runner:
        plain = [runner.rollout(RandomAgent(runner.action_space, seed=0), steps=30)]
    for i in range(3):
        want, have = rows_of([h[i] for h in plain]), rows_of([h[i] for h in vector])
        assert have == want[: len(have)]


def test_the_tight_loop_and_the_general_step_give_the_same() -> None:
    make = sync(lambda: OrderlyEnv(SPACES["float32"], SPACES["Discrete"]), 4)
    (plain,) = run(make, 4, [("steps", 60)], seed=5)
    with runner_of(make, 4, seed=5) as runner:
        found = runner.rollout(HashAgent(runner.action_space), steps=60, progress=lambda progress: None)
    assert [summary(h) for h in found] == [summary(h) for h in plain]


def test_progress_does_not_promise_steps_that_envs_may_rest_through() -> None:
    told: list[Any] = []
    with runner_of(sync(lambda: ScriptedEnv((2,)), 2), 2) as runner:
        runner.rollout(ZeroAgent(), steps=8, progress=told.append)
    assert told[-1].total_steps is None
    assert told[-1].steps == 12
    assert told[-1].episodes == 6


@pytest.mark.parametrize("mode", MODES)
def test_the_first_episodes_by_order_of_start_are_collected(mode: AutoresetMode) -> None:
    with runner_of(sync(lambda: ScriptedEnv((1, 3, 2)), 3, mode), 3) as runner:
        for k in (1, 2, 4, 7):
            histories = runner.rollout(ZeroAgent(), episodes=k)
            assert sum(len(h.episodes) for h in histories) == k
            assert all(episode.complete for h in histories for episode in h.episodes)


@pytest.mark.parametrize("mode", BY_ITSELF)
def test_without_auto_reset_the_next_rollout_begins_all_episodes(mode: AutoresetMode) -> None:
    make = lambda seed: SyncVectorEnv(  # noqa: E731
        [lambda: ScriptedEnv((2,)), lambda: ScriptedEnv((9,))], autoreset_mode=mode
    )
    with runner_of(make, 2, auto_reset=False) as runner:
        ended, cut = runner.rollout(ZeroAgent(), steps=4)
        assert (len(ended), len(cut)) == (2, 4)
        assert [e.end_reason for e in (*ended.episodes, *cut.episodes)] == [EndReason.TERMINATED, EndReason.INTERRUPTED]
        again = runner.rollout(ZeroAgent(), steps=1)
        assert [h.episodes[0].continued for h in again] == [False, False]


@pytest.mark.parametrize("mode", MODES)
def test_maybe_reset_begins_what_can_begin(mode: AutoresetMode) -> None:
    agent = ZeroAgent()
    with runner_of(sync(lambda: ScriptedEnv((2,)), 2, mode), 2) as runner:
        runner.maybe_reset()
        runner.maybe_reset()
        first = runner.rollout(agent, steps=2)
        runner.maybe_reset()
        second = runner.rollout(agent, steps=2)
    assert [h.observations.tolist() for h in first] == [[[0, 0], [0, 1]]] * 2
    assert [h.observations.tolist() for h in second] == [[[1, 0], [1, 1]]] * 2
    assert agent.begun == [[0, 1], [0, 1]]


# ---- what such an env does not tell


class OneSeed(AnySyncVectorEnv):
    """Takes one seed for all."""

    given: list[Any]

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:  # type: ignore[override]
        self.given = [*getattr(self, "given", []), seed]
        return super().reset(seed=seed, options=options)


def test_seeds_of_first_resets_are_those_of_the_schedule_and_later_ones_are_not_invented() -> None:
    serial = run("CartPole-v1", 2, [("steps", 60)], seed=7)
    vector = run(lambda seed: gymnasium.make_vec("CartPole-v1", 2, "sync"), 2, [("steps", 60)], seed=7)
    for plain, native in zip(serial[0], vector[0], strict=True):
        first = native.episodes[0]
        assert first == plain.episodes[0]
        assert [episode.seed for episode in native.episodes[1:]] == [None] * (len(native.episodes) - 1)
        assert exact(native.observations[: first.length]) == exact(plain.observations[: first.length])
        assert plain.seeding == Seeding()
        assert native.seeding == Seeding(seeded=Seeded.SOME, every_step=False)


def test_one_seed_for_all_envs_is_given_once_and_none_is_recorded() -> None:
    made: list[OneSeed] = []

    def make(seed: int | None) -> AnyVectorEnv:
        made.append(OneSeed([lambda: ScriptedEnv((2,))] * 2))
        return made[-1]

    results = run(make, 2, [("steps", 5), ("episodes", 2)], seed=7)
    assert made[0].given[1:] == [None]
    assert isinstance(made[0].given[0], int)
    assert all(e.seed is None for histories in results for h in histories for e in h.episodes)
    assert results[0][0].seeding.seeded is Seeded.NONE
    run(make, 2, [("steps", 1)], seed=7)
    run(make, 2, [("steps", 1)], seed=8)
    assert made[0].given[0] == made[1].given[0] != made[2].given[0]


class Forgetful(AnySyncVectorEnv):
    """Resets in the same step without a word about how the episode ended."""

    @override
    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        return *rest, {key: value for key, value in infos.items() if "final" not in key}


@pytest.mark.parametrize("history", ["arrays", "torch"])
def test_a_final_observation_that_the_env_does_not_tell_is_unknown(history: str) -> None:
    if history == "torch":
        pytest.importorskip("torch")
    make = lambda seed: Forgetful([lambda: ScriptedEnv((2, 3))] * 2, autoreset_mode=SAME_STEP)  # noqa: E731
    with runner_of(make, 2, history=history) as runner:
        histories = runner.rollout(ZeroAgent(), steps=5)
        more = runner.rollout(ZeroAgent(), steps=4)
    assert [h.next_known.tolist() for h in histories] == [[True, False, True, True, False]] * 2
    assert not histories[0].seeding.final_observations
    after = np.asarray(histories[0].next_observations)
    assert np.isnan(after[[1, 4]]).all()
    assert after[[0, 2, 3]].tolist() == [[0, 1], [1, 1], [1, 2]]
    assert histories[0].truncated.tolist() == [False, False, False, False, True]
    assert not histories[0].bootstrap.any()
    assert len(histories[0].last_observations) == 0
    assert [part.next_known.tolist() for part in histories[0].split()] == [[True, False], [True, True, False]]
    assert more[0].observations.tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]
    stacked = runnerkit.stack(histories)
    assert stacked.next_known.tolist() == [[True] * 2, [False] * 2, [True] * 2, [True] * 2, [False] * 2]
    assert not stacked.seeding.final_observations
    assert runnerkit.stack([histories[1], histories[0]]).next_known.tolist() == stacked.next_known.tolist()
    assert exact(more[0].bootstrap) == exact(np.array([False, False, False, True]))


def test_a_transition_whose_next_observation_is_unknown_has_none() -> None:
    make = lambda seed: Forgetful([lambda: ScriptedEnv((2, 3))] * 2, autoreset_mode=SAME_STEP)  # noqa: E731
    with runner_of(make, 2, history="transitions") as runner:
        (steps, _) = runner.rollout(ZeroAgent(), steps=5)

    class Own(GymRunner[Any, Any, Any]):
        @override
        def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
            return [*(history or []), transition]

    with Own(make, n_envs=2) as own:
        (told, _) = own.rollout(ZeroAgent(), steps=5)
    for found in (steps, told):
        assert [step.next_observation is None for step in found] == [False, True, False, False, True]


def test_preprocessors_are_not_shown_an_unknown_observation() -> None:
    make = lambda seed: Forgetful([lambda: ScriptedEnv((2,))] * 2, autoreset_mode=SAME_STEP)  # noqa: E731
    with runner_of(make, 2, preprocessors=["flatten"]) as runner, pytest.raises(EnvSpaceError, match="final_obs"):
        runner.rollout(ZeroAgent(), steps=5)


class FakePool(VectorEnv[Any, Any, Any], gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """Speaks as EnvPool does: it is an Env, too, takes no seed, and writes over one buffer of each kind."""

    metadata: dict[str, Any] = {"autoreset_mode": NEXT_STEP}  # noqa: RUF012

    def __init__(self, n: int) -> None:
        self.num_envs = n
        self.single_observation_space = self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.single_action_space = self.action_space = spaces.Discrete(2)
        self._t = np.zeros(n, np.int32)
        self._lengths = 2 + np.arange(n)
        self._observations = np.zeros((n, 1), np.float32)
        self._done = np.zeros(n, np.bool_)

    @override
    def reset(self, env_id: Any = None, *, seed: int | list[int] | None = None, options: Any = None) -> Any:
        if seed is not None:
            warnings.warn("seeds are fixed as it is made; reset(seed=...) is ignored", stacklevel=2)
        self._t[:] = 0
        self._observations[:] = 0
        return self._observations, {"env_id": np.arange(self.num_envs), "players": {"env_id": np.arange(self.num_envs)}}

    @override
    def step(self, actions: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  (it has two bases)
        self._t = np.where(self._done, 0, self._t + 1).astype(np.int32)
        self._done[:] = self._t >= self._lengths
        self._observations[:] = self._t[:, None]
        info = {"elapsed_step": self._t, "players": {"env_id": np.arange(self.num_envs)}}
        return self._observations, (self._t > 0).astype(np.float32), self._done, np.zeros(self.num_envs, np.bool_), info

    @override
    def close(self, **kwargs: Any) -> None:
        self.closed = True


def test_an_env_pool_is_taken_as_the_vector_env_that_it_is() -> None:
    pool = FakePool(2)
    with runner_of(lambda seed: pool, 2, keep_infos=True) as runner:
        first, second = runner.rollout(ZeroAgent(), steps=7)
    assert first.observations[:, 0].tolist() == [0, 1, 0, 1, 0]
    assert first.next_observations[:, 0].tolist() == [1, 2, 1, 2, 1]
    assert second.next_observations[:, 0].tolist() == [1, 2, 3, 1, 2, 3]
    assert first.episodes[0].seed is None
    assert first.seeding == Seeding(seeded=Seeded.NONE, every_step=False)
    assert first.reset_infos[0] == {"env_id": 0, "players": {"env_id": 0}}
    assert second.infos[2] == {"elapsed_step": 3, "players": {"env_id": 1}}
    assert second.reset_infos[3] == {"elapsed_step": 0, "players": {"env_id": 1}}
    assert pool.closed


@pytest.mark.skipif(importlib.util.find_spec("ale_py") is None, reason="ale_py is not installed")
def test_ataris_own_vector_env_gives_the_same_in_both_its_modes() -> None:
    from ale_py.vector_env import AtariVectorEnv

    class Looks:
        def act(self, observations: NDArray[np.uint8], /) -> NDArray[np.int64]:
            sums: NDArray[np.int64] = observations.reshape(len(observations), -1).astype(np.int64).sum(axis=1)
            return sums % 6

    found = []
    for mode in BY_ITSELF:
        make = lambda seed, mode=mode: AtariVectorEnv(  # noqa: E731
            "pong", 2, autoreset_mode=mode, max_num_frames_per_episode=40, noop_max=3
        )
        with runner_of(make, 2, seed=1) as runner:
            results = [runner.rollout(Looks(), steps=15), runner.rollout(Looks(), steps=10)]
        found.append([rows_of([histories[i] for histories in results]) for i in range(2)])
        assert all(h.next_known.all() for histories in results for h in histories)
        assert all(e.seed is not None for h in results[0] for e in h.episodes[:1])
    for i in range(2):
        n = len(found[0][i])
        assert 20 <= n < len(found[1][i]) == 25
        assert found[1][i][:n] == found[0][i]


class Reuses(ScriptedEnv):
    """Returns one and the same array at each step."""

    def __init__(self, lengths: Sequence[int] = (3,)) -> None:
        super().__init__(lengths)
        self._buffer = np.zeros(2, np.float32)

    @override
    def _observe(self) -> NDArray[np.float32]:
        self._buffer[...] = super()._observe()
        return self._buffer


@pytest.mark.parametrize("shared", [True, False])
def test_a_final_observation_that_a_helper_wrote_over_is_unknown(shared: bool) -> None:
    make = lambda seed: AsyncVectorEnv([Reuses] * 2, shared_memory=shared, autoreset_mode=SAME_STEP)  # noqa: E731
    with runner_of(make, 2) as runner:
        histories = runner.rollout(Zeros(), steps=7)
    assert [h.next_known.tolist() for h in histories] == [[True, True, False, True, True, False, True]] * 2
    assert not histories[0].seeding.final_observations


class Returns(ScriptedEnv):
    """Its episodes may end where they began."""

    @override
    def _observe(self) -> NDArray[np.float32]:
        at_home = self._t == self._lengths[self.episode % len(self._lengths)] and self._t != 3
        return np.array([0.0, 0 if at_home else self._t], np.float32)


@pytest.mark.parametrize("own", [False, True])
def test_a_final_observation_that_is_like_the_first_one_is_believed(own: bool) -> None:
    class Counts(GymRunner[Any, Any, Any]):
        @override
        def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
            return [*(history or []), transition.next_observation is not None]

    def known(lengths: Sequence[int], steps: int) -> Any:
        make = sync(lambda: Returns(lengths), 2, SAME_STEP)
        with Counts(make, n_envs=2) if own else runner_of(make, 2) as runner:
            history = runner.rollout(Zeros(), steps=steps)[1]
        return history if own else history.next_known.tolist()

    assert known((3, 2), 10) == [True] * 10
    assert known((2, 3), 12) == [True] * 12
    assert known((2,), 12) == [True] * 12  # which always comes back to where it began
    assert known((1,), 3) == [True] * 3


# ---- the factory `vector`, and what is refused


def test_the_factory_vector_makes_as_many_envs_as_the_runner_has() -> None:
    with runnerkit.make("vector:CartPole-v1", n_envs=6, seed=0) as runner:
        histories = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=50)
        assert runner.workers == 1
    assert len(histories) == 6
    assert all(40 < len(h) < 50 for h in histories)
    again = runnerkit.make("vector:CartPole-v1", n_envs=6, seed=0)
    with again as runner:
        repeated = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=50)
    assert [summary(h) for h in repeated] == [summary(h) for h in histories]


def test_an_id_without_a_version_is_the_newest_one() -> None:
    with runnerkit.make("vector:CartPole", n_envs=2) as runner:
        assert len(runner.rollout(Zeros(), steps=1)) == 2


def test_env_options_go_to_the_vector_env() -> None:
    with runnerkit.make("vector:CartPole-v1", n_envs=2, env_options={"max_episode_steps": 3}) as runner:
        (history, _) = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=10)
    assert [episode.length for episode in history.episodes[:2]] == [3, 3]


def test_an_env_without_a_vector_entry_point_says_so() -> None:
    with pytest.raises(ArgumentError, match=r"Pendulum-v1 has no vector entry point.*'Pendulum-v1'.*CartPole-v1"):
        runnerkit.make("vector:Pendulum-v1", n_envs=2)
    with pytest.raises(UnknownNameError, match="CartPol"):
        runnerkit.make("vector:CartPol-v1", n_envs=2)


def test_a_factory_of_a_plugin_is_told_n_envs_if_it_wants_to_know() -> None:
    asked: list[int] = []

    def factory(env_id: str, /, *, seed: int | None, n_envs: int = 1, **options: Any) -> AnyVectorEnv:
        asked.append(n_envs)
        return SyncVectorEnv([lambda: ScriptedEnv((3,))] * n_envs)

    class Plugin:
        @staticmethod
        @hookimpl
        def env_factories() -> list[Contribution[EnvFactory]]:
            return [Contribution("many", lambda: factory)]

    registry = Registry()
    registry.register(Plugin, "many")
    with registry.build("many:whatever", n_envs=4) as runner:
        assert len(runner.rollout(ZeroAgent(), steps=2)) == 4
    assert asked == [4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_envs": 3}, r"num_envs=2, but the runner has n_envs=3. Pass n_envs=2"),
        ({"executor": "threads"}, r"cannot be executor='threads'"),
        ({"workers": 1}, r"cannot be workers=1"),
        ({"schedule": lambda i, k: EpisodeStart(k)}, r"schedule= needs envs that can be reset one by one"),
    ],
)
def test_what_a_vector_env_cannot_do_is_refused_early_and_it_is_closed(options: dict[str, Any], message: str) -> None:
    made: list[FakePool] = []

    def make(seed: int | None) -> AnyVectorEnv:
        made.append(FakePool(2))
        return made[-1]

    with pytest.raises(ArgumentError, match=message):
        runner_of(make, **{"n_envs": 2, **options})
    assert [env.closed for env in made] == [True]


def test_a_vector_env_that_does_not_say_when_it_resets_is_refused() -> None:
    pool = FakePool(2)
    pool.metadata = {}
    with pytest.raises(
        ArgumentError, match=r"metadata\['autoreset_mode'\] is None, not one of AutoresetMode.NEXT_STEP"
    ):
        runner_of(lambda seed: pool, 2)


def test_a_vector_env_that_cannot_be_made_is_not_called_env_0() -> None:
    def make(seed: int | None, n_envs: int) -> AnyVectorEnv:
        raise RuntimeError(f"no room for {n_envs}")

    with pytest.raises(EnvError, match="The vector env could not be made: RuntimeError: no room for 2"):
        runner_of(make, 2)
    with pytest.raises(EnvError, match=r"The vector env could not be made by env factory vector: TypeError"):
        runner_of("vector:CartPole-v1", 2, env_options={"colour": "red"})


@pytest.mark.parametrize("name", ["num_envs", "single_observation_space", "single_action_space"])
def test_a_vector_env_that_lacks_what_each_must_have_is_refused(name: str) -> None:
    pool = FakePool(2)
    delattr(pool, name)
    with pytest.raises(ArgumentError, match=f"FakePool has no {name}, as every VectorEnv must"):
        runner_of(lambda seed: pool, 2)
    assert pool.closed


@pytest.mark.parametrize(("space", "shared"), [("float32", False), ("nothing", True)])
def test_an_async_env_that_resets_twice_is_refused(space: str, shared: bool) -> None:
    make_one = lambda: SampleEnv(SPACES[space], SPACES["Discrete"])  # noqa: E731
    with pytest.raises(ArgumentError, match="resets envs twice"):
        runner_of(lambda seed: AsyncVectorEnv([make_one], shared_memory=shared), 1)


@pytest.mark.parametrize("space", ["Text", "Dict of objects", "OneOf"])
def test_an_async_env_that_cannot_read_its_observations_is_refused(space: str) -> None:
    make_one = lambda: SampleEnv(SPACES[space], SPACES["Discrete"])  # noqa: E731
    with pytest.raises(ArgumentError, match=r"reads observations of Text and OneOf .* Give it shared_memory=False"):
        runner_of(lambda seed: AsyncVectorEnv([make_one]), 1)
    make = lambda seed: AsyncVectorEnv([make_one], shared_memory=False, autoreset_mode=DISABLED)  # noqa: E731
    (histories,) = run(make, 1, [("steps", 9)])
    assert follow(make_one, histories) == 9


# ---- faults


class Broken(FakePool):
    """Returns what it is told, once."""

    def __init__(self, change: Callable[[list[Any]], None], at: int = 3) -> None:
        super().__init__(2)
        self._change, self._at, self.steps = change, at, 0

    @override
    def step(self, actions: Any) -> Any:
        result = list(super().step(actions))
        self.steps += 1
        if self.steps == self._at:
            self._change(result)
        return tuple(result)


def put(index: int, value: Any) -> Callable[[list[Any]], None]:
    return lambda result: result.__setitem__(index, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(0, np.zeros((2, 1))), r"observation must be an array of dtype float32 and shape \(2, 1\), not float64"),
        (put(0, np.zeros((3, 1), np.float32)), r"shape \(2, 1\), not float32 of shape \(3, 1\)"),
        (put(0, [[0.0], [0.0]]), r"not list"),
        (put(1, np.zeros(3)), r"rewards must be an array of 2 numbers, not float64 of shape \(3,\)"),
        (put(1, [0.0, 1.0]), r"rewards must be an array of 2 numbers, not list"),
        (put(1, np.array([1j, 1j])), r"rewards must be an array of 2 numbers"),
        (put(2, np.full(2, 0.5)), r"terminations must be an array of 2 bools, not float64"),
        (put(3, np.zeros((1,), np.bool_)), r"truncations must be an array of 2 bools, not bool of shape \(1,\)"),
        (lambda result: result.pop(), r"returned a tuple of 4 from step"),
        (put(2, np.ones(2, np.bool_)), r"ended an episode in the step in which it resets"),
    ],
)
@pytest.mark.parametrize("tight", [False, True])
def test_wrong_data_are_never_recorded(change: Callable[[list[Any]], None], message: str, tight: bool) -> None:
    pool = Broken(change)
    with runner_of(lambda seed: pool, 2) as runner:
        if tight:
            runner.rollout(Zeros(), steps=1)
            pool.steps = 0
        with pytest.raises(EnvSpaceError, match=message) as caught:
            runner.rollout(Zeros() if tight else ZeroAgent(), steps=9)
        assert str(caught.value).startswith("The vector env returned") or "ended" in message
        assert all(len(history) <= 3 for history in histories_of(caught.value))
        assert len(runner.rollout(Zeros(), steps=4)) == 2


class OnGpu:
    """As a tensor on a GPU: NumPy cannot have it."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert a cuda tensor to numpy")


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_what_numpy_cannot_read_is_named(index: int) -> None:
    pool = Broken(put(index, OnGpu()))
    with runner_of(lambda seed: pool, 2) as runner, pytest.raises(EnvSpaceError, match="not OnGpu") as caught:
        runner.rollout(Zeros(), steps=9)
    assert [len(history) for history in histories_of(caught.value)] == [2, 2]


class OddInfos(AnySyncVectorEnv):
    """Has its infos changed by a function as episodes end, and as the env is reset."""

    change: Callable[[Any], Any]
    change_first: Callable[[Any], Any]

    @override
    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        return *rest, self.change(infos) if infos else infos

    @override
    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        observations, infos = super().reset(seed=seed, options=options)
        return observations, self.change_first(infos)


class Uncopyable:
    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("there can be only one")


def with_info(**more: Any) -> Callable[[Any], Any]:
    return lambda infos: {**infos, **more}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_info(final_obs=None), r"infos\['final_obs'\] that has nothing for env 0: TypeError"),
        (with_info(final_obs=[np.zeros(2, np.float32)]), r"that has nothing for env 1: IndexError"),
        (with_info(final_obs=np.zeros((2, 3))), r"a final observation for env 0 that does not fit"),
        (with_info(_final_obs=np.array([True])), r"that has nothing for env 1: IndexError"),
        (with_info(final_info=5), r"those of env 0 cannot be kept \(TypeError: .*\): leave keep_infos out"),
        (with_info(final_info=[{}]), r"those of env 1 cannot be kept \(IndexError"),
        (with_info(it=5, _it=[True]), r"those of env 1 cannot be kept \(IndexError"),
        (with_info(it=Uncopyable()), r"those of env 0 cannot be kept \(RuntimeError: there can be only one\)"),
        (lambda infos: [infos], r"returned a list as infos, not a dict or a list of 2 dicts"),
    ],
)
def test_odd_infos_are_named_and_cost_nothing_that_was_collected(change: Callable[[Any], Any], message: str) -> None:
    def make(seed: int | None) -> AnyVectorEnv:
        env = OddInfos([lambda: ScriptedEnv((3,))] * 2, autoreset_mode=SAME_STEP)
        env.change, env.change_first = change, dict
        return env

    with runner_of(make, 2, keep_infos=True) as runner:
        with pytest.raises(EnvSpaceError, match=message) as caught:
            runner.rollout(Zeros(), steps=9)
        assert [h.rewards.tolist() for h in histories_of(caught.value)] == [[1, 2]] * 2
        assert [len(h) for h in runner.rollout(Zeros(), steps=2)] == [2, 2]


@pytest.mark.parametrize("mode", MODES)
def test_infos_that_are_a_list_of_dicts_tell_the_same_as_a_dict_of_arrays(mode: AutoresetMode) -> None:
    make = sync(lambda: ScriptedEnv((2, 3)), 2, mode)
    told = []
    for wrap in (lambda env: env, DictInfoToList):
        with runner_of(lambda seed, wrap=wrap: wrap(make(seed)), 2, keep_infos=True, seed=0) as runner:
            histories = runner.rollout(Zeros(), steps=9)
        told.append([(h.next_observations.tolist(), h.infos, h.reset_infos, summary(h)) for h in histories])
    assert told[0] == told[1]
    assert all(reset_infos for _, _, reset_infos, _ in told[0])


@pytest.mark.parametrize("mode", MODES)
def test_infos_of_a_step_that_a_fault_broke_off_are_not_kept(mode: AutoresetMode) -> None:
    class Odd(AnySyncVectorEnv):
        steps = 0

        @override
        def step(self, actions: Any) -> Any:
            *rest, infos = super().step(actions)
            self.steps += 1
            more = {"it": 1, "_it": [True]} if self.steps == 5 else {}  # none for the second env
            return *rest, {**infos, "at": np.full(2, self.steps), **more}

    make = lambda seed: Odd([lambda: ScriptedEnv((2, 9))] * 2, autoreset_mode=mode)  # noqa: E731
    with runner_of(make, 2, keep_infos=True) as runner, pytest.raises(EnvSpaceError, match="env 1") as caught:
        runner.rollout(Zeros(), steps=9)
    for history in histories_of(caught.value):
        assert len(history) == (3 if mode is NEXT_STEP else 4)
        assert max(history.infos) == len(history) - 1


@pytest.mark.parametrize("mode", MODES)
def test_odd_infos_of_a_reset_are_named(mode: AutoresetMode) -> None:
    def make(seed: int | None) -> AnyVectorEnv:
        env = OddInfos([lambda: ScriptedEnv((3,))] * 2, autoreset_mode=mode)
        env.change, env.change_first = dict, lambda infos: [infos]
        return env

    with (
        runner_of(make, 2, keep_infos=True) as runner,
        pytest.raises(EnvSpaceError, match="returned a list as infos, not a dict"),
    ):
        runner.rollout(Zeros(), steps=9)


class Zeros:
    """An agent that wants to know nothing."""

    def act(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
        return np.zeros(len(observations), np.int64)


def histories_of(error: Any) -> list[Any]:
    histories: list[Any] = error.histories
    return histories


@pytest.mark.parametrize("mode", MODES)
def test_an_env_that_raises_leaves_what_was_collected_and_the_runner_usable(mode: AutoresetMode) -> None:
    broken = [True]

    class Raises(ScriptedEnv):
        @override
        def step(self, action: np.int64) -> Any:
            if broken[0] and self.episode == 1:
                raise ValueError("out of order")
            return super().step(action)

    with runner_of(sync(lambda: Raises((3,)), 2, mode), 2) as runner:
        with pytest.raises(
            EnvError, match=r"^The vector env raised in step: ValueError: out of order. It does"
        ) as caught:
            runner.rollout(Zeros(), steps=20)
        assert caught.value.env_index == -1
        histories = histories_of(caught.value)
        assert [len(h) for h in histories] == [3, 3]
        assert [[e.end_reason for e in h.episodes] for h in histories] == [[EndReason.TERMINATED]] * 2
        broken[0] = False
        assert [len(h) for h in runner.rollout(Zeros(), episodes=1)] == [3, 0]
        again = runner.rollout(Zeros(), steps=3)
        assert [h.rewards.tolist() for h in again] == [[1, 2, 3]] * 2


@pytest.mark.parametrize("at", [1, 2, 5])
def test_an_agent_that_fails_leaves_what_was_collected(at: int) -> None:
    class Fails(Zeros):
        calls = 0

        @override
        def act(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
            self.calls += 1
            return np.full(len(observations), 9 if self.calls == at else 0)

    with runner_of(sync(lambda: ScriptedEnv((2, 3)), 2), 2) as runner:
        with pytest.raises(AgentError, match="for env 0 do not fit") as caught:
            runner.rollout(Fails(), steps=20)
        assert [len(h) for h in histories_of(caught.value)] == [at - 1] * 2
        assert all(e.end_reason is not EndReason.CUT for h in histories_of(caught.value) for e in h.episodes)


def test_a_process_transition_that_fails_leaves_the_runner_usable() -> None:
    class Fails(GymRunner[Any, Any, Any]):
        count = 0

        @override
        def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
            self.count += 1
            if self.count == 7:
                raise KeyError("seven")
            return (history or 0) + 1

    with Fails(sync(lambda: ScriptedEnv((2,)), 2), n_envs=2) as runner:
        with pytest.raises(RolloutError, match="seven"):
            runner.rollout(Zeros(), steps=9)
        assert runner.rollout(Zeros(), steps=9) == [6, 6]


@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_returns_what_was_collected(mode: AutoresetMode) -> None:
    class Interrupts(Zeros):
        calls = 0

        @override
        def act(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            return super().act(observations)

    with runner_of(sync(lambda: ScriptedEnv((2,)), 2, mode), 2) as runner:
        histories = runner.rollout(Interrupts(), steps=50, on_interrupt="return")
        assert runner.interrupted
        assert [h.rewards.tolist() for h in histories] == [[1, 2, 1]] * 2
        assert [h.episodes[-1].end_reason for h in histories] == [EndReason.INTERRUPTED] * 2
        assert [h.rewards.tolist() for h in runner.rollout(Zeros(), steps=2)] == [[1, 2]] * 2


def test_more_steps_than_max_steps_are_an_error_that_has_what_was_collected() -> None:
    class Short(GymRunner[Any, Any, Any]):
        MAX_STEPS = 5

    with Short(sync(lambda: ScriptedEnv((2, 30)), 2), n_envs=2) as runner:
        with pytest.raises(RolloutError, match="2 of 4 episodes did not end") as caught:
            runner.rollout(Zeros(), episodes=4)
        assert [len(h) for h in histories_of(caught.value)] == [4, 4]
        assert [h.rewards.tolist() for h in runner.rollout(Zeros(), steps=1)] == [[1], [1]]


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_env_renders_all_its_envs(mode: AutoresetMode, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")

    class Draws(ScriptedEnv):
        metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012
        render_mode: str | None = "rgb_array"
        drawn = 0

        @override
        def render(self) -> Any:
            type(self).drawn += 1
            return np.zeros((4, 4, 3), np.uint8)

    with runner_of(sync(lambda: Draws((2,)), 2, mode), 2) as runner:
        runner.rollout(Zeros(), steps=5, render=True, fps=1000)
    assert Draws.drawn >= 8


def test_closing_closes_the_env_and_a_dropped_runner_does_not_keep_it() -> None:
    pool = FakePool(2)
    runner = runner_of(lambda seed: pool, 2)
    runner.rollout(Zeros(), steps=3)
    runner.close()
    runner.close()
    assert pool.closed
    other = FakePool(2)
    dropped = [runner_of(lambda seed: other, 2)]
    with pytest.warns(ResourceWarning, match="without close"):
        dropped.clear()
    assert other.closed


def test_an_async_env_of_which_a_helper_died_leaves_no_helper_behind() -> None:
    class Dies(ScriptedEnv):
        @override
        def step(self, action: np.int64) -> Any:
            os._exit(1)

    made: list[AsyncVectorEnv] = []

    def make(seed: int | None) -> AnyVectorEnv:
        made.append(AsyncVectorEnv([lambda: ScriptedEnv((3,)), lambda: Dies((3,))]))
        return made[-1]

    runner = runner_of(make, 2)
    with pytest.raises(EnvError, match=r"Env 1 lived in a worker process .* exit code 1. Build a new runner"):
        runner.rollout(Zeros(), steps=3)
    runner.close()
    assert not any(process.is_alive() for process in made[0].processes)


def test_a_vector_env_that_fails_to_close_says_so() -> None:
    class Stuck(FakePool):
        @override
        def close(self, **kwargs: Any) -> None:
            raise OSError("stuck")

    runner = runner_of(lambda seed: Stuck(2), 2)
    with pytest.raises(EnvError, match="The vector env failed to close: OSError: stuck"):
        runner.close()


@pytest.mark.parametrize("mode", MODES)
def test_what_came_with_a_first_observation_is_no_info_of_a_step(mode: AutoresetMode) -> None:
    with runner_of(sync(lambda: ScriptedEnv((2, 3)), 2, mode), 2, keep_infos=True) as runner:
        histories = runner.rollout(Zeros(), steps=9)
    assert [dict(h.infos) for h in histories] == [{}] * 2
    assert [h.reset_infos for h in histories] == [
        {episode.start: {"episode": episode.episode_index} for episode in h.episodes} for h in histories
    ]


def test_infos_of_nobody_in_particular_are_in_all_of_them() -> None:
    class Says(FakePool):
        @override
        def step(self, actions: Any) -> Any:
            *rest, _ = super().step(actions)
            mask = np.array([False, True])
            return *rest, {
                "both": 5,
                "one": np.array(["a", "b"]),
                "_one": mask,
                "each": ["x", "y"],
                "no": {"_": {}},
                3: 4,
            }

    with runner_of(lambda seed: Says(2), 2, keep_infos=True) as runner:
        first, second = runner.rollout(Zeros(), steps=2)
    assert first.infos[0] == {"both": 5, "each": "x", 3: 4}
    assert second.infos[0] == {"both": 5, "one": "b", "each": "y", 3: 4}


class Leaving(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Ends its process at its third step."""

    t = 0

    @override
    def step(self, action: Any) -> Any:
        self.t += 1
        if self.t == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def test_a_worker_of_an_async_vector_env_that_died_is_named_and_a_new_runner_asked_for() -> None:
    def make(seed: int | None) -> Any:
        steady = functools.partial(gymnasium.make, "CartPole-v1")
        return gymnasium.vector.AsyncVectorEnv([steady, lambda: Leaving(steady())])

    with GymRunner(make, n_envs=2, seed=0) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        for _ in range(2):
            with pytest.raises(EnvError, match=r"Env 1 lived in a worker process .* SIGKILL. Build a new runner"):
                runner.rollout(agent, steps=9)


def test_a_vector_env_that_hangs_in_close_is_named_in_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(AnySyncVectorEnv):
        @override
        def close_extras(self, **options: Any) -> None:
            wait_for(lambda: len(warned) > 0)
            super().close_extras(**options)

    monkeypatch.setattr("runnerkit.executors.hanging._PATIENCE_S", 0.05)
    runner = runnerkit.make(lambda seed: Slow([lambda: gymnasium.make("CartPole-v1")] * 2), n_envs=2)
    with pytest.warns(
        RuntimeWarning, match=r"The vector env has been closing for [\d.]+ s: its close\(\) hangs"
    ) as warned:
        runner.close()
    assert len(warned) == 1
