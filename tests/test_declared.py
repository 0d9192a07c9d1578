"""Plugins that declare their parts in their metadata: one name imports one entry point, and nothing else."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from dummy_plugins import FORMAT, install, put
from faulty_envs import Constant
from gymnasium.envs import registration

from runnerkit import Registry, use
from runnerkit._plugins.catalogue import contributions
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.metadata import newer_needed
from runnerkit._plugins.summaries import summary_of
from runnerkit.errors import PluginError, UnknownNameError
from runnerkit.keys import Use

FORMATS = "runnerkit.history_formats"
HOOKS = """
from runnerkit import Contribution, hookimpl
from runnerkit.history import ArrayFormat
from rk_declared import Format

@hookimpl.history_formats
def history_formats():
    {body}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for distributions, the only ones that are found."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("importlib.metadata.distributions", _only_in(tmp_path, importlib.metadata.distributions))
    before = set(sys.modules)
    yield tmp_path
    for module in set(sys.modules) - before:
        if module.startswith("rk_"):
            del sys.modules[module]
    importlib.invalidate_caches()


def _only_in(folder: Path, distributions: Callable[..., Any]) -> Callable[..., Any]:
    return lambda: [found for found in distributions() if str(found.locate_file("")).startswith(str(folder))]


def own(name: str) -> Use[Any]:
    """Return `use(name)`, of a name that no checker can know."""
    return use(name)


def imported() -> list[str]:
    return sorted(name for name in sys.modules if name.startswith("rk_"))


def test_one_name_imports_one_entry_point_and_nothing_else(folder: Path) -> None:
    install(folder, 50)
    put(folder, "rk-hooked", {"runnerkit": {"hooked": "rk_hooked"}}, {"rk_hooked": "1 / 0"})
    registry = Registry()
    with registry.build("CartPole-v1", history=own("dummy-0")) as runner:
        histories: Any = runner.rollout(Constant(), steps=3)
        assert len(histories[0]) == 3
        record = runner.made_by.parts[-1]
        assert (record.name, record.distribution, record.version) == ("dummy-0", "rk-dummy-0", "1.0")
    assert imported() == ["rk_dummy_0"]
    assert sum(name.startswith("dummy-") for name in registry.history_formats) == 50
    assert registry.problems == ()


def test_a_list_of_all_parts_imports_none_and_tells_what_their_docstrings_say(folder: Path) -> None:
    install(folder, 3)
    plugins = Plugins()
    plugins.discover()
    rows = {row["name"]: row for row in contributions(plugins)}
    assert rows["dummy-2"]["summary"] == "The arrays, once more"
    assert imported() == []


@pytest.mark.parametrize(
    ("kind", "name", "blamed"),
    [
        ("history_formats", "shiny", {"rk-newer"}),
        ("history_formats", "shinny", {"rk-newer"}),  # a misspelt one
        ("executors", "shiny", set()),  # of another kind
        ("history_formats", "other", set()),
        ("history_formats", "faulty", {"rk-faulty"}),
        ("history_formats", "rk-newer/faulty", set()),  # of another distribution
        ("action_preprocessors", "late", set()),
    ],
)
def test_a_name_that_is_missing_names_only_the_broken_packages_that_could_offer_it(
    folder: Path, kind: Any, name: str, blamed: set[str]
) -> None:
    formats = "runnerkit.history_formats"
    put(folder, "rk-newer", {formats: {"shiny": "rk_newer:Format"}}, {}, requires=("runnerkit>=99",))
    put(folder, "rk-faulty", {formats: {"faulty": "no colon"}}, {})
    put(folder, "rk-unread", {"console_scripts": {"tool": "rk_unread:main"}}, {})
    (folder / "rk_unread-1.0.dist-info" / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n")
    plugins = Plugins()
    with pytest.raises(UnknownNameError) as caught:
        plugins.get(kind, name)
    assert set(re.findall(r"Left out: plugin \S+ \(([\w-]+)", str(caught.value))) == blamed
    assert {"rk-newer", "rk-faulty"} <= {problem.distribution for problem in plugins.problems}  # all are listed there


def test_only_a_name_that_nobody_declares_imports_plugins_with_hooks(folder: Path) -> None:
    install(folder, 2)
    source = HOOKS.replace("from rk_declared import Format\n", "").format(
        body="yield Contribution('late', ArrayFormat)"
    )
    put(folder, "rk-hooked", {"runnerkit": {"hooked": "rk_hooked"}}, {"rk_hooked": source})
    put(folder, "rk-other", {"runnerkit": {"other": "rk_other"}}, {"rk_other": "1 / 0"})
    plugins = Plugins()
    assert plugins.get("history_formats", "rk-hooked/late").distribution == "rk-hooked"
    assert imported() == ["rk_hooked"]
    with pytest.raises(UnknownNameError, match=r"Left out: plugin other \(rk-other 1\.0\), import of rk_other"):
        plugins.get("history_formats", "nowhere")
    assert "rk_dummy_1" not in imported()


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        ("yield Contribution('declared', Format)", []),
        ("yield Contribution('declared', 'rk_declared:Format')", []),
        ("yield Contribution('computed', Format)", []),
        (
            "yield Contribution('declared', ArrayFormat)",
            [
                "plugin hooked (rk-both 1.0), a name with two meanings: PluginError: its metadata declare the history "
                "format 'declared' as 'rk_declared:Format', but its hook history_formats offers something else under "
                "that name. What the metadata declare is used: remove the name from the hook."
            ],
        ),
    ],
)
def test_metadata_and_hooks_that_disagree_are_a_problem_of_that_plugin(
    folder: Path, body: str, problems: list[str]
) -> None:
    groups = {FORMATS: {"declared": "rk_declared:Format"}, "runnerkit": {"hooked": "rk_hooked"}}
    put(folder, "rk-both", groups, {"rk_declared": FORMAT, "rk_hooked": HOOKS.format(body=body)})
    plugins = Plugins()
    plugins.discover()
    assert list(map(str, plugins.problems)) == problems
    assert type(plugins.get("history_formats", "declared").make()).__name__ == "Format"


