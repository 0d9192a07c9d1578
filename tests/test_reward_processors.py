"""Reward processors: what a learner sees, beside the rewards of the env, which stay what they are."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import HashAgent, SampleEnv, ScriptedEnv, ZeroAgent, exact
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit import GymRunner, RandomAgent, Transition, testing
from runnerkit.errors import AgentError, ArgumentError, PluginError, ProcessorError, UnknownNameError
from runnerkit.processors import ClipReward, NormalizeReward, ProcessorContext, ScaleReward, SignReward

Rewards = NDArray[np.float64]

EXECUTORS = [("serial", None), ("threads", 2), ("processes", 2)]


def sampling(seed: int | None = None) -> SampleEnv:
    return SampleEnv(spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.Discrete(3))


def roll(runner: GymRunner[Any, Any, Any], steps: Sequence[int] = (9, 1, 12)) -> Any:
    agent = HashAgent(runner.action_space)
    return [runner.rollout(agent, steps=n) for n in steps]


class SumSoFar:
    """The sum of the rewards since the episode of the env began."""

    def __init__(self) -> None:
        self.sums: dict[int, float] = {}
        self.active: Sequence[int] = ()

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        self.active = env_indices

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        for i in env_indices:
            self.sums[i] = 0.0

    def __call__(self, rewards: Rewards, /) -> Rewards:
        for i, reward in zip(self.active, rewards.tolist(), strict=True):
            self.sums[i] += reward
        rewards[:] = 99.0  # which is its own copy
        return np.array([self.sums[i] for i in self.active])


def check_sums(rollouts: Any) -> int:
    """Compare with the sums of the env's own rewards, over all rollouts that an episode is in; count the episodes."""
    found: dict[tuple[int, int], list[float]] = {}
    for part in (part for histories in rollouts for history in histories for part in history.split()):
        before = found.setdefault((part.record.env_index, part.record.episode_index), [])
        for reward, processed in zip(part.rewards, part.processed_rewards, strict=True):
            before.append(reward)
            assert processed == sum(before)
        assert part.record.return_ == part.rewards.sum()
    return len(found)


# ---- normalize-reward


def plainly(rewards: Rewards, over: NDArray[np.bool_], gamma: float = 0.99) -> Rewards:
    """Return rewards `[T, N]` normalised by the statistics of all sums so far; the prior counts for 0.0001."""
    seen, sums, normal = [], np.zeros(rewards.shape[1]), []
    for reward, done in zip(rewards, over, strict=True):
        sums = sums * gamma + reward
        seen.append(sums)
        n, values = 1e-4 + np.size(seen), np.concatenate(seen)
        mean = values.sum() / n
        var = (1e-4 * (1 + mean**2) + ((values - mean) ** 2).sum()) / n
        normal.append(np.clip(reward / np.sqrt(var + 1e-8), -10, 10))
        sums = np.where(done, 0.0, sums)
    return np.array(normal)


def columns(rollouts: Any) -> tuple[Rewards, NDArray[np.bool_], Rewards]:
    batches = [runnerkit.stack(histories) for histories in rollouts]
    return (
        np.concatenate([batch.rewards for batch in batches]),
        np.concatenate([batch.terminated | batch.truncated for batch in batches]),
        np.concatenate([batch.processed_rewards for batch in batches]),
    )


def test_rewards_are_normalised_by_the_running_returns_of_all_envs_on_every_executor() -> None:
    def found(executor: str, workers: int | None) -> tuple[Rewards, NDArray[np.bool_], Rewards]:
        normalize = NormalizeReward()
        with GymRunner(sampling, 0, 3, executor=executor, workers=workers, reward_processors=[normalize]) as runner:
            result = columns(roll(runner))
        assert normalize.count == pytest.approx(result[0].size + 1e-4)
        return result

    rewards, over, normal = found("serial", None)
    assert over.sum() > 5
    np.testing.assert_allclose(normal, plainly(rewards, over), rtol=1e-9)
    for executor, workers in EXECUTORS[1:]:
        assert exact(found(executor, workers)[2]) == exact(normal)


