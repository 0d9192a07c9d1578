"""The agent's side of a rollout: asking it, checking what it answers, and telling it of episodes and active envs."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from typing_extensions import TypeIs

from runnerkit._core.answers import split_answer
from runnerkit._core.faults import describe
from runnerkit._core.origins import own_name
from runnerkit._core.spaces import Column, Layout, MisfitError
from runnerkit._core.wording import count
from runnerkit._rollout.agent_columns import AgentColumns, ColumnMisfitError
from runnerkit._rollout.assembly import Assembly
from runnerkit._rollout.cursor import Cursor
from runnerkit._rollout.env_states import EnvState
from runnerkit.agents import ActiveRows, SupportsBeginEpisodes, SupportsSetActiveEnvs, SupportsSetRows
from runnerkit.errors import AgentError, ProcessorError
from runnerkit.history.block import Block

__all__ = ["AgentPort"]


class AgentPort:
    """Asks one agent in one rollout. Its faults become an AgentError that says where it happened."""

    def __init__(
        self, agent: object, choose: Callable[[Any], object], parts: Assembly, block: Block, at: Cursor
    ) -> None:
        self._parts, self._block, self._at, self._choose = parts, block, at, choose
        # A method of its own would keep the port, and the block with it, until the garbage collector runs.
        self.choose: Callable[[Any], object] = functools.partial(_choose_first, weakref.ref(self))
        """Returns the agent's actions for a batch. Look it up at each step: the first answer settles what it is."""
        self.follows_rows: bool = True
        """Whether it must know the active envs at each step: until the first answer shows that no columns come."""
        self._who = own_name(agent)
        self.stateful: SupportsBeginEpisodes | None = agent if _begins_episodes(agent) else None
        self.row_aware: SupportsSetActiveEnvs | None = agent if _sets_active_envs(agent) else None
        self._begun: Sequence[int] = ()
        self.rows: ActiveRows | None = self._make_rows(agent) if _sets_rows(agent) else None
        """What tells the agent which rows it is asked about; None if it does not want to know."""

    def _make_rows(self, agent: SupportsSetRows) -> ActiveRows:
        rows, choose, at = ActiveRows(self._parts.spec.seed, self._parts.spec.n_envs), self._choose, self._at

        def choose_for_rows(observations: object) -> object:
            rows.turn_to(at.rows, at.t if at.own_steps is None else at.own_steps)
            return choose(observations)

        try:
            agent.set_rows(rows)
        except Exception as error:
            raise self.error(error) from error
        self._choose = choose_for_rows
        return rows

    def start_rows(self, envs: Sequence[EnvState]) -> None:
        """Note in which episode, and at which step of it, each env is in row 0."""
        if self.rows is not None:
            for i, env in enumerate(envs):
                self.rows.begin(i, env.episode_index, -env.steps)

    def note_rows(self, env_indices: Sequence[int], rows: Sequence[int], envs: Sequence[EnvState]) -> None:
        """Note that new episodes begin in these rows. An executor may have begun them, which `envs` learn of later."""
        if self.rows is not None:
            for i, row in zip(env_indices, rows, strict=True):
                self.rows.begin(i, max(self.rows.episode_of(i) + 1, envs[i].episode_index), row)

    def note_begun(self, env_indices: Sequence[int]) -> None:
        """Note envs whose episode has begun; the agent learns of them before it is asked again."""
        self._begun = sorted({*self._begun, *env_indices}) if self._begun else env_indices

    def tell_active(self, env_indices: Sequence[int]) -> None:
        """Tell the agent to which envs the rows of the next batches belong."""
        if self.row_aware is not None:
            self._tell(self.row_aware.set_active_envs, list(env_indices))

    def ask(self, observations: object) -> list[Column]:
        """Return the agent's actions for a batch, one array per leaf, checked."""
        try:
            return self._parts.read_actions(self.choose(observations), len(self._at.active))
        except Exception as error:
            raise self.error(error) from error

    def settle(self, observations: object) -> object:
        """Find out whether the agent returns extra columns; if it does not, it is called directly from now on."""
        layout, choose = self._parts.layout.action, self._choose
        self.choose = choose
        actions, extras = split_answer(layout, choose(observations))
        self.follows_rows = extras is not None or self.rows is not None
        if extras is not None:
            columns = AgentColumns(extras, self._block, self._at)
            columns.put(extras)
            self.choose = functools.partial(_choose_with_columns, choose, layout, columns)
        return actions

    def tell_of_episodes(self) -> None:
        """Tell of the episodes that have begun since: a stateful agent, and processors of actions and rewards."""
        if self._begun:
            if self.stateful is not None:
                self._tell(self.stateful.begin_episodes, list(self._begun))
            self._parts.postprocess.begin_episodes(self._begun)
            self._parts.process_rewards.begin_episodes(self._begun)
        self._begun = ()

    def _tell(self, tell: Callable[[Sequence[int]], None], env_indices: list[int]) -> None:
        try:
            tell(env_indices)
        except Exception as error:
            raise self.error(error) from error

    def postprocess(self, columns: list[Column]) -> list[Column]:
        """Return env actions for the agent's, checked."""
        parts, n = self._parts, len(self._at.active)
        columns = parts.postprocess(columns, parts.layout.action, self._at.active)
        try:
            return parts.read_env_actions(parts.layout.env_action.present(columns), n)
        except MisfitError as error:
            of = self._of(error)
            raise ProcessorError(
                f"The postprocessors returned actions{of} that do not fit the env's action space: {error}."
            ) from error

    def error(self, error: Exception) -> AgentError:
        """Return what to raise for what the agent raised, or for an answer that does not fit."""
        if isinstance(error, ColumnMisfitError):
            return AgentError(
                f"The column {error.name!r} of agent {self._who} does not fit (step {self._at.step} of the rollout, "
                f"{count(len(self._at.active), 'active env')}): {error}. act() must return the same columns at each "
                "step, with one row per active env."
            )
        if not isinstance(error, MisfitError):
            return AgentError(f"The agent raised at step {self._at.step} of the rollout: {describe(error)}")
        n, space = len(self._at.active), self._parts.spec.action_space
        clip = error.row is not None and isinstance(space, Box) and np.issubdtype(space.dtype, np.floating)
        hint = "; postprocessors=['clip'], or ['rescale'], can make others fit" if clip else ""
        return AgentError(
            f"The agent's actions{self._of(error)} do not fit (step {self._at.step} of the rollout, "
            f"{count(n, 'active env')}): "
            f"{error}. act() must return one action of {space} per row (runner.action_space){hint}."
        )

    def _of(self, error: MisfitError) -> str:
        return "" if error.row is None else f" for env {self._at.active[error.row]}"


def _choose_first(port: weakref.ref[AgentPort], observations: object) -> object:
    found = port()
    assert found is not None
    return found.settle(observations)


def _choose_with_columns(
    choose: Callable[[Any], object], layout: Layout, columns: AgentColumns, observations: object
) -> object:
    actions, extras = split_answer(layout, choose(observations))
    columns.put(extras)
    return actions


# Each rollout asks, and `isinstance` with a Protocol takes as long as a step of CartPole.


def _begins_episodes(agent: object) -> TypeIs[SupportsBeginEpisodes]:
    return callable(getattr(agent, "begin_episodes", None))


def _sets_active_envs(agent: object) -> TypeIs[SupportsSetActiveEnvs]:
    return callable(getattr(agent, "set_active_envs", None))


def _sets_rows(agent: object) -> TypeIs[SupportsSetRows]:
    return callable(getattr(agent, "set_rows", None))
