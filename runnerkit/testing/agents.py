"""The checks of agents."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from runnerkit._checks.contracts import AGENT
from runnerkit._core.answers import split_answer
from runnerkit._core.arrays import without_tensors
from runnerkit._core.batches import BatchReader
from runnerkit._core.comparing import difference, exact, row_of
from runnerkit._core.spaces import Layout, MisfitError
from runnerkit.agents import ActiveRows, Agent, SupportsBeginEpisodes, SupportsSetActiveEnvs, SupportsSetRows
from runnerkit.testing.checks import Checks, Fault, Skip, check
from runnerkit.testing.processors import close_enough

__all__ = ["AgentChecks"]

_ROWS: Final = 4
_NO_EXTRAS: Final = "It returns actions only, without extra columns."


class AgentChecks(Checks):
    """The checks of what a function makes, an agent that acts from one space in another."""

    def __init__(
        self, make: Callable[[], Agent[Any, Any]], observation_space: Space[Any], action_space: Space[Any]
    ) -> None:
        super().__init__()
        self._make = make
        self._observations = Layout(observation_space, "observations")
        self._actions = Layout(action_space, "actions")

    def _begun(self, n: int) -> Agent[Any, Any]:
        """Return a new agent that was told of the first episodes of n envs."""
        agent = self._make()
        _tell(agent, list(range(n)))
        return agent

    def _batch(self, samples: list[Any]) -> Any:
        columns = self._observations.allocate(1, len(samples))
        write = self._observations.writer(columns)
        for i, sample in enumerate(samples):
            write(0, i, sample)
        return self._observations.batch(columns, 0)

    def _samples(self, n: int, seed: int = 0) -> list[Any]:
        space = copy.deepcopy(self._observations.space)
        space.seed(seed)
        return [space.sample() for _ in range(n)]

    def _read(self, actions: object, n: int) -> list[Any]:
        """Return actions row by row, each in a form that can be compared."""
        actions, _ = split_answer(self._actions, actions)
        columns = BatchReader(self._actions, bounded=True)(actions, n)
        batch = self._actions.present(columns)
        return [exact(row_of(batch, i)) for i in range(n)]

    def _act(self, agent: Agent[Any, Any], samples: list[Any]) -> list[Any]:
        return self._read(agent.act(self._batch(samples)), len(samples))

    @check("It has the method act(observations), and its optional methods are called as runners call them.")
    def contract(self) -> None:
        """Check its methods."""
        if fault := AGENT.look(self._make()).fault:
            raise Fault(fault, "give it the methods that runnerkit.typing.Agent describes")

    @check("It returns one action of the action space per row, for any number of rows.", needs=["contract"])
    def actions(self) -> None:
        """Check the actions."""
        for n in (1, 2, _ROWS):
            agent = self._begun(n)
            for t in range(3):
                try:
                    self._act(agent, self._samples(n, seed=t))
                except MisfitError as error:
                    raise Fault(f"of {n} rows, {error}", f"return a batch of {self._actions.space}") from error

    @check("Two new ones choose the same actions for the same observations.", needs=["actions"])
    def function_of_its_seed(self) -> None:
        """Check that a run can be repeated."""
        runs = []
        for _ in range(2):
            agent = self._begun(_ROWS)
            runs.append([self._act(agent, self._samples(_ROWS, seed=t)) for t in range(3)])
        if seen := difference(runs[0], runs[1], "actions"):
            raise Fault(seen, "take random numbers from a generator of your own: np.random.default_rng(seed)")

    @check("Two that take turns choose what each chooses alone.", needs=["function_of_its_seed"])
    def no_shared_state(self) -> None:
        """Check that two runners can have one each."""
        agent = self._begun(_ROWS)
        alone = [self._act(agent, self._samples(_ROWS, seed=t)) for t in range(3)]
        mine, theirs = self._begun(_ROWS), self._begun(_ROWS)
        together = []
        for t in range(3):
            theirs.act(self._batch(self._samples(_ROWS, seed=t + 100)))
            together.append(self._act(mine, self._samples(_ROWS, seed=t)))
        if seen := difference(alone, together, "actions"):
            raise Fault(seen, "keep what an agent knows in attributes that __init__ sets, not in its class")

    @check("It does not change the observations that it gets.", needs=["actions"])
    def keeps_its_input(self) -> None:
        """Check that its argument stays what it is."""
        batch = self._batch(self._samples(_ROWS))
        before = exact(batch)
        self._begun(_ROWS).act(batch)
        if seen := difference(before, exact(batch), "the batch"):
            raise Fault(seen, "compute a new array; no +=, no out=, no [...] =")

    @check("The action of a row depends on that row only.", needs=["function_of_its_seed", "no_shared_state"])
    def row_independence(self) -> None:
        """Check that envs do not influence each other, unless actions are drawn."""
        self._skip_if_it_draws()
        samples = self._samples(_ROWS)
        together = self._act(self._begun(_ROWS), samples)
        for i, sample in enumerate(samples):
            (alone,) = self._act(self._begun(1), [sample])
            if seen := difference(together[i], alone, f"the action of row {i}"):
                raise Fault(
                    f"{seen} ('the second time' is alone)", "compute with axis=1 and later axes, in evaluation mode"
                )

    @check("Extra columns have a row per env, and the same names, dtypes and shapes at each step.", needs=["actions"])
    def extra_columns(self) -> None:
        """Check what it returns beside its actions."""
        kinds: dict[str, Any] | None = None
        for n in (1, 2, _ROWS):
            agent = self._begun(n)
            for t in range(3):
                found = self._extras(agent, self._samples(n, seed=t))
                for name, column in found.items():
                    if column.ndim == 0 or len(column) != n or column.dtype == object:
                        shown = f"{column.dtype} of shape {column.shape}"
                        raise Fault(
                            f"of {n} rows, the column {name!r} is {shown}", "return an array [n, ...] of numbers"
                        )
                kind = {name: (str(column.dtype), column.shape[1:]) for name, column in found.items()}
                if kinds is not None and kind != kinds:
                    raise Fault(f"first there was {kinds}, then {kind}", "return the same columns at each step")
                kinds = kind
        if not kinds:
            raise Skip(_NO_EXTRAS)

    @check(
        "The extra columns of a row depend on that row only.",
        needs=["function_of_its_seed", "no_shared_state", "extra_columns"],
    )
    def extra_columns_row_independence(self) -> None:
        """Check that what is recorded of an env does not depend on others, unless actions are drawn."""
        samples = self._samples(_ROWS)
        together = self._extras(self._begun(_ROWS), samples)
        if not together:
            raise Skip(_NO_EXTRAS)
        self._skip_if_it_draws()
        for i, sample in enumerate(samples):
            alone = self._extras(self._begun(1), [sample])
            for name, column in together.items():
                if not close_enough(column[i], alone[name][0]):
                    raise Fault(
                        f"row {i} of the column {name!r} is {column[i]!s}, alone it is {alone[name][0]!s}",
                        "compute with axis=1 and later axes, in evaluation mode",
                    )

    def _extras(self, agent: Agent[Any, Any], samples: list[Any]) -> dict[str, NDArray[Any]]:
        _, extras = split_answer(self._actions, agent.act(self._batch(samples)))
        return {name: np.asarray(without_tensors(column)) for name, column in (extras or {}).items()}

    def _skip_if_it_draws(self) -> None:
        agent = self._begun(_ROWS)
        equal = [self._samples(1)[0]] * _ROWS
        actions = [action for _ in range(4) for action in self._act(agent, equal)]
        if any(action != actions[0] for action in actions) and not isinstance(agent, SupportsBeginEpisodes):
            raise Skip("It chooses several actions for the same observation, so rows cannot be compared.")
        if any(action != actions[0] for action in actions[:_ROWS]):
            raise Skip("It chooses several actions for equal rows, so rows cannot be compared.")

    @check("begin_episodes(env_indices) clears the state of these envs.", needs=["function_of_its_seed"])
    def begin_episodes_clears(self) -> None:
        """Check that an episode does not depend on the one before."""
        agent = self._recurrent()
        fresh = [self._act(self._begun(_ROWS), self._samples(_ROWS, seed=9))]
        agent.begin_episodes(list(range(_ROWS)))
        again = [self._act(agent, self._samples(_ROWS, seed=9))]
        if seen := difference(fresh, again, "actions"):
            raise Fault(f"after begin_episodes of all envs, {seen}", "set the state of these envs to its first value")

    @check("begin_episodes(env_indices) leaves the state of other envs.", needs=["begin_episodes_clears"])
    def begin_episodes_keeps_others(self) -> None:
        """Check that an env that goes on is not disturbed by one that begins anew."""
        agent, undisturbed = self._recurrent(), self._recurrent()
        agent.begin_episodes([0])
        samples = self._samples(_ROWS, seed=9)
        ones, others = self._act(undisturbed, samples), self._act(agent, samples)
        if seen := difference(ones[1:], others[1:], "actions of envs 1 and later"):
            raise Fault(f"after begin_episodes([0]), {seen}", "clear the state of the named envs, and no other")

    def _recurrent(self) -> Any:
        """Return an agent that has state, some steps on."""
        self._skip_if_it_draws()
        agent = self._begun(_ROWS)
        if not isinstance(agent, SupportsBeginEpisodes):
            raise Skip("It has no begin_episodes, so there is no state to clear.")
        for t in range(3):
            self._act(agent, self._samples(_ROWS, seed=t))
        return agent


def _tell(agent: object, env_indices: list[int]) -> None:
    if isinstance(agent, SupportsSetActiveEnvs):
        agent.set_active_envs(env_indices)
    if isinstance(agent, SupportsBeginEpisodes):
        agent.begin_episodes(env_indices)
    if isinstance(agent, SupportsSetRows):
        agent.set_rows(_rows(len(env_indices)))


def _rows(n_envs: int) -> ActiveRows:
    """Return rows as a rollout begins."""
    rows = ActiveRows(0, n_envs)
    for i in range(n_envs):
        rows.begin(i, 0, 0)
    return rows
