"""Invariant 1, same bytes; with 2 and 3, no ghost and no loss, and histories that own their memory."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import (
    ALL_SPACES,
    SPACES,
    HashAgent,
    RecyclingAgent,
    RecyclingEnv,
    SampleEnv,
    any_space,
    exact,
    follow,
    is_flattenable,
    row_of,
    summary,
)
from gymnasium import Space, spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from restless import moving
from typing_extensions import override

from runnerkit import GymRunner, RandomAgent, Transition
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.typing import AnyEnv

Make = Callable[[int | None], AnyEnv]
Rollouts = Sequence[tuple[str, int]]
"""What to do one after the other: ("steps", 10), ("episodes", 3), ("once", 10) without auto-reset."""

EXECUTORS = [
    ("serial", None), ("threads", 2), ("processes", 2), ("restless", 2),
    ("auto", None), *(("threads", workers) for workers in (1, 3, 4)),
]  # fmt: skip

RESTLESS = moving(["serial", "threads", "threads", "serial", "threads", "serial"], "threads")

some_rollouts = st.lists(
    st.one_of(
        st.tuples(st.just("steps"), st.integers(1, 9)),
        st.tuples(st.just("episodes"), st.integers(1, 7)),
        st.tuples(st.just("once"), st.integers(1, 9)),
    ),
    min_size=1,
    max_size=3,
)


def runner_of(make: Make | str, **options: Any) -> GymRunner[Any, Any, Any]:
    return GymRunner(make, **options)


def run(make: Make | str, rollouts: Rollouts, agent: Callable[[Space[Any]], Any] = HashAgent, **options: Any) -> Any:
    """Return the histories of each rollout, in order."""
    results = []
    with GymRunner(make, **options) as runner:
        acting = agent(runner.action_space)
        for kind, number in rollouts:
            runner.auto_reset = kind != "once"
            limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
            results.append(runner.rollout(acting, **limit))
    return results


def summaries(results: Any) -> Any:
    return [[summary(history) for history in histories] for histories in results]


def sample_env(observation: Space[Any], action: Space[Any]) -> Make:
    return lambda seed: SampleEnv(observation, action)


@given(
    observation=any_space(),
    action=any_space(),
    rollouts=some_rollouts,
    n_envs=st.integers(1, 5),
    workers=st.integers(1, 4),
    seed=st.integers(0, 2**64),
)
@settings(max_examples=40)
def test_threads_give_the_bytes_of_serial_and_a_plain_loop_gives_them_again(
    observation: Space[Any], action: Space[Any], rollouts: Rollouts, n_envs: int, workers: int, seed: int
) -> None:
    make = sample_env(observation, action)
    options: dict[str, Any] = {"seed": seed, "n_envs": n_envs, "keep_infos": True}
    serial = run(make, rollouts, executor="serial", **options)
    threads = run(make, rollouts, executor="threads", workers=workers, **options)
    assert summaries(serial) == summaries(threads)
    for i in range(n_envs):
        histories = [histories[i] for histories in serial]
        assert follow(lambda: SampleEnv(observation, action), histories, infos=True) == sum(map(len, histories))


@pytest.mark.parametrize("executor", ["threads", "restless"])
def test_context_variables_of_the_caller_hold_in_all_threads(executor: str) -> None:
    class Exact(SampleEnv):
        @override
        def step(self, action: Any) -> Any:
            observation, _, *rest = super().step(action)
            return observation, float(Decimal(1) / Decimal(3)), *rest

    options: dict[str, Any] = {"executor": executor, "n_envs": 3, "workers": 3, "seed": 0, "plugins": RESTLESS}
    with localcontext(prec=4):
        (histories,) = run(lambda seed: Exact(SPACES["float32"], SPACES["Discrete"]), [("steps", 7)], **options)
    assert [set(history.rewards.tolist()) for history in histories] == [{0.3333}] * 3


@given(
    observation=any_space(),
    action=any_space(),
    rollouts=some_rollouts,
    n_envs=st.integers(1, 5),
    workers=st.integers(1, 3),
    own_envs=st.none() | st.integers(0, 4),
)
@settings(max_examples=12, deadline=None)
def test_processes_give_the_bytes_of_serial_whoever_steps_which_envs(
    observation: Space[Any], action: Space[Any], rollouts: Rollouts, n_envs: int, workers: int, own_envs: int | None
) -> None:
    make = sample_env(observation, action)
    options: dict[str, Any] = {"seed": 4, "n_envs": n_envs, "keep_infos": True}
    serial = run(make, rollouts, executor="serial", **options)
    if own_envs:
        workers, own_envs = max(2, workers), own_envs if own_envs < n_envs else None
    executor = ("processes", {"own_envs": own_envs})
    assert summaries(serial) == summaries(run(make, rollouts, executor=executor, workers=workers, **options))


@given(
    observation=any_space(),
    rollouts=some_rollouts,
    n_envs=st.integers(2, 5),
    workers=st.integers(2, 4),
    ways=st.lists(st.sampled_from(["serial", "threads"]), min_size=1, max_size=20),
    choice=st.sampled_from(["serial", "threads"]),
    preprocessed=st.booleans(),
)
@settings(max_examples=30)
def test_whenever_envs_move_from_thread_to_thread_the_bytes_are_those_of_serial(
    observation: Space[Any], rollouts: Rollouts, n_envs: int, workers: int, ways: Any, choice: Any, preprocessed: bool
) -> None:
    make = sample_env(observation, SPACES["Discrete"])
    options: dict[str, Any] = {"seed": 3, "n_envs": n_envs, "keep_infos": True}
    if preprocessed and is_flattenable(observation):
        options |= {"preprocessors": ["flatten"], "keep_raw": True}
    serial = run(make, rollouts, executor="serial", **options)
    moved = run(make, rollouts, executor="restless", workers=workers, plugins=moving(ways, choice), **options)
    assert summaries(moved) == summaries(serial)


# Helpers take longer to start than all else: they get one space of each kind, and the others as parts of a Tuple.
IN_PROCESSES = {
    "float32", "image", "scalar", "Discrete", "MultiBinary", "MultiDiscrete", "Text", "Graph", "Sequence, stacked",
    "OneOf", "nested",
}  # fmt: skip


def test_all_other_spaces_go_through_processes_as_parts_of_one() -> None:
    others = spaces.Tuple([copy.deepcopy(space) for name, space in SPACES.items() if name not in IN_PROCESSES])
    make, rollouts = sample_env(others, others), [("steps", 3), ("episodes", 2)]
    serial, processes = [
        summaries(run(make, rollouts, executor=executor, n_envs=2, seed=1, keep_infos=True))
        for executor in ("serial", "processes")
    ]
    assert processes == serial


@pytest.mark.parametrize("name", ALL_SPACES)
def test_every_space_is_recorded_bit_by_bit_as_observation_and_as_action(name: str) -> None:
    space = SPACES[name]
    rollouts = [("steps", 12), ("episodes", 5), ("once", 9), ("steps", 3)]
    by_executor: list[Any] = []
    results: list[Any] = []
    for executor, workers in EXECUTORS:
        if executor == "processes" and name not in IN_PROCESSES:
            continue
        results = run(
            sample_env(space, space), rollouts, executor=executor, workers=workers, n_envs=3, seed=1, keep_infos=True,
            plugins=RESTLESS,
        )  # fmt: skip
        by_executor.append(summaries(results))
    assert all(found == by_executor[0] for found in by_executor)
    for i in range(3):
        follow(lambda: SampleEnv(space, space), [histories[i] for histories in results], infos=True)


@pytest.mark.parametrize("name", ALL_SPACES)
def test_columns_have_the_dtype_of_the_space_and_rows_are_its_members(name: str) -> None:
    space = SPACES[name]
    ((history,),) = run(sample_env(space, space), [("steps", 20)], seed=0)
    for column in (history.observations, history.actions, history.next_observations):
        if isinstance(column, np.ndarray):
            assert column.dtype == space.dtype
            assert column.shape == (20, *(space.shape or ()))
        assert all(space.contains(as_sampled(space, row_of(column, t))) for t in range(20))


def as_sampled(space: Space[Any], sample: Any) -> Any:
    """Return arrays of shape () where a row is a NumPy scalar: Gymnasium's Box warns of anything else."""
    if isinstance(space, spaces.Tuple):
        return tuple(as_sampled(sub, value) for sub, value in zip(space.spaces, sample, strict=True))
    return np.asarray(sample) if isinstance(space, spaces.Box) else sample


