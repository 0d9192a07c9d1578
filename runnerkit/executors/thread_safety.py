"""Which envs are known to be thread-safe: they may be stepped in any thread, while others of their kind are stepped.

An env says so in its metadata; a wrapper of your own says so in its own::

    class MyEnv(gymnasium.Env):
        metadata = {"render_modes": [], "thread_safe": True}

Gymnasium's MuJoCo, classic control and toy text envs are known to be thread-safe without it, also under Gymnasium's
own wrappers, if these call no function of yours, as TransformReward does. All other envs are not. Box2D and pygame keep
one state for the whole process, so that envs that use them are not thread-safe.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any, Final

import gymnasium

from runnerkit._core.types import AnyEnv
from runnerkit.executors.spares import SpareEnv

__all__ = ["is_thread_safe"]

_KEY: Final = "thread_safe"
_SAFE_ENVS: Final = ("gymnasium.envs.mujoco.", "gymnasium.envs.classic_control.", "gymnasium.envs.toy_text.")
_SAFE_WRAPPERS: Final = "gymnasium.wrappers."
_KNOWN: Final = ("gymnasium", "numpy")


def is_thread_safe(env: AnyEnv) -> bool:
    """Return whether an env, with each of its wrappers, is known to be thread-safe as long as it does not render."""
    if env.render_mode is not None:
        return False
    layer: Any = env.env if isinstance(env, SpareEnv) else env
    while isinstance(layer, gymnasium.Wrapper):
        if not _says(layer, _wrapper_metadata(layer), _SAFE_WRAPPERS):
            return False
        layer = layer.env
    return _says(layer, getattr(layer, "metadata", None), _SAFE_ENVS)


def _says(layer: object, metadata: object, safe: str | tuple[str, ...]) -> bool:
    said = metadata.get(_KEY) if isinstance(metadata, Mapping) else None
    return said is True if said is not None else type(layer).__module__.startswith(safe) and _calls_only_known(layer)


def _calls_only_known(layer: Any) -> bool:
    """Whether all that a layer calls is Gymnasium's or NumPy's, and not a function passed to it or put into it."""
    held = [value for value in _values(layer) if callable(value) and not isinstance(value, gymnasium.Env)]
    return all(_is_known(function) for function in [*held, layer.reset, layer.step])


def _values(layer: object) -> list[object]:
    """Return what an object refers to, and what dicts that it refers to have.

    Not by `vars`: CPython 3.11 finds attributes faster as long as nobody has asked an object for its `__dict__`. A step
    of CartPole, with all around it, took a seventh more instructions after that.
    """
    return [
        inner
        for value in gc.get_referents(layer)
        for inner in (value.values() if isinstance(value, dict) else (value,))
    ]


def _is_known(function: Any) -> bool:
    module = getattr(function, "__module__", None) or type(function).__module__
    return isinstance(module, str) and module.partition(".")[0] in _KNOWN


def _wrapper_metadata(wrapper: Any) -> object:
    """Return what a wrapper says of itself: `wrapper.metadata` would be that of the env where it says nothing."""
    of_class = getattr(type(wrapper), "metadata", None)
    return of_class if isinstance(of_class, Mapping) else getattr(wrapper, "_metadata", None)
