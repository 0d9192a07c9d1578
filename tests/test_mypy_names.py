"""Names under the mypy plugin: what is installed is known without being imported, and what is not is an error."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from mypy.build import default_data_dir
from mypy.modulefinder import compute_search_paths
from mypy.options import Options
from mypy_project import STAND_INS, Project, install
from runnerkit_mypy.config import Config, ConfigError

from runnerkit._plugins import offers as plugins
from runnerkit._plugins.manager import Plugins
from runnerkit.errors import UnknownNameError
from runnerkit.mypy import names as mypy_names
from runnerkit.mypy.names import BUILTIN, KINDS, Names, find_names

SKIPPED = ("gymnasium.*", "numpy.*", "pluggy.*", "torch.*")  # which names do not need

ARROW = """
import runnerkit

class ArrowHistory:
    rows: int

class Symlog:
    pass

ARROW: runnerkit.HistoryKey[ArrowHistory] = runnerkit.HistoryKey("feather")

raise RuntimeError("imported")
"""
ARROW_POINTS = {
    "runnerkit.history_formats": {"feather": "third_arrow:ARROW"},
    "runnerkit.action_preprocessors": {"symlog": "third_arrow:Symlog"},
}


def known(kind: str, *others: str) -> str:
    """Return the names that mypy lists: those given, and what this environment has installed beside the stand-ins."""
    installed = entry_points(group=f"runnerkit.{kind}")
    names = {point.name for point in installed if point.dist is None or point.dist.name not in STAND_INS}
    return f"Known: {', '.join(sorted({*others, *names}))}."


PARTS = """
import os
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, overload
from typing_extensions import Unpack
from runnerkit.executors import MakeExecutor, SerialExecutor
from runnerkit.history.arrays import ArrayFormat
from runnerkit.typing import AnyEnv

class More(TypedDict, total=False):
    label: str
class Columns(ArrayFormat):
    def __init__(
        self, compression: Literal["zstd", "none"] | None = None, *, level: int | None = None,
        path: str | os.PathLike[str] = "", widths: Sequence[float] = (), _hidden: int = 0, **more: Unpack[More],
    ) -> None: ...
class Stack:
    def __init__(self, k: int) -> None: ...
class Either:
    @overload
    def __init__(self, *, low: int) -> None: ...
    @overload
    def __init__(self, *, high: str) -> None: ...
    def __init__(self, **bounds: int | str) -> None: ...
class AnyOptions:
    def __init__(self, *args: object, **options: object) -> None: ...
class Slow(SerialExecutor):
    def __init__(self, n_envs: int, workers: int | None = None, *, pause: float = 0.0) -> None: ...
def open_stack(*, k: int = 4) -> Stack:
    return Stack(k)
def slow_by_url(url: str = "") -> MakeExecutor:
    return Slow
def slow() -> MakeExecutor:
    return Slow
def make_lake(env_id: str, /, *, seed: int | None, size: int = 4, n_envs: int = 1) -> AnyEnv:
    raise NotImplementedError
