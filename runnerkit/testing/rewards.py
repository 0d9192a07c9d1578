"""The checks of reward processors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runnerkit._checks.contracts import REWARD_PROCESSOR
from runnerkit._core.comparing import difference, exact
from runnerkit.agents import SupportsBeginEpisodes
from runnerkit.processors import RewardProcessor, SupportsEpisodeState, SupportsSetContext, SupportsStateDict
from runnerkit.testing.checks import Checks, Fault, Skip, check
from runnerkit.testing.processors import GO_ON
from runnerkit.testing.told import Told, sample_context

__all__ = ["RewardProcessorChecks"]

_ROWS: Final = 5
_STEPS: Final = 4


class RewardProcessorChecks(Checks):
    """The checks of what a function makes: a reward processor, which may be a function itself."""

    def __init__(self, make: Callable[[], RewardProcessor]) -> None:
        super().__init__()
        self._make = make

    def _new(self) -> Told:
        made = self._make()
        if isinstance(made, SupportsSetContext):
            made.set_context(sample_context())
        return Told(made)

    def _some_steps_on(self) -> Told:
        one = self._new()
        for t in range(_STEPS):
            one(_rewards(t))
        return one

    @check(
        "It is an object, or a function, that is called with rewards; its optional methods are as runners call them."
    )
    def contract(self) -> None:
        """Check its methods."""
        if fault := REWARD_PROCESSOR.look(self._make()).fault:
            raise Fault(fault, "give it the methods that runnerkit.typing.RewardProcessor describes")

    @check("It returns one number per reward, for any number of envs.", needs=["contract"])
    def one_number_per_reward(self) -> None:
        """Check what it returns."""
        for n in (1, 2, _ROWS):
            result = np.asarray(self._new()(_rewards(0, n)))
            if result.shape != (n,) or result.dtype.kind not in "biuf":
                raise Fault(
                    f"of {n} rewards, it returned {result.dtype} of shape {result.shape}", "return `[n]` numbers"
                )

    @check("It does not change the rewards that it gets.", needs=["one_number_per_reward"])
    def keeps_its_input(self) -> None:
        """Check that its argument stays what it is."""
        rewards = _rewards(0)
        before = exact(rewards)
        self._new()(rewards)
        if seen := difference(before, exact(rewards), "the rewards"):
            raise Fault(seen, "compute a new array; no +=, no out=, no [...] =")

    @check("Two new ones return the same for the same rewards, even in turns.", needs=["one_number_per_reward"])
    def function_of_its_input(self) -> None:
        """Check that nothing is random, and nothing shared."""
        alone = self._new()
        expected = [exact(alone(_rewards(t))) for t in range(_STEPS)]
        mine, theirs, together = self._new(), self._new(), []
        for t in range(_STEPS):
            theirs(_rewards(t + 100))
            together.append(exact(mine(_rewards(t))))
        if seen := difference(expected, together):
            raise Fault(
                seen, "draw random numbers from the context's generator, and keep state in attributes of its own"
            )

    @check("After load_state_dict(state_dict()) another one returns the same.", needs=["function_of_its_input"])
    def state(self) -> None:
        """Check that its state can be stored; episodes begin anew."""
        one = self._some_steps_on()
        if not isinstance(one.processor, SupportsStateDict):
            raise Skip("It has no state_dict and load_state_dict, so there is no state to store.")
        other = self._new()
        other.load(one)
        one.begin_episodes(range(_ROWS))
        if seen := difference(exact(one(_rewards(9))), exact(other(_rewards(9))), "the result"):
            raise Fault(seen, "put all that the result depends on into state_dict(), but for running episodes")

    @check("What an env's reward becomes does not depend on other envs.", needs=["function_of_its_input"])
    def keeps_envs_apart(self) -> None:
        """Check that state belongs to envs, and not to rows."""
        together, alone = self._new(), [self._new() for _ in range(_ROWS)]
        for t, envs in enumerate([[0, 1, 2, 3], [1, 3], [0, 3], [0, 1, 2, 3]]):
            rewards = _rewards(t)[envs]
            result = np.asarray(together(rewards.copy(), envs))
            single = np.array([np.asarray(alone[i](rewards[k : k + 1], [i]))[0] for k, i in enumerate(envs)])
            if not np.allclose(result, single, rtol=1e-5):
                raise Fault(
                    f"the rewards of envs {envs} become {result}, without other envs {single}",
                    "have set_active_envs(env_indices), or expect this failure with the reason why envs must mix",
                )

    @check("begin_episodes(env_indices) forgets the last episode of these envs, and no other.", needs=["state"])
    def begin_episodes(self) -> None:
        """Check that an episode does not depend on the one before."""
        one, undisturbed = self._some_steps_on(), self._some_steps_on()
        if not isinstance(one.processor, SupportsBeginEpisodes):
            raise Skip("It has no begin_episodes, so there is no state of episodes.")
        fresh = self._new()
        if isinstance(one.processor, SupportsStateDict):
            fresh.load(one)
        one.begin_episodes(range(_ROWS))
        if seen := difference(exact(fresh(_rewards(9))), exact(one(_rewards(9))), "the result"):
            raise Fault(
                f"after begin_episodes of all envs, {seen} ('the first time' is a new one)", "clear their state"
            )
        if self.run("keeps_envs_apart").ok:
            self._keeps_others(undisturbed)

    @check(
        "After load_episode_state(episode_state()) another one goes on with the running episodes.",
        needs=["begin_episodes", "state"],
    )
    def episode_state(self) -> None:
        """Check that a runner can go on in the middle of episodes."""
        one, other = self._some_steps_on(), self._new()
        if not isinstance(one.processor, SupportsEpisodeState):
            raise Skip("It has no episode_state: if it keeps a state, runner.state_dict() refuses it.")
        one.begin_episodes([0])
        other.go_on_from(one)
        for t in (8, 9):
            if seen := difference(exact(one(_rewards(t))), exact(other(_rewards(t))), "the result"):
                raise Fault(seen, GO_ON)

    def _keeps_others(self, undisturbed: Told) -> None:
        one = self._some_steps_on()
        one.begin_episodes([0])
        ones, others = np.asarray(undisturbed(_rewards(9))), np.asarray(one(_rewards(9)))
        if not np.allclose(ones[1:], others[1:], rtol=1e-5):
            raise Fault(
                f"after begin_episodes([0]), the rewards of other envs become {others[1:]}, without it {ones[1:]}",
                "clear the state of the named envs, and no other",
            )


def _rewards(seed: int, n: int = _ROWS) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(1.0, 3.0, n)
