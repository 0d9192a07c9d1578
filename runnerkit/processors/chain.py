"""Bound processors as one function; and telling those with state what they need to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from runnerkit import _sentences as sentences
from runnerkit._checks.contracts import POSTPROCESSOR, PREPROCESSOR, Facts
from runnerkit._core.arrays import as_array, brief
from runnerkit._core.batches import BatchReader
from runnerkit._core.spaces import Column, Layout, MisfitError
from runnerkit.agents import SupportsBeginEpisodes, SupportsSetActiveEnvs
from runnerkit.errors import PluginError, ProcessorError, RunnerKitError, SpaceError
from runnerkit.processors.base import (
    ActionPostprocessor,
    ActionPreprocessor,
    ProcessorContext,
    RewardProcessor,
    SupportsFinalObservations,
    SupportsNoteActions,
    SupportsSetContext,
)

__all__ = ["Chain", "RewardChain", "Told", "bind_postprocessors", "bind_preprocessors", "set_contexts", "stream_of"]

Process: TypeAlias = Callable[[Any], object]


class Told:
    """Tells processors of active envs and of episodes. What they raise becomes a ProcessorError."""

    def __init__(self, named: Sequence[tuple[str, object]]) -> None:
        self._row_aware = [
            (name, part.set_active_envs) for name, part in named if isinstance(part, SupportsSetActiveEnvs)
        ]
        self._stateful = [
            (name, part.begin_episodes) for name, part in named if isinstance(part, SupportsBeginEpisodes)
        ]
        self._active: list[int] | None = None  # what they were told last

    def tell_active(self, env_indices: Sequence[int]) -> None:
        """Tell to which envs the rows of the next batch belong, unless they know."""
        if self._row_aware and self._active != env_indices:
            self._active = None  # should one of them fail
            for name, tell in self._row_aware:
                _tell(name, tell, list(env_indices))
            self._active = list(env_indices)

    def begin_episodes(self, env_indices: Sequence[int]) -> None:
        """Tell in which envs an episode begins."""
        for name, tell in self._stateful if env_indices else ():
            _tell(name, tell, list(env_indices))


def _tell(name: str, tell: Callable[[Any], object], what: object) -> None:
    try:
        tell(what)
    except Exception as error:
        method = getattr(tell, "__name__", "a method")
        raise ProcessorError(f"Processor {name} raised in {method}: {type(error).__name__}: {error}") from error


class RewardChain(Told):
    """Reward processors as one function."""

    def __init__(self, named: Sequence[tuple[str, RewardProcessor]]) -> None:
        super().__init__(named)
        self._named = named

    def __bool__(self) -> bool:
        return bool(self._named)

    def __call__(self, rewards: NDArray[np.float64], env_indices: Sequence[int]) -> NDArray[np.float64]:
        """Return the processed rewards; row i belongs to env `env_indices[i]`."""
        self.tell_active(env_indices)
        for name, process in self._named:
            try:
                given = process(rewards)
                array = as_array(given) if hasattr(given, "detach") else np.asarray(given)
            except Exception as error:
                raise ProcessorError(f"Processor {name} raised {type(error).__name__}: {error}") from error
            if array is None or array.shape != rewards.shape or array.dtype.kind not in "biuf":
                what = brief(given)
                raise ProcessorError(f"Processor {name} must return numbers of shape {rewards.shape}, not {what}.")
            rewards = array.astype(np.float64)
        return rewards


class Chain(Told):
    """Bound processors as one function, from the columns of a batch to checked columns::

        columns = chain(columns, layout, env_indices)

    Row i belongs to env `env_indices[i]`.
    """

    def __init__(self, links: Sequence[tuple[str, Process, Layout]]) -> None:
        parts: list[tuple[str, object]] = [(name, process) for name, process, _ in links]
        super().__init__(parts)
        self._links = [(name, process, layout, BatchReader(layout, bounded=False)) for name, process, layout in links]
        self._final_links = [(name, _for_finals(process), out, read) for name, process, out, read in self._links]
        self._noting = [(name, part.note_actions) for name, part in parts if isinstance(part, SupportsNoteActions)]
        self.notes_actions: bool = bool(self._noting)
        """Whether anyone wants to know what the agent chooses."""

    def __bool__(self) -> bool:
        return bool(self._links)

    def outputs(self) -> list[tuple[str, Space[Any]]]:
        """Return the name of each processor and the space of its output, in order."""
        return [(name, layout.space) for name, _, layout, _ in self._links]

    def __call__(self, columns: list[Column], layout: Layout, env_indices: Sequence[int]) -> list[Column]:
        """Return the output of the last processor, one array per leaf, for a batch that has the layout `layout`."""
        return self._run(self._links, columns, layout, env_indices)

    def finals(self, columns: list[Column], layout: Layout, env_indices: Sequence[int]) -> list[Column]:
        """Return the same for a batch of final observations."""
        return self._run(self._final_links, columns, layout, env_indices)

    def note_actions(self, columns: Sequence[Column], layout: Layout, env_indices: Sequence[int]) -> None:
        """Tell what the agent chose."""
        self.tell_active(env_indices)
        for name, tell in self._noting:
            _tell(name, tell, layout.present(columns))

    def _run(
        self,
        links: Sequence[tuple[str, Process, Layout, BatchReader]],
        columns: list[Column],
        layout: Layout,
        env_indices: Sequence[int],
    ) -> list[Column]:
        self.tell_active(env_indices)
        n = len(columns[0]) if columns else 0
        for name, process, out, read in links:
            try:
                columns = read(process(layout.present(columns)), n)
            except MisfitError as error:
                raise ProcessorError(
                    f"Processor {name} returned a batch that does not fit the space of its bind: {error}"
                ) from error
            except Exception as error:
                raise ProcessorError(f"Processor {name} raised {type(error).__name__}: {error}") from error
            layout = out
        return columns


def _for_finals(process: Process) -> Process:
    part: object = process
    return part.final_observations if isinstance(part, SupportsFinalObservations) else process


_STREAMS = 3  # the first number of their spawn keys: 0 to 2 are those of episodes, envs and RandomAgent


def stream_of(seed: int, kind: int, place: int) -> np.random.SeedSequence:
    """Return the source of random numbers of one processor, from its place among those of its kind."""
    return np.random.SeedSequence(seed, spawn_key=(_STREAMS, kind, place))


def set_contexts(named: Sequence[tuple[str, object]], context_of: Callable[[int], ProcessorContext], what: str) -> None:
    """Give the processors that want one their context, by their place; `what` they are is for errors."""
    for place, (name, processor) in enumerate(named):
        if isinstance(processor, SupportsSetContext):
            try:
                processor.set_context(context_of(place))
            except RunnerKitError:
                raise
            except Exception as error:
                message = f"{what} {name} raised in set_context: {type(error).__name__}: {error}"
                raise PluginError(message) from error


def bind_preprocessors(named: Sequence[tuple[str, ActionPreprocessor]], space: Space[Any]) -> tuple[Chain, Layout]:
    """Bind preprocessors to the env's observation space; return the chain, and what the agent sees."""
    links: list[tuple[str, Process, Layout]] = []
    layout = Layout(space, "observation")
    for name, processor in named:
        layout = Layout(_bind(name, PREPROCESSOR.look(processor), processor.bind, layout.space), "observation")
        links.append((name, processor, layout))
    return Chain(links), layout


