"""Programs of their own, which tests start, and the processes that these and the tests leave."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).parent.parent
TIMEOUT_S: Final = 100


@contextlib.contextmanager
def started(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a program; whatever happens, it and what it started are gone afterwards."""
    with subprocess.Popen(command, text=True, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run(arguments: list[str], *, timeout: float = TIMEOUT_S, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with these arguments."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started([sys.executable, *arguments], **pipes, **options) as process:
        out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def program(text: str, *flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that is given on the command line: its functions cannot be imported by anyone."""
    environment = {**os.environ, "PYTHONPATH": "support"}
    return run([*flags, "-c", textwrap.dedent(text)], cwd=TESTS, env=environment, **options)


def wait_for(is_time: Callable[[], object]) -> None:
    """Wait until it is time to go on, or a while, lest a test hang."""
    end = time.monotonic() + TIMEOUT_S / 2
    while not is_time() and time.monotonic() < end:
        time.sleep(0.01)


def as_soon_as(is_time: Callable[[], object], do: Callable[[], object]) -> threading.Thread:
    """Do something in another thread as soon as it is time to."""

    def act() -> None:
        wait_for(is_time)
        do()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


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
