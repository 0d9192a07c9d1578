"""Atari games for RunnerKit, preprocessed the usual way::

    runner = runnerkit.make("atari:Pong", n_envs=8, seed=0, env_options={"frame_stack": 4})

This is the plugin module. ale_py and OpenCV are imported when the first env is asked for, not before.
"""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit import Contribution, hookimpl
from runnerkit.typing import EnvFactory
from runnerkit_atari.options import AtariOptions

__all__ = ["AtariOptions", "env_factories"]


def _factory() -> EnvFactory:
    from runnerkit_atari.envs import make_atari  # the only way by which ale_py gets imported

    return make_atari


@hookimpl.env_factories
def env_factories() -> Iterator[Contribution[EnvFactory]]:
    """Offer the factory atari."""
    yield Contribution("atari", _factory, "Atari games: 84x84 grey, frame skip 4, up to 30 no-ops, 4 frames stacked")
