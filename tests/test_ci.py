"""CI passes if each group of tests was run to its end, and what failed passes alone; nothing is left running."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

CI = Path(__file__).parent.parent / ".ci"

# Stands for Python, in the environments, too. A file per group of tests, such as `others`, says how the group ends.
PYTHON = """#!/usr/bin/env bash
case $2 in
venv)
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    printf '#!/bin/sh' >"$3/bin/pip"
    chmod +x "$3/bin/pip"
    exit
    ;;
compileall) exit ;;
esac
for cache; do [[ $cache != cache_dir=* ]] || break; done
cache=${cache#cache_dir=} && group=${cache##*/}
echo "ran $group"
ends() { mkdir -p "$cache/v/cache" && touch "$cache/v/cache/nodeids" "${@/#/$cache/v/cache/}"; }
case $(cat "$ENDS/$group") in
"passes") ends ;;
"passes alone") ends lastfailed && [[ $* = *--last-failed* ]] ;;
"fails") ends lastfailed && false ;;
"is killed") exit 1 ;;
"hangs")
    trap 'touch "$ENDS/ended" && exit' TERM
    sleep 60 &
    touch "$ENDS/hanging" && wait
    ;;
"cannot be read") until [ -e "$ENDS/hanging" ]; do sleep 0.01; done && exit 2 ;;
esac
"""
GROUPS = ("others", "code", "old", "checkers", "cluster")


NEEDED = "bash cat chmod cp dirname env mkdir mktemp rm sh sleep timeout touch"


def run(folder: Path, path: str = os.environ["PATH"], **ends: str) -> subprocess.CompletedProcess[str]:
    program(folder / "python", PYTHON)
    if path == os.environ["PATH"]:
        program(folder / "chromium", "#!/bin/sh\n")
    for group in GROUPS:
        (folder / group).write_text(ends.get(group, "passes"))
    shutil.copytree(CI, folder / ".ci")
    environment = {
        **os.environ,
        "PYTHON": str(folder / "python"),
        "PATH": f"{folder}{os.pathsep}{path}",
        "ENDS": str(folder),
        "TMPDIR": str(folder),
        "APT_SECONDS": "0.5",
    }
    command = [folder / ".ci" / "run"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize("group", ["others", "old", "cluster"])
@pytest.mark.parametrize(("end", "code", "runs"), [("passes alone", 0, 2), ("fails", 1, 2), ("is killed", 1, 1)])
def test_ci_fails_unless_all_groups_are_run_and_pass(
    tmp_path: Path, group: str, end: str, code: int, runs: int
) -> None:
    done = run(tmp_path, **{group: end})
    assert (done.returncode, done.stdout.count(f"ran {group}\n")) == (code, runs), done
    assert ("did not run to their end" in done.stderr) == (end == "is killed")


def test_ci_that_stops_early_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    done = run(tmp_path, others="cannot be read", old="hangs")
    assert done.returncode == 1, done
    until = time.monotonic() + 10
    while not (tmp_path / "ended").exists() and time.monotonic() < until:  # it was told to end, and takes a moment
        time.sleep(0.01)
    assert (tmp_path / "ended").exists()
    assert not list(tmp_path.glob("tmp.*"))


def test_ci_waits_for_no_mirror_that_hangs(tmp_path: Path) -> None:
    tools = tmp_path / "tools"  # without a Chromium
    tools.mkdir()
    for name in NEEDED.split():
        (tools / name).symlink_to(shutil.which(name) or name)
    program(tools / "id", "#!/bin/sh\necho 0\n")
    program(tools / "apt-get", '#!/bin/sh\ntouch "$ENDS/asked"\nexec sleep 90\n')
    done = run(tmp_path, str(tools))
    assert done.returncode == 0, done
    assert (tmp_path / "asked").exists()
