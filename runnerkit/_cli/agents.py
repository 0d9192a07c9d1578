"""Agents by name, as `runnerkit rollout --agent` takes them.

For example::

    make_agent = agent_maker("my_agents:Greedy")
    with GymRunner("CartPole-v1") as runner:
        runner.rollout(make_agent(runner), steps=1000)
"""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
import os
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple, NoReturn

from typing_extensions import override

from runnerkit._cli.agent_families import families, family
from runnerkit._core.faults import describe
from runnerkit._core.wording import short_repr
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit._sentences import did_you_mean
from runnerkit.agents import RandomAgent
from runnerkit.errors import AgentError, ArgumentError
from runnerkit.tuning import AgentMaker

__all__ = ["agent_maker"]


_SPACES: Final = ("observation_space", "action_space")
_OFFERED: Final[Mapping[str, Callable[[GymRunner[Any, Any, Any]], object]]] = {
    "observation_space": lambda runner: runner.observation_space,
    "action_space": lambda runner: runner.action_space,
    "runner": lambda runner: runner,
}
"""What makes an agent may ask for this, by the name of a parameter."""


def agent_maker(name: str) -> AgentMaker:
    """Return what makes the agent of that name: "random", "family:reference" or "module:attribute".

    A family is offered by a package (see `agent_families`) and makes agents by a reference, such as the path of a file.
    The attribute is an agent (an object with act(observations), or a function of observations), or a class or function
    that makes one; see `_call_of` for how that is called. Imports the module, so that a wrong name is found before any
    env is made.

    Raises:
        ArgumentError: nothing that could be an agent has that name; the maker raises it, too.
        AgentError: the module, or what the maker calls, raised; the original exception is its `__cause__`.

    """
    if name == "random":
        return _random_agent
    prefix, colon, reference = name.partition(":")
    entry_point = family(prefix) if colon else None
    if entry_point is not None:
        return _of_family(name, entry_point, reference)
    found = _attribute(name)
    if not _may_act(found):
        _refuse(name, f"{short_repr(found)} has no act(observations), nor can it be called")
    call = _call_of(name, found) if _may_make(found) else None
    return (lambda _: found) if call is None else lambda runner: _called(name, found, call(runner))


def _random_agent(runner: GymRunner[Any, Any, Any]) -> RandomAgent:
    return RandomAgent(runner.action_space, runner.seed)  # so that the seed shown repeats the run, drawn or not


def _of_family(name: str, entry_point: EntryPoint, reference: str) -> AgentMaker:
    """Return what makes an agent of a family: at once, or with the runner if it asks for something of it."""
    owner = f"{entry_point.name} = {entry_point.value}"
    try:
        make: Callable[..., object] = entry_point.load()
    except Exception as error:
        raise AgentError(f"--agent {name}: {owner} could not be imported: {describe(error)}") from error
    asked = [key for key in _OFFERED if key in {p.name for p in _parameters(make) or ()}]
    if asked:
        return lambda runner: _called(
            name, make, _Arguments((reference,), {key: _OFFERED[key](runner) for key in asked}), owner
        )
    agent = _called(name, make, _Arguments((reference,), {}), owner)
    return lambda _: agent


class _Arguments(NamedTuple):
    """What a class or function is called with to make an agent."""

    positional: tuple[object, ...]
    named: Mapping[str, object]

    @override
    def __str__(self) -> str:
        return f"({', '.join([*_SPACES[: len(self.positional)], *self.named])})"


def _call_of(name: str, make: Callable[..., object]) -> Callable[[GymRunner[Any, Any, Any]], _Arguments] | None:
    """Return what a class or function is called with, by the names of its parameters; None if it is itself the agent.

    Parameters called observation_space, action_space and runner get these. Else two get the spaces, by position. A
    function of one parameter is an agent, which is called with observations. Others get nothing.
    """
    parameters = _parameters(make)
    if parameters is None:
        return _with_spaces
    by_name = [p.name for p in parameters if p.name in _OFFERED and p.kind is not p.POSITIONAL_ONLY]
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    open_ = [name for name in required if name not in by_name]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if by_name and not open_:
        return lambda runner: _Arguments((), {key: _OFFERED[key](runner) for key in by_name})
    if not by_name and (len(open_) == 2 or (takes_any and len(open_) < 2)):
        return _with_spaces
    if not open_:
        return lambda _: _Arguments((), {})
    if len(open_) == 1 and not by_name and not isinstance(make, type):
        return None
    raise _refusal(
        name,
        f"it needs {', '.join(open_)}, but only parameters called {', '.join(_OFFERED)} are filled in. "
        "Rename them, or give them defaults",
    )


def _with_spaces(runner: GymRunner[Any, Any, Any]) -> _Arguments:
    return _Arguments((runner.observation_space, runner.action_space), {})


def _parameters(make: Callable[..., object]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):  # what is written in C may have none
        return None


def _called(name: str, make: Callable[..., Any], arguments: _Arguments, owner: str = "") -> Any:
    call = owner or f"called with {arguments}, it"
    try:
        agent = make(*arguments.positional, **arguments.named)
    except ArgumentError as error:  # it says all there is to say
        raise _refusal(name, str(error)) from error
    except Exception as error:
        raise AgentError(f"--agent {name}: {call} raised {describe(error)}") from error
    if not _may_act(agent):
        _refuse(name, f"{call} returned {short_repr(agent)}, which has no act(observations)")
    return agent


def _may_make(value: object) -> bool:
    """Whether it may be called to make an agent, rather than be one."""
    if isinstance(value, type):
        return True
    return isinstance(value, (FunctionType, MethodType, functools.partial)) and not _acts(value)


def _acts(value: object) -> bool:
    return callable(getattr(value, "act", None))


def _may_act(value: object) -> bool:
    """Whether it is worth a look by the runner, which says more of models than we can."""
    return _acts(value) or callable(value) or callable(getattr(value, "predict", None))


def _attribute(name: str) -> Any:
    """Import what `module:attribute` names."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        known = ", ".join(f"{prefix}:..." for prefix in families())
        more = f". Installed packages make agents called {known}" if known else ""
        _refuse(name, f"write 'random' or MODULE:ATTRIBUTE, such as my_agents:Greedy for Greedy in my_agents.py{more}")
    module = _module(name, module_name)
    try:
        return operator.attrgetter(attribute)(module)
    except AttributeError:
        own = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        there = sorted(key for key, value in own.items() if not isinstance(value, ModuleType))
        guess = did_you_mean(attribute, there)
        _refuse(name, f"module {module_name} has no {attribute}.{guess} It has: {', '.join(there) or 'nothing'}")


def _module(name: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        if _is_missing(module_name, error):
            py = " Leave out the '.py'." if module_name.endswith(".py") else ""
            guess = did_you_mean(module_name, families())
            _refuse(name, f"there is no module {module_name}, neither in {os.getcwd()} nor installed.{py}{guess}")
        raise AgentError(f"--agent {name}: its module could not be imported: {describe(error)}") from error


def _is_missing(module_name: str, error: Exception) -> bool:
    """Return whether it is the module itself that is not there, or its package, and not what it imports."""
    return (
        isinstance(error, ModuleNotFoundError)
        and error.name is not None
        and f"{module_name}.".startswith(f"{error.name}.")
    )


def _refuse(name: str, why: str) -> NoReturn:
    raise _refusal(name, why)


def _refusal(name: str, why: str) -> ArgumentError:
    return ArgumentError(f"--agent {name}: {why if why.endswith('?') else why.removesuffix('.') + '.'}")
