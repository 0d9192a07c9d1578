"""The env factory `vector`: Gymnasium's native vector envs, which step all envs of a runner at once."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.registration import registry

from runnerkit._core.types import AnyVectorEnv
from runnerkit._envs.resolve import require_known
from runnerkit._plugins.manager import Plugins
from runnerkit.errors import ArgumentError

__all__ = ["make_vector_env"]


def make_vector_env(
    env_id: str, /, *, seed: int | None, n_envs: int = 1, plugins: Plugins, **options: Any
) -> AnyVectorEnv:
    """Return the native vector env of an id, from its vector entry point::

        runner = runnerkit.make("vector:CartPole-v1", n_envs=64)

    `options` go to it. The seed is not needed, as the envs are seeded when they are reset.

    Raises UnknownNameError for an unknown id, ArgumentError for an id without a vector entry point.
    """
    del seed
    spec = require_known(env_id, plugins)
    if spec.vector_entry_point is None:
        those = [known.id for known in list(registry.values()) if known.vector_entry_point is not None]
        having = sorted(those, key=lambda known: ("/" in known, known))
        listed = ", ".join(having[:8]) + (f" and {len(having) - 8} more" if len(having) > 8 else "")
        raise ArgumentError(
            f"{spec.id} has no vector entry point. Use {spec.id!r} without "
            f"'vector:', which steps any env, in threads or processes, too. Those that have one: {listed}."
        )
    env: AnyVectorEnv = gymnasium.make_vec(spec.id, n_envs, vectorization_mode="vector_entry_point", **options)
    return env
