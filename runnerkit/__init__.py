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
    from runnerkit._rollout.gym_runner import GymRunner as GymRunner
    from runnerkit._rollout.runner import BaseRunner as BaseRunner
    from runnerkit.agents import RandomAgent as RandomAgent
    from runnerkit.evaluation import compare as compare
    from runnerkit.evaluation import evaluate as evaluate
    from runnerkit.history.feeding import transitions as transitions
    from runnerkit.history.npz import load as load
    from runnerkit.history.stacking import concatenate as concatenate
    from runnerkit.history.stacking import stack as stack
    from runnerkit.history.values import discounted_returns as discounted_returns
    from runnerkit.history.values import gae as gae
    from runnerkit.hooks import Contribution as Contribution
    from runnerkit.hooks import hookimpl as hookimpl
    from runnerkit.keys import EnvKey as EnvKey
    from runnerkit.keys import HistoryKey as HistoryKey
    from runnerkit.keys import Use as Use
    from runnerkit.keys import use as use
    from runnerkit.records import EndReason as EndReason
    from runnerkit.records import Episode as Episode
    from runnerkit.records import EpisodeStart as EpisodeStart
    from runnerkit.records import ExecutorReport as ExecutorReport
    from runnerkit.records import MadeBy as MadeBy
    from runnerkit.records import PartRecord as PartRecord
    from runnerkit.records import Progress as Progress
    from runnerkit.records import RunSpec as RunSpec
    from runnerkit.records import Seeding as Seeding
    from runnerkit.records import Transition as Transition
    from runnerkit.registry import Registry as Registry
    from runnerkit.registry import default_registry as default_registry
    from runnerkit.registry import make as make
    from runnerkit.replaying import replay as replay
    from runnerkit.reporting import report as report

_HOMES = {
    "_rollout.gym_runner": ["GymRunner"],
    "_rollout.runner": ["BaseRunner"],
    "agents": ["RandomAgent"],
    "evaluation": ["compare", "evaluate"],
    "history.feeding": ["transitions"],
    "history.npz": ["load"],
    "history.stacking": ["concatenate", "stack"],
    "history.values": ["discounted_returns", "gae"],
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
        "RunSpec",
        "Seeding",
        "Transition",
    ],
    "registry": ["Registry", "default_registry", "make"],
    "replaying": ["replay"],
    "reporting": ["report"],
}
_IMPORTING = RLock()
"""One thread at a time: of two that import a package and a module of it, CPython may give one a half of it."""
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # a type checker takes what is imported above under its own name for public
    __all__ = sorted(_HOME_OF)

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
    return sorted({*globals(), *_HOME_OF})
