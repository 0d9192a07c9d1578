"""Preprocessors work on what the agent sees before it acts, postprocessors on its actions before the env gets them.

Plugins offer them through the hooks `action_preprocessors` and `action_postprocessors`; the built-in ones are here.
A runner binds its processors to their spaces when it is built; a processor that cannot work on its space refuses it
then. Each runner needs its own processors, as all but Normalize refuse a second, different space::

    GymRunner("HalfCheetah-v5", preprocessors=[Normalize()], postprocessors=["rescale"])
"""

from __future__ import annotations

from runnerkit.processors.actions import Clip, Rescale
from runnerkit.processors.base import (
    ActionPostprocessor,
    ActionPreprocessor,
    ProcessorContext,
    SupportsFinalObservations,
    SupportsNoteActions,
    SupportsSetContext,
    SupportsStateDict,
)
from runnerkit.processors.normalize import Normalize
from runnerkit.processors.observations import Flatten, ScaleImage
from runnerkit.processors.stateful import FrameStack, LastAction, TimeAware

__all__ = [
    "ActionPostprocessor",
    "ActionPreprocessor",
    "Clip",
    "Flatten",
    "FrameStack",
    "LastAction",
    "Normalize",
    "ProcessorContext",
    "Rescale",
    "ScaleImage",
    "SupportsFinalObservations",
    "SupportsNoteActions",
    "SupportsSetContext",
    "SupportsStateDict",
    "TimeAware",
]
