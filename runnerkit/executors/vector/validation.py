"""What a vector env must be to be rolled out: refused here is what would give wrong data."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import OneOf, Text
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from runnerkit._core.spaces import Layout
from runnerkit._core.types import AnyVectorEnv
from runnerkit.errors import ArgumentError

__all__ = ["autoreset_mode", "check"]

_OTHER_MODES = "autoreset_mode=AutoresetMode.SAME_STEP, or DISABLED"


def autoreset_mode(env: AnyVectorEnv) -> AutoresetMode:
    """Return the mode that the env says it has; an attribute of its own before metadata, which classes share.

    Raises ArgumentError where it does not say.
    """
    own = getattr(env.unwrapped, "autoreset_mode", None)
    said_mode = own if isinstance(own, AutoresetMode) else (env.metadata or {}).get("autoreset_mode")
    try:
        return AutoresetMode(said_mode)
    except ValueError:
        modes = ", ".join(f"AutoresetMode.{mode.name}" for mode in AutoresetMode)
        raise ArgumentError(
            f"{type(env).__name__} does not say when it resets its envs: metadata['autoreset_mode'] is {said_mode!r}, "
            f"not one of {modes}. Make the env in a function that sets it to what the env does:\n\n"
            "    def make(seed, n_envs):\n"
            "        env = ...\n"
            '        env.unwrapped.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}\n'
            "        return env\n"
        ) from None


def check(env: AnyVectorEnv, n_envs: int) -> None:
    """Raise ArgumentError if it has not what all vector envs have, or has not so many envs."""
    for name in ("num_envs", "single_observation_space", "single_action_space"):
        if not hasattr(env, name):
            raise ArgumentError(f"{type(env).__name__} has no {name}, as every VectorEnv must. Set it in __init__.")
    if env.num_envs != n_envs:
        raise ArgumentError(
            f"The factory made a vector env of num_envs={env.num_envs}, but the runner has n_envs={n_envs}. "
            f"Pass n_envs={env.num_envs} to the runner, or let the factory make num_envs={n_envs}."
        )
    inner: Any = env.unwrapped
    if isinstance(inner, AsyncVectorEnv):
        _check_async(inner, autoreset_mode(env))


def _check_async(env: Any, mode: AutoresetMode) -> None:
    leaves = Layout(env.single_observation_space, "observation").leaves
    if env.shared_memory and any(isinstance(leaf.space, (Text, OneOf)) for leaf in leaves):
        raise ArgumentError(
            "AsyncVectorEnv reads observations of Text and OneOf from its shared memory only as it is made, and "
            f"returns the same ever after. Give it shared_memory=False and {_OTHER_MODES}."
        )
    # an array of no bytes counts as no shared memory
    is_shared = env.shared_memory and (env.single_observation_space.shape is None or np.prod(leaves[0].shape) > 0)
    if mode is AutoresetMode.NEXT_STEP and not is_shared:
        raise ArgumentError(
            "AsyncVectorEnv without shared memory (shared_memory=False, or observations of size 0) resets envs twice "
            "in its auto-reset mode NEXT_STEP, so that a step that no agent chose would look like any other. "
            f"Give it {_OTHER_MODES}, or leave shared_memory out."
        )
