"""`runnerkit new` writes packages that work as they are, and `runnerkit check` says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from runnerkit._cli.main import main
from runnerkit._cli.new import KINDS, write_package
from runnerkit._plugins import manager
from runnerkit._plugins.manager import Once, Plugins

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One package of each kind, side by side."""
    folder = tmp_path_factory.mktemp("new")
    return {kind: write_package(f"made-{kind}", kind, folder) for kind in KINDS}


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, as mypy reads all of NumPy and Gymnasium into an empty one."""
    return tmp_path_factory.mktemp("mypy_cache")


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_its_own_tests(packages: dict[str, Path], kind: str) -> None:
    done = run(packages[kind], "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_new_packages_pass_strict_mypy(packages: dict[str, Path], mypy_cache: Path) -> None:
    sources = [str(package / "src") for package in packages.values()]
    config = packages["executor"] / "pyproject.toml"  # the same in all
    command = ["mypy", "--config-file", str(config), *sources]
    done = run(packages["executor"], *command, MYPYPATH=os.pathsep.join(sources), MYPY_CACHE_DIR=str(mypy_cache))
    assert done.returncode == 0, done.stdout + done.stderr


def test_new_packages_pass_strict_pyright(packages: dict[str, Path], tmp_path: Path) -> None:
    sources = [str(package / "src") for package in packages.values()]
    config = {"include": [str(package) for package in packages.values()], "extraPaths": sources}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({**config, "typeCheckingMode": "strict"}))
    done = run(tmp_path, "pyright", "-p", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_that_new_suggests_runs(
    packages: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = packages[kind] / "src"
    monkeypatch.syspath_prepend(str(source))
    project = tomllib.loads((packages[kind] / "pyproject.toml").read_text())["project"]
    info = tmp_path / "made.dist-info"  # as an editable install leaves it
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    groups = [
        f"[{group}]\n{name} = {value}" for group, one in project["entry-points"].items() for name, value in one.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(manager, "_installed", Once(Plugins))
    printed = CliRunner().invoke(main, ["new", f"made-{kind}", "--kind", kind, "-o", str(tmp_path)]).output
    command = printed.splitlines()[-1].split()
    assert command[0] == "runnerkit"
    result = CliRunner().invoke(main, [*command[1:], "--json"])
    assert result.exit_code == 0, result.output
    assert project["name"] in [part["distribution"] for part in json.loads(result.stdout)["made_by"]["parts"]]


@pytest.mark.skipif(not find_spec("ruff"), reason="needs ruff")
def test_new_packages_are_in_style(packages: dict[str, Path]) -> None:
    done = run(ROOT, "ruff", "check", "--select=E,F,W,I,B,UP", *map(str, packages.values()))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Lake", "a_b", "x-", ""])
def test_a_name_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["new", name, "--kind", "executor", "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert "NAME must be in lower case, with hyphens, such as scale-image" in result.output


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    arguments = ["new", "lake", "--kind", "env-factory", "-o", str(tmp_path)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "runnerkit-lake exists already" in result.output


# ---- runnerkit check


def test_check_reports_on_a_folder_and_its_exit_code_is_for_ci(packages: dict[str, Path]) -> None:
    result = CliRunner().invoke(main, ["check", str(packages["preprocessor"]), "--no-mypy"])
    assert result.exit_code == 0, result.output
    assert "preprocessor/made-preprocessor/row-independence" in result.output
    assert "0 failed" in result.output.splitlines()[-1]


def test_check_fails_if_a_check_does_and_says_what_was_seen(tmp_path: Path) -> None:
    package = write_package("broken", "preprocessor", tmp_path)
    module = package / "src" / "runnerkit_broken" / "processor.py"
    module.write_text(
        module.read_text().replace("large = observations", "observations[...] = 0\n        large = observations")
    )
    result = CliRunner().invoke(main, ["check", str(package), "--no-mypy", "--json"])
    assert result.exit_code == 1, result.output
    (failed,) = [check for check in json.loads(result.stdout)["checks"] if check["outcome"] == "failed"]
    assert failed["id"] == "preprocessor/broken/keeps-its-input"
    assert failed["message"].startswith("Seen: of the space 'float32'")
    expected = f"--expect-failure={failed['id']}=it is broken on purpose"
    assert CliRunner().invoke(main, ["check", str(package), "--no-mypy", expected]).exit_code == 0


def test_check_runs_mypy(tmp_path: Path, mypy_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPY_CACHE_DIR", str(mypy_cache))
    package = write_package("untyped", "executor", tmp_path)
    module = package / "src" / "runnerkit_untyped" / "executor.py"
    module.write_text(module.read_text() + "\n\ndef untyped(x):\n    return x\n")
    result = CliRunner().invoke(main, ["check", str(package), "--json"])
    assert result.exit_code == 1, result.output
    (failed,) = [check for check in json.loads(result.stdout)["checks"] if check["outcome"] == "failed"]
    assert failed["id"] == "plugin/types"
    assert "Function is missing a type annotation" in failed["message"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "'nowhere' is no installed distribution"),
        (["runnerkit", "--env", "vector"], "--env needs a value such as lake:Small, not 'vector'"),
        pytest.param(
            ["runnerkit_atari", "--expect-failure", "plugin/nmes=why"],
            "Did you mean 'plugin/names'?",
            marks=pytest.mark.skipif(not find_spec("runnerkit_atari"), reason="needs runnerkit-atari"),
        ),
    ],
)
def test_check_refuses_what_cannot_be(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["check", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
