"""Processors with state per env: they see each env's episodes as a wrapper around that env would."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import SPACES, HashAgent, SampleEnv, ScriptedEnv, ZeroAgent, any_space, exact, follow
from gymnasium import Space, spaces
from gymnasium.spaces.utils import flatten
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation, TimeAwareObservation, TimeLimit
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit import EpisodeStart, GymRunner, RandomAgent, Transition
from runnerkit._core.spaces import Layout
from runnerkit.errors import AgentError, ArgumentError, EnvError, ProcessorError, SpaceError
from runnerkit.processors import FrameStack, LastAction, ProcessorContext, TimeAware
from runnerkit.typing import AnyEnv

Wrap = Callable[[AnyEnv], AnyEnv]
Rollouts = Sequence[tuple[str, int]]

EXECUTORS = [("serial", None), ("threads", 2), ("processes", 2)]
ROLLOUTS: Rollouts = [("steps", 9), ("steps", 1), ("steps", 4), ("once", 6), ("episodes", 7), ("steps", 5)]
DICT = spaces.Dict(z=spaces.Discrete(3, start=1), a=spaces.Box(-1.0, 1.0, (2,), np.float32))

some_rollouts = st.lists(
    st.tuples(st.sampled_from(["steps", "once", "episodes"]), st.integers(1, 8)), min_size=1, max_size=4
)


def run(env: Any, rollouts: Rollouts, agent: Any = HashAgent, n_envs: int = 3, **options: Any) -> Any:
    """Return the histories of consecutive rollouts; "once" is without auto-reset."""
    with GymRunner(env, 0, n_envs, keep_raw=True, **options) as runner:
        acting, found = agent(runner.action_space), []
        for kind, number in rollouts:
            runner.auto_reset = kind != "once"
            limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
            found.append(runner.rollout(acting, **limit))
    return found


class LastActionWrapper(gymnasium.Wrapper[Any, Any, Any, Any]):
    """What `last-action` should do, for one env."""

    def _with(self, observation: Any, action: Any) -> Any:
        size = spaces.flatdim(self.env.action_space)
        flat = np.zeros(size, np.int64) if action is None else flatten(self.env.action_space, action)
        return {"obs": observation, "last_action": flat}

    @override
    def reset(self, **options: Any) -> Any:
        observation, info = self.env.reset(**options)
        return self._with(observation, None), info

    @override
    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        return self._with(observation, action), *rest


def sampling(space: Space[Any]) -> AnyEnv:
    return TimeLimit(SampleEnv(space, spaces.Discrete(3)), 50)


WRAPPERS: dict[str, tuple[Callable[[], Any], Wrap]] = {
    "frame-stack": (lambda: FrameStack(k=3), lambda env: FrameStackObservation(env, 3)),
    "frame-stack of one": (lambda: FrameStack(k=1), lambda env: FrameStackObservation(env, 1)),
    "frame-stack, zero": (
        lambda: FrameStack(k=4, padding="zero"),
        lambda env: FrameStackObservation(env, 4, padding_type="zero"),
    ),
    "time-aware": (TimeAware, TimeAwareObservation),
    "time-aware, normalized": (
        lambda: TimeAware(normalize=True),
        lambda env: TimeAwareObservation(env, normalize_time=True),
    ),
    "time-aware, not flat": (
        lambda: TimeAware(flatten=False, key="steps"),
        lambda env: TimeAwareObservation(env, flatten=False, dict_time_key="steps"),
    ),
}
ENVS: dict[str, Callable[[], AnyEnv]] = {
    "CartPole": lambda: gymnasium.make("CartPole-v1", max_episode_steps=15),
    "Dict": lambda: sampling(DICT),
}


@pytest.mark.parametrize("env", ENVS)
@pytest.mark.parametrize("name", WRAPPERS)
def test_they_equal_the_wrappers_of_gymnasium_to_the_last_bit(name: str, env: str) -> None:
    (make, wrap), make_env = WRAPPERS[name], ENVS[env]
    if env == "Dict" and name.startswith("time-aware"):
        make = _limited(make)
    elif name == "time-aware, not flat":  # the wrapper uses its key in a Dict only
        make, wrap = (lambda: TimeAware(flatten=False)), (lambda env: TimeAwareObservation(env, flatten=False))
    executors = EXECUTORS if name in ("frame-stack", "time-aware") else EXECUTORS[:1]
    found = [
        run(lambda seed: make_env(), ROLLOUTS, executor=executor, workers=workers, preprocessors=[make()])
        for executor, workers in executors
    ]
    for i in range(3):
        histories = [histories[i] for histories in found[0]]
        assert follow(lambda: wrap(make_env()), histories) == sum(map(len, histories)) > 10
    assert all(shown(rollouts) == shown(found[0]) for rollouts in found)


def shown(rollouts: Any) -> Any:
    return [[exact(h.observations), exact(h.next_observations)] for histories in rollouts for h in histories]


def _limited(make: Callable[[], Any]) -> Callable[[], Any]:
    def limited() -> TimeAware:
        made = make()
        return TimeAware(flatten=made.flatten, normalize=made.normalize, key=made.key, limit=50)

    return limited


def is_stackable(space: Space[Any]) -> bool:
    layout = Layout(space, "")
    return bool(layout.leaves) and not any(leaf.is_object for leaf in layout.leaves)


@given(space=any_space().filter(is_stackable), rollouts=some_rollouts, n_envs=st.integers(1, 4), k=st.integers(1, 5))
@settings(max_examples=30)
def test_frame_stack_equals_the_wrapper_on_any_space(
    space: Space[Any], rollouts: Rollouts, n_envs: int, k: int
) -> None:
    def make() -> AnyEnv:
        return SampleEnv(space, spaces.Discrete(3))

    found = run(lambda seed: make(), rollouts, n_envs=n_envs, preprocessors=[FrameStack(k=k)])
    for i in range(n_envs):
        follow(lambda: FrameStackObservation(make(), k), [histories[i] for histories in found if len(histories[i])])


@pytest.mark.parametrize("space", [SPACES["Discrete from -3"], SPACES["image"], SPACES["Dict"]], ids=str)
def test_last_action_equals_a_wrapper(space: Space[Any]) -> None:
    def make() -> AnyEnv:
        return sampling(space)

    if isinstance(space, spaces.Dict):  # to which the wrapper adds no key
        (history, *_) = run(lambda seed: make(), ROLLOUTS, preprocessors=[LastAction()])[0]
        assert history.observations.shape[1] == spaces.flatdim(space) + 3
        return
    found = run(lambda seed: make(), ROLLOUTS, preprocessors=[LastAction(flatten=False)])
    for i in range(3):
        follow(lambda: LastActionWrapper(make()), [histories[i] for histories in found])


# ---- by their own raw observations: vector envs, whose episodes cannot be repeated one by one


def stacked(raw: Any, k: int) -> Any:
    return np.stack([raw[np.maximum(0, np.arange(t - k + 1, t + 1))] for t in range(len(raw))])


def check_stacks(rollouts: Sequence[Sequence[Any]], k: int) -> int:
    """Compare each episode, over all rollouts that it is in, with the stack of its raw observations; count them."""
    raw: dict[tuple[int, int], Any] = {}
    episodes = 0
    for history in (history for histories in rollouts for history in histories):
        for part in history.split():
            key = part.record.env_index, part.record.episode_index
            before = raw[key][:-1] if part.record.continued else part.raw_observations[:0]
            raw[key] = np.concatenate([before, part.raw_observations])
            assert exact(part.observations) == exact(stacked(raw[key], k)[len(before) :])
            episodes += part.record.complete
    return episodes


@pytest.mark.parametrize("rollouts", [[("steps", 30)], [("steps", 1)] * 12, [("steps", 7), ("steps", 1), ("steps", 9)]])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_vector_env_of_any_auto_reset_mode_stacks_the_frames_of_its_episodes(
    mode: AutoresetMode, rollouts: Rollouts
) -> None:
    def vector(seed: int | None) -> Any:
        one = lambda: SampleEnv(spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.Discrete(3), longest=5)  # noqa: E731
        return SyncVectorEnv([one] * 4, autoreset_mode=mode)

    found = run(vector, rollouts, n_envs=4, preprocessors=[FrameStack(k=3)])
    assert check_stacks(found, 3) >= 4


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_stacks_are_right_with_a_schedule_and_in_transitions_of_ones_own(scheduled: bool, own: bool) -> None:
    class Own(GymRunner[Any, Any, Any]):
        @override
        def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
            return [*(history or []), transition]

    schedule = (lambda env, episode: EpisodeStart(100 * env + episode)) if scheduled else None
    scripts = iter([(3, 2), (1, 4), (5,)] * 2)
    kind: Any = Own if own else GymRunner
    with kind(
        lambda seed: ScriptedEnv(next(scripts)), 0, 3, schedule=schedule, keep_raw=True, preprocessors=[FrameStack(k=2)]
    ) as runner:
        runner.maybe_reset()
        rollouts = [runner.rollout(ZeroAgent(), steps=n) for n in (1, 5, 8)]
    if not own:
        assert check_stacks(rollouts, 2) >= 9
        return
    for i in range(3):
        steps = [step for histories in rollouts for step in histories[i]]
        for before, after in itertools.pairwise(steps):
            episode, t = before.observation[-1]
            assert before.observation.tolist() == [[episode, max(0, t - 1)], [episode, t]]
            assert before.next_observation.tolist() == [[episode, t], [episode, t + 1]]
            assert after.observation[-1].tolist() == ([episode + 1, 0] if before.done else [episode, t + 1])


def test_an_interrupted_rollout_has_right_stacks_and_the_next_one_begins_with_none_of_them() -> None:
    class Breaks(ZeroAgent):
        @override
        def act(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
            if len(self.seen) == 6:
                raise RuntimeError("enough")
            return super().act(observations)

    with GymRunner(
        lambda seed: ScriptedEnv((4, 9)), 0, 2, executor="serial", keep_raw=True, preprocessors=[FrameStack(k=3)]
    ) as runner:
        with pytest.raises(AgentError, match="enough") as caught:
            runner.rollout(Breaks(), steps=20)
        after = runner.rollout(ZeroAgent(), steps=11)
    assert check_stacks([caught.value.histories], 3) == 2
    assert check_stacks([after], 3) >= 2
    assert after[0].observations[0].tolist() == [[2, 0]] * 3


def test_a_fault_of_one_env_as_another_begins_anew_leaves_right_stacks() -> None:
    class Faulty(ScriptedEnv):
        @override
        def reset(self, **options: Any) -> Any:
            if self.episode == 1:
                raise RuntimeError("no third episode")
            return super().reset(**options)

    kinds = iter([ScriptedEnv, Faulty])
    with GymRunner(
        lambda seed: next(kinds)((3,)), 0, 2, executor="serial", keep_raw=True, preprocessors=[FrameStack(k=2)]
    ) as runner:
        with pytest.raises(EnvError, match="no third episode") as caught:
            runner.rollout(ZeroAgent(), steps=20)
        assert check_stacks([caught.value.histories], 2) == 4


def test_a_stream_has_the_stacks_and_rewards_of_rollouts() -> None:
    def parts() -> dict[str, Any]:
        return {"preprocessors": [FrameStack(k=3)], "reward_processors": ["normalize-reward"], "n_envs": 3, "seed": 0}

    make = lambda seed: SampleEnv(spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.Discrete(3))  # noqa: E731
    with GymRunner(make, **parts()) as runner:
        agent = HashAgent(runner.action_space)
        stream = runner.stream(agent, steps=4)
        found = [_both(next(stream)) for _ in range(6)]
        stream.close()
        found.append(_both(runnerkit.stack(runner.rollout(agent, steps=4))))
    with GymRunner(make, **parts()) as runner:
        expected = [_both(runnerkit.stack(runner.rollout(HashAgent(runner.action_space), steps=4))) for _ in range(7)]
    assert found == expected


def _both(batch: Any) -> Any:
    return exact(batch.observations), exact(batch.next_observations), exact(batch.processed_rewards)


# ---- what processors are told


class Diary:
    """A processor of either kind that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def set_context(self, context: ProcessorContext, /) -> None:
        self.calls.append(("context", context.n_envs, str(context.action_space)))

    def bind(self, space: Space[Any], /) -> Space[Any]:
        self.calls.append("bind")
        return space

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        self.calls.append(("active", env_indices))

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        self.calls.append(("begin", env_indices))

    def __call__(self, batch: Any, /) -> Any:
        self.calls.append(batch.tolist())
        return batch.copy()


