"""Agents made of models: they draw what their distributions say, and tell with which probability."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import runnerkit
from runnerkit import stack
from runnerkit.agents import ActiveRows, from_module, from_sb3
from runnerkit.errors import AgentError, ArgumentError

torch = pytest.importorskip("torch")
distributions = torch.distributions


def drawn(agent: Any, observations: Any, steps: int = 400) -> tuple[Any, list[Any]]:
    """Return actions `[steps, n, ...]` and columns for the same observations again and again."""
    rows = ActiveRows(0, len(observations))
    for i in range(len(observations)):
        rows.begin(i, 0, 0)
    agent.set_rows(rows)
    answers = []
    for t in range(steps):
        rows.turn_to(..., t)
        answers.append(agent.act(observations))
    return np.array([actions for actions, _ in answers]), [columns for _, columns in answers]


def test_categories_come_as_often_as_the_logits_say() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]]))
    space = spaces.Discrete(3, start=1)
    actions, columns = drawn(from_module(lambda seen: (logits, seen[:, 0]), space), np.ones((2, 1), np.float32))
    assert (actions[:, 1] == 2).all()
    shares = np.bincount(actions[:, 0], minlength=4)[1:] / len(actions)
    np.testing.assert_allclose(shares, [0.2, 0.3, 0.5], atol=0.08)
    wanted = float(np.log([0.2, 0.3, 0.5])[actions[0, 0] - 1])
    np.testing.assert_allclose(columns[0]["log_prob"], [wanted, 0.0], atol=1e-6)
    assert columns[0]["value"].tolist() == [1.0, 1.0]
    certain: Any = from_module(lambda seen: logits, space, sample=False)
    assert certain.act(np.ones((2, 1), np.float32))[0].tolist() == [3, 2]


def test_numbers_come_with_their_means_and_probabilities() -> None:
    means = torch.tensor([[1.0, -2.0], [0.0, 5.0]])
    normal = distributions.Independent(distributions.Normal(means, 0.5), 1)
    actions, columns = drawn(from_module(lambda seen: normal, spaces.Box(-9, 9, (2,))), np.ones((2, 1), np.float32))
    np.testing.assert_allclose(actions.mean(axis=0), means, atol=0.1)
    np.testing.assert_allclose(actions.std(axis=0), 0.5, atol=0.06)
    np.testing.assert_allclose(columns[3]["log_prob"], normal.log_prob(torch.tensor(actions[3])), rtol=1e-5)
    bits = distributions.Bernoulli(torch.tensor([[0.9, 0.1], [0.5, 1.0]]))
    actions, columns = drawn(from_module(lambda seen: bits, spaces.MultiBinary(2)), np.ones((2, 1), np.float32))
    np.testing.assert_allclose(actions.mean(axis=0), bits.probs, atol=0.1)
    assert columns[0]["log_prob"].shape == (2,)


def actor(observations: Any) -> Any:
    """Return numbers that do not depend on the size of the batch: no product of matrices."""
    pushes = (observations.T * torch.tensor([[0.3], [-0.1], [2.0], [0.7]])).sum(0)
    return distributions.Categorical(logits=torch.stack([-pushes, pushes], 1))


@pytest.mark.parametrize("options", [{"executor": "threads", "workers": 2}, {"executor": "threads", "min_batch": 1}])
def test_a_module_draws_the_same_with_every_executor(options: Any) -> None:
    def roll(**options: Any) -> Any:
        with runnerkit.make("CartPole-v1", n_envs=3, seed=0, **options) as runner:
            return runner.rollout(from_module(actor, runner.action_space), steps=50)

    for history, wanted in zip(roll(**options), roll(executor="serial"), strict=True):
        np.testing.assert_array_equal(history.actions, wanted.actions)
        assert history.extras["log_prob"].max() < 0


def test_a_module_gets_tensors() -> None:
    with runnerkit.make("CartPole-v1", n_envs=3, seed=0) as runner:
        histories = runner.rollout(from_module(torch.nn.Linear(4, 2), runner.action_space), steps=9)
    assert all(history.extras["log_prob"].dtype == np.float32 for history in histories)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda seen: seen[:, :1], "sample=True needs a distribution"),
        (lambda seen: distributions.Poisson(seen[:, :1] ** 2 + 1), "not from Poisson"),
    ],
)
def test_what_cannot_be_drawn_is_refused(answer: Any, said: str) -> None:
    with runnerkit.make("Pendulum-v1", seed=0) as runner, pytest.raises(AgentError, match=said):
        runner.rollout(from_module(answer, runner.action_space), steps=2)


@pytest.mark.parametrize(
    ("module", "space", "said"),
    [(3, spaces.Discrete(2), "a torch module or a function of tensors, not 3"), (abs, spaces.Text(3), "not for Text")],
)
def test_what_is_no_module_or_no_space_of_arrays_is_refused(module: Any, space: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        from_module(module, space)


def test_a_model_of_sb3_is_an_agent() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    for env in ("CartPole-v1", "Pendulum-v1"):
        model = sb3.PPO("MlpPolicy", gymnasium.make(env), seed=0, device="cpu")
        with runnerkit.make(
            env, n_envs=2, seed=0, executor="serial", postprocessors=["clip"] * (env[0] == "P")
        ) as runner:
            best = stack(runner.rollout(from_sb3(model), steps=20))
            batch = stack(runner.rollout(from_sb3(model, sample=True), steps=20))
        chosen, _ = model.predict(best.observations[3], deterministic=True)
        np.testing.assert_allclose(best.actions[3], chosen, rtol=1e-5)
        assert best.extras == {}
        with torch.no_grad():
            seen, actions = torch.tensor(batch.observations[5]), torch.tensor(batch.actions[5])
            values, chances, _ = model.policy.evaluate_actions(seen, actions)
        np.testing.assert_allclose(batch.extras["value"][5], values[:, 0], rtol=1e-4)
        np.testing.assert_allclose(batch.extras["log_prob"][5], chances, rtol=1e-4)


def test_models_without_a_distribution_are_refused() -> None:
    class Greedy:
        def predict(self, observations: Any, deterministic: bool) -> Any: ...

    with pytest.raises(ArgumentError, match="Greedy has none"):
        from_sb3(Greedy(), sample=True)
    with pytest.raises(ArgumentError, match="with a method predict"):
        from_sb3(object())
