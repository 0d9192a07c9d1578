"""Atari games for RunnerKit, preprocessed the usual way::

    runner = runnerkit.make("atari:Pong", n_envs=8, seed=0, env_options={"frame_stack": 4})

ale_py and OpenCV are imported when the first env is asked for, not before.
"""

from __future__ import annotations

from runnerkit_atari.options import AtariOptions

__all__ = ["AtariOptions"]