class FullDiary(Diary):
    def note_actions(self, actions: Any, /) -> None:
        self.calls.append(("actions", actions.tolist()))

    def final_observations(self, observations: Any, /) -> Any:
        self.calls.append(("final", observations.tolist()))
        return observations.copy()


def test_processors_are_told_of_envs_episodes_actions_and_final_observations_in_order() -> None:
    scripts, pre, post = iter([(2,), (3,)]), FullDiary(), Diary()
    with GymRunner(
        lambda seed: ScriptedEnv(next(scripts)), 0, 2, executor="serial", preprocessors=[pre], postprocessors=[post]
    ) as runner:
        runner.rollout(ZeroAgent(), steps=3)
        runner.rollout(ZeroAgent(), steps=1)
    assert pre.calls == [
        ("context", 2, "Discrete(2)"), "bind",
        ("begin", [0, 1]), ("active", [0, 1]), [[0, 0], [0, 0]],
        ("actions", [0, 0]), [[0, 1], [0, 1]],
        ("actions", [0, 0]), ("active", [0]), ("final", [[0, 2]]), ("begin", [0]), ("active", [0, 1]),
        [[1, 0], [0, 2]],
        ("actions", [0, 0]), ("active", [1]), ("final", [[0, 3]]), ("active", [0]), [[1, 1]],  # the next begins later
        ("begin", [1]), ("active", [1]), [[1, 0]],
        ("active", [0, 1]), ("actions", [0, 0]), ("active", [0]), ("final", [[1, 2]]), ("active", [1]), [[1, 1]],
    ]  # fmt: skip
    told = [
        "bind",
        ("begin", [0, 1]),
        ("active", [0, 1]),
        [0, 0],
        [0, 0],
        ("begin", [0]),
        [0, 0],
        ("begin", [1]),
        [0, 0],
    ]
    assert post.calls == [("context", 2, "Discrete(2)"), *told]