@pytest.mark.parametrize("name", ALL_SPACES)
def test_each_action_is_what_the_agent_says_to_the_observation_recorded_beside_it(name: str) -> None:
    results = run(
        sample_env(SPACES[name], SPACES[name]), [("steps", 9), ("once", 9), ("episodes", 4)], seed=3, n_envs=3
    )
    agent = HashAgent(SPACES[name])
    for histories in results:
        for history in histories:
            observations, actions = history.observations, history.actions
            for t in range(len(history)):
                assert exact(row_of(actions, t)) == exact(agent.choose(row_of(observations, t)))


@given(action=any_space(), n_envs=st.integers(1, 4), rollouts=some_rollouts, other=st.sampled_from(EXECUTORS[1:4]))
@settings(max_examples=20)
def test_a_random_agent_gives_the_same_run_on_every_executor(
    action: Space[Any], n_envs: int, rollouts: Rollouts, other: tuple[str, int]
) -> None:
    def agent(space: Space[Any]) -> RandomAgent:
        return RandomAgent(space, seed=5)

    make = sample_env(SPACES["float32"], action)
    serial, found = [
        summaries(run(make, rollouts, agent, executor=e, workers=w, seed=2, n_envs=n_envs, plugins=RESTLESS))
        for e, w in (EXECUTORS[0], other)
    ]
    assert found == serial


