"""Which agents may act in a runner: objects with a method `act`, and functions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

from gymnasium import Space, spaces

from runnerkit import _sentences as sentences
from runnerkit._checks.contracts import AGENT, FUNCTION_AGENT, Facts
from runnerkit.errors import ArgumentError

__all__ = ["AgentGate"]

_TORCH_MODULE: Final = ("torch.nn.modules.module", "Module")


class AgentGate:
    """Lets agents pass that can act in one runner.

    `action` is the space of the actions that it is to choose.
    """

    def __init__(self, action: Space[Any]) -> None:
        self._action = action
        self._passed: Facts | None = None  # a class has always the same

    def admit(self, agent: object, *, called_plainly: bool) -> Any:
        """Return what has a method `act`: the agent, or what stands for a function.

        Raises ArgumentError if the agent cannot act; little is known of one that is called in a way of its own.
        """
        acts = callable(getattr(agent, "act", None))
        is_function = callable(agent) and not acts
        facts = (FUNCTION_AGENT if is_function else AGENT).look(agent)
        if facts is not self._passed:
            self._check(agent, facts, acts, called_plainly)
        return SimpleNamespace(act=agent) if is_function else agent

    def _check(self, agent: object, facts: Facts, acts: bool, called_plainly: bool) -> None:
        if not acts:
            self._refuse_models(agent)
        if not called_plainly and (acts or (callable(agent) and not isinstance(agent, type))):
            fault = facts.near_miss
        else:
            fault = facts.fault
        if fault:
            raise ArgumentError(fault)
        if called_plainly:
            self._passed = facts

    def _refuse_models(self, agent: object) -> None:
        """Say how a model becomes an agent, rather than guess what it returns."""
        who, is_module = type(agent).__name__, _is_torch_module(agent)
        if callable(getattr(agent, "predict", None)) and (is_module or not callable(agent)):
            raise ArgumentError(sentences.predicts(who))
        if is_module:
            raise ArgumentError(sentences.forwards(who, isinstance(self._action, spaces.Discrete)))
        if callable(getattr(agent, "forward", None)) and not callable(agent):
            raise ArgumentError(sentences.has_forward(who))


def _is_torch_module(given: object) -> bool:
    return _TORCH_MODULE in {(base.__module__, base.__name__) for base in type(given).__mro__}
