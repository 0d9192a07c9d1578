"""What builds a runner is declared twice, by `GymRunner` and by `Registry.build`: the two lists say the same."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator

import runnerkit
from runnerkit import GymRunner, Registry

ALSO_FOR_DERIVED = 1
"""The last overload of `GymRunner`, for runners of one's own and for type arguments that are written out."""

# What the same is called in the two lists: type variables, and the tensors of a history, which are Tensor by default.
SAME = {"ObsT": "O", "ActT": "A", "HistoryT": "H", "TorchHistory[TensorObsT, TensorActT]": "TorchHistory"}


def is_overload(function: ast.FunctionDef) -> bool:
    return "overload" in map(ast.unparse, function.decorator_list)


def overloads(owner: type, name: str) -> Iterator[ast.FunctionDef]:
    module = ast.parse(inspect.getsource(inspect.getmodule(owner) or runnerkit))
    (body,) = [node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == owner.__name__]
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == name and is_overload(node):
            yield node


def in_common(text: str) -> str:
    for name, same in SAME.items():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", same, text)
    return text


def declared(function: ast.FunctionDef) -> tuple[dict[str, tuple[str, str]], str]:
    """Return the arguments but for `plugins`, with types and defaults, and the options."""
    arguments = function.args
    positional = arguments.args[1:]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults, *arguments.kw_defaults]
    found: dict[str, tuple[str, str]] = {}
    for argument, default in zip([*positional, *arguments.kwonlyargs], defaults, strict=True):
        name = {"env_id": "env"}.get(argument.arg, argument.arg)
        if name != "plugins":
            annotation = in_common(ast.unparse(argument.annotation)) if argument.annotation else ""
            found[name] = (annotation, ast.unparse(default) if default else "")
    assert arguments.kwarg is not None
    assert arguments.kwarg.annotation is not None
    return found, ast.unparse(arguments.kwarg.annotation)


def runner_of(function: ast.FunctionDef) -> str:
    """Return the type of the runner: what is returned, or `self`, if the constructor says of which type that is."""
    returned = ast.unparse(function.returns) if function.returns else ""
    if returned != "None":
        return in_common(returned)
    annotation = function.args.args[0].annotation
    if annotation is not None:
        return in_common(ast.unparse(annotation))
    history = declared(function)[0]["history"][0]
    return "GymRunner[O, A, H]" if "[H]" in history else "GymRunner[O, A, ArrayHistory[O, A]]"  # as HistoryT defaults


def test_gym_runner_and_the_registry_declare_the_same() -> None:
    of_runner = list(overloads(GymRunner, "__init__"))[:-ALSO_FOR_DERIVED]
    of_registry = list(overloads(Registry, "build"))
    assert len(of_registry) > 10
    assert [declared(one) for one in of_runner] == [declared(one) for one in of_registry]
    assert [runner_of(one) for one in of_runner] == [runner_of(one) for one in of_registry]


def test_only_overloads_that_leave_self_alone_take_a_key_without_processors_by_default() -> None:
    """mypy does not compare the type of `self` with that of a derived runner: its key would not be looked at."""
    for one in overloads(GymRunner, "__init__"):
        arguments = declared(one)[0]
        default, processed = arguments["history"][1], {"preprocessors", "postprocessors"} & arguments.keys()
        if "EnvKey" in arguments["env"][0] and default and not processed:
            assert one.args.args[0].annotation is None