class Drawing(gymnasium.Env[Any, Any]):
    """Draws what it does from its own spaces, as envs do that play against a random opponent."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = spaces.Box(0, 1, (1,)), spaces.Discrete(1000)

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    @override
    def step(self, action: Any) -> Any:
        drawn = float(self.action_space.sample())
        return self.observation_space.sample(), drawn, drawn < 100, False, {}


class NewSpaces(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Has spaces of its own, so that those of the env are hidden."""

    def __init__(self, env: AnyEnv) -> None:
        super().__init__(env)
        self.observation_space, self.action_space = spaces.Box(0, 1, (1,)), spaces.Discrete(1000)


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_env_that_draws_from_its_own_spaces_does_the_same_in_every_run_and_on_every_executor(wrapped: bool) -> None:
    def make(seed: int | None) -> AnyEnv:
        return NewSpaces(Drawing()) if wrapped else Drawing()

    rollouts = [("steps", 20), ("episodes", 5)]
    found = [
        summaries(run(make, rollouts, executor=e, workers=w, seed=2, n_envs=3, plugins=RESTLESS))
        for e, w in (*EXECUTORS, EXECUTORS[0])
    ]
    assert all(result == found[0] for result in found)
    assert found[0] != summaries(run(make, rollouts, seed=3, n_envs=3))


def test_the_spaces_of_an_env_are_seeded_alike_by_id_by_function_and_in_a_vector_env() -> None:
    gymnasium.register("Drawing-v0", lambda **_: Drawing())

    def vector(seed: int | None) -> Any:
        return gymnasium.vector.SyncVectorEnv([Drawing] * 3)

    try:
        envs: list[Any] = ["Drawing-v0", lambda seed: Drawing(), vector]
        found = [[h.rewards[:2].tolist() for h in run(env, [("steps", 4)], seed=2, n_envs=3)[0]] for env in envs]
        with runner_of("Drawing-v0", seed=2) as by_id, runner_of(lambda seed: Drawing()) as by_function:
            drawn = [runner.make_env(5).action_space.sample() for runner in (by_id, by_function)]
    finally:
        del gymnasium.registry["Drawing-v0"]
    assert found[0] == found[1] == found[2]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("rollouts", [[("steps", 30)], [("steps", 7), ("episodes", 9), ("once", 5), ("steps", 4)]])
def test_the_default_schedule_given_by_hand_changes_nothing(rollouts: Rollouts) -> None:
    make = sample_env(SPACES["nested"], SPACES["Discrete"])
    options: dict[str, Any] = {"seed": 4, "n_envs": 3, "keep_infos": True}
    assert summaries(run(make, rollouts, **options)) == summaries(
        run(make, rollouts, schedule=SeedSchedule(4), **options)
    )


