"""The files in `pass` and `fail` under mypy and pyright; those in `pass` are executed, too.

With the plugin, those in `pass` are checked by test_code.py.
"""

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


WITHOUT_RAY = """
[[tool.mypy.overrides]]
module = "ray.*"  # which is in no signature, and mypy is slow to read
follow_imports = "skip"
"""


@pytest.fixture
def without_plugin(tmp_path: Path) -> list[str]:
    """Return the options for mypy's configuration without the plugin, with a cache of its own."""
    plugin = 'plugins = ["runnerkit.mypy"]\n'
    configuration = (ROOT / "pyproject.toml").read_text("utf-8")
    assert plugin in configuration
    path = tmp_path / "pyproject.toml"
    path.write_text(configuration.replace(plugin, "") + WITHOUT_RAY, "utf-8")
    return ["--config-file", str(path), "--cache-dir", str(ROOT / ".mypy_cache" / "without_plugin")]


def test_mypy_alone_sees_what_is_right_and_what_is_wrong(without_plugin: list[str]) -> None:
    _run("mypy", *without_plugin, *map(str, [*PASSING, *HERE.glob("fail/*.py")]), PYTHONPATH="typings")


def test_pyright_sees_what_is_right_and_what_is_wrong() -> None:
    _run("pyright", "-p", str(HERE))


RUNS = """
import runpy, sys
for path in sys.argv[1:]:
    print(path, flush=True)
    runpy.run_path(path, run_name="__main__")
"""


def test_what_passes_also_runs() -> None:
    command = [sys.executable, "-W", "error", "-c", RUNS, *map(str, PASSING)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
