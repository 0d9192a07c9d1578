"""Locks, and what stands behind a name: `runnerkit lock`, `runnerkit why`, `runnerkit plugins --strict`."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from click.testing import CliRunner, Result
from faulty_envs import Constant, Fleet, ScriptedEnv

from runnerkit import Contribution, Registry, hookimpl
from runnerkit._cli.main import main
from runnerkit._plugins import manager
from runnerkit._plugins.explain import explain, import_cost
from runnerkit._plugins.manager import Once, Plugins
from runnerkit.errors import ArgumentError, LockError
from runnerkit.history.arrays import ArrayFormat
from runnerkit.typing import AnyEnv

PLUGIN = """
from runnerkit import Contribution, hookimpl

@hookimpl
def history_formats():
    yield Contribution({name!r}, "runnerkit.history.arrays:ArrayFormat", "arrays again")
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a plugin `rk-NAME`; no other plugins are seen."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    all_of_them = importlib.metadata.distributions
    own = ("runnerkit", "gymnasium", "numpy")

    def only_these() -> list[Any]:
        return [one for one in all_of_them() if str(one.locate_file("")) == str(site) or one.name in own]

    monkeypatch.setattr("importlib.metadata.distributions", only_these)

    def put(name: str, offers: str, version: str = "1.2", source: str = PLUGIN) -> None:
        (site / f"rk_lock_{name}.py").write_text(source.format(name=offers))
        info = site / f"rk_{name}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rk-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[runnerkit]\n{name} = rk_lock_{name}\n")
        importlib.invalidate_caches()

    yield put
    for module in [module for module in sys.modules if module.startswith("rk_lock_")]:
        del sys.modules[module]


@pytest.fixture
def lock(install: Install, tmp_path: Path) -> Path:
    """Return a lock that was written when `mine` was version 1.2 of rk-one."""
    install("one", "mine")
    Registry().lock(tmp_path / "run.lock")
    return tmp_path / "run.lock"


def run(lock: object, **options: Any) -> None:
    given: dict[str, Any] = {"env": "CartPole-v1", "history": "mine", "executor": "serial", "lock": lock, **options}
    with Registry().build(given.pop("env"), **given) as runner:
        runner.rollout(Constant(), steps=2)


def edit(lock: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(lock.read_text())
    change(document)
    lock.write_text(json.dumps(document))


def make_env(seed: int | None) -> AnyEnv:
    return ScriptedEnv()


def test_what_is_locked_runs(lock: Path) -> None:
    run(lock)
    run(str(lock), preprocessors=["flatten"], postprocessors=[])
    run(lock, env=make_env, history=ArrayFormat())  # what is passed as an object has no name to lock


def test_a_lock_is_replaced_and_has_one_line_per_name_and_distribution(lock: Path, install: Install) -> None:
    assert '   "mine": "rk-one"' in lock.read_text().splitlines()
    assert '  "rk-one": "1.2",' in lock.read_text().splitlines()
    install("one", "mine", "1.3")
    Registry().lock(lock)
    run(lock)
    assert sorted(path.name for path in lock.parent.iterdir()) == ["run.lock", "site"]


def installs_anew(lock: Path, install: Install) -> None:
    install("one", "mine", "1.3")


def comes_from_another(lock: Path, install: Install) -> None:
    edit(lock, lambda document: document["names"]["history format"].update(mine="rk-two"))


def comes_by_hand(lock: Path, install: Install) -> None:
    edit(lock, lambda document: document["names"]["history format"].update(mine=""))


def is_new(lock: Path, install: Install) -> None:
    edit(lock, lambda document: document["names"]["history format"].pop("mine"))


def is_not_installed(lock: Path, install: Install) -> None:
    edit(lock, lambda document: document["distributions"].pop("rk-one"))


def has_another_gymnasium(lock: Path, install: Install) -> None:
    edit(lock, lambda document: document["distributions"].update(gymnasium="0.26.2"))


def has_another_python(lock: Path, install: Install) -> None:
    edit(lock, lambda document: document.update(python="3.9"))


PYTHON = ".".join(map(str, sys.version_info[:2]))


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        (installs_anew, "rk-one is 1.3, but 1.2 is locked"),
        (comes_from_another, "history format 'mine' comes from rk-one, but that of rk-two is locked"),
        (comes_by_hand, "history format 'mine' comes from rk-one, but one that was registered by hand is locked"),
        (is_new, "history format 'mine' comes from rk-one, but it is not locked"),
        (is_not_installed, "rk-one is 1.2, but it is not locked"),
        (has_another_gymnasium, f"gymnasium is {gymnasium.__version__}, but 0.26.2 is locked"),
        (has_another_python, f"Python is {PYTHON}, but 3.9 is locked"),
    ],
)
def test_drift_is_refused_by_its_name_before_a_file_is_made(
    lock: Path, install: Install, drift: Callable[[Path, Install], None], said: str
) -> None:
    drift(lock, install)
    with pytest.raises(LockError) as refused:
        run(lock)
    assert list(refused.value.differences) == [said]
    assert str(refused.value) == (
        f"The runner does not match {lock}: {said}. Install what is locked, or write a new lock: "
        f"runnerkit lock -o {lock}"
    )


