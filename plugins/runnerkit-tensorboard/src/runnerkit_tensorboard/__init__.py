"""Live metrics of RunnerKit's rollouts in TensorBoard::

    with EpisodeBoard("runs/ppo") as board:
        for _ in range(100):
            histories = runner.rollout(agent, steps=1000, on_episode=board)

`EpisodeBoard` writes returns, lengths, end reasons and speed as episodes end. tensorboardX is imported when a folder is
opened, not before.
"""

from __future__ import annotations

from runnerkit_tensorboard.board import EpisodeBoard
from runnerkit_tensorboard.scalars import SupportsScalars

__all__ = ["EpisodeBoard", "SupportsScalars"]