"""
PARTS_POINTS = {
    "runnerkit.history_formats": {"columns": "third_parts:Columns"},
    "runnerkit.reward_processors": {
        "stack": "third_parts:Stack",
        "open-stack": "third_parts:open_stack",
        "either": "third_parts:Either",
        "any-options": "third_parts:AnyOptions",
    },
    "runnerkit.executors": {"slow": "third_parts:Slow", "slow-url": "third_parts:slow_by_url", "s": "third_parts:slow"},
    "runnerkit.env_factories": {"lake": "third_parts:make_lake"},
}
OF_COLUMNS = "Its options: compression, label, level, path, widths.  [runnerkit-option]"

NAMED = ("arrays", "columns", "feather", "minari", "mine", "npz", "torch", "transitions")
FORMATS = f"{known('history_formats', *NAMED)}  [runnerkit-name]"
FAMILIES = known("env_factories", "atari", "lake", "vector")
BUILT_IN = ("asyncio", "auto", "processes", "serial", "threads")
INSTALLED_EXECUTORS = f"{known('executors', *BUILT_IN)}  [runnerkit-name]"
EXECUTORS = f"{known('executors', *BUILT_IN, 's', 'slow', 'slow-url')}  [runnerkit-name]"
PREPROCESSORS = (
    "Known: flatten, frame-stack, last-action, normalize, scale-image, symlog, time-aware.  [runnerkit-name]"
)
MISSPELT = f"No history format is called 'fether'. Did you mean 'feather'? {FORMATS}"
OTHER = f"No history format is called 'xyzzy'. {FORMATS}"


def by_hand(kind: str, name: str) -> str:
    return (
        f'note: If it is registered by hand, declare it: [tool.runnerkit.mypy.names.{kind}] {name} = "module:object".'
    )


FAULTY = {
    "make": ('import runnerkit\nrunnerkit.make("CartPole-v1", history="fether")', [f"2: {MISSPELT}"]),
    "make_imported": (
        'from runnerkit import make\nmake("CartPole-v1",\n    executor="treads")',
        [f"3: No executor is called 'treads'. Did you mean 'threads'? {EXECUTORS}"],
    ),
    "gym_runner": (
        'from runnerkit import GymRunner\nwith GymRunner("CartPole-v1", 0, history="fether") as made:\n    made.seed',
        [f"2: {MISSPELT}"],
    ),
    "derived": (
        "from typing import Any\nfrom runnerkit import GymRunner\n"
        'class Mine(GymRunner[Any, Any, float]): ...\nMine("CartPole-v1", history="fether")',
        [f"4: {MISSPELT}"],
    ),
    "default_registry": (
        'import runnerkit\nrunnerkit.default_registry.build("x",\n    history="xyzzy")',
        [f"3: {OTHER}", f"3: {by_hand('history_formats', 'xyzzy')}"],
    ),
    "own_registry": (
        "from runnerkit import Registry\ndef f() -> None:\n    registry = Registry()\n    registry.discover()\n"
        '    registry.build("x", history="xyzzy")',
        [f"5: {OTHER}", f"5: {by_hand('history_formats', 'xyzzy')}"],
    ),
    "like_a_known_name_but_not_misspelt": (
        'import runnerkit\nrunnerkit.make("x", preprocessors=["flatten-dict"])',
        [
            f"2: No preprocessor is called 'flatten-dict'. Did you mean 'flatten'? {PREPROCESSORS}",
            f"2: {by_hand('action_preprocessors', 'flatten-dict')}",
        ],
    ),
    "registry_from_elsewhere": (
        'from runnerkit import Registry\ndef f(registry: Registry) -> None:\n    registry.build("x", history="fether")',
        [f"3: {MISSPELT}"],
    ),
    "processors": (
        "import runnerkit\nrunnerkit.make(\n    'x',\n    preprocessors=[\n        'flatten',\n        'symlgo',\n"
        "    ],\n    postprocessors=('clpi',),\n)",
        [
            f"6: No preprocessor is called 'symlgo'. Did you mean 'symlog'? {PREPROCESSORS}",
            "8: No postprocessor is called 'clpi'. Did you mean 'clip'? Known: clip, rescale.  [runnerkit-name]",
        ],
    ),
    "env_factory": (
        'import runnerkit\nrunnerkit.make("atri:Pong")',
        [f"2: No env factory is called 'atri'. Did you mean 'atari'? {FAMILIES}  [runnerkit-name]"],
    ),
    "env_ids": (
        'import runnerkit\nrunnerkit.make("CartPol-v1")\nrunnerkit.GymRunner("frozenlake-v1")\n'
        'runnerkit.make("Aniahr-v1")\nrunnerkit.make("Pendulmu-v1")',
        [
            "2: No env is called 'CartPol-v1'. Did you mean 'CartPole-v1'?  [runnerkit-name]",
            "3: No env is called 'frozenlake-v1'. Did you mean 'FrozenLake-v1'?  [runnerkit-name]",
            "5: No env is called 'Pendulmu-v1'. Did you mean 'Pendulum-v1'?  [runnerkit-name]",
        ],
    ),
    "final": (
        'from typing import Final\nimport runnerkit\nNAME: Final = "fether"\nrunnerkit.make("x", history=NAME)',
        [f"4: {MISSPELT}"],
    ),
    "literal": (
        "from typing import Literal\nimport runnerkit\n"
        'def f(name: Literal["fether"]) -> None:\n    runnerkit.make("x", history=name)',
        [f"4: {MISSPELT}"],
    ),
    "twice_in_a_line": (
        'import runnerkit\nprint(runnerkit.make("x", history="fether").rollout(runnerkit.make("x", history="fether")))',
        [
            f"2: {MISSPELT}",
            "2: Agent GymRunner has no method act(observations). Give it one.  [runnerkit-contract]",
        ],
    ),
    "names_with_options": (
        "import runnerkit\n"
        'runnerkit.make("x", history=("fether", {"path": 1}))\n'
        'runnerkit.make("x", history=runnerkit.use("fether"))\n'
        'runnerkit.make("x", history="some-kit/feather")',
        [
            f"2: {MISSPELT}",
            f"3: {MISSPELT}",
            f"4: No history format is called 'some-kit/feather'. Did you mean 'feather'? {FORMATS}",
            f"4: {by_hand('history_formats', 'some-kit/feather')}",
        ],
    ),
    "options": (
        """import runnerkit
