"""Agents made of models: torch modules, and models of Stable-Baselines3. torch is imported when one is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gymnasium import Space, spaces

from runnerkit.agents.protocols import Agent
from runnerkit.errors import ArgumentError

__all__ = ["from_module", "from_sb3"]

_DRAWN: Final = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)


def from_module(module: Callable[[Any], Any], action_space: Space[Any], *, sample: bool = True) -> Agent[Any, Any]:
    """Return an agent that asks a torch module::

        agent = from_module(nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2)), runner.action_space)
        history, *others = runner.rollout(agent, steps=1000)
        history.extras["log_prob"]

    The module gets observations as a tensor `[n, *shape]` on its device, or a dict of such tensors. It returns one of

    * logits `[n, k]`, if the action space is Discrete;
    * a `torch.distributions` Categorical, Bernoulli or Normal of batch size n, or an Independent of one;
    * actions `[n, *shape]`, if the action space is a Box and `sample` is False;
    * a pair of one of these and the values `[n]`, which become the extra column `value`.

    Random numbers are those of `ActiveRows`, so that the same distributions give the same actions with every executor.
    No gradient is kept. The module is used in the mode, training or evaluation, that it is in.

    Args:
        module: the module, or a function of tensors.
        action_space: the space of one action, `runner.action_space`.
        sample: draw actions, with their log-probabilities as the extra column `log_prob`. If False, take the most
            likely action.

    Raises:
        ArgumentError: the module cannot be called, or actions of such a space are no array.
        MissingDependencyError: torch is not installed.

    """
    given: object = module  # the value may differ from the annotation
    if not callable(given):
        raise ArgumentError(f"from_module needs a torch module or a function of tensors, not {given!r:.80}.")
    if not isinstance(action_space, _DRAWN):
        raise ArgumentError(
            f"from_module makes agents for the spaces Discrete, MultiDiscrete, MultiBinary and Box, not for "
            f"{action_space!r:.80}. Write an agent with act(observations)."
        )
    from runnerkit.agents.torch import ModelAgent, module_policy

    start = int(action_space.start) if isinstance(action_space, spaces.Discrete) else 0
    return ModelAgent(module_policy(module, action_space), sample=sample, start=start)


def from_sb3(model: Any, *, sample: bool = False) -> Agent[Any, Any]:
    """Return an agent that asks a model of Stable-Baselines3::

        runner.rollout(from_sb3(PPO.load("ppo_cartpole.zip")), episodes=20)
        batch = stack(runner.rollout(from_sb3(model, sample=True), steps=128))
        batch.extras["value"], batch.extras["log_prob"]

    The package `runnerkit-sb3` has more: files as agents in a terminal, and buffers.

    Args:
        model: a model with SB3's `predict`.
        sample: draw actions from the distribution of the policy, which PPO and A2C have. Its log-probabilities and the
            values become extra columns. Actions are not clipped to the bounds, as SB3 learns from them before they
            are: `postprocessors=["clip"]` does that. If False, take the most likely action.

    Raises:
        ArgumentError: the model has no `predict`, or no distribution to draw from.

    """
    if not callable(getattr(model, "predict", None)):
        raise ArgumentError(f"from_sb3 needs a model of Stable-Baselines3, with a method predict, not {model!r}.")
    if not sample:
        return _Predicting(model)
    if not callable(getattr(getattr(model, "policy", None), "get_distribution", None)):
        raise ArgumentError(
            f"sample=True needs a policy with a distribution, as PPO and A2C have; {type(model).__name__} has none. "
            "Use sample=False."
        )
    from runnerkit.agents.torch import ModelAgent, sb3_policy

    return ModelAgent(sb3_policy(model.policy), sample=True)


class _Predicting:
    """Asks a model for its most likely actions."""

    def __init__(self, model: Any) -> None:
        self.model: Any = model

    def act(self, observations: Any, /) -> Any:
        """Return the model's actions for a batch of observations."""
        actions, _ = self.model.predict(observations, deterministic=True)
        return actions
