"""The folders of local clusters: those of programs that were killed are removed, and no other one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runnerkit_ray.folders import Folder, remove_unused

OTHER = """
import os, signal, subprocess, sys
from runnerkit_ray.folders import Folder

folder = Folder(sys.argv[1])
os.makedirs(folder.path + "/session_1/logs")
child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False)
print(folder.path, child.pid, flush=True)
input()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_folder_of_a_program_is_removed_once_that_was_killed_and_not_before(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        folder, child = other.stdout.readline().split()
        remove_unused(str(tmp_path))
        assert Path(folder, "session_1", "logs").is_dir()
        other.communicate("\n")
    remove_unused(str(tmp_path))
    os.kill(int(child), signal.SIGKILL)  # it was still there, but had not got the lock
    assert not list(tmp_path.iterdir())


def test_a_folder_of_this_program_is_in_use_until_it_removes_it(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    Path(folder.path, "session_1").mkdir()
    remove_unused(str(tmp_path))
    assert Path(folder.path, "session_1").is_dir()
    assert os.listdir(folder.path).count("in-use") == 1
    folder.remove()
    folder.remove()
    assert not list(tmp_path.iterdir())


def test_what_may_be_in_use_or_is_of_others_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "rk-ray-just-made").mkdir()  # without a lock yet, or by an older version
    (tmp_path / "rk-ray-file").touch()
    for name in ("rk-ray-theirs", "elsewhere", "other"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "in-use").touch()
    (tmp_path / "rk-ray-link").symlink_to(elsewhere)
    (tmp_path / "rk-ray-just-made" / "in-use").symlink_to(elsewhere / "in-use")
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    remove_unused(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 6
    monkeypatch.setattr(os, "getuid", lambda: mine)
    remove_unused(str(tmp_path))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"rk-ray-just-made", "rk-ray-file", "rk-ray-link", "elsewhere", "other"}
    assert (elsewhere / "in-use").exists()
