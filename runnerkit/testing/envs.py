"""The checks of env factories, and of the envs that they make."""

from __future__ import annotations

import copy
import pickle
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import Space, spaces
from gymnasium.vector import VectorEnv

from runnerkit._core.comparing import difference, exact
from runnerkit._core.faults import describe
from runnerkit._core.spaces import Layout, MisfitError
from runnerkit._core.types import AnyEnv, AnyVectorEnv, MakeEnv
from runnerkit._envs.elsewhere import HASH_SEEDS, ElsewhereError, call_elsewhere, dumps
from runnerkit._envs.resolve import wanted
from runnerkit._envs.traces import (
    STEPS,
    Trace,
    close_quietly,
    left_behind,
    stepped,
    switching_often,
    trace,
    traced,
    unequal,
)
from runnerkit._plugins.manager import installed_plugins
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit.errors import UnknownNameError
from runnerkit.hooks import EnvFactory
from runnerkit.testing.checks import Check, Checks, Fault, Skip, check
from runnerkit.testing.samples import HashAgent
from runnerkit.testing.snapshots import check_snapshots
from runnerkit.testing.vector_envs import VectorEnvChecks

__all__ = ["EnvChecks", "FactoryChecks", "factory_checks", "known_envs"]

_SEEDS: Final = (3, 11)
_SEEDED: Final = "take every random number from self.np_random, which super().reset(seed=seed) seeds"
_OWN: Final = (
    "keep what an env knows in attributes that __init__ sets, not in the class, the module or a default argument"
)
_GOOD: Final = ("api", "spaces", "global_generators", "seed")
_N_ENVS: Final = 3
_FOREIGN_SEED: Final = 20_181_113
_UNKNOWN: Final = "no-such-env-of-this-factory"