class Replay:
    """The part of a VecEnv of Stable-Baselines3 that returns given rewards."""

    def __init__(self, rewards: Rewards, over: NDArray[np.bool_]) -> None:
        init: Any = super().__init__  # of the VecEnv
        init(3, spaces.Box(-1, 1, (1,)), spaces.Discrete(2))
        self._steps = zip(rewards, over, strict=True)

    def reset(self) -> Any:
        return np.zeros((3, 1), np.float32)

    def step_async(self, actions: Any) -> None:
        """Do nothing."""

    def step_wait(self) -> Any:
        return self.reset(), *next(self._steps), [{"terminal_observation": np.zeros(1)}] * 3

    def get_attr(self, *_: Any) -> Any:
        return [None] * 3

    def nothing(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    close = set_attr = env_method = env_is_wrapped = nothing


def test_normalize_reward_does_what_vec_normalize_does() -> None:
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env", reason="it compares with Stable-Baselines3")
    with GymRunner(sampling, 1, 3, reward_processors=[NormalizeReward(gamma=0.9, clip=1.5)]) as runner:
        rewards, over, normal = columns(roll(runner))
    replay: Any = type("Replay", (Replay, vec_env.VecEnv), {})(rewards, over)
    theirs = vec_env.VecNormalize(replay, norm_obs=False, gamma=0.9, clip_reward=1.5)
    theirs.reset()
    expected = np.array([theirs.step(np.zeros(3, int))[1] for _ in range(len(rewards))])
    np.testing.assert_allclose(normal, expected, rtol=1e-6)
    assert (np.abs(expected) == 1.5).any()


def test_a_frozen_normalize_reward_uses_what_was_counted_and_its_state_goes_round() -> None:
    normalize = NormalizeReward()
    with GymRunner(sampling, 0, 2, reward_processors=[normalize]) as runner:
        roll(runner)
        state = json.loads(json.dumps(normalize.state_dict()))
        normalize.freeze()
        ((batch, _),) = roll(runner, [20])
        assert normalize.state_dict() == state
        np.testing.assert_allclose(batch.processed_rewards, batch.rewards / np.sqrt(normalize.var + 1e-8))
        normalize.freeze(False)
        roll(runner, [5])
        assert normalize.count == state["count"] + 10
    restored = NormalizeReward()
    restored.load_state_dict(state)
    assert restored.state_dict() == restored.frozen().state_dict() == state
    assert restored.frozen().is_frozen
    with pytest.raises(ArgumentError, match=r"needs count, mean and var; missing: \['var'\]"):
        restored.load_state_dict({"count": 1, "mean": 0})


# ---- where they are, and where not


@pytest.mark.parametrize("steps", [(30,), (1,) * 12, (7, 1, 9)])
@pytest.mark.parametrize("mode", [None, *AutoresetMode])
def test_a_reward_processor_knows_envs_and_episodes_in_every_auto_reset_mode(
    mode: AutoresetMode | None, steps: Sequence[int]
) -> None:
    make: Any = sampling
    if mode is not None:
        make = lambda seed: SyncVectorEnv([sampling] * 4, autoreset_mode=mode)  # noqa: E731
    with GymRunner(make, 0, 4, reward_processors=[SumSoFar()]) as runner:
        assert check_sums(roll(runner, steps)) >= 8
        runner.auto_reset = False
        assert check_sums([runner.rollout(ZeroAgent(), episodes=3)]) == 3


def test_records_and_rewards_are_those_of_the_env_and_targets_are_of_processed_rewards() -> None:
    reports: list[Any] = []
    with runnerkit.make("Pendulum-v1", seed=0, n_envs=2, reward_processors=["scale", np.sign]) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        tell = lambda ended: reports.append((ended.record, ended.history()))  # noqa: E731
        histories = runner.rollout(agent, steps=250, on_episode=tell)
        assert [part.name for part in runner.made_by.parts if part.kind == "reward processor"] == [
            "scale",
            "numpy:sign",
        ]
    with runnerkit.make("Pendulum-v1", seed=0, n_envs=2) as runner:
        plain = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=250)
    for history, other in zip(histories, plain, strict=True):
        assert exact(history.rewards) == exact(other.rewards)
        assert history.episodes == other.episodes
        assert exact(history.processed_rewards) == exact(np.sign(other.rewards * 0.01))
        assert exact(other.processed_rewards) == exact(other.rewards)
        assert np.shares_memory(other.processed_rewards, other.rewards)
        again = pickle.loads(pickle.dumps(history))
        assert exact(again.processed_rewards) == exact(history.processed_rewards)
    for record, history in reports:
        assert exact(history.processed_rewards) == exact(np.sign(history.rewards))
        assert record.return_ == history.rewards.sum()
    batch = runnerkit.stack(histories)
    assert exact(batch.processed_rewards[:, 1]) == exact(histories[1].processed_rewards)
    zeros = lambda observations: np.zeros(len(observations))  # noqa: E731
    assert runnerkit.discounted_returns(histories[0], 0.0, value=zeros).tolist() == np.sign(plain[0].rewards).tolist()
    with pytest.raises(ArgumentError, match="the same spaces and processors"):
        runnerkit.stack([histories[0], plain[1]])


