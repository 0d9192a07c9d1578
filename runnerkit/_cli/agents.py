"""Agents by name, as `runnerkit rollout --agent` takes them::

make_agent = agent_maker("my_agents:Greedy")
with GymRunner("CartPole-v1") as runner:
    runner.rollout(make_agent(runner), steps=1000)
"""

from __future__ import annotations

import importlib
import operator
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from runnerkit._core.faults import describe
from runnerkit._core.wording import short_repr
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit.agents import RandomAgent
from runnerkit.errors import AgentError, ArgumentError
from runnerkit.tuning import AgentMaker

__all__ = ["agent_maker", "import_from_current_directory"]


def import_from_current_directory() -> None:
    """Let modules of the current directory be imported, as `python -m` does and an installed script does not."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)


def agent_maker(name: str) -> AgentMaker:
    """Return what makes the agent of that name: "random", or "module:attribute".

    The attribute is an object with act(observations), or a class or function that is called with
    (observation_space, action_space) and returns one. Imports the module, so that a wrong name is found before
    any env is made.

    Raises:
        ArgumentError: nothing that could be an agent has that name; the maker raises it, too.
        AgentError: the module, or what the maker calls, raised; the original exception is its `__cause__`.

    """
    if name == "random":
        return _random_agent
    found = _attribute(name)
    if not isinstance(found, type) and _acts(found):
        return lambda _: found
    if not callable(found):
        _refuse(name, f"{short_repr(found)} has no act(observations), nor can it be called to make an agent")
    return lambda runner: _called(name, found, runner)


def _random_agent(runner: GymRunner[Any, Any, Any]) -> RandomAgent:
    return RandomAgent(runner.action_space, runner.seed)  # so that the seed shown repeats the run, drawn or not


def _called(name: str, make: Callable[..., Any], runner: GymRunner[Any, Any, Any]) -> Any:
    call = "called with (observation_space, action_space), it"
    try:
        agent = make(runner.observation_space, runner.action_space)
    except Exception as error:
        raise AgentError(f"--agent {name}: {call} raised {describe(error)}") from error
    if not _acts(agent):
        _refuse(name, f"{call} returned {short_repr(agent)}, which has no act(observations)")
    return agent


def _acts(value: object) -> bool:
    return callable(getattr(value, "act", None))


def _attribute(name: str) -> Any:
    """Import what `module:attribute` names."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        _refuse(name, "write 'random' or MODULE:ATTRIBUTE, such as my_agents:Greedy for Greedy in my_agents.py")
    module = _module(name, module_name)
    try:
        return operator.attrgetter(attribute)(module)
    except AttributeError:
        there = ", ".join(sorted(key for key in vars(module) if not key.startswith("_"))) or "nothing"
        _refuse(name, f"module {module_name} has no {attribute}. It has: {there}")


def _module(name: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        if _is_missing(module_name, error):
            py = " Leave out the '.py'." if module_name.endswith(".py") else ""
            _refuse(name, f"there is no module {module_name}, neither in {os.getcwd()} nor installed.{py}")
        raise AgentError(f"--agent {name}: its module could not be imported: {describe(error)}") from error


def _is_missing(module_name: str, error: Exception) -> bool:
    """Return whether it is the module itself that is not there, or its package, and not what it imports."""
    return (
        isinstance(error, ModuleNotFoundError)
        and error.name is not None
        and f"{module_name}.".startswith(f"{error.name}.")
    )


def _refuse(name: str, why: str) -> NoReturn:
    raise ArgumentError(f"--agent {name}: {why.rstrip('.')}.")
