"""What plugins cost that are installed and not asked for: one installed plugin beside fifty, in turns.

    python tests/benchmarks/plugin_costs.py [ROUNDS]

The import of each of the others takes 3 seconds. Times are CPU seconds of whole processes: the best and the median.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from dummy_plugins import install

_RUNNERKIT: Final = (sys.executable, "-m", "runnerkit")
COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "import runnerkit": (sys.executable, "-c", "import runnerkit"),
    "runnerkit --help": (*_RUNNERKIT, "--help"),
    "runnerkit rollout --history dummy-0": (*_RUNNERKIT, "rollout", "CartPole-v1", "--history", "dummy-0"),
}


def cpu_seconds(command: Sequence[str], folder: Path) -> float:
    """Run a command that finds the plugins of a folder, and return what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds: int) -> None:
    """Measure all commands and print a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = (1, 50)
        for number in numbers:
            (Path(folder) / str(number)).mkdir()
            install(Path(folder) / str(number), number)
        for name, command in COMMANDS.items():
            turns = [[cpu_seconds(command, Path(folder) / str(number)) for number in numbers] for _ in range(rounds)]
            one, fifty = zip(*turns, strict=True)
            ratios = min(fifty) / min(one), statistics.median(b / a for a, b in turns)
            print(
                f"{name:36} 1 plugin {min(one):.3f} s, 50 plugins {min(fifty):.3f} s; "
                f"ratio of the best {ratios[0]:.3f}, median of the ratios {ratios[1]:.3f}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
