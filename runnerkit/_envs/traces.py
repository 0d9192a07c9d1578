"""What envs do, as plain Gymnasium loops see it, in a form that can be compared and sent between processes."""

from __future__ import annotations

import copy
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from gymnasium import Space

from runnerkit._core.comparing import difference, exact
from runnerkit._core.types import AnyEnv
from runnerkit._envs.elsewhere import process_ids

__all__ = ["STEPS", "Trace", "close_quietly", "left_behind", "stepped", "switching_often", "trace", "traced", "unequal"]

STEPS: Final = 24
"""How many steps an env is followed for, unless somebody says otherwise."""

Trace: TypeAlias = list[dict[str, Any]]
"""What an env returned: rows of observations, rewards and flags, each as `exact` gives it."""

_PATIENCE: Final = 1.0


def stepped(env: AnyEnv, seed: int, steps: int = STEPS, *, infos: bool = False) -> Iterator[dict[str, Any]]:
    """Step an env and yield what it returns, as it is; episodes are reset with seeds that follow from `seed`.

    Infos are left out, unless they are asked for. Actions are drawn from the action space; which ones follows from
    `seed`, too.
    """
    actions: Space[Any] = copy.deepcopy(env.action_space)
    actions.seed(seed)
    observation, info = env.reset(seed=seed)
    yield {"observation": observation, **({"info": info} if infos else {})}
    episode = 0
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(actions.sample())
        row = {"observation": observation, "reward": reward, "terminated": terminated, "truncated": truncated}
        yield {**row, **({"info": info} if infos else {})}
        if terminated or truncated:
            episode += 1
            observation, info = env.reset(seed=seed + episode)
            yield {"observation": observation, **({"info": info} if infos else {})}


def trace(env: AnyEnv, seed: int, steps: int = STEPS, *, infos: bool = False) -> Trace:
    """Step an env and return what it returned."""
    return [exact(row) for row in stepped(env, seed, steps, infos=infos)]


def traced(make_env: Callable[[int | None], AnyEnv], seed: int, steps: int = STEPS) -> Trace:
    """Make an env, return what it returned, and close it."""
    env = make_env(seed)
    try:
        return trace(env, seed, steps)
    finally:
        env.close()


def unequal(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> str:
    """Return where two traces differ first, in words; nothing if they are equal."""
    for t, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return f"in call {t} (0 is the first reset), {difference(dict(a), dict(b))}"
    return "" if len(one) == len(other) else f"there are {len(one)} calls the first time and {len(other)} the second"


def close_quietly(env: AnyEnv) -> None:
    """Close an env whose closing is not what is checked."""
    try:
        env.close()
    except Exception:  # the check of closing reports it
        return


@contextmanager
def switching_often() -> Iterator[None]:
    """Let threads take turns as often as they can, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _alive() -> set[str]:
    threads = {f"thread {thread.name!r} ({thread.ident})" for thread in threading.enumerate()}
    return threads | {f"process {pid}" for pid in _children() - process_ids()}


def _children() -> set[int]:
    found: set[int] = set()
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):  # nothing where there is no /proc
        try:
            found |= set(map(int, path.read_text().split()))
        except OSError:  # a thread that ended meanwhile
            continue
    return found


@contextmanager
def left_behind() -> Iterator[Callable[[], str]]:
    """Give what tells which threads and processes are there that were not there before; some end a little late."""
    before = _alive()

    def new() -> str:
        deadline = time.monotonic() + _PATIENCE
        while (left := _alive() - before) and time.monotonic() < deadline:
            time.sleep(0.01)
        return ", ".join(sorted(left))

    yield new