def test_what_is_not_used_may_differ(lock: Path, install: Install) -> None:
    install("other", "other")
    edit(lock, lambda document: document["names"]["history format"].update(arrays="rk-two"))
    run(lock)


def test_a_refused_runner_leaves_no_env_open(lock: Path) -> None:
    edit(lock, lambda document: document.update(python="3.9"))
    fleet = Fleet()
    with pytest.raises(LockError):
        run(lock, env=fleet)
    assert [env.calls("close") for env in fleet.envs] == [1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"run.lock cannot be read: No such file or directory. Write a lock: runnerkit lock -o .*run.lock"),
        ("{", "run.lock is not a lock: "),
        ("[]", "run.lock is not a lock of this version of RunnerKit"),
        ('{"lock": 99}', "run.lock is not a lock of this version of RunnerKit"),
        ('{"lock": 1}', "run.lock is not a lock of this version of RunnerKit"),
    ],
)
def test_what_is_no_lock_is_told_with_the_way_out(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "run.lock"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ArgumentError, match=said):
        run(path, history="arrays")
    with pytest.raises(ArgumentError, match="lock must be the path of a file, not 3"):
        run(3, history="arrays")


def test_a_lock_that_cannot_be_written_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"The lock .*run\.lock cannot be written: No such file or directory\."):
        Registry().lock(tmp_path / "nowhere" / "run.lock")


# ---- in a terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs a command with plugins that are found anew."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(manager, "_installed", Once(Plugins))
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return call


def test_the_command_line_writes_and_heeds_a_lock(
    install: Install, terminal: Callable[..., Result], tmp_path: Path
) -> None:
    install("one", "mine")
    path = tmp_path / "run.lock"
    rollout = ("rollout", "CartPole-v1", "--steps", 2, "--history", "mine", "--lock", path)
    assert terminal("lock", "-o", path).output == f"Wrote {path}.\n"
    assert terminal(*rollout).exit_code == 0
    install("one", "mine", "1.3")
    refused = terminal(*rollout)
    assert (refused.exit_code, "rk-one is 1.3, but 1.2 is locked" in refused.output) == (1, True)


@pytest.mark.filterwarnings("ignore:.*that name means the one of runnerkit:RuntimeWarning")
def test_why_tells_who_offers_a_name_and_who_lost_it(install: Install, terminal: Callable[..., Result]) -> None:
    install("one", "same")
    install("two", "same")
    install("bold", "arrays")
    answers = json.loads(terminal("why", "same", "--json").stdout)["answers"]
    assert [(answer["asked_as"], answer["meaning"]) for answer in answers] == [
        (name, f"several distributions offer 'same'; ask for '{name}' to get this one")
        for name in ("rk-one/same", "rk-two/same")
    ]
    winner, loser = json.loads(terminal("why", "arrays", "--json").stdout)["answers"]
    assert (winner["meaning"], winner["distribution"]) == (
        "'arrays' means this one, because it is built in",
        "runnerkit",
    )
    assert loser["meaning"].endswith("because it is built in; ask for 'rk-bold/arrays' to get this one")
    assert [("rk-bold" in problem) for problem in loser["problems"]] == [True]
    text = terminal("why", "rk-two/same").stdout
    assert "rk-two 1.2 (plugin two)" in text
    assert "rk-one 1.2" not in text


