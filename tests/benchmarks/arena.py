"""Measuring contestants in turns, each in a process of its own.

So a peer's threads, imports and log lines disturb nobody else, forking is safe, and whoever crashes or hangs is ended
with all its helpers while the others go on. All envs of a cell are open at the same time, or else turns could not
alternate; that nobody takes CPU time while others run is measured (`Outcome.idle`).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType

import procfs
from cells import Cell
from contestants import Contestant, Job
from results import CellResult, Outcome

OPEN_LIMIT = 180.0
"""Seconds until a contestant must have opened its envs, or closed them."""
RUN_LIMIT = 60.0
END_LIMIT = 5.0
"""Seconds until a process that is told to end must have done so."""
PAUSE = 0.02
"""Seconds between two turns, in which helpers that have polled for work fall asleep."""

Entry = tuple[Contestant, int | None]
"""A contestant and its number of workers."""


class ContestantError(Exception):
    """A contestant failed; the message says how."""


class Player:
    """The process of a contestant. Its helpers are all in its session."""

    def __init__(self, name: str) -> None:
        self._connection, theirs = Pipe()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (end() closes it)
        threads = dict.fromkeys(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"], "1")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("contest.py")), name, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **threads, "PYTHONWARNINGS": "ignore"},
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """The id of the process and of its session."""
        return self._process.pid

    @property
    def helpers(self) -> list[int]:
        """The ids of the processes that it has started."""
        return [pid for pid in procfs.members(self.pid) if pid != self.pid]

    @property
    def memory(self) -> int:
        """The bytes of all its processes."""
        return sum(map(procfs.own_bytes, procfs.members(self.pid)))

    def ask(self, message: object, limit: float) -> float:
        """Send a message and return the seconds that are the answer; raises ContestantError."""
        deadline = time.monotonic() + limit
        try:
            self._connection.send(message)
            while not self._connection.poll(0.5):
                if self._process.poll() is not None:
                    raise EOFError
                if time.monotonic() > deadline:
                    raise ContestantError(f"no answer within {limit:.0f} s")
            answer: float | str = self._connection.recv()
        except (EOFError, OSError):
            raise ContestantError(self._last_words()) from None
        if isinstance(answer, str):
            raise ContestantError(answer)
        return answer

    def end(self) -> None:
        """End the process, gently if it listens, and all that it has started."""
        self._stop()
        procfs.end_session(self.pid)
        self._output.close()

    def _stop(self) -> int:
        """Return the exit code of the process, which ends by itself when nobody can ask it any more."""
        self._connection.close()
        try:
            return self._process.wait(timeout=END_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _last_words(self) -> str:
        code = self._stop()
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing said")
        return f"its process ended with code {code}: {said}"


class Arena:
    """Keeps the processes of contestants from one cell to the next::

    with Arena(repeats=5, seconds=0.2) as arena:
        result = arena.measure(cell, [(contestant, None) for contestant in offered(cell)])
    """

    def __init__(self, repeats: int, seconds: float) -> None:
        self._repeats, self._seconds = repeats, seconds
        self._players: dict[tuple[str, int | None], Player] = {}

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._players:
            self._players.popitem()[1].end()

    def measure(self, cell: Cell, entries: Sequence[Entry]) -> CellResult:
        """Return the times of each contestant, taken in turns; the first is the bare loop."""
        outcomes = [Outcome(one.name, cell.steps(self._seconds, one.overhead), workers) for one, workers in entries]
        for outcome in outcomes:
            self._player(outcome)  # so that they import side by side
        for outcome in outcomes:
            self._ask(outcome, Job(cell, outcome.steps, outcome.workers), OPEN_LIMIT)
            self._ask(outcome, "run", RUN_LIMIT)  # to warm up
        self._watch_idle(outcomes)
        order = random.Random(0)
        for _ in range(self._repeats):  # in another order each time, as one may leave the machine warm to the next
            for outcome in order.sample(outcomes, len(outcomes)):
                time.sleep(PAUSE)
                seconds = self._ask(outcome, "run", RUN_LIMIT)
                if seconds is not None:
                    outcome.seconds.append(seconds)
        for outcome in outcomes:
            if outcome.failure is None:
                outcome.memory = self._player(outcome).memory
            self._ask(outcome, "close", OPEN_LIMIT)
        return CellResult(cell, outcomes)

    def _ask(self, outcome: Outcome, message: object, limit: float) -> float | None:
        """Return the answer, or None from one who has failed: its process is ended, and it is left out of the cell."""
        if outcome.failure is not None:
            return None
        try:
            return self._player(outcome).ask(message, limit)
        except ContestantError as error:
            outcome.failure = str(error)
            self._players.pop((outcome.name, outcome.workers)).end()
            return None

    def _player(self, outcome: Outcome) -> Player:
        key = outcome.name, outcome.workers
        if key not in self._players:
            self._players[key] = Player(outcome.name)
        return self._players[key]

    def _watch_idle(self, outcomes: Sequence[Outcome]) -> None:
        """Note how much CPU time each one takes while none has its turn."""
        pause = min(1.0, 5 * self._seconds)
        time.sleep(PAUSE)
        before = procfs.cpu_seconds()
        time.sleep(pause)
        after = procfs.cpu_seconds()
        for outcome in outcomes:
            if outcome.failure is None:
                pid = self._player(outcome).pid
                outcome.idle = round((after[pid] - before[pid]) / pause, 3)