@pytest.mark.parametrize("method", ["begin_episodes", "set_active_envs", "note_actions", "final_observations"])
def test_what_such_a_method_raises_is_an_error_that_names_the_processor(method: str) -> None:
    class Breaks(FullDiary):
        pass

    def fail(self: Any, _: Any, /) -> None:
        raise KeyError("lost")

    fail.__name__ = method
    setattr(Breaks, method, fail)
    with (
        GymRunner(lambda seed: ScriptedEnv((2,)), 0, 2, executor="serial", preprocessors=[Breaks()]) as runner,
        pytest.raises(ProcessorError, match=r"Processor Breaks raised.*KeyError: 'lost'"),
    ):
        runner.rollout(ZeroAgent(), steps=3)


class Noise(Diary):
    """Adds noise, from a generator of its own."""

    @override
    def set_context(self, context: ProcessorContext, /) -> None:
        self.random = context.generator()

    @override
    def __call__(self, batch: Any, /) -> Any:
        return batch + self.random.normal(size=batch.shape).astype(np.float32)


def test_a_generator_of_its_own_follows_from_the_runs_seed_and_the_place() -> None:
    def noise(seed: int, place: int = 0, **options: Any) -> Any:
        chain = [FullDiary()] * 0 + [Diary() for _ in range(place)] + [Noise()]
        with GymRunner(lambda _: ScriptedEnv((3, 5)), seed, 2, preprocessors=chain, keep_raw=True, **options) as runner:
            histories = runner.rollout(ZeroAgent(), steps=9)
        return [exact(history.observations - history.raw_observations) for history in histories]

    first = noise(0)
    assert all(noise(0, executor=executor, workers=workers) == first for executor, workers in EXECUTORS)
    assert first not in (noise(1), noise(0, place=1))


