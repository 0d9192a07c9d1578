"""The Protocols of processors, and what a processor may know of its runner."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import Space
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from runnerkit.errors import SpaceError

__all__ = [
    "ActionPostprocessor",
    "ActionPreprocessor",
    "BoundOnce",
    "ProcessorContext",
    "RewardProcessor",
    "SupportsEpisodeState",
    "SupportsFinalObservations",
    "SupportsNoteActions",
    "SupportsSetContext",
    "SupportsStateDict",
]


class ActionPreprocessor(Protocol):
    """Changes observations before the agent sees them: scales, flattens or normalises them, for example.

    A runner binds its preprocessors once, in the given order: env -> first -> ... -> last -> agent. Then it calls
    each of them once for each batch of observations. It tells a preprocessor with state per env what it needs to know,
    in this order::

        set_context(context)                            # once, before bind
        bind(space)
        set_active_envs(env_indices)                    # before each batch whose rows belong to other envs than before
        begin_episodes(env_indices)                     # before the first observation of an episode
        __call__(observations)                          # first observations, and those that steps lead to
        note_actions(actions)                           # what the agent chose
        final_observations(observations)                # those of envs whose episode has ended

    All but `bind` and `__call__` are optional: see `SupportsSetContext`, `SupportsSetActiveEnvs`,
    `SupportsBeginEpisodes`, `SupportsNoteActions` and `SupportsFinalObservations`. Final observations always come as a
    batch of their own, before `begin_episodes` of the same envs. Without `final_observations`, `__call__` gets them.
    """

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the space of the output for the given space of the input.

        Raises SpaceError if the preprocessor cannot work on such observations.
        """
        ...

    def __call__(self, observations: Any, /) -> object:
        """Return the processed batch, of as many rows; must not change its argument."""
        ...


class ActionPostprocessor(Protocol):
    """Changes the agent's actions before the env gets them: clips or rescales them, for example.

    A runner calls its postprocessors in the given order: agent -> first -> ... -> last -> env. It binds them in the
    reverse order, as the env's action space is the fixed end. Like an agent, a postprocessor may have
    `set_active_envs(env_indices)` and `begin_episodes(env_indices)`, and it may have `set_context(context)`.
    """

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Return the space of the input for the given space of the output.

        Raises SpaceError if the postprocessor cannot make such actions.
        """
        ...

    def __call__(self, actions: Any, /) -> object:
        """Return the processed batch, of as many rows; must not change its argument."""
        ...


class RewardProcessor(Protocol):
    """Changes rewards before a learner sees them: scales, clips or normalises them, for example.

    A function of an array will do: `reward_processors=[np.sign]`. The runner calls its reward processors once for each
    step, in the given order: env -> first -> ... -> last -> learner. Like an agent, a reward processor may have
    `set_active_envs(env_indices)` and `begin_episodes(env_indices)`, and it may have `set_context(context)`.
    """

    def __call__(self, rewards: NDArray[np.float64], /) -> object:
        """Return the processed rewards `[n]`, one per active env; must not change its argument."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessorContext:
    """What a processor may know of its runner. `SupportsSetContext` gets it.

    Attributes:
        n_envs: the number of envs.
        env_spec: Gymnasium's spec of the env, or None.
        action_space: the space of one action as the agent chooses it; for a postprocessor, that of the env.
        seed_sequence: the source of the processor's random numbers: a pure function of the run's seed, the kind of the
            processor, and its place among the processors of its kind.

    """

    n_envs: int
    env_spec: EnvSpec | None
    action_space: Space[Any]
    seed_sequence: np.random.SeedSequence

    def generator(self) -> np.random.Generator:
        """Return a new generator, always at the beginning of the processor's own stream."""
        return np.random.default_rng(self.seed_sequence)


@runtime_checkable
class SupportsSetContext(Protocol):
    """A processor that needs to know its runner::

        def set_context(self, context: ProcessorContext, /) -> None:
            self._generator = context.generator()

    So its random numbers follow from the run's seed.
    """

    def set_context(self, context: ProcessorContext, /) -> None:
        """Learn about the runner, once, before `bind`."""
        ...


@runtime_checkable
class SupportsNoteActions(Protocol):
    """A preprocessor that needs to know which actions led to the next observations."""

    def note_actions(self, actions: Any, /) -> None:
        """Learn what the agent chose. Row i belongs to the i-th active env. The batch must not be changed."""
        ...


@runtime_checkable
class SupportsFinalObservations(Protocol):
    """A preprocessor that processes the final observations of episodes in another way than all others."""

    def final_observations(self, observations: Any, /) -> object:
        """Return the processed batch, as `__call__` does. Each row is the final observation of an episode.

        Row i belongs to the i-th active env, which `set_active_envs` told before.
        """
        ...


@runtime_checkable
class SupportsStateDict(Protocol):
    """A processor, such as `Normalize`, whose statistics can be stored. `runner.state_dict()` has those of each."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return all that results depend on, except the state of running episodes: numbers, strings, lists, arrays."""
        ...

    def load_state_dict(self, state: Any, /) -> object:
        """Load what `state_dict` returned."""
        ...


@runtime_checkable
class SupportsEpisodeState(Protocol):
    """A processor whose state of running episodes can be stored, so that `runner.state_dict()` has it."""

    def episode_state(self) -> Mapping[str, Any]:
        """Return what the next results of running episodes depend on, of all envs, and is not in `state_dict`."""
        ...

    def load_episode_state(self, state: Any, /) -> object:
        """Load what `episode_state` returned."""
        ...


_binding = threading.Lock()


class BoundOnce:
    """Refuses a second, different space: the processor would work only for the last one."""

    _bound: Space[Any] | None = None

    def _bind_once(self, space: Space[Any], name: str) -> None:
        with _binding:
            if self._bound is None:
                self._bound = space
        bound = self._bound
        # Dicts are equal whatever the order of their keys, but are not laid out alike.
        if bound != space or repr(bound) != repr(space):
            raise SpaceError(f"{name} is already bound to {bound}. Use a new one for each runner.")