@given(
    observation=any_space().filter(is_flattenable),
    rollouts=some_rollouts,
    n_envs=st.integers(1, 4),
    scheduled=st.booleans(),
)
@settings(max_examples=25)
def test_processors_change_nothing_about_what_the_envs_do(
    observation: Space[Any], rollouts: Rollouts, n_envs: int, scheduled: bool
) -> None:
    def agent(space: Space[Any]) -> RandomAgent:
        return RandomAgent(spaces.Box(-1.0, 1.0, (2,), np.float32), seed=0)

    box = spaces.Box(-1.0, 1.0, (2,), np.float32)
    options: dict[str, Any] = {"seed": 4, "n_envs": n_envs, "keep_infos": True}
    chain: dict[str, Any] = {"preprocessors": ["flatten", "normalize"], "postprocessors": ["clip"], "keep_raw": True}
    schedule = SeedSchedule(4) if scheduled else None
    plain = run(sample_env(observation, box), rollouts, agent, **options)
    serial = run(sample_env(observation, box), rollouts, agent, schedule=schedule, **chain, **options)
    threads = run(sample_env(observation, box), rollouts, agent, executor="threads", workers=2, **chain, **options)
    assert summaries(serial) == summaries(threads)
    for histories, bare in zip(serial, plain, strict=True):
        for history, other in zip(histories, bare, strict=True):
            assert exact(history.raw_observations) == exact(other.observations)
            assert [exact(part.raw_observations) for part in history.split()] == [
                exact(part.observations) for part in other.split()
            ]
            for name in ("actions", "rewards", "terminated", "truncated", "bootstrap"):
                assert exact(getattr(history, name)) == exact(getattr(other, name))
            assert history.episodes == other.episodes


@pytest.mark.parametrize(("executor", "workers"), EXECUTORS[:3])
def test_an_env_gets_arrays_for_a_box_of_shape_zero_in_all_steps(executor: str, workers: int | None) -> None:
    class Telling(SampleEnv):
        @override
        def step(self, action: Any) -> Any:
            observation, _, *rest = super().step(action)
            return observation, type(action) is np.ndarray, *rest

    box = spaces.Box(-1.0, 1.0, (), np.float32)
    (histories,) = run(
        lambda seed: Telling(SPACES["float32"], box), [("steps", 5)], executor=executor, workers=workers, n_envs=2
    )
    assert [history.rewards.tolist() for history in histories] == [[1.0] * 5] * 2


def test_a_compute_action_that_only_passes_on_changes_nothing() -> None:
    class PassesOn(GymRunner[Any, Any, Any]):
        @override
        def compute_action(self, agent: Any, obs_list: Any) -> Any:
            return agent.act(obs_list)

    make = sample_env(SPACES["nested"], SPACES["Dict"])
    (plain,) = run(make, [("steps", 30)], seed=0, n_envs=3)
    with PassesOn(make, seed=0, n_envs=3) as runner:
        found = runner.rollout(HashAgent(runner.action_space), steps=30)
    assert [summary(history) for history in found] == [summary(history) for history in plain]


def test_a_progress_callback_changes_nothing() -> None:
    make = sample_env(SPACES["float32"], SPACES["Discrete"])
    (plain,) = run(make, [("steps", 30)], seed=0, n_envs=3)
    with GymRunner(make, seed=0, n_envs=3) as runner:
        found = runner.rollout(HashAgent(runner.action_space), steps=30, progress=lambda progress: None)
    assert [summary(history) for history in found] == [summary(history) for history in plain]


@given(cuts=st.lists(st.integers(1, 12), min_size=1, max_size=6))
@settings(max_examples=15)
def test_where_rollouts_are_cut_does_not_change_the_transitions(cuts: list[int]) -> None:
    make = sample_env(SPACES["Dict"], SPACES["float32"])
    ((whole,),) = run(make, [("steps", sum(cuts))], seed=6)
    parts = [histories[0] for histories in run(make, [("steps", cut) for cut in cuts], seed=6)]
    for name in ("actions", "rewards", "terminated", "truncated"):
        assert exact(getattr(whole, name)) == exact(np.concatenate([getattr(part, name) for part in parts]))
    for name in ("observations", "next_observations"):
        rows = [exact(row_of(getattr(part, name), t)) for part in parts for t in range(len(part))]
        assert rows == [exact(row_of(getattr(whole, name), t)) for t in range(len(whole))]