@pytest.mark.parametrize(
    ("group", "name", "value", "says"),
    [
        (FORMATS, "a/b", "rk_x:Y", "declares 'a/b', but a name has neither ':' nor '/', and is not empty."),
        (FORMATS, "x", "rk_x", "declares 'x' as 'rk_x'. Write what makes it, as 'module:attribute'."),
        ("runnerkit.history_format", "x", "rk_x:Y", "Did you mean 'runnerkit.history_formats'?"),
    ],
)
def test_a_declaration_that_cannot_be_one_is_a_problem_of_that_plugin(
    folder: Path, group: str, name: str, value: str, says: str
) -> None:
    put(folder, "rk-wrong", {group: {name: value}}, {})
    install(folder, 1)
    plugins = Plugins()
    assert plugins.get("history_formats", "dummy-0").name == "dummy-0"
    (problem,) = plugins.problems
    assert (problem.plugin, problem.distribution) == (name, "rk-wrong")
    assert says in str(problem)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("rk_x:Nothing", "history format 'x' of rk-x 1.0 could not be made: AttributeError: "),
        ("rk_nowhere:X", "history format 'x' of rk-x 1.0 could not be made: ModuleNotFoundError: "),
        ("rk_exits:X", "history format 'x' of rk-x 1.0 could not be made: SystemExit: 3"),
        ("rk_x:made", "rk-x 1.0 offers the object Format itself as 'x', but each runner needs one of its own. Write "),
    ],
)
def test_what_a_declaration_names_is_told_of_when_it_is_asked_for(folder: Path, value: str, says: str) -> None:
    put(
        folder,
        "rk-x",
        {FORMATS: {"x": value}},
        {"rk_x": FORMAT + "\nmade = Format()\n", "rk_exits": "raise SystemExit(3)"},
    )
    with pytest.raises(PluginError) as caught:
        Plugins().get("history_formats", "x").make()
    assert says in str(caught.value)


def test_a_function_makes_a_reward_processor_if_it_needs_no_argument_and_is_none_itself(folder: Path) -> None:
    source = "def double(rewards):\n    return 2 * rewards\ndef made(k=2):\n    return lambda rewards: k * rewards\n"
    entries = {"itself": "rk_double:double", "made": "rk_double:made"}
    put(folder, "rk-double", {"runnerkit.reward_processors": entries}, {"rk_double": source})
    assert Plugins().get("reward_processors", "made").make({"k": 3})(np.ones(2)).tolist() == [3, 3]
    with pytest.raises(PluginError, match=r"the function double itself as 'itself'. Offer a class, or a function with"):
        Plugins().get("reward_processors", "itself").make()


