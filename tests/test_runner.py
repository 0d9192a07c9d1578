"""Runners that users write: from scratch, by overriding a part of GymRunner, or of the right shape only."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import pytest
from faulty_envs import EXECUTORS, Constant, Faults, Fleet, ScriptedEnv, build, raising, returning
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import BaseRunner, GymRunner, Transition
from runnerkit.errors import ArgumentError, EnvError, RolloutError
from runnerkit.typing import Agent, AnyEnv, Runner, SupportsRollout

Observations: TypeAlias = NDArray[np.float32]
Actions: TypeAlias = NDArray[np.int64]
Step: TypeAlias = Transition[Observations, Actions]

both_executors = pytest.mark.parametrize("executor", EXECUTORS, ids=[options["executor"] for options in EXECUTORS])


class OldRunner(BaseRunner[Observations, Actions, list[float]]):
    """A runner as one wrote it in 2018: two envs, everything by hand."""

    MAX_STEPS = 50

    def __init__(self) -> None:
        self.envs: list[AnyEnv] = [self.make_env(seed) for seed in range(2)]
        self.closed = 0

    @override
    def make_env(self, seed: int | None = None) -> AnyEnv:
        env = ScriptedEnv(length=4)
        env.reset(seed=seed)
        return env

    @override
    def compute_action(self, agent: Agent[Observations, Actions], obs_list: Observations) -> Actions:
        actions: Actions = np.minimum(agent.act(obs_list), 2)
        return actions

    @override
    def process_transition(self, history: list[float] | None, transition: Step) -> list[float]:
        _, _, reward, _, _ = transition.classic()
        return [reward] if history is None else [*history, reward]

    @override
    def rollout(
        self, agent: Agent[Observations, Actions], steps: int | None = None, render: bool = False, fps: int = 30
    ) -> list[list[float]]:
        histories: list[list[float] | None] = [None] * len(self.envs)
        observations = np.stack([env.reset()[0] for env in self.envs])
        for _ in range(self.MAX_STEPS if steps is None else steps):
            actions = self.compute_action(agent, observations)
            following = observations.copy()
            for i, env in enumerate(self.envs):
                following[i], reward, terminated, truncated, info = env.step(actions[i])
                step: Step = Transition(
                    observations[i], actions[i], float(reward), following[i].copy(), terminated, truncated, info
                )
                histories[i] = self.process_transition(histories[i], step)
                if step.done:
                    following[i] = env.reset()[0]
            observations = following
        return [history or [] for history in histories]

    @override
    def close(self) -> None:
        self.closed += 1
        for env in self.envs:
            env.close()


def test_a_runner_written_as_in_2018_works() -> None:
    with OldRunner() as runner:
        assert runner.rollout(Constant(7), steps=6) == [[2.0] * 6] * 2
        assert [len(history) for history in runner.rollout(Constant(1))] == [50, 50]
    assert runner.closed == 1


def test_a_runner_of_its_own_asks_the_agent_unless_told_otherwise() -> None:
    class Plain(OldRunner):
        compute_action = BaseRunner[Observations, Actions, list[float]].compute_action  # type: ignore[assignment]

    with Plain() as runner:
        observations = np.zeros((2, 2), np.float32)
        assert np.asarray(runner.compute_action(Constant(7), observations)).tolist() == [7, 7]


@pytest.mark.parametrize("missing", ["make_env", "process_transition", "rollout", "close"])
def test_a_runner_that_lacks_a_method_cannot_be_made(missing: str) -> None:
    incomplete: Any = type("Incomplete", (OldRunner,), {missing: getattr(BaseRunner, missing)})
    with pytest.raises(TypeError, match=f"abstract method '?{missing}"):
        incomplete()


def test_the_abstract_runner_cannot_be_made() -> None:
    abstract: Any = BaseRunner
    with pytest.raises(TypeError, match="abstract"):
        abstract()


# ---- of the right shape only


class Structural:
    """No base class; one env, one step."""

    @property
    def MAX_STEPS(self) -> int:
        return 5

    def make_env(self, seed: int | None = None) -> AnyEnv:
        return ScriptedEnv()

    def compute_action(self, agent: Agent[Observations, Actions], obs_list: Observations) -> Actions:
        return agent.act(obs_list)

    def process_transition(self, history: int | None, transition: Step) -> int:
        return 1 if history is None else history + 1

    def rollout(
        self,
        agent: Agent[Observations, Actions],
        steps: int | None = None,
        render: bool = False,
        fps: int = 30,
        *,
        episodes: int | None = None,
    ) -> Sequence[int]:
        env, history = self.make_env(), None
        observation, _ = env.reset()
        for _ in range(self.MAX_STEPS if steps is None else steps):
            action = self.compute_action(agent, observation[None])
            following, reward, terminated, truncated, info = env.step(action[0])
            history = self.process_transition(
                history, Transition(observation, action[0], float(reward), following, terminated, truncated, info)
            )
            observation = following
        return [history or 0]

    def close(self) -> None:
        pass


def learn(runner: SupportsRollout[Observations, Actions, int]) -> int:
    return sum(runner.rollout(Constant(), steps=3))


def test_what_has_the_shape_of_a_runner_is_one() -> None:
    runner: Runner[Observations, Actions, int] = Structural()
    assert sum(runner.rollout(Constant())) == 5
    assert learn(Structural()) == 3


def test_both_kinds_of_runners_are_of_the_shape() -> None:
    old: Runner[Observations, Actions, list[float]] = OldRunner()
    assert len(old.rollout(Constant(), steps=1)) == 2
    old.close()
    gym: Runner[Any, Any, Any] = GymRunner(Fleet())
    assert len(gym.rollout(Constant(), steps=1)) == 1
    gym.close()


# ---- GymRunner with one method overridden


@both_executors
def test_make_env_alone_may_be_overridden(executor: dict[str, Any]) -> None:
    seeds: list[int | None] = []

    class Short(GymRunner[Any, Any]):
        @override
        def make_env(self, seed: int | None = None) -> AnyEnv:
            seeds.append(seed)
            return gymnasium.wrappers.TimeLimit(super().make_env(seed), 3)

    with Short("CartPole-v1", seed=1, n_envs=3, **executor) as runner:
        histories = runner.rollout(Constant(0), steps=7)
    assert len(seeds) == len(set(seeds)) == 3
    assert all(isinstance(seed, int) for seed in seeds)
    for history in histories:
        assert [episode.length for episode in history.episodes] == [3, 3, 1]
        assert [str(episode.end_reason) for episode in history.episodes] == ["truncated", "truncated", "cut"]


def test_the_name_of_the_env_is_checked_though_make_env_is_overridden() -> None:
    class Own(GymRunner[Any, Any]):
        @override
        def make_env(self, seed: int | None = None) -> AnyEnv:
            return ScriptedEnv()

    with Own("CartPole-v1") as runner:
        assert runner.action_space == gymnasium.spaces.Discrete(3)


@both_executors
def test_compute_action_alone_may_be_overridden(executor: dict[str, Any]) -> None:
    shapes: list[tuple[int, ...]] = []

    class Clipping(GymRunner[Any, Any]):
        @override
        def compute_action(self, agent: Agent[Any, Any], obs_list: Any) -> Any:
            shapes.append(obs_list.shape)
            return np.minimum(agent.act(obs_list), 2)

    with Clipping(Fleet(), n_envs=3, **executor) as runner:
        histories = runner.rollout(Constant(99), steps=7)
    assert shapes == [(3, 2)] * 7
    for history in histories:
        assert history.actions.tolist() == history.rewards.tolist() == [2] * 7


def test_compute_action_of_an_instance_s_class_may_call_the_default() -> None:
    class Counting(GymRunner[Any, Any]):
        calls = 0

        @override
        def compute_action(self, agent: Agent[Any, Any], obs_list: Any) -> Any:
            self.calls += 1
            return super().compute_action(agent, obs_list)

    with Counting(Fleet()) as runner:
        runner.rollout(Constant(), steps=4)
        assert runner.calls == 4


def test_methods_may_be_overridden_on_one_runner_only() -> None:
    with build(Fleet(), n_envs=2, history="transitions") as runner:
        runner.compute_action = lambda agent, obs_list: np.asarray(agent.act(obs_list)) * 2  # type: ignore[method-assign]
        assert [t.action for t in runner.rollout(Constant(1), steps=2)[0]] == [2, 2]
        runner.process_transition = lambda history, transition: (history or 0) + 1  # type: ignore[method-assign]
        assert runner.rollout(Constant(1), steps=4) == [4, 4]


class Recording(GymRunner[Any, Any, "list[tuple[str, Any]]"]):
    """Keeps every transition, and which call it came with."""

    calls: list[tuple[bool, Transition[Any, Any]]]

    @override
    def process_transition(
        self, history: list[tuple[str, Any]] | None, transition: Transition[Any, Any]
    ) -> list[tuple[str, Any]]:
        self.calls = [*getattr(self, "calls", []), (history is None, transition)]
        return [*(history or []), ("step", transition)]


class TellingEnv(ScriptedEnv):
    """Says in its info how many steps it took, and in its rewards who it is."""

    names = iter(range(1000))

    def __init__(self, name: int, length: int) -> None:
        super().__init__(length)
        self.name = name

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, _ = super().reset(seed=seed)
        return observation, {"begun": True}

    @override
    def step(self, action: Any) -> Any:
        observation, _, terminated, truncated, _ = super().step(action)
        return observation, 100.0 * self.name + self.steps, terminated, truncated, {"steps": self.steps}


def telling(lengths: Sequence[int]) -> Any:
    names = iter(range(len(lengths)))

    def make(seed: int | None) -> TellingEnv:
        name = next(names)
        return TellingEnv(name, lengths[name])

    return make


@both_executors
def test_process_transition_is_called_once_per_step_and_env_in_the_order_of_the_envs(executor: dict[str, Any]) -> None:
    with Recording(telling([2, 3, 10]), n_envs=3, keep_infos=True, **executor) as runner:
        histories = runner.rollout(Constant(2), steps=5)
        first_calls, transitions = zip(*runner.calls, strict=True)
    assert first_calls == (True,) * 3 + (False,) * 12
    rewards = [transition.reward for transition in transitions]
    assert [int(reward // 100) for reward in rewards] == [0, 1, 2] * 5
    assert [reward % 100 for reward in rewards[::3]] == [1, 2, 1, 2, 1]
    assert [reward % 100 for reward in rewards[1::3]] == [1, 2, 3, 1, 2]
    assert [history[-1][1] for history in histories] == list(transitions[-3:])


@both_executors
def test_process_transition_gets_exact_transitions(executor: dict[str, Any]) -> None:
    with Recording(telling([2, 3, 10]), n_envs=3, keep_infos=True, **executor) as runner:
        (first, second, third) = runner.rollout(Constant(2), steps=5)
    for history, length in ((first, 2), (second, 3), (third, 10)):
        for t, (_, transition) in enumerate(history):
            step, episode = t % length, t // length + 1
            assert transition.observation.tolist() == [step, episode]
            assert transition.next_observation.tolist() == [step + 1, episode], "the final one, never the next first"
            assert transition.observation.dtype == transition.next_observation.dtype == np.float32
            assert transition.action == 2
            assert type(transition.reward) is float
            assert (transition.terminated, transition.truncated) == (step + 1 == length, False)
            assert type(transition.terminated) is bool
            assert transition.done is (step + 1 == length)
            assert transition.info == {"steps": step + 1}


def test_the_classic_tuple_has_five_parts() -> None:
    with Recording(telling([1]), n_envs=1) as runner:
        ((_, transition),) = runner.rollout(Constant(1), steps=1)[0]
    observation, action, reward, next_observation, done = transition.classic()
    assert observation.tolist() == [0, 1]
    assert (action, reward, done) == (1, 1.0, True)
    assert next_observation.tolist() == [1, 1]


def test_without_keep_infos_transitions_have_empty_ones() -> None:
    with Recording(telling([3]), n_envs=1) as runner:
        (history,) = runner.rollout(Constant(1), steps=4)
    assert [transition.info for _, transition in history] == [{}] * 4


def test_the_first_transition_of_every_rollout_comes_with_none() -> None:
    with Recording(telling([3, 3]), n_envs=2) as runner:
        for _ in range(3):
            runner.calls = []
            histories = runner.rollout(Constant(1), steps=2)
            assert [first for first, _ in runner.calls] == [True, True, False, False]
            assert [len(history) for history in histories] == [2, 2]


@both_executors
def test_transitions_own_their_arrays(executor: dict[str, Any]) -> None:
    with Recording(telling([3, 4, 5]), n_envs=3, **executor) as runner:
        histories = runner.rollout(Constant(1), steps=12)
        arrays = [transition.observation for history in histories for _, transition in history]
        arrays += [transition.next_observation for history in histories for _, transition in history]
        before = [array.tolist() for array in arrays]
        for array in arrays:
            assert not any(np.shares_memory(array, other) for other in arrays if other is not array)
        runner.rollout(Constant(1), steps=12)
        assert [array.tolist() for array in arrays] == before


def test_process_transition_sees_only_active_envs_without_auto_reset() -> None:
    with Recording(telling([1, 3, 2]), n_envs=3, auto_reset=False) as runner:
        histories = runner.rollout(Constant(1), steps=10)
    assert [len(history) for history in histories] == [1, 3, 2]
    assert [history[-1][1].terminated for history in histories] == [True, True, True]
    assert [int(transition.reward // 100) for _, transition in runner.calls] == [0, 1, 2, 1, 2, 1]


def test_process_transition_and_episodes_go_together() -> None:
    with Recording(telling([1, 3]), n_envs=2) as runner:
        histories = runner.rollout(Constant(1), episodes=4)
    done = [transition for history in histories for _, transition in history if transition.done]
    assert len(done) == 4
    assert [history[-1][1].done for history in histories] == [True, True]


def test_process_transition_may_use_the_default_of_the_transitions_format() -> None:
    class Scaled(GymRunner[Any, Any, "list[Transition[Any, Any]]"]):
        @override
        def process_transition(
            self, history: list[Transition[Any, Any]] | None, transition: Transition[Any, Any]
        ) -> list[Transition[Any, Any]]:
            if transition.done:
                return super().process_transition(history, transition)
            return history or []

    with Scaled(Fleet(length=3), n_envs=2, history="transitions") as runner:
        for history in runner.rollout(Constant(1), steps=7):
            assert [transition.next_observation.tolist() for transition in history] == [[3, 1], [3, 2]]


def test_the_default_process_transition_of_another_format_says_what_to_do() -> None:
    with GymRunner(Fleet()) as runner:
        step: Any = Transition(np.zeros(2), 0, 0.0, np.zeros(2), False, False)
        with pytest.raises(ArgumentError, match="history='transitions'"):
            runner.process_transition(None, step)


def test_a_process_transition_that_raises_is_named_and_what_it_made_is_not_lost() -> None:
    class Failing(GymRunner[Any, Any, int]):
        fail = True

        @override
        def process_transition(self, history: int | None, transition: Transition[Any, Any]) -> int:
            if self.fail and history == 2:
                raise ZeroDivisionError("mine")
            return (history or 0) + 1

    with Failing(Fleet(), n_envs=2, history="transitions") as runner:
        with pytest.raises(RolloutError, match="process_transition raised ZeroDivisionError: mine") as caught:
            runner.rollout(Constant(), steps=5)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert caught.value.histories == [2, 2]
        runner.fail = False
        assert runner.rollout(Constant(), steps=5) == [5, 5]


def test_all_three_may_be_overridden_together() -> None:
    class Whole(GymRunner[Any, Any, float]):
        @override
        def make_env(self, seed: int | None = None) -> AnyEnv:
            return ScriptedEnv(length=3)

        @override
        def compute_action(self, agent: Agent[Any, Any], obs_list: Any) -> Any:
            return agent.act(obs_list) - 1

        @override
        def process_transition(self, history: float | None, transition: Transition[Any, Any]) -> float:
            return (0.0 if history is None else history) + transition.reward

    with Whole("CartPole-v1", n_envs=2, history="transitions") as runner:
        assert runner.rollout(Constant(3), steps=5) == [10.0, 10.0]


class Summed(GymRunner[Any, Any, float]):
    @override
    def process_transition(self, history: float | None, transition: Transition[Any, Any]) -> float:
        return (history or 0.0) + transition.reward


class SummedOrZero(Summed):
    @override
    def empty_history(self) -> float:
        return 0.0


@pytest.mark.parametrize("executor", [*EXECUTORS, {"executor": "processes", "workers": 2}], ids=str)
def test_an_env_without_a_step_has_the_empty_history_of_its_runner(executor: dict[str, Any]) -> None:
    with SummedOrZero("CartPole-v1", seed=0, n_envs=3, **executor) as runner:
        histories = runner.rollout(Constant(1), episodes=1)
        assert histories[0] > 0
        assert histories[1:] == [0.0, 0.0]


def test_without_an_empty_history_a_rollout_that_needs_it_is_refused_and_others_are_not() -> None:
    with Summed("CartPole-v1", seed=0, n_envs=3) as runner:
        with pytest.raises(ArgumentError, match=r"episodes=1 leaves 2 of 3 envs without a step, and Summed does not"):
            runner.rollout(Constant(1), episodes=1)
        assert all(history > 0 for history in runner.rollout(Constant(1), episodes=3))


def test_a_deadline_before_the_first_step_is_an_error_where_there_is_no_empty_history() -> None:
    class Slow(Summed):
        @override
        def make_env(self, seed: int | None = None) -> AnyEnv:
            return SlowReset()

    class SlowReset(ScriptedEnv):
        @override
        def reset(self, **arguments: Any) -> Any:
            time.sleep(0.1)
            return super().reset(**arguments)

    with Slow("CartPole-v1", n_envs=2, executor="serial") as runner:
        runner.rollout(Constant(1), steps=1)  # the first of all is always made, to look at first observations
        with pytest.raises(RolloutError, match=r"Env 0, 1 made no step.*Override empty_history\(\)") as caught:
            runner.rollout(Constant(1), episodes=2, deadline=0.01)
        assert caught.value.histories == [None, None]
        assert len(runner.rollout(Constant(1), steps=5)) == 2


def test_a_history_may_be_none() -> None:
    class Quiet(GymRunner[Any, Any, None]):
        @override
        def process_transition(self, history: None, transition: Transition[Any, Any]) -> None:
            """Keep nothing."""

    with Quiet("CartPole-v1", n_envs=2) as runner:
        assert runner.rollout(Constant(1), steps=3) == [None, None]


def test_an_empty_history_that_fails_is_told() -> None:
    class Failing(Summed):
        @override
        def empty_history(self) -> float:
            raise ValueError("no idea")

    with (
        Failing("CartPole-v1", n_envs=2) as runner,
        pytest.raises(RolloutError, match="empty_history raised ValueError: no idea"),
    ):
        runner.rollout(Constant(1), episodes=1)


def test_own_histories_have_the_transitions_of_the_transitions_format() -> None:
    with (
        Recording("CartPole-v1", seed=3, n_envs=3) as recording,
        build("CartPole-v1", seed=3, n_envs=3, history="transitions") as reference,
    ):
        for _ in range(2):
            mine, theirs = recording.rollout(Constant(1), steps=25), reference.rollout(Constant(1), steps=25)
            for history, expected in zip(mine, theirs, strict=True):
                for (_, a), b in zip(history, expected, strict=True):
                    np.testing.assert_array_equal(a.observation, b.observation)
                    np.testing.assert_array_equal(a.next_observation, b.next_observation)
                    assert (a.action, a.reward, a.terminated, a.truncated) == (
                        b.action,
                        b.reward,
                        b.terminated,
                        b.truncated,
                    )


# ---- log level and arguments by position


def test_the_first_four_arguments_may_be_given_by_position() -> None:
    with GymRunner("CartPole-v1", 5, 3, 30) as runner:
        assert (runner.env_id, runner.seed, runner.n_envs, runner.log_level) == ("CartPole-v1", 5, 3, 30)
        assert runner.MAX_STEPS == 1_000_000
    make: Any = GymRunner
    with pytest.raises(TypeError):
        make("CartPole-v1", 5, 3, 30, "arrays")


@both_executors
def test_gymnasium_s_log_level_is_the_runner_s_within_and_restored_after(
    executor: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gymnasium.logger, "min_level", 30)
    seen: dict[str, set[int]] = {}

    class Listening(ScriptedEnv):
        @override
        def _note(self, what: str) -> None:
            seen.setdefault(what, set()).add(gymnasium.logger.min_level)
            super()._note(what)

    runner = build(lambda seed: Listening(), n_envs=3, log_level=50, **executor)
    assert gymnasium.logger.min_level == 30
    runner.maybe_reset()
    assert gymnasium.logger.min_level == 30
    runner.rollout(Constant(), steps=3)
    assert gymnasium.logger.min_level == 30
    runner.close()
    assert gymnasium.logger.min_level == 30
    assert seen == {"make": {50}, "reset": {50}, "step": {50}, "close": {50}}


def test_the_log_level_is_restored_after_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium.logger, "min_level", 30)
    with build(Fleet({0: Faults(step=raising(RuntimeError("boom")))}), log_level=10) as runner:
        with pytest.raises(EnvError):
            runner.rollout(Constant(), steps=3)
        assert gymnasium.logger.min_level == 30
    with pytest.raises(EnvError):
        build(lambda seed: None, log_level=10)
    assert gymnasium.logger.min_level == 30
    with build(Fleet({0: Faults(reset=returning(None, at_step=0))}), log_level=10) as runner:
        with pytest.raises(EnvError):
            runner.maybe_reset()
        assert gymnasium.logger.min_level == 30


def test_warnings_of_gymnasium_show_at_log_level_30_only() -> None:
    class Chatty(ScriptedEnv):
        @override
        def step(self, action: Any) -> Any:
            gymnasium.logger.warn("chatter")
            return super().step(action)

    with build(lambda seed: Chatty(), log_level=40) as runner:
        runner.rollout(Constant(), steps=1)
    with build(lambda seed: Chatty(), log_level=30) as runner, pytest.warns(UserWarning, match="chatter"):
        runner.rollout(Constant(), steps=1)


# ---- the rest of the public face


def test_max_steps_of_a_derived_runner_bounds_every_rollout() -> None:
    class Short(GymRunner[Any, Any]):
        MAX_STEPS = 6

    with Short(Fleet(length=100)) as runner:
        assert len(runner.rollout(Constant())[0]) == 6
        with pytest.raises(ArgumentError, match="at most MAX_STEPS, 6, not 7"):
            runner.rollout(Constant(), steps=7)
        with pytest.raises(RolloutError, match="1 of 1 episodes did not end within MAX_STEPS") as caught:
            runner.rollout(Constant(), episodes=1)
        histories: list[Any] = caught.value.histories
        assert [len(history) for history in histories] == [6]


def test_maybe_reset_begins_episodes_once_and_the_next_rollout_goes_on() -> None:
    fleet = Fleet()
    with build(fleet, n_envs=2) as runner:
        runner.maybe_reset()
        runner.maybe_reset()
        assert [env.calls("reset") for env in fleet.envs] == [1, 1]
        histories = runner.rollout(Constant(), steps=3)
        assert [env.calls("reset") for env in fleet.envs] == [1, 1]
        assert [history.episodes[0].episode_index for history in histories] == [0, 0]
        assert not histories[0].episodes[0].continued


def test_a_runner_shows_what_it_is() -> None:
    with GymRunner("CartPole-v1", 5, 3) as runner:
        assert repr(runner) == "<GymRunner CartPole-v1 n_envs=3 seed=5>"
        assert threading.active_count() >= 1
        assert (runner.workers, runner.interrupted) == (1, False)


def test_without_a_seed_each_runner_draws_one() -> None:
    with build(Fleet()) as one, build(Fleet()) as other:
        assert one.seed != other.seed