from typing import Any
from runnerkit import HistoryKey, make, use
from runnerkit.history.arrays import ArrayHistory
KEY: HistoryKey[ArrayHistory[Any, Any]] = HistoryKey("columns")
make("x", history=("npz", {"pth": "runs"}))
make("x", history=("npz", {"path": 3}))
use("columns", compression=3)
use("columns", compression="zst")
use(KEY, levl=3, label="x")
runnerkit.Registry().build("x", history=("columns", dict(widths=["a"])))
make("x", reward_processors=[use("stack"), ("stack", {"k": "4"}), "stack"])
make("x", preprocessors=[
    ("frame-stack",
     {"kk": 4})], reward_processors=[
    use("either", low="x"),
    use("open-stack", n=1),
])
make("x", reward_processors=[use("clip", lo=1.0)])
make("x", executor=use("slow", paus=1))
make("x", executor=("slow-url", {"rl": "x"}))
make("x", executor=use("threads", workers=2))
make("lake:x", env_options={"sise": 8})
make("lake:x", env_options={"size": "8"})
def sized(seed: int | None, size: int = 4) -> Any: ...
make(sized, env_options={"siz": 8})
""",
        [
            "6: History format 'npz' has no option 'pth'. Did you mean 'path'? Its options: path.  [runnerkit-option]",
            "7: History format 'npz': option 'path' expects str | PathLike[str] | None, not 3.  [runnerkit-option]",
            "8: History format 'columns': option 'compression' expects Literal['zstd', 'none'] | None, not 3.  "
            "[runnerkit-option]",
            "9: History format 'columns': option 'compression' expects Literal['zstd', 'none'] | None, not 'zst'.  "
            "[runnerkit-option]",
            f"10: History format 'columns' has no option 'levl'. Did you mean 'level'? {OF_COLUMNS}",
            "11: History format 'columns': option 'widths' expects Sequence[float], not list[str].  [runnerkit-option]",
            "12: Reward processor 'stack' needs the option 'k' (int). Pass it, as use(NAME, k=...) does.  "
            "[runnerkit-option]",
            "12: Reward processor 'stack': option 'k' expects int, not '4'.  [runnerkit-option]",
            "15: Preprocessor 'frame-stack' has no option 'kk'. Did you mean 'k'? Its options: k, padding.  "
            "[runnerkit-option]",
            "16: Reward processor 'either': option 'low' expects int, not 'x'.  [runnerkit-option]",
            "17: Reward processor 'open-stack' has no option 'n'. Its options: k.  [runnerkit-option]",
            "19: Reward processor 'clip' has no option 'lo'. Did you mean 'low'? Its options: high, low.  "
            "[runnerkit-option]",
            "20: Executor 'slow' has no option 'paus'. Did you mean 'pause'? Its options: pause.  [runnerkit-option]",
            "21: Executor 'slow-url' has no option 'rl'. Did you mean 'url'? Its options: url.  [runnerkit-option]",
            "22: Executor 'threads' has no option 'workers'. It is an option of the runner itself: make(..., "
            "workers=...).  [runnerkit-option]",
            "23: Env factory 'lake' has no option 'sise'. Did you mean 'size'? Its options: size.  [runnerkit-option]",
            "24: Env factory 'lake': option 'size' expects int, not '8'.  [runnerkit-option]",
            "26: Env factory 'sized' has no option 'siz'. Did you mean 'size'? Its options: size.  [runnerkit-option]",
        ],
    ),
    "no_plugins": (
        'from runnerkit import GymRunner\nGymRunner("x", history="fether", plugins=None)',
        [f"2: {MISSPELT}"],
    ),
}

SILENT = {
    "ignored": 'import runnerkit\nrunnerkit.make("x", history="fether")  # type: ignore[runnerkit-name]',
    "ignored_with_a_note": 'import runnerkit\nrunnerkit.make("x", history="xyzzy")  # type: ignore[runnerkit-name]',
    "variable": 'import runnerkit\nname = "fether"\ndef f(i: int) -> None:\n    runnerkit.make("x", history=f"a{i}")\n'
    "    runnerkit.make('x', history=name)",
    "other_plugins": "from runnerkit import GymRunner\nfrom runnerkit._plugins.manager import Plugins\n"
    'GymRunner("x", history="fether", plugins=Plugins())',
    "options_unseen": "from typing import Any\nfrom runnerkit import GymRunner\n"
    'def f(options: dict[str, Any]) -> None:\n    GymRunner("x", history="fether", **options)',
    "registers": "import runnerkit\nregistry = runnerkit.Registry()\nregistry.register(object())\n"
    'registry.build("x", history="fether")',
    "handed_on": "from runnerkit import Registry\nfrom helpers import fill\nregistry = Registry()\nfill(registry)\n"
    'registry.build("x", history="xyzzy")',
    "global_registry": 'from runnerkit import Registry\nregistry = Registry()\nregistry.build("x", history="xyzzy")',
    "registry_of_others": (
        "from runnerkit import Registry\ndef f(registry: Registry) -> None:\n"
        '    registry.build("x", preprocessors=["flatten-dict"])'
    ),
    "registers_with_the_default": (
        "import runnerkit\nrunnerkit.default_registry.register(object())\n"
        'runnerkit.make("x", history="fether")\nrunnerkit.GymRunner("x", history="fether")\n'
        'runnerkit.default_registry.build("x", history="fether")'
    ),
    "registers_with_the_imported_default": (
        'from runnerkit import default_registry as mine, make\nmine.register(object())\nmake("x", history="fether")'
    ),
    "hands_on_the_default": (
        "import runnerkit\nfrom helpers import fill\nfill(runnerkit.default_registry)\n"
        'runnerkit.make("x", history="fether")'
    ),
    "helpers": 'from runnerkit import Registry\ndef fill(registry: Registry) -> None:\n    registry.build("xyzzy:Env")',
    "modules_before_colons": 'from runnerkit import make\nmake("helpers:Env-v0")\nmake("nothing_alike:Env-v0")',
    "a_module_like_a_factory": 'import runnerkit\nrunnerkit.make("atar:Pong-v0")',
    "atar": "",
    "env_ids_of_others": (
        "import runnerkit\n"
        'for env in ("a", "b"):\n    runnerkit.make(env)\n'
        'runnerkit.make("CartPole-v1")\nrunnerkit.make("CartPole")\nrunnerkit.make("MyPendulum-v1")\n'
        'runnerkit.make("CartPole-v7")\nrunnerkit.make("ALE/CartPol-v1")\nrunnerkit.make("helpers:CartPol-v1")'
    ),
    "keys": 'import runnerkit\nKEY = runnerkit.HistoryKey[int]("fether")\nrunnerkit.make("x", history=KEY)',
    "exact_types": (
        "from typing import Any, assert_type\n"
        "import runnerkit\n"
        "from runnerkit import EnvKey, GymRunner, Registry\n"
        "from formats import MyHistory\n"
        "from third_arrow import ArrowHistory\n"
        'KEY: EnvKey[str, int] = EnvKey("CartPole-v1")\n'
        'assert_type(runnerkit.make(KEY, history="feather"), GymRunner[str, int, ArrowHistory])\n'
        'assert_type(runnerkit.make("x", history="mine"), GymRunner[Any, Any, MyHistory])\n'
        'assert_type(Registry().build(KEY, history="feather"), GymRunner[str, int, ArrowHistory])\n'
        'assert_type(GymRunner(KEY, history="feather"), GymRunner[str, int, ArrowHistory])\n'
        "def f(name: str) -> None:\n"
        "    assert_type(runnerkit.make(KEY, history=name), GymRunner[str, int, object])\n"
    ),
    "types_of_what_is_not_imported_here": (
        'import runnerkit\nfor history in runnerkit.make("x", history="feather").rollout(runnerkit.RandomAgent(1)):\n'
        "    history.rows + 1"
    ),
    "right_options": """
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypedDict, assert_type
from runnerkit import GymRunner, HistoryKey, Registry, make, use
from runnerkit.history.arrays import ArrayHistory
from runnerkit.typing import AnyEnv
KEY: HistoryKey[ArrayHistory[Any, Any]] = HistoryKey("columns")
NAME: Final = "columns"
class Some(TypedDict, total=False):
    level: int
    nowhere: int