def test_a_declared_name_may_be_that_of_two_distributions(folder: Path) -> None:
    for distribution in ("rk-one", "rk-two"):
        put(folder, distribution, {FORMATS: {"x": f"{distribution.replace('-', '_')}:Format"}}, {})
    (folder / "rk_two.py").write_text(FORMAT)
    registry = Registry()
    with pytest.raises(PluginError, match=r"rk-one 1\.0 and rk-two 1\.0 offer the history format 'x'\. Ask for"):
        registry.build("CartPole-v1", history=own("x"))
    registry.build("CartPole-v1", history=own("rk_two/x")).close()
    assert imported() == ["rk_two"]


@pytest.mark.parametrize(
    ("requires", "needed"),
    [
        (["runnerkit>=99"], "runnerkit>=99"),
        (["numpy", "Runnerkit[torch] (>=0.1,>=2.0)"], "runnerkit>=0.1,>=2.0"),
        (["runnerkit~=0.2.0"], "runnerkit~=0.2.0"),
        (["runnerkit>0.1.0"], "runnerkit>0.1.0"),
        (["runnerkit>=0.1", "runnerkit-atari>=9"], ""),
        (["runnerkit>=99; extra == 'test'"], ""),
        (["runnerkit==0.1.*", "runnerkit<0.1"], ""),
        (["runnerkit"], ""),
    ],
)
def test_a_requirement_of_a_newer_runnerkit_is_known_by_the_metadata(requires: list[str], needed: str) -> None:
    assert newer_needed(requires, "0.1.0") == needed


def test_a_plugin_that_needs_a_newer_runnerkit_is_not_imported(folder: Path) -> None:
    groups = {FORMATS: {"x": "rk_new:Format"}, "runnerkit": {"new": "rk_new"}}
    put(folder, "rk-new", groups, {"rk_new": "1 / 0"}, requires=("runnerkit[torch]>=99,<100",))
    with pytest.raises(UnknownNameError) as caught:
        Plugins().get("history_formats", "x")
    assert "(rk-new 1.0), requirements: TooOld: it needs runnerkit>=99,<100, but " in str(caught.value)
    assert "Run: pip install -U 'runnerkit>=99,<100'." in str(caught.value)
    assert imported() == []


# ---- entry points that were meant for Gymnasium

ENVS = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

def register():
    gymnasium.register("Pole-v3", CartPoleEnv, max_episode_steps=7)
"""


@pytest.fixture
def envs(folder: Path) -> Iterator[Path]:
    before = dict(gymnasium.registry)
    put(folder, "rk-envs", {"gymnasium.envs": {"RkSpace": "rk_envs:register"}}, {"rk_envs": ENVS})
    put(folder, "rk-roots", {"gymnasium.envs": {"__root__": "rk_roots:register"}}, {"rk_roots": ENVS})
    broken = {"gymnasium.envs": {"__root__": "rk_no_roots:register", "RkBroken": "rk_no_roots:register"}}
    put(folder, "rk-no-roots", broken, {"rk_no_roots": "def register(): 1 / 0"})
    yield folder
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.mark.usefixtures("envs")
@pytest.mark.parametrize("env", ["RkSpace:Pole-v3", "RkSpace/Pole-v3", "Pole-v3"])
def test_envs_of_packages_that_gymnasium_no_longer_finds_are_there(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._plugins.families._registered", set())
    with Registry().build(env, n_envs=2) as runner:
        (first, _) = runner.rollout(Constant(), episodes=2)
    assert len(first) == 7
    assert ("rk_envs" in sys.modules, "rk_roots" in sys.modules) == ("RkSpace" in env, "RkSpace" not in env)
    assert registration.current_namespace is None


@pytest.mark.usefixtures("envs")
def test_a_package_that_cannot_register_its_envs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._plugins.families._registered", set())
    with pytest.raises(UnknownNameError, match=r"plugin RkBroken \(rk-no-roots 1\.0\), registration of envs by"):
        Registry().build("RkBroken/Pole-v3")
    with pytest.raises(UnknownNameError, match=r"No env of RkSpace is called 'Poll-v3'\. Did you mean 'Pole-v3'\?"):
        Registry().build("RkSpace:Poll-v3")
    assert registration.current_namespace is None


def test_a_summary_is_read_through_imports_without_importing(folder: Path) -> None:
    package = folder / "rk_pack"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import Other as Shown\n1 / 0\n")
    (package / "inner.py").write_text('class Other:\n    """What it does::\n\n        example\n    """\n')
    assert summary_of("rk_pack:Shown") == "What it does"
    assert summary_of("rk_pack.inner:Other") == "What it does"
    assert summary_of("rk_pack.inner:Nothing") == summary_of("rk_nowhere.x:Y") == ""
    assert imported() == []