@pytest.mark.parametrize("n_envs", [1, 3])
def test_env_i_does_the_same_however_many_envs_stand_beside_it(n_envs: int) -> None:
    make = sample_env(SPACES["float32"], SPACES["Discrete"])
    (few,) = run(make, [("steps", 40)], seed=8, n_envs=n_envs)
    (many,) = run(make, [("steps", 40)], seed=8, n_envs=5)
    assert [summary(history) for history in few] == [summary(history) for history in many[:n_envs]]


# ---- the formats agree


def transitions_of(history: Any) -> list[Transition[Any, Any]]:
    """Return the rows of a column history as transitions."""
    observations, actions, after = history.observations, history.actions, history.next_observations
    return [
        Transition(
            observation=row_of(observations, t),
            action=row_of(actions, t),
            reward=float(history.rewards[t]),
            next_observation=row_of(after, t),
            terminated=bool(history.terminated[t]),
            truncated=bool(history.truncated[t]),
            info=history.infos.get(t, {}),
        )
        for t in range(len(history))
    ]


def exact_transition(step: Transition[Any, Any]) -> Any:
    return (
        exact(step.observation), exact(step.action), step.reward.hex(), exact(step.next_observation),
        step.terminated, step.truncated, exact(step.info),
    )  # fmt: skip


class OwnHistory(GymRunner[Any, Any, Any]):
    """Collects what `process_transition` is given."""

    @override
    def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
        return [*(history or []), transition]


FORMATS = ["arrays", "torch", "transitions"]


@pytest.mark.parametrize("name", ALL_SPACES)
@pytest.mark.parametrize("format_", FORMATS)
def test_all_formats_and_process_transition_tell_the_same_story(format_: str, name: str) -> None:
    if format_ == "torch":
        pytest.importorskip("torch")
    make = sample_env(SPACES[name], SPACES[name])
    rollouts = [("steps", 8), ("episodes", 4), ("once", 6), ("steps", 5)]
    options: dict[str, Any] = {"seed": 9, "n_envs": 3, "keep_infos": True}
    with OwnHistory(make, **options) as runner:
        agent = HashAgent(runner.action_space)
        told = []
        for kind, number in rollouts:
            runner.auto_reset = kind != "once"
            limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
            told.append(runner.rollout(agent, **limit))
    for own, histories in zip(told, run(make, rollouts, history=format_, **options), strict=True):
        for expected, history in zip(own, histories, strict=True):
            found = history if format_ == "transitions" else transitions_of(history)
            assert [exact_transition(step) for step in found] == [exact_transition(step) for step in expected or []]


# ---- memory


@pytest.mark.parametrize(("executor", "workers"), EXECUTORS[:4])
def test_neither_recycled_buffers_nor_a_spoiling_agent_reach_the_history(executor: str, workers: int | None) -> None:
    def agent(space: Space[Any]) -> RecyclingAgent:
        assert isinstance(space, spaces.Box)
        return RecyclingAgent(space, seed=0, n_envs=3)

    results = run(
        lambda seed: RecyclingEnv(), [("steps", 13), ("steps", 4)], agent,
        executor=executor, workers=workers, n_envs=3, seed=0, keep_infos=True, plugins=RESTLESS,
    )  # fmt: skip

    class Fresh(gymnasium.Wrapper[Any, Any, Any, Any]):
        """Hands out copies and takes copies, as a careful env would."""

        @override
        def step(self, action: Any) -> Any:
            return super().step(action.copy())

    for i in range(3):
        assert follow(lambda: Fresh(RecyclingEnv()), [histories[i] for histories in results]) == 17
        for histories in results:
            assert np.all(np.abs(histories[i].actions) <= 1)
            assert len({digested(info) for info in histories[i].infos.values()}) == len(histories[i].infos)


def digested(info: Any) -> str:
    return repr(exact(info))