# ---- what is refused


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("begin_episode", r"begin_episode is never called. Did you mean begin_episodes\(env_indices\)\?"),
        ("set_active_env", r"set_active_env is never called. Did you mean set_active_envs\(env_indices\)\?"),
        ("final_observation", r"final_observation is never called. Did you mean final_observations\(observations\)\?"),
        ("note_action", r"note_action is never called. Did you mean note_actions\(actions\)\?"),
        ("set_contexts", r"set_contexts is never called. Did you mean set_context\(context\)\?"),
        ("load_statedict", r"load_statedict is never called. Did you mean load_state_dict\(state\)\?"),
    ],
)
def test_a_method_with_nearly_the_name_of_an_optional_one_is_refused(name: str, said: str) -> None:
    plain = {"bind": Diary.bind, "__call__": Diary.__call__}
    misspelt: Any = type("Misspelt", (), {**plain, name: lambda self, given: None})
    with pytest.raises(ArgumentError, match=f"Preprocessor Misspelt: {said}"):
        GymRunner("CartPole-v1", preprocessors=[misspelt()])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FrameStack(k=0), "a whole number k of at least 1, not 0"),
        (lambda: FrameStack(padding="none"), "padding='reset' or padding='zero', not 'none'"),  # type: ignore[arg-type]
        (lambda: TimeAware(limit=0), "a limit of a whole number of steps, at least 1, not 0"),
        (lambda: TimeAware(limit=1.5), "a limit of a whole number of steps, at least 1, not 1.5"),  # type: ignore[arg-type]
    ],
)
def test_wrong_options_are_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        make()


