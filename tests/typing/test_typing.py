"""The files in `pass` and `fail` under mypy and pyright; those in `pass` are executed, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PASSING = sorted(HERE.glob("pass/*.py"))


def _run(*command: str, **more: str) -> None:
    # pyright looks for packages beside the python that it finds on the PATH
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **more}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def without_plugin(tmp_path: Path) -> list[str]:
    """Return the options for mypy's configuration without the plugin, with a cache of its own."""
    plugin = 'plugins = ["runnerkit.mypy"]\n'
    configuration = (ROOT / "pyproject.toml").read_text("utf-8")
    assert plugin in configuration
    path = tmp_path / "pyproject.toml"
    path.write_text(configuration.replace(plugin, ""), "utf-8")
    return ["--config-file", str(path), "--cache-dir", str(ROOT / ".mypy_cache" / "without_plugin")]


@pytest.mark.parametrize("folder", ["pass", "fail"])
def test_mypy_alone_sees_what_is_right_and_what_is_wrong(folder: str, without_plugin: list[str]) -> None:
    _run("mypy", *without_plugin, *map(str, (HERE / folder).glob("*.py")), PYTHONPATH="typings")


def test_mypy_with_the_plugin_sees_what_is_right() -> None:
    _run("mypy", *map(str, PASSING), PYTHONPATH="typings")


def test_pyright_sees_what_is_right_and_what_is_wrong() -> None:
    _run("pyright", "-p", str(HERE))


@pytest.mark.parametrize("path", PASSING, ids=lambda path: path.stem)
def test_what_passes_also_runs(path: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