def test_an_env_that_spoils_its_action_object_does_not_reach_the_history() -> None:
    space = spaces.Sequence(spaces.Box(-1.0, 1.0, (1,)), stack=True)

    class Spoiler(SampleEnv):
        @override
        def step(self, action: Any) -> Any:
            result = super().step(action)
            action[...] = 99.0
            return result

    ((history,),) = run(lambda seed: Spoiler(SPACES["float32"], space), [("steps", 6)], seed=0)
    assert all(np.all(np.abs(action) <= 1) for action in history.actions)


@pytest.mark.parametrize("keep_raw", [False, True])
def test_what_a_preprocessor_was_given_never_changes(keep_raw: bool) -> None:
    class Keeps:
        """Holds on to what it is given, as one that stacks frames does."""

        def __init__(self) -> None:
            self.given: list[Any] = []
            self.copies: list[Any] = []

        def bind(self, space: Space[Any], /) -> Space[Any]:
            return space

        def __call__(self, observations: Any, /) -> object:
            self.given.append(observations)
            self.copies.append(observations.copy())
            return observations.copy()

    keeper = Keeps()
    run(sample_env(SPACES["float32"], SPACES["Discrete"]), [("steps", 30)], seed=0, n_envs=2,
        preprocessors=[keeper], keep_raw=keep_raw)  # fmt: skip
    assert exact(keeper.given) == exact(keeper.copies)


@pytest.mark.parametrize("history", ["arrays", "torch", "transitions"])
def test_nothing_handed_out_changes_in_later_rollouts(history: str) -> None:
    if history == "torch":
        pytest.importorskip("torch")

    def state(histories: Any) -> Any:
        if history == "transitions":
            return [[exact_transition(step) for step in steps] for steps in histories]
        return [summary(each) for each in histories]

    with runner_of(lambda seed: RecyclingEnv(), seed=0, n_envs=2, history=history, keep_infos=True) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        handed_out: list[tuple[Any, Any]] = []
        for kind in ("steps", "episodes", "steps"):
            limit: dict[str, Any] = {kind: 7}
            histories = runner.rollout(agent, **limit)
            handed_out.append((histories, state(histories)))
    assert all(state(histories) == before for histories, before in handed_out)


@pytest.mark.parametrize("name", ["Dict of objects", "nested", "float32"])
def test_a_batch_of_observations_is_the_agents_own(name: str) -> None:
    class Hoarder(HashAgent):
        def __init__(self, space: Space[Any]) -> None:
            super().__init__(space)
            self.kept: list[tuple[Any, Any]] = []

        @override
        def act(self, observations: Any, /) -> list[Any]:
            self.kept.append((observations, exact(observations)))
            return super().act(observations)

    with GymRunner(sample_env(SPACES[name], SPACES["Discrete"]), seed=0, n_envs=2) as runner:
        agent = Hoarder(runner.action_space)
        runner.rollout(agent, episodes=12)
        runner.rollout(agent, steps=12)
    assert all(exact(observations) == before for observations, before in agent.kept)


# ---- real envs

REAL = {
    "CartPole-v1": 60,
    "Pendulum-v1": 210,
    "FrozenLake-v1": 40,
    "Blackjack-v1": 20,
    "HalfCheetah-v5": 15,
    "ALE/Pong-v5": 12,
}
NEEDS = {"HalfCheetah-v5": "mujoco", "ALE/Pong-v5": "ale_py"}


@pytest.mark.parametrize("env_id", REAL)
def test_real_envs_give_the_same_bytes_everywhere_and_in_a_plain_loop(env_id: str) -> None:
    if env_id in NEEDS and importlib.util.find_spec(NEEDS[env_id]) is None:
        pytest.skip(f"{NEEDS[env_id]} is not installed")

    def agent(space: Space[Any]) -> RandomAgent:
        return RandomAgent(space, seed=1)

    steps = REAL[env_id]
    rollouts = [("steps", steps), ("steps", 5)]
    serial = run(env_id, rollouts, agent, seed=3, n_envs=2, keep_infos=True)
    for executor in ("threads", "processes", "auto", "restless"):
        found = run(
            env_id, rollouts, agent, seed=3, n_envs=2, keep_infos=True, executor=executor, workers=2, plugins=RESTLESS
        )
        assert summaries(found) == summaries(serial)
    for i in range(2):
        assert follow(lambda: gymnasium.make(env_id), [h[i] for h in serial], infos=True) == steps + 5
