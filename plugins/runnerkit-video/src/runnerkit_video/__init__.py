"""Videos of chosen episodes, drawn after the rollout by replaying them::

    from runnerkit_video import best, record_episodes

    with runnerkit.make("CartPole-v1", n_envs=8, seed=0) as runner:
        histories = runner.rollout(agent, episodes=50)
    record_episodes("CartPole-v1", histories, "videos", which=best(3))

Recording costs nothing during the rollout: the seed and the actions of an episode are in its history.
"""

from __future__ import annotations

from runnerkit_video.choice import Choose, best, every, worst
from runnerkit_video.replay import ReplayError, frames
from runnerkit_video.strip import film_strip
from runnerkit_video.video import Video, record_episode, record_episodes

__all__ = [
    "Choose",
    "ReplayError",
    "Video",
    "best",
    "every",
    "film_strip",
    "frames",
    "record_episode",
    "record_episodes",
    "worst",
]
