"""The state of an env in the middle of an episode, from the env itself and its wrappers, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, runtime_checkable

import gymnasium
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from runnerkit._core.types import AnyEnv

__all__ = ["SupportsSnapshot", "restore", "snapshot"]


@runtime_checkable
class SupportsSnapshot(Protocol):
    """An env, or a wrapper, that can say where it stands, and go there::

        class Counter(gymnasium.Env):
            def snapshot(self):
                return {"count": self.count, "random": self.np_random.bit_generator.state}

            def restore(self, snapshot):
                self.count = snapshot["count"]
                self.np_random.bit_generator.state = snapshot["random"]

    `runner.state_dict()` then has the snapshots of running episodes instead of their actions, which need not be made
    once more. Every wrapper needs these methods, too, for state of its own; Gymnasium's `TimeLimit`, `OrderEnforcing`
    and `PassiveEnvChecker` do not. Where one has none, and with `on_env_error="restart"`, actions are saved.
    """

    def snapshot(self) -> Any:
        """Return all that the next steps depend on, random generators included: numbers, texts, arrays, dicts, lists.

        The runner keeps it; so return copies of what changes.
        """
        ...

    def restore(self, snapshot: Any, /) -> None:
        """Go where an env stood that was made in the same way, after a reset with the same seed and options."""
        ...


_KNOWN: Final[dict[type, tuple[str, ...]]] = {
    TimeLimit: ("_elapsed_steps",),
    OrderEnforcing: (),
    PassiveEnvChecker: (),
}
"""Gymnasium's wrappers whose state is known: by class, the attributes that have it."""


def snapshot(env: AnyEnv) -> list[Any] | None:
    """Return the state of each layer, from the outside in; None if there is one that cannot say it."""
    layers = _layers(env)
    if not all(type(layer) in _KNOWN or isinstance(layer, SupportsSnapshot) for layer in layers):
        return None
    return [_state_of(layer) for layer in layers]


def restore(env: AnyEnv, states: Sequence[Any]) -> None:
    """Bring each layer back to the state that `snapshot` returned."""
    for layer, state in zip(_layers(env), states, strict=True):
        known = _KNOWN.get(type(layer))
        if known is None:
            layer.restore(state)
        else:
            for name, value in zip(known, state, strict=True):
                setattr(layer, name, value)


def _layers(env: AnyEnv) -> list[Any]:
    layers: list[Any] = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _state_of(layer: Any) -> Any:
    known = _KNOWN.get(type(layer))
    return layer.snapshot() if known is None else [getattr(layer, name) for name in known]