def test_why_lists_options_the_cost_of_an_import_and_the_space_at_each_link(terminal: Callable[..., Result]) -> None:
    arguments = ("--env", "Blackjack-v1", "--pre", "flatten", "--pre", "normalize:clip=3")
    document = json.loads(terminal("why", "transitions", *arguments, "--json").stdout)
    (answer,) = document["answers"]
    assert answer["module"] == "runnerkit.history.transitions"
    assert answer["import"].keys() == {"seconds", "modules"}
    assert [link["link"] for link in document["links"]] == ["observation", "after flatten", "after normalize", "action"]
    assert document["links"][2]["space"] == "Box(-3.0, 3.0, (45,), float32)"
    (normalize,) = explain(Plugins(), "normalize")
    assert [option["option"] for option in normalize["options"]] == ["epsilon", "clip"]
    unknown = terminal("why", "nrmalize")
    assert (unknown.exit_code, "Did you mean 'normalize'?" in unknown.output) == (2, True)


def test_links_run_from_the_env_to_the_agent_and_back() -> None:
    with Registry().build("Pendulum-v1", preprocessors=["normalize"], postprocessors=["clip", "rescale"]) as runner:
        links = runner.links()
        assert [link for link, _ in links] == [
            "observation", "after normalize", "action", "after clip", "after rescale"
        ]  # fmt: skip
        assert links[1][1] == runner.observation_space
        assert (links[2][1], links[-1][1]) == (runner.action_space, gymnasium.make("Pendulum-v1").action_space)


def test_a_module_of_this_process_alone_has_no_cost_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "only_here", types.ModuleType("only_here"))
    assert import_cost("only_here") is None


@pytest.mark.parametrize("declared", [False, True], ids=["hooks", "declared"])
def test_plugins_strict_ends_with_1_if_a_plugin_cannot_be_imported(
    install: Install, terminal: Callable[..., Result], tmp_path: Path, declared: bool
) -> None:
    install("good", "mine")
    assert terminal("plugins", "--strict").exit_code == 0
    install("bad", "", source="import nowhere_to_be_found")
    if declared:
        declaration = "[runnerkit.history_formats]\nbad = rk_lock_bad:Format\n"
        (tmp_path / "site" / "rk_bad.dist-info" / "entry_points.txt").write_text(declaration)
    assert terminal("plugins").exit_code == 0
    result = terminal("plugins", "--strict")
    assert (result.exit_code, "nowhere_to_be_found" in result.stderr) == (1, True)
    (problem,) = json.loads(terminal("plugins", "--strict", "--json").stdout)["problems"]
    assert problem["distribution"] == "rk-bad"
    assert terminal("plugins", "--strict", "mine").exit_code == 2


def test_a_name_that_was_registered_by_hand_can_be_locked(tmp_path: Path) -> None:
    @hookimpl
    def history_formats() -> Iterator[Contribution[ArrayFormat]]:
        yield Contribution("mine", ArrayFormat)

    registry = Registry()
    registry.register(types.SimpleNamespace(history_formats=history_formats), "mine")
    registry.lock(tmp_path / "run.lock")
    registry.build("CartPole-v1", history="mine", lock=tmp_path / "run.lock").close()
    Registry().lock(tmp_path / "run.lock")
    with pytest.raises(LockError, match="'mine' comes from a plugin that was registered by hand, but it is not locked"):
        registry.build("CartPole-v1", history="mine", lock=tmp_path / "run.lock")
