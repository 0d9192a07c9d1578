"""What each process does in a step of `executor="processes"`, and for whom it waits.

    python tests/benchmarks/timeline.py CartPole-v1:8 [--workers 2] [--min-batch 2] [--own-envs 3] [--fastest 3]
        [--svg FILE]

Prints how the time of each process is spent, what lies between agent and envs in a step, and a few steps as bars. With
`--fastest 3`, what lies between is that of the fastest 3 % of the steps: those that no other program disturbed. Each
env notes when its calls begin and end, in its own process: the clock is the same one for all processes (Linux).
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np
from cells import Cell, make_policy, parse_cell
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import GymRunner

Spans = NDArray[np.int64]
"""Calls, [n, 2]: when each began and ended, in nanoseconds."""

_WARM: Final = 50  # steps
_WIDTH: Final = 100
_COLOURS: Final = {"agent": "#d08030", "step": "#3070b0", "reset": "#70b0e0"}
_SIGNS: Final = {"agent": "a", "step": "#", "reset": "r"}


class Clocked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes when the calls of an env begin and end."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._spans: dict[str, list[tuple[int, int]]] = {"step": [], "reset": []}

    @override
    def step(self, action: Any) -> Any:
        began = time.monotonic_ns()
        result = self.env.step(action)
        self._spans["step"].append((began, time.monotonic_ns()))
        return result

    @override
    def reset(self, **options: Any) -> Any:
        began = time.monotonic_ns()
        result = self.env.reset(**options)
        self._spans["reset"].append((began, time.monotonic_ns()))
        return result

    def take_spans(self) -> tuple[int, dict[str, list[tuple[int, int]]]]:
        """Return, and forget, the process and its calls."""
        spans, self._spans = self._spans, {"step": [], "reset": []}
        return os.getpid(), spans


class ClockedAgent:
    def __init__(self, cell: Cell) -> None:
        self._policy, self.spans = make_policy(cell), list[tuple[int, int]]()

    def act(self, observations: Any) -> Any:
        began = time.monotonic_ns()
        actions = self._policy.act(observations)
        self.spans.append((began, time.monotonic_ns()))
        return actions


@dataclass
class Lane:
    """What one process did, by kind."""

    name: str
    spans: dict[str, Spans]

    def busy(self, kind: str, begin: int, end: int) -> float:
        """Return the part of that time that it spent so."""
        spans = self.spans[kind]
        inside = np.minimum(spans[:, 1], end) - np.maximum(spans[:, 0], begin)
        return float(inside.clip(0).sum() / (end - begin))


def recorded(cell: Cell, steps: int, **options: Any) -> list[Lane]:
    """Roll out, and return what each process did, the calling one first."""
    agent, by_process = ClockedAgent(cell), dict[int, dict[str, list[tuple[int, int]]]]()
    make = functools.partial(_clocked, cell.env_id)
    with GymRunner(make, seed=0, n_envs=cell.n_envs, **options) as runner:
        runner.rollout(agent, steps=_WARM)
        runner.call("take_spans")
        agent.spans.clear()
        runner.rollout(agent, steps=steps)
        for pid, spans in runner.call("take_spans"):
            kept = by_process.setdefault(pid, {"step": [], "reset": []})
            for kind in kept:
                kept[kind] += spans[kind]
    by_process.setdefault(os.getpid(), {"step": [], "reset": []})["agent"] = agent.spans
    order = sorted(by_process, key=lambda pid: (pid != os.getpid(), pid))
    names = ["caller", *(f"helper {k}" for k in range(1, len(order)))]
    return [
        Lane(name, {k: _sorted(v) for k, v in by_process[pid].items()}) for name, pid in zip(names, order, strict=True)
    ]


def _clocked(env_id: str, seed: int | None) -> Clocked:
    return Clocked(gymnasium.make(env_id))


def _sorted(spans: list[tuple[int, int]]) -> Spans:
    return np.array(sorted(spans), np.int64).reshape(-1, 2)


def shares(lanes: list[Lane]) -> str:
    """Return how the time of each process was spent."""
    asked = lanes[0].spans["agent"]
    begin, end = int(asked[0, 0]), int(asked[-1, 1])
    lines = [f"{'':10}  {'agent':>6} {'step':>6} {'reset':>6} {'rest':>6}    (rest: waiting, handing over, recording)"]
    for lane in lanes:
        parts = [lane.busy(kind, begin, end) if kind in lane.spans else 0.0 for kind in _SIGNS]
        lines.append(f"{lane.name:10}  " + " ".join(f"{part:6.1%}" for part in [*parts, 1 - sum(parts)]))
    return "\n".join(lines)


def gaps(lanes: list[Lane], percent: float = 100.0) -> str:
    """Return what lies between agent and envs in a step: medians in microseconds, and the 90th percentile."""
    asked = lanes[0].spans["agent"]
    took = asked[2:, 0] - asked[1:-1, 0]
    fastest = took <= np.percentile(took, percent)
    # of a step: the agent is asked, has answered, and is asked again
    begun, begins, ends = asked[1:-1, 0][fastest], asked[1:-1, 1][fastest], asked[2:, 0][fastest]
    lines = [f"{len(begins)} steps of {_middle(took[fastest])} us; the agent takes {_middle(begins - begun)} us"]
    for lane in lanes:
        steps = np.concatenate([lane.spans["step"], lane.spans["reset"]])
        steps = steps[steps[:, 0].argsort()]
        if not len(steps):
            continue
        first = steps[np.searchsorted(steps[:, 0], begins).clip(max=len(steps) - 1), 0]
        last = steps[(np.searchsorted(steps[:, 0], ends) - 1).clip(0), 1]
        lines.append(
            f"{lane.name:10}  begins {_middle(first - begins)} us after the agent, works for "
            f"{_middle(last - first)} us, and is done {_middle(ends - last)} us before the agent is asked again"
        )
    return "\n".join(lines)


def _middle(nanoseconds: Spans) -> str:
    median, most = np.percentile(nanoseconds / 1000, [50, 90])
    return f"{median:.1f} ({most:.1f})"


def window(lanes: list[Lane], steps: int) -> tuple[int, int]:
    """Return when a few steps began and ended that took as long as half of all do."""
    asked = lanes[0].spans["agent"][:, 0]
    took = asked[steps:] - asked[:-steps]
    k = int(took.argsort()[len(took) // 2])
    return int(asked[k]), int(asked[k + steps])


def bars(lanes: list[Lane], begin: int, end: int) -> str:
    """Return some time as bars of text."""
    scale = (end - begin) / _WIDTH
    lines = [f"{(end - begin) / 1000:.1f} us, {scale / 1000:.2f} us per sign: a agent, # step, r reset, . rest"]
    for lane in lanes:
        signs = ["."] * _WIDTH
        for kind, low, high in _within(lane, begin, end):
            for k in range(int((low - begin) / scale), min(_WIDTH, int((high - begin) / scale) + 1)):
                signs[k] = _SIGNS[kind]
        lines.append(f"{lane.name:10}  {''.join(signs)}")
    return "\n".join(lines)


def svg(lanes: list[Lane], begin: int, end: int) -> str:
    """Return some time as a picture."""
    scale = 1000 / (end - begin)
    size = f'width="1100" height="{30 * len(lanes) + 30}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">']
    for row, lane in enumerate(lanes):
        y = 30 * row + 8
        parts.append(f'<text x="4" y="{y + 14}" font-size="13">{lane.name}</text>')
        parts.append(f'<rect x="90" y="{y}" width="1000" height="20" fill="#eeeeee"/>')
        for kind, low, high in _within(lane, begin, end):
            place = f'x="{90 + (low - begin) * scale:.1f}" y="{y}" width="{max(0.3, (high - low) * scale):.1f}"'
            said = f"<title>{kind}, {(high - low) / 1000:.1f} us</title>"
            parts.append(f'<rect {place} height="20" fill="{_COLOURS[kind]}">{said}</rect>')
    legend = f"{(end - begin) / 1000:.0f} us; " + ", ".join(f"{kind}: {colour}" for kind, colour in _COLOURS.items())
    parts.append(f'<text x="90" y="{30 * len(lanes) + 22}" font-size="12">{legend}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _within(lane: Lane, begin: int, end: int) -> list[tuple[str, int, int]]:
    return [
        (kind, max(begin, int(low)), min(end, int(high)))
        for kind, spans in lane.spans.items()
        for low, high in spans
        if low < end and high > begin
    ]


def main() -> None:
    """Roll out and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cell", nargs="?", type=parse_cell, default="CartPole-v1:8")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--min-batch", type=int)
    parser.add_argument("--own-envs", type=int, help="how many the calling process steps; 0: all are in helpers")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--fastest", type=float, default=100.0, metavar="PERCENT", help="of the steps")
    parser.add_argument("--drawn", type=int, default=3, help="how many steps are drawn")
    parser.add_argument("--svg", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of torch, as in the other benchmarks
    executor = ("processes", {"own_envs": given.own_envs})
    lanes = recorded(given.cell, given.steps, executor=executor, workers=given.workers, min_batch=given.min_batch)
    print(shares(lanes), end="\n\n")
    if given.min_batch is None:
        print(gaps(lanes, given.fastest), end="\n\n")
    drawn = window(lanes, given.drawn)
    print(bars(lanes, *drawn))
    if given.svg is not None:
        given.svg.write_text(svg(lanes, *drawn))


if __name__ == "__main__":
    main()
