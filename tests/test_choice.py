"""Which plugins take part: by environment variables, by registry, by hand in a terminal; and processors in order."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dummy_plugins import install, put
from gymnasium import Space

from runnerkit import Contribution, Registry, default_registry, hookimpl, make, use
from runnerkit._cli.main import main
from runnerkit._plugins.choice import Choice
from runnerkit.errors import ArgumentError, PluginError, UnknownNameError
from runnerkit.history import ArrayFormat


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with two distributions, rk-dummy-0 and rk-dummy-1, and one with hooks, rk-hooked."""
    install(tmp_path, 2)
    source = (
        "from runnerkit import Contribution, hookimpl\nfrom runnerkit.history import ArrayFormat\n\n\n"
        "@hookimpl.history_formats\ndef history_formats():\n    yield Contribution('late', ArrayFormat)\n"
    )
    put(tmp_path, "rk-hooked", {"runnerkit": {"hooked": "rk_hooked"}}, {"rk_hooked": source})
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for module in [name for name in sys.modules if name.startswith("rk_")]:
        del sys.modules[module]


def known(registry: Registry) -> set[str]:
    registry.discover()
    return {name for name in registry.history_formats if name.startswith(("dummy", "late"))}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("variables", "options", "left"),
    [
        ({}, {}, {"dummy-0", "dummy-1", "late"}),
        ({"RUNNERKIT_PLUGINS": ""}, {}, set()),
        ({"RUNNERKIT_PLUGINS": "rk_dummy.0, rk-hooked"}, {}, {"dummy-0", "late"}),
        ({"RUNNERKIT_DISABLE_PLUGINS": "rk-hooked RK-dummy-1"}, {}, {"dummy-0"}),
        ({}, {"allow": []}, set()),
        ({}, {"allow": ["rk-dummy-1"]}, {"dummy-1"}),
        ({}, {"deny": ["rk_dummy_1"]}, {"dummy-0", "late"}),
        ({"RUNNERKIT_PLUGINS": "rk-hooked"}, {"allow": ["rk-dummy-1", "rk-hooked"]}, {"late"}),
    ],
)
def test_only_what_is_allowed_takes_part(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], options: dict[str, Any], left: set[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    registry = Registry(**options)
    assert known(registry) == left
    assert ("rk_hooked" in sys.modules) == ("late" in left)
    assert {"arrays", "torch"} <= registry.history_formats.keys()
    there = pickle.loads(pickle.dumps(registry._plugins))  # as an env factory takes it to another process
    there.discover()
    assert {name for name in there.offers("history_formats") if name.startswith(("dummy", "late"))} == left


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("where", ["RUNNERKIT_PLUGINS", "RUNNERKIT_DISABLE_PLUGINS", "allow", "deny"])
def test_a_misspelt_distribution_is_told_with_the_closest_one(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    names = ["rk-hoked", "rk-dummy-0", "pluggy", "not-installed-here"]
    if where.isupper():
        monkeypatch.setenv(where, " ".join(names))
    registry = Registry() if where.isupper() else Registry(**{where: names})  # type: ignore[arg-type]
    with pytest.warns(RuntimeWarning) as told:
        registry.discover()
    said = "lists 'rk-hoked', but no distribution of that name is installed. Did you mean 'rk-hooked'?"
    assert [str(one.message) for one in told] == [f"{where} {said}"]
    registry.discover()  # once is enough


@pytest.mark.usefixtures("folder")
def test_an_unknown_name_tells_which_plugins_were_not_asked() -> None:
    with pytest.raises(UnknownNameError, match=r"Not asked, as they are not allowed or are disabled: rk-dummy-1\."):
        Registry(deny=["rk-dummy-1"]).build("CartPole-v1", history=use("dummy-1"))


def test_what_is_installed_but_not_allowed_is_not_to_be_installed(folder: Path) -> None:
    put(folder, "runnerkit-arrow", {"runnerkit.history_formats": {"arrow": "rk_dummy_0:Format"}}, {})
    with pytest.raises(UnknownNameError, match=r"Not asked, .*runnerkit-arrow") as caught:
        Registry(allow=[]).build("CartPole-v1", history=use("arrow"))
    assert "pip install" not in str(caught.value)


def test_a_string_in_the_place_of_a_list_is_refused() -> None:
    for wrong in ({"allow": "rk-dummy-1"}, {"deny": "rk-dummy-1"}):
        options: Any = wrong
        with pytest.raises(ArgumentError, match=r"must be a list of distributions, such as \['rk-dummy-1'\], not"):
            Registry(**options)
    other: Any
    for what, other, shown in (("allow", 3, "3"), ("deny", [3], r"\[3\]"), ("deny", None, "None")):
        options = {what: other}
        with pytest.raises(ArgumentError, match=rf"^{what} must be a list of names .*, not {shown}\.$"):
            Registry(**options)


class Mine:
    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl.history_formats
    def history_formats(self) -> list[Contribution[ArrayFormat]]:
        return [Contribution(self.name, ArrayFormat)]


def test_a_plugin_can_be_unregistered_and_registered_again() -> None:
    registry, one, other = Registry(allow=[]), Mine("one"), Mine("other")
    registry.register(one)
    registry.register(other)
    registry.unregister(one)
    assert {"one", "other"} & registry.history_formats.keys() == {"other"}
    registry.register(one)
    assert {"one", "other"} <= registry.history_formats.keys()
    registry.unregister("Mine")
    assert not {"one", "other"} & registry.history_formats.keys()
    with pytest.raises(UnknownNameError, match="No plugin is called 'Mine'"):
        registry.unregister("Mine")
    with pytest.raises(UnknownNameError):
        registry.unregister("runnerkit")


@pytest.mark.usefixtures("folder")
def test_an_installed_distribution_can_be_unregistered_and_is_not_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(allow=["rk-hooked", "rk-dummy-0"])
    assert known(registry) == {"dummy-0", "late"}
    registry.unregister("rk_hooked")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # so that it looks again
    assert known(registry) == {"dummy-0"}
    registry.register(sys.modules["rk_hooked"])
    assert registry.history_formats["late"].distribution == ""


def test_the_name_of_a_module_is_no_plugin() -> None:
    with pytest.raises(PluginError) as caught:
        Registry().register("my_plugin")
    assert str(caught.value) == (
        "A plugin is a module or an object, not the name 'my_plugin'. Import it first: import my_plugin; "
        "registry.register(my_plugin). In a terminal, -p my_plugin does so."
    )


@pytest.mark.usefixtures("folder")
def test_a_distribution_goes_before_any_name() -> None:
    registry = Registry(allow=["rk-dummy-0"])
    history = use("rk_dummy_0/dummy-0")
    with registry.build(
        "Pendulum-v1",
        executor="runnerkit/serial",
        preprocessors=["runnerkit/flatten"],
        postprocessors=["RunnerKit/clip"],
        history=history,
    ) as runner:
        parts = [(part.name, part.distribution) for part in runner.made_by.parts[1:]]
    ours = [(name, "runnerkit") for name in ("flatten", "clip", "serial")]
    assert parts == [*ours, ("dummy-0", "rk-dummy-0")]
    registry.build("runnerkit/vector:CartPole-v1", history=history).close()


# ---- in a terminal

ONE_FILE = """
import gymnasium
from runnerkit import Contribution, hookimpl

def make_poles(env_id, /, *, seed, length=7):
    return gymnasium.make("CartPole-v1", max_episode_steps=length)

@hookimpl.env_factories
def env_factories():
    yield Contribution({name!r}, make_poles, "short poles")
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with two plugins of one file each, `rk_one` and `rk_two`, and what is no plugin."""
    for name in ("rk_one", "rk_two"):
        (tmp_path / f"{name}.py").write_text(ONE_FILE.format(name=name.replace("_", "-")))
    (tmp_path / "_helper.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("rk_one", "rk_two"):
        if name in {plugin for _, plugin in default_registry._plugins._by_hand}:
            default_registry.unregister(name)
        sys.modules.pop(name, None)


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return " ".join((result.stdout if code == 0 else result.stderr).split())


@pytest.mark.usefixtures("files")
def test_a_plugin_of_one_file_is_used_by_its_module() -> None:
    said = run("rollout", "rk-one:Pole", "-p", "rk_one", "--steps", "6", "--env-option", "length=3", "--json")
    assert [episode["length"] for episode in json.loads(said)["episodes"]] == [3, 3]
    assert "rk-two" not in run("plugins", "-p", "rk_one")


def test_plugins_of_one_file_are_used_by_their_folder_in_other_processes_too(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files.parent)
    options = ["--plugins-dir", str(files), "--n-envs", "2", "--workers", "2", "--executor", "processes"]
    said = run("rollout", "rk-two:Pole", *options, "--steps", "7", "--json")
    assert [episode["length"] for episode in json.loads(said)["episodes"]] == [7, 7]
    assert "length" in run("plugins", "rk-one", "--plugins-dir", str(files))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-p", "rk_nowhere"], 2, "-p rk_nowhere: there is no module rk_nowhere, neither in the current folder"),
        (["-p", "rk_one:nothing"], 1, "-p rk_one:nothing: AttributeError: "),
        (["--plugins-dir", "nowhere"], 2, "--plugins-dir 'nowhere': there is no such folder."),
        (["--plugins-dir", ""], 2, "--plugins-dir '': there is no such folder."),
        (["-p", ""], 2, "-p '': write MODULE or MODULE:OBJECT"),
        (["--plugins-dir", "clash"], 2, "has the name of another module, json. Rename the file."),
        (["--plugins-dir", "broken"], 1, "rk_broken.py could not be imported: ZeroDivisionError: "),
        (["-p", "rk_one.py"], 2, "nor installed. Leave out the '.py'."),
        (["--plugins-dir", "exits"], 1, "rk_exits.py could not be imported: SystemExit: 3"),
        (["-p", "json"], 1, "Plugin json offers nothing: mark its functions with @hookimpl."),
    ],
)  # fmt: skip
def test_what_is_no_plugin_is_told_with_its_name(files: Path, arguments: list[str], code: int, says: str) -> None:
    texts = {("clash", "json"): "1 / 0", ("broken", "rk_broken"): "1 / 0", ("exits", "rk_exits"): "raise SystemExit(3)"}
    for (folder, name), text in texts.items():
        (files / folder).mkdir()
        (files / folder / f"{name}.py").write_text(text)
    assert says in run("plugins", *arguments, code=code)


# ---- the order of processors


def processor(name: str, **order: object) -> Any:
    def bind(self: object, space: Space[Any], /) -> Space[Any]:
        return space

    def call(self: object, batch: Any, /) -> Any:
        return batch

    return type(name, (), {"bind": bind, "__call__": call, **order})()


A, B, C = processor("A", before=("B",)), processor("B", before=["C"]), processor("C", after=("A",), before=("D",))


@pytest.mark.parametrize("given", [[A, B, C], [A, C], [A, "flatten", B], [C], []])
def test_processors_in_the_order_that_they_ask_for_are_taken(given: list[Any]) -> None:
    make("CartPole-v1", preprocessors=given).close()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([B, A], "preprocessors: 'A' must come before 'B'. Write them in the order 'A', 'B'."),
        ([C, "flatten", A, B], "'A' must come before 'C'. Write them in the order 'flatten', 'A', 'B', 'C'."),
        (["flatten", processor("E", before=("flatten",))], "'E' must come before 'flatten'."),
        (["flatten", processor("E", before=("runnerkit/flatten",))], "'E' must come before 'flatten'."),
        (
            [C, A, B, processor("D", before=("A",))],
            "no order is possible, as 'C' must come before 'D' must come before 'A' must come before 'C'. Leave",
        ),
        ([processor("F", before="flatten")], "Processor F: before must be a tuple of names, such as ('normalize',)"),
    ],
)  # fmt: skip
def test_processors_in_another_order_are_refused_with_one_that_would_do(given: list[Any], says: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make("CartPole-v1", preprocessors=given)
    assert says in str(caught.value)


def test_postprocessors_have_an_order_too() -> None:
    with pytest.raises(ArgumentError, match=r"^postprocessors: 'clip' must come before 'E'\. Write them in the order"):
        make("Pendulum-v1", postprocessors=[processor("E", after=("clip",)), "clip"])


def test_a_choice_compares_names_as_indexes_do() -> None:
    choice = Choice.of(["Runnerkit_Atari"], [])
    assert choice.admits("runnerkit.atari")
    assert not choice.without("RUNNERKIT-ATARI").admits("runnerkit-atari")
