"""A rollout in a real terminal: Ctrl-C and SIGTERM end it in order, and leave the terminal as it was."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import runnerkit

SECONDS = 90
LAUNCH = (  # a new session gets its terminal by asking for it; the suite itself may ignore Ctrl-C, as under nohup
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


class Terminal:
    """A command of runnerkit in a terminal of its own, and what it has printed there."""

    def __init__(self, *arguments: str) -> None:
        self.printed = b""
        self.keyboard, inside = pty.openpty()
        self.modes = termios.tcgetattr(self.keyboard)
        command = [sys.executable, "-S", "-c", LAUNCH, "-m", "runnerkit", *arguments]
        self.process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True)
        os.close(inside)
        os.set_blocking(self.keyboard, False)

    def read_until(self, done: Callable[[], bool]) -> None:
        """Read what is printed, so that the command never waits for us."""
        end = time.monotonic() + SECONDS
        while not done():
            assert time.monotonic() < end, self.printed
            try:
                self.printed += os.read(self.keyboard, 65536)
            except OSError:  # there is nothing, or nobody has the terminal open any more
                time.sleep(0.02)

    def session(self) -> list[int]:
        """Return the processes that live in the session of the terminal."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session, *_ = entry.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if int(session) == self.process.pid and state != "Z":
                found.append(int(entry.parent.name))
        return found

    def close(self) -> None:
        """Leave nothing behind, whatever the command does."""
        for pid in self.session():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.keyboard)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc for processes that are left")
@pytest.mark.parametrize(
    ("executor", "by"),
    [("serial", "ctrl-c"), ("threads", "sigterm"), ("processes", "ctrl-c"), ("processes", "sigterm")],
)
def test_a_rollout_in_a_terminal_ends_in_order(tmp_path: Path, executor: str, by: str) -> None:
    folder, manifest = tmp_path / "runs", tmp_path / "runs" / "manifest.jsonl"
    options = ["--n-envs", "2", "--steps", "900000", "--executor", executor, "-o", str(folder)]
    terminal = Terminal("rollout", "CartPole-v1", *options)
    try:
        terminal.read_until(lambda: manifest.exists() and b'"file":' in manifest.read_bytes())
        assert (len(terminal.session()) > 1) == (executor == "processes")
        if by == "ctrl-c":
            os.write(terminal.keyboard, b"\x03")  # the terminal tells all of its processes, helpers too
        else:
            terminal.process.send_signal(signal.SIGTERM)
        terminal.read_until(lambda: terminal.process.poll() is not None)
        assert terminal.process.returncode == (130 if by == "ctrl-c" else 143)
        assert terminal.session() == []
        assert termios.tcgetattr(terminal.keyboard) == terminal.modes
    finally:
        terminal.close()
    said = terminal.printed.decode()
    assert "Traceback" not in said
    assert re.search(r"episodes.*\d+ complete", said)
    assert f"Interrupted by {'Ctrl-C' if by == 'ctrl-c' else 'SIGTERM'}: this is what was collected" in said
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") > 0  # the cursor is back
    runs = runnerkit.load(folder)
    assert len(runs) > 0
    assert [*runs.faults(), *runs.unlisted()] == []
