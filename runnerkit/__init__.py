"""RunnerKit: typed, pluggable runners that roll out agents in Gymnasium envs::

    import runnerkit

    with runnerkit.make("CartPole-v1", n_envs=8, seed=0) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        for history in runner.rollout(agent, steps=1000):
            print(history.rewards.sum(), history.episodes[0].end_reason)

Types to implement and to annotate with are in `runnerkit.typing`, errors in `runnerkit.errors`. What is named here
is imported when it is first used, so that plugins and command lines start fast.
"""

from __future__ import annotations

from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runnerkit._rollout.gym_runner import GymRunner
    from runnerkit._rollout.runner import BaseRunner
    from runnerkit.agents import RandomAgent
    from runnerkit.evaluation import compare, evaluate
    from runnerkit.history.columns import stack
    from runnerkit.history.values import discounted_returns, gae
    from runnerkit.hooks import Contribution, hookimpl
    from runnerkit.keys import EnvKey, HistoryKey, Use, use
    from runnerkit.records import (
        EndReason,
        Episode,
        EpisodeStart,
        ExecutorReport,
        MadeBy,
        PartRecord,
        Progress,
        RunSpec,
        Seeding,
        Transition,
    )
    from runnerkit.registry import Registry, default_registry, make

__all__ = [
    "BaseRunner",
    "Contribution",
    "EndReason",
    "EnvKey",
    "Episode",
    "EpisodeStart",
    "ExecutorReport",
    "GymRunner",
    "HistoryKey",
    "MadeBy",
    "PartRecord",
    "Progress",
    "Seeding",
    "RandomAgent",
    "Registry",
    "RunSpec",
    "Transition",
    "Use",
    "compare",
    "default_registry",
    "discounted_returns",
    "evaluate",
    "gae",
    "hookimpl",
    "make",
    "stack",
    "use",
]

_HOMES = {
    "agents": ["RandomAgent"],
    "evaluation": ["compare", "evaluate"],
    "_rollout.gym_runner": ["GymRunner"],
    "history.columns": ["stack"],
    "hooks": ["Contribution", "hookimpl"],
    "keys": ["EnvKey", "HistoryKey", "Use", "use"],
    "records": [
        "EndReason",
        "Episode",
        "EpisodeStart",
        "ExecutorReport",
        "MadeBy",
        "PartRecord",
        "Progress",
        "Seeding",
        "RunSpec",
        "Transition",
    ],
    "registry": ["Registry", "default_registry", "make"],
    "history.values": ["discounted_returns", "gae"],
    "_rollout.runner": ["BaseRunner"],
}
_IMPORTING = RLock()
"""One thread at a time: of two that import a package and a module of it, CPython may give one a half of it."""
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


if TYPE_CHECKING:
    __version__: str

if not TYPE_CHECKING:  # to a type checker, a misspelt name is an error

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version  # slow to import

            return version("runnerkit")
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        with _IMPORTING:
            value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        globals()[name] = value  # the next time Python finds it by itself
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