class EnvChecks(Checks):
    """The checks of the envs that a function (seed) -> env makes."""

    def __init__(self, make_env: MakeEnv, steps: int = STEPS) -> None:
        super().__init__()
        self._make_any = make_env
        self._steps = steps

    def _make(self, seed: int | None = None) -> AnyEnv:
        env = self._make_any(seed)
        if not isinstance(env, gymnasium.Env):
            raise Fault(f"the factory returned a {type(env).__name__}", "return a gymnasium.Env")
        return env

    def _trace(self, seed: int = _SEEDS[0]) -> Trace:
        return traced(self._make, seed, self._steps)

    # ---- what it returns

    @check("The factory makes a new gymnasium.Env each time that it is called.")
    def makes_envs(self) -> None:
        """Check what is made."""
        one, other = self._make(0), self._make(0)
        for env in (one, other):
            close_quietly(env)
        if one is other:
            raise Fault("two calls returned the same object", "make a new env in each call")

    @check("reset() and step() take and return what Gymnasium's API says.", needs=["makes_envs"])
    def api(self) -> None:
        """Check the types of what is returned, but for observations."""
        env = self._make(0)
        try:
            _check_api(env, self._steps)
        finally:
            close_quietly(env)

    @check("Every observation has the shape, the dtype and the bounds of the observation space.", needs=["api"])
    def spaces(self) -> None:
        """Check observations."""
        env = self._make(0)
        try:
            for what in ("observation_space", "action_space"):
                if not isinstance(getattr(env, what, None), Space):
                    raise Fault(f"{what} is {getattr(env, what, None)!r}", f"set self.{what} to a gymnasium Space")
            layout = Layout(env.observation_space, "observation")
            for t, row in enumerate(stepped(env, _SEEDS[0], self._steps)):
                _check_observation(layout, row["observation"], t)
        finally:
            close_quietly(env)

    @check("The env leaves the global generators of random and numpy.random alone.", needs=["api"])
    def global_generators(self) -> None:
        """Check that nothing is drawn from, or seeded in, what all share."""
        kept = random.getstate(), np.random.get_state(legacy=False)
        try:
            random.seed(_FOREIGN_SEED)  # which no env is given
            np.random.seed(_FOREIGN_SEED)
            before = _global_states()
            self._trace()
            after = _global_states()
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])
        for name, state in after.items():
            if state != before[name]:
                raise Fault(f"an episode changed the state of {name}'s global generator", _SEEDED)

    @check("The same seed and the same actions give the same episode, in two envs.", needs=["api", "global_generators"])
    def seed(self) -> None:
        """Check that an episode is a function of its seed."""
        _same(self._trace(), self._trace(), _SEEDED)

    @check("The same seed gives the same episode, whatever the env did before.", needs=_GOOD)
    def after_other_episodes(self) -> None:
        """Check that a reset leaves nothing of earlier episodes."""
        env = self._make(_SEEDS[0])
        try:
            trace(env, _SEEDS[1], self._steps)
            again = trace(env, _SEEDS[0], self._steps)
        finally:
            close_quietly(env)
        _same(self._trace(), again, "set everything that an episode changes anew in reset()")

    # ---- what it does to others

    @check("step() does not change the action that it gets.", needs=["api"])
    def keeps_its_action(self) -> None:
        """Check that actions stay what they are."""
        env = self._make(0)
        actions: Space[Any] = copy.deepcopy(env.action_space)
        actions.seed(0)
        try:
            env.reset(seed=0)
            for t in range(self._steps):
                action = actions.sample()
                before = exact(action)
                _, _, terminated, truncated, _ = env.step(action)
                if exact(action) != before:
                    raise Fault(
                        f"in step {t}, {difference(before, exact(action), 'the action')}", "copy the action first"
                    )
                if terminated or truncated:
                    env.reset(seed=t)
        finally:
            close_quietly(env)

    @check("An observation that was returned does not change in later steps.", needs=["api"])
    def keeps_no_hold_of_observations(self) -> None:
        """Check that observations are no views of what the env goes on writing into."""
        env = self._make(0)
        kept: list[tuple[Any, Any]] = []
        try:
            for row in stepped(env, _SEEDS[0], self._steps):
                kept.append((row["observation"], exact(row["observation"])))
        finally:
            close_quietly(env)
        for t, (observation, before) in enumerate(kept):
            if exact(observation) != before:
                what = difference(before, exact(observation), "the observation")
                raise Fault(f"what call {t} returned changed later: {what}", "return a copy: observation.copy()")

    @check("Two envs that take turns do what each does alone.", needs=[*_GOOD, "after_other_episodes"])
    def no_shared_state(self) -> None:
        """Check that envs share nothing."""
        envs = [self._make(seed) for seed in _SEEDS]
        rows: list[Trace] = [[], []]
        try:
            for pair in zip(*(stepped(env, s, self._steps) for env, s in zip(envs, _SEEDS, strict=True)), strict=False):
                for k, row in enumerate(pair):
                    rows[k].append(exact(row))
        finally:
            for env in envs:
                close_quietly(env)
        for k, seed in enumerate(_SEEDS):
            _same(self._trace(seed)[: len(rows[k])], rows[k], _OWN)

    @check("Two envs in two threads do what each does in one.", needs=[*_GOOD, "no_shared_state"])
    def threads(self) -> None:
        """Check what executor="threads" needs."""
        if self._is_unsafe():
            raise Skip("Its metadata say that it is not thread-safe.")
        alone = [self._trace(seed) for seed in _SEEDS]
        together = _in_threads(self._trace, _SEEDS)
        for one, other in zip(alone, together, strict=True):
            seen = unequal(one, other) if isinstance(other, list) else f"a thread raised {describe(other)}"
            if seen:
                raise Fault(
                    seen,
                    f"{_OWN}. If that cannot be, set metadata['thread_safe'] = False, and tell users in the README",
                )

    def _is_unsafe(self) -> bool:
        env = self._make(0)
        close_quietly(env)
        return env.metadata.get("thread_safe") is False

    @check("After restore(snapshot()), another env goes on as this one does.", needs=_GOOD)
    def snapshots(self) -> None:
        """Check the snapshots that runner.state_dict() takes."""
        check_snapshots(self._make, _SEEDS[0])

    # ---- elsewhere

    @check("The factory can be pickled by cloudpickle, and the copy makes the same env.", needs=_GOOD)
    def pickles(self) -> None:
        """Check what executor="processes" needs."""
        try:
            copied: Callable[[int | None], AnyEnv] = pickle.loads(dumps(self._make_any))
        except Exception as error:
            raise Fault(
                f"it cannot be pickled: {describe(error)}", "open what the factory needs when it is called, not before"
            ) from error
        _same(self._trace(), traced(copied, _SEEDS[0], self._steps), "let the copy make what the original makes")

    @check(
        "The same seed gives the same episode in a process whose strings have other hashes.", needs=[*_GOOD, "pickles"]
    )
    def other_processes(self) -> None:
        """Check that nothing depends on the process."""
        here = self._trace()
        for hash_seed in HASH_SEEDS:
            try:
                there = call_elsewhere(traced, self._make_any, _SEEDS[0], self._steps, hash_seed=hash_seed)
            except ElsewhereError as error:
                raise Fault(f"in another process, {error}", "let the factory import and open what it needs") from error
            _same(
                here,
                there,
                "do not go by hash(), id(), the order of a set, the process id or the time: sort sets, and take random "
                "numbers from self.np_random",
            )

    @check(
        "A runner records the same bytes with every executor.",
        needs=[*_GOOD, "after_other_episodes", "threads", "other_processes"],
    )
    def executors(self) -> None:
        """Check all executors against the serial one."""
        serial = self._recorded("serial")
        for name in ["processes"] if self._is_unsafe() else ["threads", "processes"]:
            seen = difference(serial, self._recorded(name))
            if seen:
                raise Fault(f"with executor={name!r} instead of 'serial', {seen}", _OWN)

    def _recorded(self, executor: str) -> Any:
        with GymRunner(
            self._make_any, seed=0, n_envs=2, executor=executor, workers=None if executor == "serial" else 2
        ) as r:
            histories = r.rollout(HashAgent(r.action_space), steps=self._steps)
            return [
                {
                    name: exact(getattr(history, name))
                    for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations")
                }
                for history in histories
            ]

    # ---- its end

    @check("close() may be called twice, and leaves no thread and no process behind.", needs=["makes_envs"])
    def closes(self) -> None:
        """Check that nothing is left."""
        with left_behind() as new:
            env = self._make(0)
            env.reset(seed=0)
            env.close()
            try:
                env.close()
            except Exception as error:
                raise Fault(
                    f"the second close() raised {describe(error)}", "let close() do nothing if it is closed"
                ) from error
            del env
            if left := new():
                raise Fault(
                    f"after close() there is still {left}", "end threads and processes in close(), and wait for them"
                )


