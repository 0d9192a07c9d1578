"""The code itself: style, types, their completeness, and the documents that must not lag behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runnerkit import hooks
from runnerkit._plugins.offers import KINDS

ROOT = Path(__file__).parent.parent
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))


def run(*command: str, typings: bool = False) -> subprocess.CompletedProcess[str]:
    full = [sys.executable, "-m", *command]
    # pyright looks for packages beside the python that it finds on the PATH
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **({"PYTHONPATH": "typings"} if typings else {})}
    return subprocess.run(full, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "mypy", "pyright"])
def test_the_code_passes(command: str) -> None:
    done = run(*command.split(), typings=command == "mypy")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plugins_pass_strict_mypy() -> None:
    done = run("mypy", *(f"plugins/{plugin}/src" for plugin in PLUGINS), typings=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_public_name_has_a_complete_type() -> None:
    done = run("pyright", "--verifytypes", "runnerkit", "--ignoreexternal", "--outputjson")
    completeness = json.loads(done.stdout)["typeCompleteness"]
    incomplete = [
        symbol["name"] for symbol in completeness["symbols"] if symbol["isExported"] and not symbol["isTypeKnown"]
    ]
    assert completeness["completenessScore"] == 1, incomplete


def test_the_stubs_are_still_needed() -> None:
    done = run("mypy", "tests/typing/pass/torch_policy.py")
    assert done.returncode == 1, "mypy is content without typings/: delete the stub"
    assert "[no-untyped-call]" in done.stdout


def test_every_hook_is_documented_in_the_readmes() -> None:
    for document in (ROOT / "README.md", ROOT / "plugins" / "README.md"):
        text = document.read_text()
        missing = [kind for kind in KINDS if f"{kind}()" not in text]
        assert not missing, f"{document.name} lacks {missing}"


def test_hooks_take_no_arguments_and_have_a_sentence_each() -> None:
    for kind in KINDS:
        assert (getattr(hooks, kind).__doc__ or "").endswith("."), kind


def test_importing_runnerkit_imports_nothing_that_is_not_needed() -> None:
    code = "import sys, runnerkit; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint({"torch", "click", "rich", "pluggy", "runnerkit_atari", "runnerkit_minari"})
