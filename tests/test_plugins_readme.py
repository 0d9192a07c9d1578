"""Every Python snippet of plugins/README.md is run, in order, as a reader would run it.

A snippet that begins with a file name is saved as that module, and installed with the entry points that are shown for
it; the others are run, and their tests too.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
import tomllib
import unittest
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dummy_plugins import put

import runnerkit
from runnerkit import Contribution, GymRunner, RandomAgent, Registry, _sentences, hooks, use
from runnerkit._cli.main import main
from runnerkit._plugins.choice import ALLOWED, DISABLED
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.offers import KINDS, Kind, Offer
from runnerkit.testing import check_plugin

README = Path(__file__).parents[1] / "plugins" / "README.md"
SNIPPETS: list[str] = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
MODULES: dict[str, str] = {
    match[1]: code for code in SNIPPETS if (match := re.match(r"# (runnerkit_\w+)\.py\n", code)) is not None
}
SCRIPTS: list[str] = [code for code in SNIPPETS if code not in MODULES.values()]


ENTRY_POINTS: list[tuple[str, str, str]] = [
    (group, name, value)
    for code in re.findall(r"^```toml\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for group, names in tomllib.loads(code).get("project", {}).get("entry-points", {}).items()
    for name, value in names.items()
    if group != "runnerkit.agents"  # that of runnerkit-sb3, a package of its own
]


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the modules where Python finds them, as a distribution each, and forget them afterwards."""
    for name, code in MODULES.items():
        groups: dict[str, dict[str, str]] = {}
        for group, part, value in ENTRY_POINTS:
            if value.partition(":")[0] == name:
                groups.setdefault(group, {})[part] = value
        put(tmp_path, name.replace("_", "-"), groups, {name: code})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(runnerkit, "make", Registry().build)  # the default registry would not forget them
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


def offered(module: str) -> list[tuple[Kind, str]]:
    """Return kind and name of what a module of the README offers."""
    registry = Registry(allow=[module])
    registry.discover()
    there: list[Mapping[str, Offer[Any]]] = [
        *(registry.env_factories, registry.preprocessors, registry.postprocessors, registry.reward_processors),
        *(registry.history_formats, registry.executors),
    ]
    return [(offer.kind, offer.name) for offers in there for offer in offers.values() if not offer.is_built_in]


def parameters_of(test: Any) -> list[tuple[Any, ...]]:
    """Return what pytest would call a test with; nothing, once, if it has no parameters."""
    (mark,) = getattr(test, "pytestmark", None) or [None]
    return [()] if mark is None else [parameter.values for parameter in mark.args[1]]


def rollout(registry: Registry, env: str, **options: Any) -> list[Any]:
    runner: GymRunner[Any, Any, Any] = registry.build(env, n_envs=2, seed=0, **options)
    with runner:
        return list(runner.rollout(RandomAgent(runner.action_space, seed=0), steps=20))


@pytest.mark.usefixtures("saved")
def test_the_readme_shows_a_plugin_of_each_kind() -> None:
    shown = {kind for name in MODULES for kind, _ in offered(name)}
    assert shown == set(KINDS)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("saved")
def test_each_plugin_of_the_readme_takes_part_in_a_rollout(name: str) -> None:
    registry = Registry(allow=[name])
    kind, part = offered(name)[0]
    uses: dict[Kind, tuple[str, dict[str, Any]]] = {
        "env_factories": (f"{part}:Small", {}),
        "action_preprocessors": ("CartPole-v1", {"preprocessors": [part]}),
        "action_postprocessors": ("Pendulum-v1", {"postprocessors": [part]}),
        "reward_processors": ("CartPole-v1", {"reward_processors": [part]}),
        "history_formats": ("CartPole-v1", {"history": part}),
        "executors": ("CartPole-v1", {"executor": part}),
    }
    env, options = uses[kind]
    histories = rollout(registry, env, **options)
    assert len(histories) == 2


@pytest.mark.usefixtures("saved")
def test_the_executor_of_the_readme_gives_the_same_bytes_as_the_serial_one() -> None:
    registry = Registry(allow=["runnerkit-stopwatch"])
    serial, stopwatch = (rollout(registry, "CartPole-v1", executor=name) for name in ("serial", "stopwatch"))
    for own, other in zip(stopwatch, serial, strict=True):
        np.testing.assert_array_equal(own.observations, other.observations)
        np.testing.assert_array_equal(own.rewards, other.rewards)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("saved")
