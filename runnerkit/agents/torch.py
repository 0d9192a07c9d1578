"""An agent that draws actions from distributions of torch. Importing this module imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from runnerkit._core.trees import each_array
from runnerkit.agents.rows import ActiveRows
from runnerkit.errors import ArgumentError, MissingDependencyError

try:
    import torch
    from torch import distributions
except ImportError as _error:
    raise MissingDependencyError(
        "Agents of torch modules need PyTorch, which is not installed: pip install 'runnerkit[torch]'"
    ) from _error

__all__ = ["ModelAgent", "Policy", "module_policy", "sb3_policy"]

Choice: TypeAlias = "distributions.Distribution | Sequence[distributions.Distribution] | torch.Tensor"
"""What actions are drawn from: a distribution, one for each number of an action, or the actions themselves."""

Policy: TypeAlias = Callable[[Any], tuple[Choice, "torch.Tensor | None"]]
"""Returns what actions are drawn from, and values, for a batch of observations as arrays."""


class ModelAgent:
    """Draws actions with the random numbers of the rows, or takes the most likely ones.

    Args:
        policy: returns distributions and values.
        sample: whether to draw.
        start: the action of the first category.

    """

    def __init__(self, policy: Policy, *, sample: bool, start: int = 0) -> None:
        self._policy, self._sample, self._start = policy, sample, start
        self._rows: ActiveRows | None = None

    def set_rows(self, rows: ActiveRows, /) -> None:
        """Learn where the random numbers come from."""
        self._rows = rows

    def act(self, observations: Any, /) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Return actions, and what comes with them."""
        with torch.no_grad():
            choice, values = self._policy(observations)
            if isinstance(choice, Sequence):
                drawn = [self._drawn(one) for one in choice]
                actions = np.stack([one for one, _ in drawn], axis=1)
                chances = [one for _, one in drawn if one is not None]
                chance = np.sum(chances, axis=0) if chances else None
            else:
                actions, chance = self._drawn(choice)
        columns = {} if chance is None else {"log_prob": chance}
        if values is not None:
            columns["value"] = _array(values).reshape(len(actions))
        return actions + self._start if self._start else actions, columns

    def _drawn(self, choice: distributions.Distribution | torch.Tensor) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return actions, and their log-probabilities if they are drawn."""
        if isinstance(choice, torch.Tensor):
            if self._sample:
                raise ArgumentError(
                    "sample=True needs a distribution of actions, but the module returned actions. Return "
                    "torch.distributions.Normal(means, deviations), or use sample=False."
                )
            return _array(choice), None
        base = choice
        while isinstance(base, distributions.Independent):
            base = base.base_dist
        actions = _sampled(base, self._numbers()) if self._sample else _most_likely(base)
        if not self._sample:
            return actions, None
        chances = _array(choice.log_prob(torch.as_tensor(actions, device=base.mean.device)))
        return actions, chances.reshape(len(actions), -1).sum(axis=1)

    def _numbers(self) -> ActiveRows:
        if self._rows is None:
            raise ArgumentError(
                "This agent draws numbers for the rows of a runner: call set_rows(ActiveRows(...)) first."
            )
        return self._rows


def module_policy(module: Callable[[Any], Any], action_space: Space[Any]) -> Policy:
    """Return what asks a module whose tensors are logits of discrete actions, or actions."""
    is_discrete = isinstance(action_space, spaces.Discrete)

    def policy(observations: Any) -> tuple[Choice, torch.Tensor | None]:
        parameter = next(iter(module.parameters()), None) if isinstance(module, torch.nn.Module) else None
        device = None if parameter is None else parameter.device
        answer = module(each_array(observations, lambda array: torch.as_tensor(array, device=device)))
        choice, values = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
        if is_discrete and isinstance(choice, torch.Tensor):
            choice = distributions.Categorical(logits=choice)
        return choice, values

    return policy


def sb3_policy(model: Any) -> Policy:
    """Return what asks the actor and the critic of a policy of Stable-Baselines3."""

    def policy(observations: Any) -> tuple[Choice, torch.Tensor | None]:
        model.set_training_mode(False)
        tensors, _ = model.obs_to_tensor(observations)
        return model.get_distribution(tensors).distribution, model.predict_values(tensors)

    return policy


def _sampled(choice: distributions.Distribution, rows: ActiveRows) -> NDArray[Any]:
    """Return one action per row, drawn with the numbers of the rows."""
    if isinstance(choice, distributions.Categorical) and choice.probs.ndim == 2:
        return rows.choice(_array(choice.probs))
    if isinstance(choice, distributions.Bernoulli):
        chances = _array(choice.probs)
        return (rows.random(*chances.shape[1:]) < chances).astype(chances.dtype)
    if isinstance(choice, distributions.Normal):
        means = _array(choice.loc)
        noise = rows.standard_normal(*means.shape[1:]).astype(means.dtype)
        actions: NDArray[Any] = means + _array(choice.scale) * noise
        return actions
    raise _unknown(choice)


def _most_likely(choice: distributions.Distribution) -> NDArray[Any]:
    if isinstance(choice, distributions.Categorical) and choice.probs.ndim == 2:
        best: NDArray[Any] = _array(choice.probs).argmax(axis=1)
        return best
    if isinstance(choice, distributions.Bernoulli):
        chances = _array(choice.probs)
        return (chances > 0.5).astype(chances.dtype)
    if isinstance(choice, distributions.Normal):
        return _array(choice.loc)
    raise _unknown(choice)


def _unknown(choice: distributions.Distribution) -> ArgumentError:
    return ArgumentError(
        "An agent of a module draws from Categorical (of batch shape [n]), Bernoulli and Normal, alone or in "
        f"Independent, not from {choice}. Draw actions in an agent of your own, with set_rows."
    )


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
