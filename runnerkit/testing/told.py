"""A processor that is told, outside of a runner, what runners tell."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from runnerkit.agents import SupportsBeginEpisodes, SupportsSetActiveEnvs
from runnerkit.processors import ProcessorContext, SupportsNoteActions, SupportsStateDict

__all__ = ["Told", "sample_context"]


class Told:
    """A processor that is told what runners tell: of active envs, of first episodes, and of actions."""

    def __init__(self, processor: Any) -> None:
        self.processor: Any = processor
        self._active: list[int] = []
        self._begun: set[int] = set()

    def __call__(self, batch: Any, envs: Sequence[int] | None = None) -> Any:
        """Process a batch whose rows belong to these envs; by default, row i belongs to env i."""
        self._turn_to(batch, envs)
        return self.processor(batch)

    def finals(self, batch: Any) -> Any:
        """Process a batch of final observations."""
        self._turn_to(batch, None)
        return self.processor.final_observations(batch)

    def begin_episodes(self, envs: Sequence[int]) -> None:
        """Tell that episodes begin."""
        self._begun.update(envs)
        if isinstance(self.processor, SupportsBeginEpisodes):
            self.processor.begin_episodes(list(envs))

    def load(self, other: Told) -> None:
        """Take over what another one has stored."""
        self.processor.load_state_dict(copy.deepcopy(other.processor.state_dict()))

    def go_on_from(self, other: Told) -> None:
        """Go on where another one is, as runners do that load a state."""
        source: Any = other.processor
        if isinstance(source, SupportsStateDict):
            self.load(other)
        self.processor.load_episode_state(copy.deepcopy(other.processor.episode_state()))
        self._begun = set(other._begun)

    def _turn_to(self, batch: Any, envs: Sequence[int] | None) -> None:
        active = list(range(_count(batch)) if envs is None else envs)
        if active != self._active and isinstance(self.processor, SupportsSetActiveEnvs):
            self.processor.set_active_envs(list(active))
        self._active = active
        if fresh := [i for i in active if i not in self._begun]:
            self.begin_episodes(fresh)
        elif isinstance(self.processor, SupportsNoteActions):
            self.processor.note_actions(np.array([i % 3 for i in active]))


def sample_context() -> ProcessorContext:
    """Return what a processor may know of a runner."""
    spec = EnvSpec("Sample-v0", max_episode_steps=100)
    return ProcessorContext(5, spec, spaces.Discrete(3), np.random.SeedSequence(0))


def _count(batch: Any) -> int:
    """Return the number of rows of a batch."""
    if isinstance(batch, (dict, tuple)):
        parts: Sequence[Any] = list(batch.values()) if isinstance(batch, dict) else batch
        return max((_count(part) for part in parts), default=0)
    return len(batch)