def bind_postprocessors(named: Sequence[tuple[str, ActionPostprocessor]], space: Space[Any]) -> tuple[Chain, Layout]:
    """Bind postprocessors to the env's action space, backwards; return the chain, and what the agent chooses."""
    links: list[tuple[str, Process, Layout]] = []
    layout = Layout(space, "action")
    for name, processor in reversed(named):
        links.append((name, processor, layout))
        layout = Layout(_bind(name, POSTPROCESSOR.look(processor), processor.bind, layout.space), "action")
    return Chain(links[::-1]), layout


def _bind(name: str, facts: Facts, bind: Callable[[Space[Any]], object], space: Space[Any]) -> Space[Any]:
    kind = facts.what.lower()
    try:
        bound = bind(space)
    except SpaceError as error:
        raise SpaceError(f"{kind} {name} does not fit: {error}") from error
    except (Exception, SystemExit) as error:  # a part must not end the program
        raise PluginError(f"{kind} {name} raised in bind({space}): {type(error).__name__}: {error}") from error
    if not isinstance(bound, Space):
        given = "None" if bound is None else type(bound).__name__
        fault = sentences.wrong_method_result(facts.what, facts.who, "bind", given, "Space[Any]")
        raise PluginError(fault + _who_is(name, facts))
    return bound


def _who_is(name: str, facts: Facts) -> str:
    """Return who it is that a fault is about, if it was asked for by a name."""
    return "" if name == facts.who else f" {facts.who} is {facts.what.lower()} {name}."
