"""The share of a helper process: it says in shared memory what it is busy with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from typing_extensions import override

from runnerkit._core.spaces import Rows
from runnerkit._core.types import AnyEnv
from runnerkit.executors.calls import Phase
from runnerkit.executors.clock import SupportsStep
from runnerkit.executors.env_calls import EnvCall
from runnerkit.executors.processes.handover import ControlWords
from runnerkit.executors.processes.shared import Journal
from runnerkit.executors.recall import Recollection, recall
from runnerkit.executors.share import Share
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts

__all__ = ["NO_REWARD_YET", "HelperShare"]

NO_REWARD_YET: Final = 0xFFF8_1234_5678_9ABC - 2**64
"""The bits of a NaN that no arithmetic makes: there is no reward yet."""


class HelperShare(Share):
    """A share that says at any time which env it is busy with, and in which episode, for the case of its death.

    In a step it is the first one that has no reward yet: to say so by name would cost more than a percent.
    """

    def __init__(self, env_indices: Sequence[int], words: memoryview[int], n_envs: int) -> None:
        super().__init__(env_indices)
        self._words = words
        self._episodes = ControlWords.FIRST_ARRAY
        self._episode_seeds = ControlWords.FIRST_ARRAY + n_envs
        self._n_envs = n_envs
        self._no_reward_yet: memoryview[int] = np.full(n_envs, NO_REWARD_YET, np.int64).data
        self.journal: Journal | None = None
        self.is_timed: bool = False
        """Whether the other side is to see when each call began."""
        self._is_remaking = False

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        self._words[ControlWords.PHASE] = Phase.STEP
        first = at * self._n_envs + active[0]
        n = active[-1] + 1 - active[0]
        if n == len(active):
            self._reward_bits[first : first + n] = self._no_reward_yet[:n]
        else:  # of those between them, this row may have the rewards already
            for i in active:
                self._reward_bits[first + i - active[0]] = NO_REWARD_YET
        return super().step(at, row, actions, active, restart)

    @override
    def attach(self, block: Block | None, /) -> None:
        super().attach(block)
        if block is not None:
            self._reward_bits: memoryview[int] = block.rewards.reshape(-1).view(np.int64).data

    @override
    def render(self, env_indices: Sequence[int], /) -> list[object]:
        frames = []
        for i in env_indices:
            self._mark(Phase.RENDER, i)
            frames += super().render([i])
        return frames

    @override
    def _render_env(self, i: int) -> object:
        with self._timed():
            return super()._render_env(i)

    @override
    def call_envs(self, call: EnvCall, env_indices: Sequence[int], /) -> list[Any]:
        self._mark(Phase.CALL, env_indices[0])
        return super().call_envs(call, env_indices)

    def rest_of_log(self) -> EpisodeLog:
        """Return, and forget, what the journal does not show."""
        log = self.drain()
        if log is not self.journal:
            return log
        rest = EpisodeLog(self._layout)
        rest.infos, rest.reset_infos = self._told
        rest.oddities, log.oddities = log.oddities, {}
        rest.timings, log.timings = log.timings, []
        return rest

    @property
    def has_more_to_tell(self) -> bool:
        """Whether there is such a rest."""
        return self.has_infos_to_tell or bool(len(self._log) or self._measures)

    @property
    def has_infos_to_tell(self) -> bool:
        """Whether there are infos, or an env did something against its contract."""
        log = self._log
        return bool(log.infos or log.reset_infos or self.oddities.found)

    def _mark(self, phase: int, i: int) -> None:
        self._words[ControlWords.PHASE], self._words[ControlWords.ENV] = phase, i

    @override
    def _make(self, make_env: Callable[[int], AnyEnv], i: int) -> EnvFacts:
        self._mark(Phase.MAKE, i)
        with self._timed():
            return super()._make(make_env, i)

    @override
    def _stepper(self, i: int) -> SupportsStep:
        env = super()._stepper(i)
        return _TimedEnv(env, i, self._words) if self.is_timed else env

    @override
    def _reset_env(self, i: int, seed: int | None, options: dict[str, Any] | None) -> Any:
        with self._timed():
            return super()._reset_env(i, seed, options)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        self._words[ControlWords.SINCE] = time.monotonic_ns()
        try:
            yield
        finally:
            self._words[ControlWords.SINCE] = 0

    @override
    def _reset(self, i: int, row: int, episode_index: int, seed: int | None, options: Mapping[str, Any] | None) -> None:
        self._words[self._episodes + i] = episode_index
        self._words[self._episode_seeds + i] = seed if seed is not None and 0 <= seed < 2**63 else -1
        self._mark(Phase.RESET, i)
        super()._reset(i, row, episode_index, seed, options)

    @override
    def _close_env(self, i: int, env: AnyEnv) -> None:
        self._mark(Phase.CLOSE, i)
        with (
            self._timed() if self._is_remaking else contextlib.nullcontext()
        ):  # the end of a runner has a time of its own
            super()._close_env(i, env)

    @override
    def remake(self, env_indices: Sequence[int], /) -> list[EnvFacts]:
        self._is_remaking = True
        try:
            return super().remake(env_indices)
        finally:
            self._is_remaking = False

    def recall(self, layout: BlockLayout, i: int, known: Recollection) -> str:
        """Bring an env that was made anew to where the one before was; return where it differs, if it does."""
        part = self._with_envs(_RecallingShare([i], self._words, self._n_envs))
        part.tolerant, part._keep_infos, part.is_timed, part._clocks = False, False, self.is_timed, {}
        return recall(part, layout, i, known)

    @override
    def _new_log(self) -> EpisodeLog:
        if self.journal is None:
            return EpisodeLog(self._layout)
        self._told = self.journal.infos, self.journal.reset_infos
        self.journal.infos, self.journal.reset_infos = [], []
        return self.journal


class _RecallingShare(HelperShare):
    """Executes an episode once more, and says so."""

    workers: int = 1

    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        self._mark(Phase.RECALL, active[0])
        return Share.step(self, at, row, actions, active, restart)


class _TimedEnv:
    """Notes when each step of an env begins."""

    def __init__(self, env: SupportsStep, i: int, words: memoryview[int]) -> None:
        self._env, self._i, self._words = env, i, words

    def step(self, action: Any, /) -> Any:
        words = self._words
        words[ControlWords.ENV], words[ControlWords.SINCE] = self._i, time.monotonic_ns()
        try:
            return self._env.step(action)
        finally:
            words[ControlWords.SINCE] = 0