@pytest.mark.parametrize(
    ("processor", "space", "said"),
    [
        (FrameStack(), SPACES["Text"], "frame-stack needs arrays, not observation: a sample of Text"),
        (FrameStack(), spaces.Tuple(()), "frame-stack needs arrays, but .* has none"),
        (TimeAware(), SPACES["float32"], r"no max_episode_steps. Use TimeAware\(limit=...\)"),
        (TimeAware(limit=9, key="z"), SPACES["Dict"], "cannot add 'z'"),
        (TimeAware(limit=9), SPACES["Sequence"], r"time-aware cannot flatten .* Pass flatten=False"),
    ],
    ids=str,
)
def test_spaces_that_do_not_fit_are_refused(processor: Any, space: Space[Any], said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        GymRunner(lambda seed: SampleEnv(space, spaces.Discrete(2)), preprocessors=[processor])


def test_last_action_serves_a_later_runner_with_other_actions_but_not_with_other_observations() -> None:
    def runner(shape: tuple[int, ...], n: int) -> GymRunner[Any, Any, Any]:
        space = spaces.Box(-1, 1, shape)
        return GymRunner(lambda seed: SampleEnv(space, spaces.Discrete(n)), seed=0, preprocessors=[processor])

    processor = LastAction()
    for n in (2, 3):
        with runner((3,), n) as acting:
            (history,) = acting.rollout(RandomAgent(acting.action_space, seed=0), steps=9)
            assert history.next_observations[:, 3:].argmax(1).tolist() == history.actions.tolist()
    with pytest.raises(SpaceError, match="last-action is already bound to"):
        runner((2,), 2)


def test_they_are_found_by_name_and_may_follow_each_other() -> None:
    names = ["frame-stack", "last-action", "time-aware"]
    with runnerkit.make("CartPole-v1", n_envs=2, seed=0, preprocessors=names) as runner:
        (history, _) = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=30)
        assert runner.observation_space.shape == history.observations.shape[1:] == (4 * 4 + 2 + 1,)
        started = [episode.start for episode in history.episodes]
        assert history.observations[started, -1].tolist() == [0] * len(started)
