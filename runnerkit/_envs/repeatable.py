"""Whether the episodes of an env are functions of their seed, and if not, on what else they depend."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

import gymnasium
import numpy as np
from typing_extensions import override

from runnerkit._core.faults import describe
from runnerkit._core.types import AnyEnv, MakeEnv
from runnerkit._envs.elsewhere import HASH_SEEDS, ElsewhereError, call_elsewhere
from runnerkit._envs.resolve import seed_spaces
from runnerkit._envs.traces import STEPS, Trace, close_quietly, switching_often, trace, unequal
from runnerkit.errors import ArgumentError, EnvError, RunnerKitError

__all__ = ["Dependence", "depends_on", "depends_on_apart"]

_SEED: Final = 3
_OTHER: Final = 11
_NOW: Final = 1.7e9
_LATER: Final = 1.8e9 + 12345.678  # another fraction, too, which is all that some take from the time


@dataclass(frozen=True, slots=True)
class Dependence:
    """What the episodes of an env depend on besides their seed and their actions.

    Attributes:
        what: "the global generator of random", "of numpy.random" or "of torch", "its spaces' generators", "the clock",
            "earlier episodes", "earlier envs", "the order of hashes", "the process" or "something else".
        seen: the first difference.
        fix: what to do about it.

    """

    what: str
    seen: str
    fix: str

    @override
    def __str__(self) -> str:
        return f"It depends on {self.what}: {self.seen}. Fix: {self.fix}."


def depends_on(make_env: MakeEnv, steps: int = 4 * STEPS) -> list[Dependence]:
    """Return what the episodes of an env depend on besides their seed and their actions; nothing is as it should be::

        for found in depends_on(lambda seed: gymnasium.make("CartPole-v1")):
            print(found)                # It depends on the clock: in call 1 (0 is the first reset), ...

    The same episodes are made several times, and one thing is changed each time: the global generators of random,
    numpy.random and torch (if it is imported), the generators of the env's spaces, the clock, what the env did before,
    and the process with its hash seed.

    Raises EnvError if the env fails, and ArgumentError if the factory cannot be sent to another process.
    """
    return _dependences(_in_one_process(_here, make_env, steps), make_env, steps)


def depends_on_apart(make_env: MakeEnv, steps: int = 4 * STEPS, *, infos: bool = False) -> list[Dependence]:
    """Return the same, but make no env and touch nothing in this process; with `infos`, these are compared, too.

    Here it is also found if an env depends on others that are at work at the same time, or on the thread of its resets.

    Raises ArgumentError if the factory cannot be sent to another process, or the env fails there.
    """
    follow = functools.partial(_made, infos=infos)
    try:
        here = call_elsewhere(_in_one_process, follow, make_env, steps, beside=True)
    except ElsewhereError as error:
        raise ArgumentError(f"The env cannot be checked in another process: {error}") from error
    return _dependences(here, make_env, steps, infos=infos)


_Findings: TypeAlias = "tuple[Trace, str, list[Dependence]]"
"""What an env does, where it did something else the second time, and on what it depends within one process."""


def _in_one_process(follow: _Follow, make_env: MakeEnv, steps: int, *, beside: bool = False) -> _Findings:
    """Return what is found in this process; with `beside`, also in several threads."""
    plain = follow(make_env, steps, _Conditions())
    if seen := unequal(plain, follow(make_env, steps, _Conditions())):
        return plain, seen, []
    found = []
    for what, conditions in _changed(beside=beside):
        try:
            seen = unequal(plain, follow(make_env, steps, conditions))
        except Exception as error:
            if not conditions.threads:
                raise
            seen = f"it raised {describe(error)}"
        if seen:
            found.append(Dependence(what, seen, _FIXES.get(what, _SEEDED)))
    return plain, "", found


def _dependences(here: _Findings, make_env: MakeEnv, steps: int, *, infos: bool = False) -> list[Dependence]:
    """Return what was found in one process, and what is found by a look at others."""
    plain, seen, found = here
    elsewhere = functools.partial(_elsewhere, make_env, steps, infos=infos)
    if seen:
        what = "earlier envs" if not unequal(elsewhere(), elsewhere()) else "something else"
        return [Dependence(what, seen, _FIXES[what])]
    one, *others = (elsewhere(hash_seed=seed) for seed in HASH_SEEDS)
    for what, pair in [*(("the order of hashes", (one, other)) for other in others), ("the process", (plain, one))]:
        if seen := unequal(*pair):
            if unequal(one, elsewhere()):  # with the same hash seed, but another process id
                what = "the process"
            return [*found, Dependence(what, seen, _FIXES[what])]
    return found


def _here(make_env: MakeEnv, steps: int, conditions: _Conditions) -> Trace:
    """Return what an env does in this process."""
    try:
        return _made(make_env, steps, conditions)
    except RunnerKitError:
        raise
    except Exception as error:
        raise EnvError(f"could not be checked: {describe(error)}", env_index=0) from error


_SEEDED: Final = "take every random number from self.np_random, which super().reset(seed=seed) seeds"
_FIXES: Final = {
    "its spaces' generators": "draw from self.np_random, or seed the spaces in reset()",
    "the clock": "count steps, and take no number from the time",
    "earlier episodes": "set everything that an episode changes anew in reset()",
    "envs at work at the same time": "let envs share nothing that one of them changes",
    "the thread that resets it": "let it hold nothing that must stay in one thread",
    "earlier envs": "keep what changes in attributes of the env, not in its class or module",
    "the order of hashes": "sort sets before they are used, and do not use hash()",
    "the process": "let nothing depend on the process id, on id(), or on what was imported",
    "something else": "look for os.urandom, uuid, threads and the network",
}


@dataclass(frozen=True, slots=True)
class _Conditions:
    """Under which episodes are made."""

    seeds: Mapping[str, int] = field(default_factory=dict)
    """Of global generators, if not the usual one."""
    spaces: int = _SEED
    now: float = _NOW
    before: bool = False
    """Whether the env makes other episodes first."""
    threads: Literal["", "beside", "resets"] = ""
    """Whether another thread steps another env at the same time, or resets this one."""


_Follow: TypeAlias = Callable[[MakeEnv, int, _Conditions], Trace]
"""Returns what a new env does in so many steps."""


def _changed(*, beside: bool) -> Iterator[tuple[str, _Conditions]]:
    """Yield conditions in which one thing is changed, and what that is."""
    for name in _generators():
        yield f"the global generator of {name}", _Conditions({name: _OTHER})
    yield "its spaces' generators", _Conditions(spaces=_OTHER)
    yield "the clock", _Conditions(now=_LATER)
    yield "earlier episodes", _Conditions(before=True)
    if beside:
        yield "envs at work at the same time", _Conditions(threads="beside")
        yield "the thread that resets it", _Conditions(threads="resets")


def _elsewhere(make_env: MakeEnv, steps: int, hash_seed: int = HASH_SEEDS[0], *, infos: bool = False) -> Trace:
    """Return what an env does in a process in which nothing has happened yet."""
    try:
        return call_elsewhere(_made, make_env, steps, _Conditions(), infos=infos, hash_seed=hash_seed)
    except ElsewhereError as error:
        raise ArgumentError(f"The env cannot be checked in another process: {error}") from error


def _made(make_env: MakeEnv, steps: int, conditions: _Conditions, *, infos: bool = False) -> Trace:
    """Return what a new env does; the global generators are left as they were."""
    kept = random.getstate(), np.random.get_state(legacy=False)
    torch: Any = sys.modules.get("torch")
    torch_state = None if torch is None else torch.get_rng_state()
    try:
        with _clock(conditions.now):
            for name, seed in _generators().items():
                seed(conditions.seeds.get(name, _SEED))
            env = cast(AnyEnv, make_env(_SEED))
            try:
                seed_spaces(env, conditions.spaces)
                if conditions.before:
                    trace(env, _OTHER, steps)
                    for seed in _generators().values():
                        seed(_SEED)
                    seed_spaces(env, conditions.spaces)
                beside = _at_work(make_env, steps) if conditions.threads == "beside" else contextlib.nullcontext()
                seen = _ResetApart(env) if conditions.threads == "resets" else env
                with _clock(conditions.now + 60), beside:  # the same time, whatever the env did before
                    return trace(seen, _SEED, steps, infos=infos)
            finally:
                close_quietly(env)
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        if torch is not None:
            torch.set_rng_state(torch_state)


@contextlib.contextmanager
def _at_work(make_env: MakeEnv, steps: int) -> Iterator[None]:
    """Let another env make other episodes in another thread; what it raises there is raised at the end."""
    env = cast(AnyEnv, make_env(_SEED))
    is_over = threading.Event()

    def work() -> None:
        _looks.set([0])
        while not is_over.is_set():
            trace(env, _OTHER, steps)

    with switching_often(), ThreadPoolExecutor(1) as other:
        at_work = other.submit(work)
        try:
            yield
        finally:
            is_over.set()
            at_work.exception()
            close_quietly(env)
    at_work.result()


class _ResetApart(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Resets an env in another thread than that of its steps."""

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        reset = functools.partial(self.env.reset, seed=seed, options=options)
        with ThreadPoolExecutor(1) as other:
            return other.submit(contextvars.copy_context().run, reset).result()


def _generators() -> dict[str, Callable[[int], object]]:
    """Return what seeds the global generators that there are."""
    found: dict[str, Callable[[int], object]] = {"random": random.seed, "numpy.random": np.random.seed}
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = torch.manual_seed
    return found


_looks: Final[contextvars.ContextVar[list[int]]] = contextvars.ContextVar("looks")
"""How often an env has looked at the clock; each thread of the check has its own count."""
_CLOCKS: Final = ("time", "monotonic", "perf_counter", "process_time")


@contextlib.contextmanager
def _clock(now: float) -> Iterator[None]:
    """Let Python's clocks begin at a given time, and go on by a millisecond with each look at one of them."""
    own = [0]
    token = _looks.set(own)

    def seconds() -> float:
        looks = _looks.get(own)  # threads of the env itself have no count
        looks[0] += 1
        return now + looks[0] / 1000

    kept = {name: getattr(time, name) for clock in _CLOCKS for name in (clock, f"{clock}_ns")}
    try:
        for name in kept:
            setattr(time, name, (lambda: int(seconds() * 1e9)) if name.endswith("_ns") else seconds)
        yield
    finally:
        for name, function in kept.items():
            setattr(time, name, function)
        _looks.reset(token)
