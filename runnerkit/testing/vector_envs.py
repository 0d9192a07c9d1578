"""The checks of native vector envs: envs that step all at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from runnerkit._core.batches import BatchReader
from runnerkit._core.comparing import difference, exact, row_of
from runnerkit._core.faults import describe
from runnerkit._core.spaces import Layout, MisfitError
from runnerkit._core.types import AnyVectorEnv
from runnerkit._envs.traces import left_behind
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit.testing.checks import Checks, Fault, Skip, check
from runnerkit.testing.samples import HashAgent

__all__ = ["VectorEnvChecks"]

_STEPS: Final = 60
_GOOD: Final = ("api", "spaces", "seed")


class VectorEnvChecks(Checks):
    """The checks of the vector envs that a function makes."""

    def __init__(self, make: Callable[[], AnyVectorEnv], steps: int = _STEPS) -> None:
        super().__init__()
        self._make = make
        self._steps = steps

    def _rows(self, seed: int = 0, env: AnyVectorEnv | None = None) -> list[dict[str, Any]]:
        """Step a vector env as Gymnasium says, and return what it returns; reset envs that it does not reset."""
        made = env or self._make()
        actions = copy.deepcopy(made.action_space)
        actions.seed(seed)
        resets_itself = _mode(made) is not AutoresetMode.DISABLED
        rows: list[dict[str, Any]] = []
        try:
            observations, infos = made.reset(seed=seed)
            rows.append({"observations": exact(observations)})
            for _ in range(self._steps):
                observations, rewards, terminated, truncated, infos = made.step(actions.sample())
                over = np.logical_or(terminated, truncated)
                rows.append(
                    {
                        "observations": exact(observations),
                        "rewards": np.array(rewards, np.float64),
                        "over": over,
                        "finals": infos.get("final_obs") is not None,
                    }
                )
                if over.any() and not resets_itself:
                    made.reset(seed=seed, options={"reset_mask": over})
        finally:
            if env is None:
                made.close()
        return rows

    @check("The factory makes a new gymnasium.vector.VectorEnv each time that it is called.")
    def makes_envs(self) -> None:
        """Check what is made."""
        one, other = self._make(), self._make()
        for env in (one, other):
            if not isinstance(env, VectorEnv):
                raise Fault(f"it made a {type(env).__name__}", "return a gymnasium.vector.VectorEnv")
        same = one is other
        one.close()
        if same:
            raise Fault("two calls returned the same object", "make a new env in each call")
        other.close()

    @check("It declares how it resets envs whose episodes end, in metadata['autoreset_mode'].", needs=["makes_envs"])
    def declares_auto_reset(self) -> None:
        """Check the declaration."""
        env = self._make()
        try:
            if _mode(env) is None:
                raise Fault(
                    f"metadata is {env.metadata}", "set metadata['autoreset_mode'] to a gymnasium.vector.AutoresetMode"
                )
        finally:
            env.close()

    @check("step() returns one reward and two flags for each env.", needs=["makes_envs"])
    def api(self) -> None:
        """Check the shapes of what is returned."""
        env = self._make()
        try:
            env.reset(seed=0)
            _, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
            for name, array in (("rewards", rewards), ("terminated", terminated), ("truncated", truncated)):
                if np.shape(array) != (env.num_envs,):
                    raise Fault(f"{name} has the shape {np.shape(array)}", "return one value per env")
        finally:
            env.close()

    @check("Every observation has the shape, the dtype and the bounds of the space of one env.", needs=["api"])
    def spaces(self) -> None:
        """Check observations."""
        env = self._make()
        layout = Layout(env.single_observation_space, "observations")
        read = BatchReader(layout, bounded=True)
        try:
            env.action_space.seed(0)
            observations, _ = env.reset(seed=0)
            for t in range(10):
                read(observations, env.num_envs)
                dtype = getattr(observations, "dtype", None)
                if layout.is_array and isinstance(dtype, np.dtype) and dtype != layout.leaves[0].dtype:
                    raise Fault(f"in call {t}, observations are of dtype {dtype}", f"return {layout.leaves[0].dtype}")
                observations, _, terminated, truncated, _ = env.step(env.action_space.sample())
                if np.any(terminated) or np.any(truncated):  # not every env may be stepped on now
                    observations, _ = env.reset()
        except MisfitError as error:
            raise Fault(str(error), "return what single_observation_space describes, one row per env") from error
        finally:
            env.close()

    @check("The same seed and the same actions give the same episodes.", needs=["spaces"])
    def seed(self) -> None:
        """Check that a run is a function of its seed."""
        _same(self._rows(), self._rows(), "take random numbers from generators that reset(seed=seed) seeds")

    @check("The same seed gives the same episodes, whatever the env did before.", needs=_GOOD)
    def after_other_episodes(self) -> None:
        """Check that reset(seed) leaves nothing of earlier episodes."""
        env = self._make()
        try:
            self._rows(1, env)
            again = self._rows(0, env)
        finally:
            env.close()
        _same(self._rows(0), again, "set everything that an episode changes anew in reset()")

    @check("One seed gives each env random numbers of its own.", needs=_GOOD)
    def envs_differ(self) -> None:
        """Check that envs are not copies of each other, unless nothing in them is random."""
        env = self._make()
        try:
            if env.num_envs == 1:
                raise Skip("There is one env only.")
            firsts = [self._firsts(env, seed) for seed in (0, 1)]
        finally:
            env.close()
        equal = all(first == firsts[0][0] for first in firsts[0])
        if equal and firsts[0] != firsts[1]:
            raise Fault("all envs begin alike, in a way that depends on the seed", "seed env i with seed + i")

    def _firsts(self, env: AnyVectorEnv, seed: int) -> list[Any]:
        observations, _ = env.reset(seed=seed)
        return [exact(row_of(observations, i)) for i in range(env.num_envs)]

    @check("Two that take turns do what each does alone.", needs=[*_GOOD, "after_other_episodes"])
    def no_shared_state(self) -> None:
        """Check that two runners can have one each."""
        mine, theirs = self._make(), self._make()
        try:
            theirs.reset(seed=5)
            theirs.step(theirs.action_space.sample())
            together = self._rows(0, mine)
            theirs.step(theirs.action_space.sample())
        finally:
            mine.close()
            theirs.close()
        _same(self._rows(0), together, "keep what an env knows in attributes that __init__ sets, not in its class")

    @check("step() does not change the actions that it gets.", needs=["api"])
    def keeps_its_actions(self) -> None:
        """Check that actions stay what they are."""
        env = self._make()
        try:
            env.reset(seed=0)
            for _ in range(5):
                actions = env.action_space.sample()
                before = exact(actions)
                env.step(actions)
                if seen := difference(before, exact(actions), "the batch of actions"):
                    raise Fault(seen, "copy the actions first")
        finally:
            env.close()

    @check("It resets envs as it declares.", needs=[*_GOOD, "declares_auto_reset"])
    def auto_reset(self) -> None:
        """Check what comes after the end of an episode against the declared mode."""
        env = self._make()
        mode = _mode(env)
        env.close()
        rows = self._rows()
        ends = [t for t, row in enumerate(rows[:-1]) if t and row["over"].any()]
        if not ends:
            raise Skip(f"No episode ended within {self._steps} steps. Give more steps.")
        for t in ends:
            over = rows[t]["over"]
            if mode is AutoresetMode.SAME_STEP and not rows[t]["finals"]:
                raise Fault(
                    f"step {t} ended an episode, and its infos have no 'final_obs', although the mode is SAME_STEP",
                    "return final observations as infos['final_obs'], or declare NEXT_STEP",
                )
            if mode is AutoresetMode.NEXT_STEP:
                after = rows[t + 1]
                if after["rewards"][over].any() or after["over"][over].any():
                    raise Fault(
                        f"step {t} ended an episode, and step {t + 1} gave that env a reward or an end, "
                        "although the mode is NEXT_STEP",
                        "let the step after an end reset the env and return reward 0, or declare SAME_STEP or DISABLED",
                    )
                if rows[t]["finals"]:
                    raise Fault(
                        f"step {t} has 'final_obs' in its infos, although the mode is NEXT_STEP", "declare SAME_STEP"
                    )

    @check("A runner records the same bytes twice.", needs=[*_GOOD, "auto_reset"])
    def runs(self) -> None:
        """Check it in a runner."""
        one, other = self._recorded(), self._recorded()
        if seen := difference(one, other, "histories"):
            raise Fault(seen, "let everything follow from the seed of reset()")

    def _recorded(self) -> Any:
        env = self._make()
        n_envs = env.num_envs
        env.close()
        with GymRunner(lambda _: self._make(), seed=0, n_envs=n_envs) as runner:
            histories = runner.rollout(HashAgent(runner.action_space), steps=self._steps)
            return [exact([h.observations, h.actions, h.rewards, h.terminated, h.truncated]) for h in histories]

    @check("close() may be called twice, and leaves no thread and no process behind.", needs=["makes_envs"])
    def closes(self) -> None:
        """Check that nothing is left."""
        with left_behind() as new:
            env = self._make()
            env.reset(seed=0)
            env.close()
            try:
                env.close()
            except Exception as error:
                raise Fault(f"the second close() raised {describe(error)}", "do nothing if it is closed") from error
            if left := new():
                raise Fault(f"there is still {left}", "end threads and processes in close(), and wait for them")


def _mode(env: AnyVectorEnv) -> AutoresetMode | None:
    mode: object = env.metadata.get("autoreset_mode")
    if isinstance(mode, str):
        return next((known for known in AutoresetMode if mode in (known.name, known.value)), None)
    return mode if isinstance(mode, AutoresetMode) else None


def _same(one: list[dict[str, Any]], other: list[dict[str, Any]], fix: str) -> None:
    for t, (a, b) in enumerate(zip(one, other, strict=True)):
        if seen := difference(exact(a), exact(b)):
            raise Fault(f"in call {t} (0 is the first reset), {seen}", fix)
