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


@pytest.mark.parametrize("folder", ["pass", "fail"])
def test_mypy_sees_what_is_right_and_what_is_wrong(folder: str) -> None:
    _run("mypy", *map(str, (HERE / folder).glob("*.py")), PYTHONPATH="typings")


def test_pyright_sees_what_is_right_and_what_is_wrong() -> None:
    _run("pyright", "-p", str(HERE))


@pytest.mark.parametrize("path", PASSING, ids=lambda path: path.stem)
def test_what_passes_also_runs(path: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
