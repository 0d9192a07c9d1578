"""The checks of runners, built by hand or derived from `GymRunner`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from runnerkit._core.comparing import difference, exact
from runnerkit._core.faults import describe
from runnerkit._envs.traces import left_behind
from runnerkit.testing.checks import Checks, Fault, check
from runnerkit.typing import Runner

__all__ = ["MakeAgent", "RunnerChecks"]

AnyRunner: TypeAlias = Runner[Any, Any, Any]
MakeAgent: TypeAlias = Callable[[Any], Any]
"""Makes an agent for a runner."""

_STEPS: Final = 10
_METHODS: Final = ("make_env", "compute_action", "process_transition", "rollout", "close")


class RunnerChecks(Checks):
    """The checks of the runners that a function makes."""

    def __init__(self, make: Callable[[], AnyRunner], make_agent: MakeAgent) -> None:
        super().__init__()
        self._make = make
        self._make_agent = make_agent

    def _rolled_out(self, rollouts: int = 2) -> list[list[Any]]:
        runner = self._make()
        try:
            agent = self._make_agent(runner)
            return [list(runner.rollout(agent, _STEPS)) for _ in range(rollouts)]
        finally:
            runner.close()

    @check("It has the methods and the MAX_STEPS of runnerkit.typing.Runner.")
    def contract(self) -> None:
        """Check that everything is there."""
        runner = self._make()
        try:
            for name in _METHODS:
                if not callable(getattr(runner, name, None)):
                    raise Fault(f"it has no method {name}", f"give it {name}, as runnerkit.typing.Runner describes it")
            most: object = getattr(runner, "MAX_STEPS", None)
            if not isinstance(most, int) or most < 1:
                raise Fault(f"MAX_STEPS is {most!r}", "set it to the most steps per env that a rollout may take")
        finally:
            runner.close()

    @check("rollout() returns a list of histories, as many each time.", needs=["contract"])
    def histories(self) -> None:
        """Check what is returned."""
        first, second = self._rolled_out()
        if not first or len(first) != len(second):
            raise Fault(f"it returned {len(first)} histories and then {len(second)}", "return one history for each env")

    @check("Two runners of the same seed return the same histories.", needs=["histories"])
    def function_of_its_seed(self) -> None:
        """Check that a run can be repeated."""
        one, other = exact(self._rolled_out()), exact(self._rolled_out())
        if seen := difference(one, other, "histories"):
            raise Fault(seen, "give the check a runner with a seed, and let all that is random follow from it")

    @check("Two runners that take turns return what each returns alone.", needs=["function_of_its_seed"])
    def no_shared_state(self) -> None:
        """Check that runners share nothing."""
        alone = exact(self._rolled_out())
        mine, theirs = self._make(), self._make()
        try:
            my_agent, their_agent = self._make_agent(mine), self._make_agent(theirs)
            together = []
            for _ in range(2):
                theirs.rollout(their_agent, _STEPS + 3)
                together.append(list(mine.rollout(my_agent, _STEPS)))
        finally:
            mine.close()
            theirs.close()
        if seen := difference(alone, exact(together), "histories"):
            raise Fault(seen, "keep what a runner knows in attributes that __init__ sets, not in its class or module")

    @check("A history that was handed out does not change in later rollouts.", needs=["histories"])
    def keeps_no_hold_of_histories(self) -> None:
        """Check that histories own their memory."""
        runner = self._make()
        try:
            agent = self._make_agent(runner)
            histories = list(runner.rollout(agent, _STEPS))
            before = exact(histories)
            runner.rollout(agent, _STEPS)
            if seen := difference(before, exact(histories), "histories"):
                raise Fault(seen, "make a new history for each env in each rollout")
        finally:
            runner.close()

    @check("close() may be called twice, and leaves no thread and no process behind.", needs=["contract"])
    def closes(self) -> None:
        """Check that nothing is left."""
        with left_behind() as new:
            runner = self._make()
            runner.rollout(self._make_agent(runner), 2)
            runner.close()
            try:
                runner.close()
            except Exception as error:
                raise Fault(f"the second close() raised {describe(error)}", "do nothing if it is closed") from error
            if left := new():
                raise Fault(f"there is still {left}", "end threads and processes in close(), and wait for them")

    @check("rollout() after close() raises an exception.", needs=["contract"])
    def refuses_after_close(self) -> None:
        """Check that a closed runner says so."""
        runner = self._make()
        agent = self._make_agent(runner)
        runner.close()
        try:
            runner.rollout(agent, 2)
        except Exception:  # which one is the runner's choice
            return
        raise Fault("it returned as if nothing had happened", "raise runnerkit.errors.ClosedError")
