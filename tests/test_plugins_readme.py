"""Every Python snippet of plugins/README.md is run, in order, as a reader would run it.

A snippet that begins with a file name is saved as that module; the others are run, and their tests too.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from runnerkit import GymRunner, RandomAgent, Registry
from runnerkit._plugins.offers import KINDS, Kind
from runnerkit.testing import check_plugin

README = Path(__file__).parents[1] / "plugins" / "README.md"
SNIPPETS: list[str] = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
MODULES: dict[str, str] = {
    match[1]: code for code in SNIPPETS if (match := re.match(r"# (runnerkit_\w+)\.py\n", code)) is not None
}
SCRIPTS: list[str] = [code for code in SNIPPETS if code not in MODULES.values()]


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Save the modules where Python finds them, and forget them afterwards."""
    for name, code in MODULES.items():
        (tmp_path / f"{name}.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


def contributions(plugin: ModuleType) -> list[tuple[Kind, str]]:
    return [(kind, offer.name) for kind in KINDS if hasattr(plugin, kind) for offer in getattr(plugin, kind)()]


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
    shown = {kind for name in MODULES for kind, _ in contributions(importlib.import_module(name))}
    assert shown == set(KINDS)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("saved")
def test_each_plugin_of_the_readme_takes_part_in_a_rollout(name: str) -> None:
    registry = Registry()
    plugin = importlib.import_module(name)
    registry.register(plugin)
    ((kind, offered),) = contributions(plugin)
    uses: dict[Kind, tuple[str, dict[str, Any]]] = {
        "env_factories": (f"{offered}:Small", {}),
        "action_preprocessors": ("CartPole-v1", {"preprocessors": [offered]}),
        "action_postprocessors": ("Pendulum-v1", {"postprocessors": [offered]}),
        "history_formats": ("CartPole-v1", {"history": offered}),
        "executors": ("CartPole-v1", {"executor": offered}),
    }
    env, options = uses[kind]
    histories = rollout(registry, env, **options)
    assert len(histories) == 2


@pytest.mark.usefixtures("saved")
def test_the_executor_of_the_readme_gives_the_same_bytes_as_the_serial_one() -> None:
    registry = Registry()
    registry.register(importlib.import_module("runnerkit_stopwatch"))
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
    assert len(MODULES) == 5
    assert len(SNIPPETS) == len(MODULES) + len(SCRIPTS) == README.read_text("utf-8").count("```python")
