"""Preprocessors work on what the agent sees before it acts, postprocessors on its actions before the env gets them.

Reward processors work on what a learner sees of rewards. Plugins offer all of them through the hooks
`action_preprocessors`, `action_postprocessors` and `reward_processors`; the built-in ones are here.
A runner binds its processors to their spaces when it is built; a processor that cannot work on its space refuses it
then. Each runner needs its own processors, as a runner refuses one that serves another::

    GymRunner("HalfCheetah-v5", preprocessors=[Normalize()], postprocessors=["rescale"])
"""

from __future__ import annotations

from runnerkit.processors.actions import Clip, Rescale
from runnerkit.processors.base import (
    ActionPostprocessor,
    ActionPreprocessor,
    ProcessorContext,
    RewardProcessor,
    SupportsEpisodeState,
    SupportsFinalObservations,
    SupportsNoteActions,
    SupportsSetContext,
    SupportsStateDict,
)
from runnerkit.processors.normalize import Normalize
from runnerkit.processors.observations import Flatten, ScaleImage
from runnerkit.processors.rewards import ClipReward, NormalizeReward, ScaleReward, SignReward
from runnerkit.processors.stateful import FrameStack, LastAction, TimeAware

__all__ = [
    "ActionPostprocessor",
    "ActionPreprocessor",
    "Clip",
    "ClipReward",
    "Flatten",
    "FrameStack",
    "LastAction",
    "Normalize",
    "NormalizeReward",
    "ProcessorContext",
    "Rescale",
    "RewardProcessor",
    "ScaleImage",
    "ScaleReward",
    "SignReward",
    "SupportsEpisodeState",
    "SupportsFinalObservations",
    "SupportsNoteActions",
    "SupportsSetContext",
    "SupportsStateDict",
    "TimeAware",
]
