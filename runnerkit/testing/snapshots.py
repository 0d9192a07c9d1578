"""The check of envs that say themselves where they stand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from runnerkit._core.comparing import difference, exact
from runnerkit._core.types import AnyEnv
from runnerkit._envs.traces import close_quietly
from runnerkit.executors.snapshots import restore, snapshot
from runnerkit.history.npz.codec import encode
from runnerkit.testing.checks import Fault, Skip

__all__ = ["check_snapshots"]

_BEFORE: Final = 3  # steps
_AFTER: Final = 4
_ALL: Final = "keep all that the next steps depend on, self.np_random.bit_generator.state too"


def check_snapshots(make: Callable[[], AnyEnv], seed: int) -> None:
    """Take a snapshot of an env, restore it in another one, and compare how both go on.

    Raises Fault, or Skip where there is nothing to check.
    """
    env, other = make(), make()
    try:
        _compare(env, other, seed)
    finally:
        close_quietly(env)
        close_quietly(other)


def _compare(env: AnyEnv, other: AnyEnv, seed: int) -> None:
    actions = copy.deepcopy(env.action_space)
    actions.seed(seed)
    for one in (env, other):
        one.reset(seed=seed)
    if snapshot(env) is None:
        raise Skip("It has no snapshot() and restore(snapshot), or a wrapper of it has none.")
    for _ in range(_BEFORE):
        _, _, terminated, truncated, _ = env.step(actions.sample())
        if terminated or truncated:
            raise Skip("Its episodes are too short.")
    state = snapshot(env)
    assert state is not None
    try:
        encode(state)
    except TypeError as error:
        raise Fault(f"in its snapshot, {error}", "return numbers, texts, arrays, dicts and lists") from error
    restore(other, copy.deepcopy(state))
    before = exact(state)
    for t in range(_BEFORE, _BEFORE + _AFTER):
        action = actions.sample()
        rows: list[Any] = [one.step(copy.deepcopy(action))[:4] for one in (env, other)]
        if seen := difference(exact(rows[0]), exact(rows[1]), f"what step {t} returned"):
            raise Fault(f"{seen} ('the second time' is after restore)", _ALL)
        if rows[0][2] or rows[0][3]:
            break
    if exact(state) != before:
        raise Fault("the snapshot changed in later steps", "return copies in snapshot()")
