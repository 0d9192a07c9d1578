"""Programs of their own, which tests start, and the processes that these and the tests leave."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).parent.parent
TIMEOUT_S: Final = 100


def default_sigint() -> None:
    """Take Ctrl-C as programs do: a job in the background of a shell ignores it, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(arguments: list[str], *, timeout: float = TIMEOUT_S, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with these arguments; whatever happens, its whole group is gone afterwards."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=default_sigint, **options,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def program(text: str, *flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that is given on the command line: its functions cannot be imported by anyone."""
    environment = {**os.environ, "PYTHONPATH": "support"}
    return run([*flags, "-c", textwrap.dedent(text)], cwd=TESTS, env=environment, **options)


def children() -> set[int]:
    """Return the child processes of this one, zombies included."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            pid, rest = entry.parent.name, entry.read_text().rpartition(")")[2].split()
            if int(rest[1]) == os.getpid():
                found.add(int(pid))
    return found


def is_running(pid: int) -> bool:
    """Whether there is such a process, other than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
