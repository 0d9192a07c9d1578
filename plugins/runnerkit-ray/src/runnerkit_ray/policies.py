"""What chooses the actions on actors: agents and weights, in the object store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runnerkit import RandomAgent
from runnerkit.errors import ArgumentError
from runnerkit_ray.agents import SupportsSetWeights
from runnerkit_ray.jobs import Policy, Ref
from runnerkit_ray.sending import pickled

__all__ = ["Choice", "Policies"]


@dataclass(frozen=True, slots=True)
class Choice:
    """An agent that was sent for the units of one call of `collect`."""

    agent: object
    policy: Policy


class Policies:
    """Sends agents and weights, each once, and knows what the units of `collect` get."""

    def __init__(self) -> None:
        self.version: int = 0
        """The version of the weights; 0 as long as none were set."""
        self._weights: Ref = None
        self._sent: tuple[bytes, Ref] | None = None  # the agent that was sent last
        self._choice: Choice | None = None
        self._chosen: Policy | None = None

    def send(self, agent: object) -> Policy:
        """Return an agent as it is now, with its own weights."""
        if isinstance(agent, RandomAgent):
            raise ArgumentError(
                "RandomAgent goes on where it stopped, so that an actor cannot begin in the middle of a run. Use "
                "runnerkit_ray.RowAgent(runner.action_space)."
            )
        if not callable(agent) and not callable(getattr(agent, "act", None)):
            raise ArgumentError(f"An agent has a method act(observations), or is such a function, unlike {agent!r}.")
        import ray

        payload = pickled(agent, "the agent")
        if self._sent is None or payload != self._sent[0]:
            self._sent = payload, ray.put(np.frombuffer(payload, np.uint8))
        return Policy(0, self._sent[1])

    def choice(self, agent: object | None) -> Choice:
        """Send an agent as it is now; None stands for the one of the call before."""
        if agent is not None:
            choice = Choice(agent, self.send(agent))
        elif self._choice is not None:
            choice = self._choice
        else:
            raise ArgumentError("collect needs an agent, at least the first time: collect(units, agent).")
        if self._weights is not None:
            _check_takes_weights(choice.agent)
        return choice

    def choose(self, choice: Choice) -> None:
        """Let the next units have this agent, and the weights that are set."""
        policy = choice.policy
        if self._weights is not None:
            _check_takes_weights(choice.agent)
            policy = replace(policy, version=self.version, weights=self._weights)
        self._chosen, self._choice = policy, choice

    def chosen(self) -> Policy:
        """Return what the next unit gets."""
        assert self._chosen is not None
        return self._chosen

    def set_weights(self, weights: Mapping[str, NDArray[Any]]) -> int:
        """Let the next units have these weights, and return their version."""
        given: object = weights  # the value may differ from the annotation
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise ArgumentError(f"set_weights needs a dict of arrays by name, not {given!r}.")
        advice = "set_weights needs arrays of numbers. Convert tensors with .detach().cpu().numpy()."
        try:
            arrays = {name: np.asarray(array) for name, array in weights.items()}
        except (TypeError, ValueError, RuntimeError) as error:  # of a tensor with gradients, or of another device
            raise ArgumentError(f"{advice} NumPy says: {error}") from error
        if any(array.dtype == object for array in arrays.values()):
            raise ArgumentError(advice)
        if self._choice is not None:
            _check_takes_weights(self._choice.agent)
        import ray

        self._weights = ray.put(arrays)
        self.version += 1
        if self._chosen is not None:
            self._chosen = replace(self._chosen, version=self.version, weights=self._weights)
        return self.version

    def go_back(self, version: int) -> None:
        """Forget agent and weights; the next weights get this version, unless it is 0."""
        self.version, self._weights = max(0, version - 1), None
        self._chosen = self._choice = None


def _check_takes_weights(agent: object) -> None:
    if not isinstance(agent, SupportsSetWeights):
        raise ArgumentError(
            f"The agent, {type(agent).__name__}, has no method set_weights(weights). Add it, or pass a new agent to "
            "each collect or rollout."
        )