def test_transitions_have_both_rewards() -> None:
    class Own(GymRunner[Any, Any, Any]):
        @override
        def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
            return [*(history or []), transition]

    for kind, format_ in ((Own, "arrays"), (GymRunner, "transitions")):
        made: Any = kind
        with made(
            lambda seed: ScriptedEnv((3,)), 0, 2, history=format_, reward_processors=[lambda rewards: rewards * 2]
        ) as runner:
            histories = runner.rollout(ZeroAgent(), steps=7)
        assert all(step.processed_reward == 2 * step.reward for history in histories for step in history)
    with GymRunner(lambda seed: ScriptedEnv((3,)), 0, history="transitions") as runner:
        assert runner.rollout(ZeroAgent(), steps=1)[0][0].processed_reward is None


def test_tensors_have_both_rewards() -> None:
    torch = pytest.importorskip("torch")
    with GymRunner(lambda seed: ScriptedEnv((3,)), 0, 1, history="torch", reward_processors=[torch_halves]) as runner:
        (history,) = runner.rollout(ZeroAgent(), steps=7)
    assert torch.equal(history.processed_rewards, history.rewards / 2)


def torch_halves(rewards: Rewards) -> Any:
    import torch

    return torch.from_numpy(rewards).float() / 2


def test_what_was_collected_before_a_fault_is_processed() -> None:
    class Breaks(ZeroAgent):
        @override
        def act(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
            if len(self.seen) == 6:
                raise RuntimeError("enough")
            return super().act(observations)

    with GymRunner(lambda seed: ScriptedEnv((4, 9)), 0, 2, reward_processors=[SumSoFar()]) as runner:
        with pytest.raises(AgentError, match="enough") as caught:
            runner.rollout(Breaks(), steps=20)
        assert check_sums([caught.value.histories]) == 4
        assert check_sums([runner.rollout(ZeroAgent(), steps=20)]) >= 4


# ---- names, options, and what is refused


def test_they_are_asked_for_by_name_with_options() -> None:
    assert sorted(runnerkit.default_registry.reward_processors) == ["clip", "normalize-reward", "scale", "sign"]
    asked: Any = [("clip", {"low": -0.5}), runnerkit.use("scale", factor=3.0), "sign"]
    with GymRunner("CartPole-v1", reward_processors=asked) as runner:
        clip, scale, sign = runner.reward_processors
        assert isinstance(clip, ClipReward)
        assert isinstance(scale, ScaleReward)
        assert isinstance(sign, SignReward)
        assert (clip.low, clip.high, scale.factor) == (-0.5, 1.0, 3.0)
    given = np.array([-3.0, 0.0, 0.2])
    assert [process(given).tolist() for process in (clip, scale, sign)] == [
        [-0.5, 0, 0.2],
        [-9, 0, 0.2 * 3],
        [-1, 0, 1],
    ]


@pytest.mark.parametrize(
    ("process", "said"),
    [
        (lambda rewards: None, r"must return numbers of shape \(2,\), not None"),
        (lambda rewards: rewards.sum(), r"must return numbers of shape \(2,\)"),
        (lambda rewards: rewards[:, None], r"must return numbers of shape \(2,\), not .*\(2, 1\)"),
        (lambda rewards: rewards / [1], "raised"),
        (lambda rewards: [][0], "raised IndexError"),
    ],
)
def test_a_result_that_does_not_fit_is_an_error_that_names_the_processor(process: Any, said: str) -> None:
    with GymRunner("CartPole-v1", n_envs=2, reward_processors=[process]) as runner:
        agent = RandomAgent(runner.action_space)
        if said == "raised":
            runner.rollout(agent, steps=1)
            return
        with pytest.raises(ProcessorError, match=f"Processor <lambda> {said}"):
            runner.rollout(agent, steps=1)


def test_normalize_reward_refuses_rewards_that_are_not_finite() -> None:
    normalize = NormalizeReward()
    with pytest.raises(ValueError, match="rewards must be finite, row 1 has inf"):
        normalize(np.array([0.0, np.inf]))
    assert normalize.count == 1e-4


class MisspeltEpisodes:
    def __call__(self, rewards: Rewards, /) -> Rewards:
        return rewards

    def begin_episode(self, env_indices: Sequence[int], /) -> None: ...


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (["clipp"], UnknownNameError, "No reward processor is called 'clipp'. Did you mean 'clip'"),
        (
            "clip",
            ArgumentError,
            r"reward_processors='clip' is a string, not a list. Write reward_processors=\['clip'\]",
        ),
        ([ClipReward], ArgumentError, r"Reward processor ClipReward is a class. Make one: ClipReward\(\)."),
        ([3], ArgumentError, "not 3"),
        ([lambda: 3], ArgumentError, r"Reward processor <lambda>: it is called as <lambda>\(rewards\)"),
        ([MisspeltEpisodes()], ArgumentError, "begin_episode is never called. Did you mean begin_episodes"),
    ],
    ids=str,
)
def test_what_is_no_reward_processor_is_refused(asked: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        GymRunner("CartPole-v1", reward_processors=asked)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ScaleReward(factor=np.nan), "a finite factor, not nan"),
        (lambda: ClipReward(low=1, high=1), "low < high, not 1 and 1"),
        (lambda: NormalizeReward(gamma=1.5), r"a gamma in \[0, 1\], not 1.5"),
        (lambda: NormalizeReward(clip=0), "epsilon > 0 and clip > 0, not 1e-08 and 0"),
    ],
)
def test_wrong_options_are_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        make()