def sized(seed: int | None, size: int = 4, env_index: int = 0) -> AnyEnv: ...
def f(some: Some, d: dict[str, object], m: Mapping[str, Any], a: Any, make_env: Callable[[int | None], AnyEnv]) -> None:
    for options in (some, d, m, a, {**d}):
        make("x", history=("columns", options))
        make("x", history=use("columns", **options))
    make("x", history=("columns", {str(a): 3}))
    make("x", history=use("columns", level=a))
    make("x", history=use("columns", **some), reward_processors=[use("stack", **d)])
    make(make_env, env_options={"size": 3})
    make(a, env_options={"size": 3})
    use(str(a), anything=1)
def by_hand(registry: Registry, plugin: object) -> None:
    registry.build("x", history=use("columns", mine=3), reward_processors=["stack"])
    registry.register(plugin)
make("x", history=("npz", {}))
make("x", history=use("npz", path=Path("runs")))
make("x", history=use(KEY, level=True, compression="zstd", label="x"))
make("x", history=use(NAME, widths=[1, 2]))
make("x", history="runnerkit-Parts/columns")
make("x", history=use("runnerkit_parts/columns", level=3))
make("x", history="runnerkit/npz", preprocessors=("runnerkit/flatten",))
make("x", reward_processors=[use("stack", k=4), use("either", low=1), use("either", high="x"), use("any-options", z=3)])
make("x", executor=use("slow", pause=1))
make("x", executor=use("s", pause=1))
make("lake:x", env_options={"size": 8, "n_envs": 3})
make("vector:x", env_options={"anything": 8})
make("CartPole-v1", env_options={"sutton_barto_reward": True})
make(sized, env_options={"size": 8, "env_index": 3})
make([sized, lambda seed: sized(seed)], env_options={"size": 8})
assert_type(make("x", history=("npz", {"path": "x"})), GymRunner[Any, Any, ArrayHistory[Any, Any]])
""",
    "formats": 'from runnerkit import HistoryKey\nclass MyHistory: ...\nMINE: HistoryKey[MyHistory] = HistoryKey("m")',
}

NAMES_TABLE = '[tool.runnerkit.mypy.names.history_formats]\nmine = "formats:MINE"\n'


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    project = Project(tmp_path_factory.mktemp("names"), SKIPPED)
    project.configure(SKIPPED, NAMES_TABLE)
    project.write_installed("third_arrow", ARROW)
    project.install("runnerkit-feather", ARROW_POINTS)
    project.write_installed("third_parts", PARTS)
    project.install("runnerkit-parts", PARTS_POINTS)
    for name, (source, _) in FAULTY.items():
        project.write(name, source)
    for name, source in SILENT.items():
        project.write(name, source)
    return project.check()


@pytest.mark.parametrize("case", FAULTY)
def test_a_name_that_nothing_has_is_an_error_where_it_stands(messages: dict[str, list[str]], case: str) -> None:
    assert messages[case] == FAULTY[case][1]


@pytest.mark.parametrize("case", SILENT)
def test_nothing_is_said_of_what_is_right_or_cannot_be_known(messages: dict[str, list[str]], case: str) -> None:
    assert messages[case] == []


def test_the_cache_follows_what_is_installed(tmp_path: Path) -> None:
    project = Project(tmp_path, SKIPPED)
    project.write_installed("third_arrow", ARROW)
    project.write(
        "case",
        "import runnerkit\n"
        'runner = runnerkit.make("x", history="feather")\n'
        "reveal_type(runner)\n"
        'runnerkit.make("x", executor="seral")\n',
    )
    executor = f"4: No executor is called 'seral'. Did you mean 'serial'? {INSTALLED_EXECUTORS}"
    unknown, note, revealed, seral = project.check()["case"]
    assert unknown.startswith("2: No history format is called 'feather'.")
    assert note == f"2: {by_hand('history_formats', 'feather')}"
    assert "GymRunner[Any, Any, Any]" in revealed
    assert seral == executor

    project.install("runnerkit-feather", ARROW_POINTS)
    revealed, seral = project.check()["case"]
    assert "GymRunner[Any, Any, third_arrow.ArrowHistory]" in revealed
    assert seral == executor

    project.install("runnerkit-undeclared", {"runnerkit": {"undeclared": "some_module"}})
    (revealed, note) = project.check()["case"]
    assert note.startswith("4: note: The executor 'seral' is not checked, since runnerkit-undeclared may offer it")
    assert "GymRunner[Any, Any, third_arrow.ArrowHistory]" in revealed


def names_in(*folders: Path, config: Config | None = None, python: str | None = sys.executable) -> Names:
    options = Options()
    options.python_executable = python
    options.mypy_path = [str(folder) for folder in folders]
    return find_names(options, compute_search_paths([], options, default_data_dir()), config or Config())


def test_what_is_built_in_is_what_runnerkit_offers() -> None:
    assert dict(plugins.KINDS) == dict(KINDS)
    built_in = Plugins()
    for kind in plugins.KINDS:
        made = mypy_names.FORMATS if kind == "history_formats" else BUILTIN[kind]
        assert {name: offer.contribution.make for name, offer in built_in.offers(kind).items()} == made
        assert made.keys() == BUILTIN[kind].keys()


def test_the_message_is_that_of_the_run_time(messages: dict[str, list[str]]) -> None:
    known = sorted({*NAMED, *entry_points(group="runnerkit.history_formats").names})
    error = UnknownNameError(plugins.KINDS["history_formats"], "fether", known)
    assert messages["make"] == [f"2: {error}  [runnerkit-name]"]


def test_the_environment_that_mypy_checks_counts_not_its_own(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", tmp_path / "other"], check=True)
    (site,) = (tmp_path / "other").glob("lib/python*/site-packages")
    install(site, "runnerkit-feather", ARROW_POINTS)
    names = names_in(python=str(tmp_path / "other" / "bin" / "python"))
    assert names.targets["history_formats"] == {"feather": "third_arrow:ARROW"}
    assert not names.incomplete


def test_without_an_environment_nothing_is_known_for_sure(tmp_path: Path) -> None:
    assert names_in(python=None).incomplete.keys() == KINDS.keys()


def test_of_two_versions_of_a_package_that_found_first_counts(tmp_path: Path) -> None:
    points = {"runnerkit.history_formats": {"new": "a:b"}}
    install(tmp_path / "one", "runnerkit-feather", points)
    install(tmp_path / "two", "RunnerKit-Feather", ARROW_POINTS)
    known = names_in(tmp_path / "one", tmp_path / "two").known("history_formats")
    assert "new" in known
    assert "feather" not in known


def test_of_a_damaged_package_nothing_is_known(tmp_path: Path) -> None:
    install(tmp_path, "runnerkit-feather", ARROW_POINTS)
    assert names_in(tmp_path).incomplete == names_in().incomplete
    with (tmp_path / "runnerkit_feather-1.0.dist-info" / "entry_points.txt").open("a") as file:
        file.write("what is this\n")
    assert names_in(tmp_path).incomplete == dict.fromkeys(KINDS, "runnerkit-feather")


def test_a_package_without_declared_names_leaves_open_the_kinds_that_its_source_mentions(tmp_path: Path) -> None:
    install(tmp_path, "runnerkit-undeclared", {"runnerkit": {"undeclared": "undeclared_plugin"}})
    (tmp_path / "undeclared_plugin.py").write_text("@hookimpl\ndef history_formats(): ...\n")
    assert names_in(tmp_path).incomplete == {"history_formats": "runnerkit-undeclared"}


def test_a_package_with_hooks_beside_declared_names_may_offer_more(tmp_path: Path) -> None:
    install(tmp_path, "runnerkit-both", {**ARROW_POINTS, "runnerkit": {"hooks": "both_plugin"}})
    (tmp_path / "both_plugin.py").write_text("@hookimpl\ndef history_formats(): ...\n")
    names = names_in(tmp_path)
    assert names.incomplete == {"history_formats": "runnerkit-both"}
    assert names.targets["history_formats"]["feather"] == "third_arrow:ARROW"


def test_other_kinds_are_checked_and_the_package_is_named_once(tmp_path: Path) -> None:
    project = Project(tmp_path, SKIPPED)
    project.install("runnerkit-undeclared", {"runnerkit": {"undeclared": "undeclared_plugin"}})
    (project.site / "undeclared_plugin.py").write_text("@hookimpl\ndef history_formats(): ...\n")
    project.write(
        "case",
        "import runnerkit\n"
        'runnerkit.make("x", history="xyzzy")\n'
        'runnerkit.make("x", history="other")\n'
        'runnerkit.make("x", executor="seral")\n',
    )
    assert project.check()["case"] == [
        "2: note: The history format 'xyzzy' is not checked, since runnerkit-undeclared may offer it by a "
        'hook. It can declare its names under [project.entry-points."runnerkit.history_formats"].',
        f"4: No executor is called 'seral'. Did you mean 'serial'? {INSTALLED_EXECUTORS}",
    ]


def test_names_in_an_ini_file_have_their_kind_before_a_dot() -> None:
    names = names_in(config=Config("mypy.ini", names={"executors.mine": "my_project:Mine"}))
    assert names.target("executors", "mine") == "my_project.Mine"


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"executor": {}}, r"has no key 'executor'\. Did you mean 'executors'\? Known: env_factories,"),
        ({"executors": "x"}, "executors must be a table, not 'x'"),
        ({"executors": {"mine": "my_project"}}, """executors: 'mine' must be "module:object", not 'my_project'"""),
        ({"executors": {"mine": 3}}, """executors: 'mine' must be "module:object", not 3"""),
    ],
)
def test_a_wrong_table_of_names_is_refused(table: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        names_in(config=Config("pyproject.toml", names=table))
