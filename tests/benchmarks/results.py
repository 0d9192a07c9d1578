"""What was measured: raw times, from which tables and charts are made, now or later from the JSON."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cells import Cell

from runnerkit._core.cores import available_cores

PACKAGES = ["runnerkit", "gymnasium", "numpy", "torch", "stable-baselines3", "tianshou", "torchrl", "mujoco", "ale-py"]


@dataclass
class Outcome:
    """How one contestant did in one cell: the seconds of each turn, of `steps` steps of every env each."""

    name: str
    steps: int
    workers: int | None = None
    seconds: list[float] = field(default_factory=list)
    idle: float | None = None
    """CPU time of all its processes while nobody had a turn, in cores."""
    memory: int | None = None
    """Bytes of all its processes after the last turn, its part of what they share (PSS)."""
    failure: str | None = None

    @property
    def per_step(self) -> list[float]:
        """Seconds per step of all envs, turn by turn."""
        return [seconds / self.steps for seconds in self.seconds]


@dataclass
class CellResult:
    """The outcomes of a cell; the first one is the bare loop, to which the others are compared."""

    cell: Cell
    outcomes: list[Outcome]

    def median(self, outcome: Outcome) -> float | None:
        """Return the median over the turns of how many times faster than the bare loop it was; None if one failed."""
        ratios = [b / o for b, o in self._pairs(outcome)]
        return statistics.median(ratios) if ratios else None

    def quartiles(self, outcome: Outcome) -> tuple[float, float] | None:
        """Return between which ratios the middle half of the turns lies; None if one failed."""
        ratios = [b / o for b, o in self._pairs(outcome)]
        if not ratios:
            return None
        low, _, high = statistics.quantiles(ratios, method="inclusive") if len(ratios) > 1 else [ratios[0]] * 3
        return low, high

    @property
    def variation(self) -> float:
        """The noise: the bare loop's slowest time by its fastest, with a tenth of them left out at each end."""
        times = sorted(self.outcomes[0].per_step)
        if not times:
            return 1.0
        out = len(times) // 10
        return times[-1 - out] / times[out]

    def best(self, outcome: Outcome) -> float | None:
        """Return the ratio of the best times; None if one of the two failed."""
        pairs = self._pairs(outcome)
        return min(b for b, _ in pairs) / min(o for _, o in pairs) if pairs else None

    def _pairs(self, outcome: Outcome) -> list[tuple[float, float]]:
        bare = self.outcomes[0]
        if outcome.failure is not None or bare.failure is not None:
            return []
        return list(zip(bare.per_step, outcome.per_step, strict=True))


@dataclass
class Cost:
    """What it costs a contestant to have 8 CartPole envs open."""

    name: str
    opening: list[float] = field(default_factory=list)
    """Seconds until all envs were made and reset, the first time in a process and the next times."""
    helpers: int = 0
    helpers_bytes: int = 0
    idle: float | None = None
    failure: str | None = None


@dataclass
class Results:
    """A run of the benchmark."""

    date: str
    machine: str
    versions: dict[str, str]
    cells: list[CellResult] = field(default_factory=list)
    over_envs: list[CellResult] = field(default_factory=list)
    over_workers: list[CellResult] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def here(cls) -> Results:
        """Return empty results of this day, machine and installation."""
        return cls(datetime.date.today().isoformat(), _machine(), _versions())

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path, *more: Path) -> Results:
        """Read results, and those of further runs on the same machine; raises ValueError if it was another one."""
        raw: dict[str, Any] = json.loads(path.read_text())
        for kind in ("cells", "over_envs", "over_workers"):
            raw[kind] = [
                CellResult(Cell(**entry["cell"]), [Outcome(**outcome) for outcome in entry["outcomes"]])
                for entry in raw[kind]
            ]
        raw["costs"] = [Cost(**cost) for cost in raw["costs"]]
        results = cls(**raw)
        for other in map(cls.read, more):
            if other.machine != results.machine:
                raise ValueError(f"{path} was measured on {results.machine}, but another file on {other.machine}.")
            for kind in ("cells", "over_envs", "over_workers", "costs", "notes"):
                getattr(results, kind).extend(getattr(other, kind))
            results.versions |= other.versions
        return results


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    size = f"{available_cores()} cores ({_processor()}), {memory:.0f} GiB"
    return f"{size}, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
