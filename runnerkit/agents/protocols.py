"""The Protocols of agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from runnerkit._core.types import ActT_co, ObsT_contra
from runnerkit.agents.rows import ActiveRows

__all__ = ["Agent", "AnyAgent", "SupportsBeginEpisodes", "SupportsSetActiveEnvs", "SupportsSetRows"]


class Agent(Protocol[ObsT_contra, ActT_co]):
    """Chooses one action per observation::

        class Greedy:
            def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
                return self.q(observations).argmax(axis=1)

    Actions may be a NumPy array, a list or a torch tensor. `GymRunner.rollout` also accepts a function of observations
    instead of an agent.

    An agent may return extra columns beside the actions, with one row per active env. Histories have them::

        class Actor:
            def act(self, observations: NDArray[np.float32]) -> tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]:
                ...
                return actions, {"log_prob": log_probs, "value": values}

        history.extras["value"]

    Columns are arrays, lists or tensors of numbers or bools, and their names are identifiers. The first answer in a
    rollout settles names, dtypes and shapes for all others. In a Tuple space of two, the second of which is a Dict, a
    batch of actions is itself a tuple that ends in a dict. It is taken as one; with extra columns, return
    `((first, second), {"value": values})`.
    """

    def act(self, observations: ObsT_contra, /) -> ActT_co:
        """Return one action per row of the observations.

        Row i belongs to the i-th active env. The observations are a copy, which the agent may change.
        """
        ...


AnyAgent: TypeAlias = Agent[Any, Any] | Callable[[Any], Any]
"""An agent, or a function of observations that chooses their actions."""


@runtime_checkable
class SupportsBeginEpisodes(Protocol):
    """An agent that needs to know when episodes begin, for example to clear recurrent state."""

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        """Learn, before `act`, in which envs an episode begins."""
        ...


@runtime_checkable
class SupportsSetActiveEnvs(Protocol):
    """An agent that needs to know to which env each row of its batches belongs."""

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        """Learn, before `act`, that row i belongs to env `env_indices[i]` from now on."""
        ...


@runtime_checkable
class SupportsSetRows(Protocol):
    """An agent that draws random numbers, or that needs to know the episode and step of each row::

        class Sampler:
            def set_rows(self, rows: ActiveRows) -> None:
                self._rows = rows

            def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
                return self._rows.choice(self._probabilities(observations))

    The numbers of a row depend on the run's seed, and on env, episode and step of the row, and on nothing else. So the
    agent samples the same actions with every executor, any number of envs and any `min_batch`.
    """

    def set_rows(self, rows: ActiveRows, /) -> None:
        """Learn, as a rollout begins, where to look up the rows of each batch."""
        ...