def _same(one: Trace, other: Trace, fix: str) -> None:
    if seen := unequal(one, other):
        raise Fault(seen, fix)


def _global_states() -> dict[str, Any]:
    return {"random": random.getstate(), "numpy.random": exact(np.random.get_state(legacy=False))}


def _check_api(env: AnyEnv, steps: int) -> None:
    actions: Space[Any] = copy.deepcopy(env.action_space)
    actions.seed(0)
    _check_reset(env.reset(seed=0))
    for t in range(steps):
        result: object = env.step(actions.sample())
        if not isinstance(result, tuple) or len(result) != 5:
            given = f"a tuple of {len(result)}" if isinstance(result, tuple) else f"a {type(result).__name__}"
            raise Fault(f"step {t} returned {given}", "return (observation, reward, terminated, truncated, info)")
        _, reward, terminated, truncated, info = result
        _check_number(reward, t)
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, (bool, np.bool_)):
                raise Fault(f"step {t} returned {name}={flag!r}, a {type(flag).__name__}", f"return bool({name})")
        if not isinstance(info, dict):
            raise Fault(f"step {t} returned the info {info!r}", "return a dict, {} if there is nothing to tell")
        if terminated or truncated:
            _check_reset(env.reset(seed=t, options={}))


def _check_reset(result: object) -> None:
    if not isinstance(result, tuple) or len(result) != 2:
        raise Fault(f"reset() returned a {type(result).__name__}", "return (observation, info)")
    if not isinstance(result[1], dict):
        raise Fault(f"reset() returned the info {result[1]!r}", "return a dict, {} if there is nothing to tell")


def _check_number(reward: Any, t: int) -> None:
    array = np.asarray(reward)
    if array.shape != () or array.dtype.kind not in "fiu" or np.isnan(float(array)):
        raise Fault(f"step {t} returned the reward {reward!r}", "return one number, float(reward)")


def _check_observation(layout: Layout, observation: Any, t: int) -> None:
    try:
        values = layout.split(observation)
    except MisfitError as error:
        raise Fault(f"in call {t}, {error}", "return what observation_space describes") from error
    for leaf, value in zip(layout.leaves, values, strict=True):
        seen = _misfit(leaf.space, leaf.dtype, leaf.is_object, value)
        if seen:
            raise Fault(
                f"in call {t} (0 is the first reset), {leaf.path} {seen}",
                "return what observation_space describes, or describe in observation_space what is returned",
            )