def test_each_plugin_of_the_readme_conforms(name: str) -> None:
    check_plugin(name).raise_for_failures()


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
@pytest.mark.usefixtures("saved")
def test_each_script_of_the_readme_runs(number: int) -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(SCRIPTS[number], f"{README.name}, script {number}", "exec"), namespace)
    for name, function in namespace.items():
        if name.startswith("test_"):
            for values in parameters_of(function):
                with contextlib.suppress(unittest.SkipTest):
                    function(*values)


def test_all_snippets_are_looked_at() -> None:
    assert len(MODULES) == 7
    assert {value.partition(":")[0] for _, _, value in ENTRY_POINTS} == MODULES.keys()
    assert len(SNIPPETS) == len(MODULES) + len(SCRIPTS) == README.read_text("utf-8").count("```python")


# ---- the reference: every hook and option with its exact arguments


def rows() -> dict[str, str]:
    """Return the rows of the tables of the section on all hooks and options, by their first cells."""
    section = README.read_text("utf-8").partition("## All hooks and options\n")[2].partition("\n## ")[0]
    cells = [line.strip("| ").split(" | ", 1) for line in section.splitlines() if line.startswith("|")]
    return {row[0]: row[1] for row in cells if len(row) == 2}


def called(function: Callable[..., object]) -> str:
    """Return how a function is called: its name and parameters, without annotations."""
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"]
    written = str(signature.replace(parameters=plain, return_annotation=signature.empty)).replace("/, ", "")
    return f"{function.__qualname__.removesuffix('.__init__').rpartition('.')[2]}{written}"


def test_every_hook_is_documented_with_its_exact_arguments() -> None:
    table, groups = rows(), README.read_text("utf-8")
    for kind in KINDS:
        assert f"`{called(getattr(hooks, kind))}`" in table["hooks"]
        assert f"| `runnerkit.{kind}` |" in groups
    assert called(Contribution.__init__) == "Contribution(name, make, summary='')"
    assert f"`{called(Contribution.__init__)}`" in table["what they yield"]
    for option in hooks.MarkerOptions.__annotations__ | hooks.HookOptions.__annotations__:
        assert f"`{option}`" in table["options of `@hookimpl.HOOK`"]


@pytest.mark.parametrize(
    ("part", "calls"),
    [
        ("env factory", [_sentences.MAKE_ENV]),
        ("preprocessor", [_sentences.BIND, _sentences.PROCESS_OBSERVATIONS, *_sentences.OF_PREPROCESSORS]),
        ("postprocessor", [_sentences.BIND, _sentences.PROCESS_ACTIONS, *_sentences.OF_POSTPROCESSORS]),
        ("reward processor", [_sentences.PROCESS_REWARDS, *_sentences.OF_REWARD_PROCESSORS]),
        (
            "history format, recorder",
            [_sentences.OPEN, _sentences.FINISH, _sentences.CLOSE, _sentences.APPEND, _sentences.BATCH],
        ),
        (
            "executor",
            [
                _sentences.MAKE_EXECUTOR,
                *_sentences.EXECUTOR,
                *_sentences.OF_EXECUTORS,
                *_sentences.OF_EXECUTOR_MAKERS,
            ],
        ),
    ],
)
def test_every_method_of_a_part_is_documented_with_its_exact_arguments(part: str, calls: list[str]) -> None:
    row = rows()[part]
    assert {call for call in calls if f"`{call}`" not in row} == set()
    assert set(re.findall(r"`(\w+\([^`]*\))`", row)) == set(calls)


def test_every_choice_is_documented_with_its_exact_arguments() -> None:
    table = rows()
    assert f"`{called(use)}`" in table["a name with options"]
    for method in (Registry.__init__, Registry.register, Registry.unregister, Registry.discover):
        assert f"`{called(method)}`" in table["registry"]
    assert {f"`{name}`" in table["environment variables"] for name in (ALLOWED, DISABLED)} == {True}
    for option in ("-p", "--plugins-dir", "--env-option"):
        parameter = next(p for p in main.commands["rollout"].params if option in p.opts)
        metavar = parameter.make_metavar(main.make_context("runnerkit", ["plugins"], resilient_parsing=True))
        assert f"`{option} {metavar}`" in table["in a terminal"]


def test_every_option_of_a_built_in_part_is_documented_with_its_default() -> None:
    plugins, table = Plugins(), rows()
    for kind in KINDS:
        for offer in plugins.offers(kind).values():
            options = ", ".join(f"`{option.name}={option.default!r}`" for option in offer.options().known)
            part = f"`{offer.name}` of rewards" if kind == "reward_processors" else f"`{offer.name}`"
            assert table.get(part, "").rstrip(" |") == options