def test_one_with_state_serves_one_runner_at_a_time_and_functions_serve_all() -> None:
    normalize = NormalizeReward()
    with GymRunner("CartPole-v1", reward_processors=[normalize, np.sign]):
        with pytest.raises(ArgumentError, match="Processor NormalizeReward: this object is in another runner"):
            GymRunner("CartPole-v1", reward_processors=[normalize])
        GymRunner("CartPole-v1", reward_processors=[np.sign]).close()


def test_a_context_has_random_numbers_of_its_own() -> None:
    class Noise:
        def set_context(self, context: ProcessorContext, /) -> None:
            self.random = context.generator()

        def __call__(self, rewards: Rewards, /) -> Rewards:
            return rewards + self.random.normal(size=rewards.shape)

    def noisy(seed: int) -> Any:
        with GymRunner(lambda _: ScriptedEnv((3,)), seed, 2, reward_processors=[Noise(), Noise()]) as runner:
            return [exact(history.processed_rewards) for history in runner.rollout(ZeroAgent(), steps=5)]

    assert noisy(0) == noisy(0) != noisy(1)


def test_a_context_that_cannot_be_set_is_an_error_that_names_the_processor() -> None:
    class Breaks(SignReward):
        def set_context(self, context: ProcessorContext, /) -> None:
            raise KeyError("lost")

    with pytest.raises(PluginError, match="Reward processor Breaks raised in set_context: KeyError"):
        GymRunner("CartPole-v1", reward_processors=[Breaks()])


# ---- the kit


@pytest.mark.parametrize("make", [ClipReward, ScaleReward, SignReward])
def test_the_built_in_ones_conform(make: Any) -> None:
    report = testing.check_reward_processor(make)
    assert report.ok, str(report)


def test_envs_share_the_statistics_of_normalize_reward_and_all_else_conforms() -> None:
    report = testing.check_reward_processor(
        NormalizeReward, expected_failures={"keeps-envs-apart": "the statistics are over the returns of all envs"}
    )
    assert report.ok, str(report)


def test_env_rewards_are_true_though_gymnasiums_wrapper_would_hide_them() -> None:
    with GymRunner("Pendulum-v1", 0, 1, reward_processors=["normalize-reward"]) as runner:
        (history,) = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=200)
    env = gymnasium.make("Pendulum-v1")
    env.reset(seed=history.episodes[0].seed)
    assert exact(history.rewards) == exact(np.array([float(env.step(action)[1]) for action in history.actions]))
    assert history.episodes[0].return_ == history.rewards.sum()
    assert np.abs(history.processed_rewards).max() <= 10