def _misfit(space: Space[Any], dtype: np.dtype[Any], is_object: bool, value: Any) -> str:
    if not is_object:
        array = np.asarray(value)
        is_number = isinstance(space, spaces.Discrete) and array.dtype.kind in "iu"
        if array.dtype != dtype and not is_number:
            return f"is of dtype {array.dtype}, the space of {dtype}"
        if array.shape != space.shape:
            return f"has shape {array.shape}, the space {space.shape}"
        if isinstance(space, spaces.Box):
            outside = ~((array >= space.low) & (array <= space.high))
            if outside.any():
                return f"has {array[outside][0]} outside of the bounds of {space}"
            return ""
    return "" if space.contains(value) else f"is {str(value)[:80]}, which is not in {space}"


def _in_threads(run: Callable[[int], Trace], seeds: Sequence[int]) -> list[Trace | BaseException]:
    """Run something for each seed at the same time; return what it returned or raised."""
    found: list[Trace | BaseException] = [[] for _ in seeds]
    start = threading.Barrier(len(seeds))

    def work(k: int) -> None:
        try:
            start.wait()
            found[k] = run(seeds[k])
        except BaseException as error:
            found[k] = error

    with switching_often():
        workers = [threading.Thread(target=work, args=(k,)) for k in range(len(seeds))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return found


# ---- factories


class FactoryChecks(Checks):
    """The checks of a factory as such: what it does with names."""

    def __init__(self, factory: EnvFactory, env_ids: Sequence[str]) -> None:
        super().__init__()
        self._factory = factory
        self._env_ids = env_ids

    @check("The factory raises UnknownNameError for an env that it does not know.")
    def unknown_env(self) -> None:
        """Check what comes of a misspelt name."""
        try:
            env = _MadeBy(self._factory, _UNKNOWN, {})(0)
        except UnknownNameError:
            return
        except Exception as error:
            raise Fault(
                f"for {_UNKNOWN!r} it raised {describe(error)}",
                "raise runnerkit.errors.UnknownNameError(kind, env_id, known_ids)",
            ) from error
        env.close()
        raise Fault(
            f"for {_UNKNOWN!r} it made an env", "raise runnerkit.errors.UnknownNameError for ids that are not known"
        )

    @check("The kit knows the id of an env to check.")
    def has_envs(self) -> None:
        """Check that there is something to check."""
        if not self._env_ids:
            raise Fault(
                "no id was given, and the factory tells none when it is asked for one that it does not know",
                "give some: envs=['Small'], or envs={'lake': ['Small']} for a plugin",
            )


def known_envs(factory: EnvFactory) -> list[str]:
    """Return the ids that a factory tells when it is asked for an env that it does not know."""
    try:
        _MadeBy(factory, _UNKNOWN, {})(0).close()
    except UnknownNameError as error:
        return list(error.known)
    except Exception:  # the check of unknown envs reports it
        return []
    return []


class _MadeBy:
    """A factory with an id, as a function of the seed; unlike a lambda it is pickled with the factory's name only."""

    def __init__(self, factory: EnvFactory, env_id: str, options: Mapping[str, Any]) -> None:
        self._factory = factory
        self._env_id = env_id
        told = wanted(factory, {"n_envs": _N_ENVS, "env_index": 0, "plugins": installed_plugins()})
        self._options = {**options, **told}

    def __call__(self, seed: int | None) -> AnyEnv | AnyVectorEnv:
        return self._factory(self._env_id, seed=seed, **self._options)

    def makes_vector_envs(self) -> bool:
        try:
            env = self(0)
        except Exception:  # the check of what is made reports it
            return False
        is_vector = isinstance(env, VectorEnv)
        env.close()
        return is_vector


def factory_checks(
    factory: EnvFactory,
    env_ids: Sequence[str] | None,
    options: Mapping[str, Any] | None = None,
    prefix: str = "",
    steps: int = STEPS,
) -> list[Check]:
    """Return the checks of a factory, and of the envs that it makes."""
    ids = known_envs(factory)[:1] if env_ids is None else list(env_ids)
    found = FactoryChecks(factory, ids).named(prefix)
    for env_id in ids:
        make = _MadeBy(factory, env_id, options or {})
        suite = VectorEnvChecks(_Unseeded(make), steps) if make.makes_vector_envs() else EnvChecks(make, steps)
        found += suite.named(f"{prefix}{env_id}/")
    return found


class _Unseeded:
    """The vector envs that a function of the seed makes."""

    def __init__(self, make: _MadeBy) -> None:
        self._make = make

    def __call__(self) -> Any:
        return self._make(0)
