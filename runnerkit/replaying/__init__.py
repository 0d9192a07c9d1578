"""Recorded episodes once more: with the same seed and actions, does the env do the same, bit by bit?

For example::

    replayed = runnerkit.replay(runner.rollout(agent, steps=1000))
    print(replayed)                             # 12 episodes, 8000 steps: all the same.
    assert replayed.first is None, replayed.first
"""

from __future__ import annotations

from runnerkit.replaying.comparison import AnyEpisode, Divergence, compared
from runnerkit.replaying.histories import Replay, StoredEpisode, maker, remade, replay, whole_episodes

__all__ = [
    "AnyEpisode",
    "Divergence",
    "Replay",
    "StoredEpisode",
    "compared",
    "maker",
    "remade",
    "replay",
    "whole_episodes",
]
