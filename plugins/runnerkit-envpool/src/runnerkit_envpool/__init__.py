"""EnvPool's envs for RunnerKit, all of a runner's envs in one vector env::

    runner = runnerkit.make("envpool:CartPole-v1", n_envs=64, seed=0, env_options={"num_threads": 2})

This is the plugin module. EnvPool is imported when the first env is asked for, not before.
"""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit import Contribution, hookimpl
from runnerkit.typing import EnvFactory

__all__ = ["env_factories"]


def _factory() -> EnvFactory:
    from runnerkit_envpool.envs import make_envpool  # the only way by which EnvPool gets imported

    return make_envpool


@hookimpl.env_factories
def env_factories() -> Iterator[Contribution[EnvFactory]]:
    """Offer the factory envpool."""
    yield Contribution("envpool", _factory, "EnvPool's vector envs in C++, such as envpool:CartPole-v1")
