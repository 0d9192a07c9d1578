"""What came of a rollout: its episodes, counted whatever the history format, and their summary.

For example::

    tally = Tally(history_format)
    with GymRunner("CartPole-v1", history=tally) as runner:
        runner.rollout(agent, steps=1000)
    print(tally.steps, len(tally.episodes))
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from typing_extensions import override

from runnerkit._core.wording import count
from runnerkit.history.arrays import ArrayHistory, ArrayRecorder
from runnerkit.history.base import HistoryFormat, Recorder, SupportsWindows, windows_of
from runnerkit.history.block import Block
from runnerkit.records import EnvFault, Episode, ExecutorReport, MadeBy, RunSpec, Timings

__all__ = ["Summary", "Tally"]

_MOST_FAULTS: Final = 10  # that are listed for people
_OF_ENVS: Final = ("steps", "step_seconds", "resets", "reset_seconds")


class Tally:
    """A history format that reads the episode records off each block on its way to another format.

    `steps` and `episodes` hold what was counted so far. Histories may be anything at all; the block is the one
    place where the records are for certain.
    """

    def __init__(self, inner: HistoryFormat[Any], *, keeps: bool = False) -> None:
        self.steps: int = 0
        self.keeps: bool = keeps
        self.histories: list[ArrayHistory[Any, Any]] = []
        """What was recorded, as arrays, whatever the other format makes of it; empty unless it `keeps` them."""
        self.episodes: list[Episode] = []
        self.faults: list[EnvFault] = []
        """The faults after which envs were made anew."""
        self.version: str = ""
        """The id that Gymnasium resolved the env's to: CartPole-v1; empty where there is none."""
        self._inner = inner

    def open(self, spec: RunSpec, /) -> Recorder[Any]:
        """Return a recorder around that of the other format."""
        self.version = spec.env_spec.id if spec.env_spec is not None else ""
        inner = self._inner.open(spec)
        windows = windows_of(inner)
        return _TallyRecorder(self, inner) if windows is None else _TallyWindows(self, inner, windows)


class _TallyRecorder:
    def __init__(self, tally: Tally, inner: Recorder[Any]) -> None:
        self._tally, self._inner = tally, inner

    def finish(self, block: Block, /) -> Sequence[Any]:
        """Count, then let the other recorder do its work."""
        if self._tally.keeps:
            self._tally.histories += ArrayRecorder().finish(block)
        self._tally.steps += sum(block.lengths)
        self._tally.faults += block.faults
        for i, length in enumerate(block.lengths):
            if length:  # an env that took no step has no episode to tell of
                self._tally.episodes += block.episodes(i)
        return self._inner.finish(block)

    def close(self) -> None:
        """Close the other recorder."""
        self._inner.close()


class _TallyWindows(_TallyRecorder):
    """Around a recorder that takes windows: no block has the whole rollout, but its histories have the records."""

    def __init__(self, tally: Tally, inner: Recorder[Any], windows: SupportsWindows) -> None:
        super().__init__(tally, inner)
        self.begin = windows.begin
        self.record = windows.record
        self.earlier = windows.earlier

    @override
    def finish(self, block: Block, /) -> Sequence[Any]:
        histories = self._inner.finish(block)
        for history in histories:
            self._tally.steps += len(history)
            self._tally.episodes += history.episodes
            self._tally.faults += history.faults
        if self._tally.keeps:
            self._tally.histories += histories
        return histories


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a rollout was, and what came of it. Returns and lengths are those of the complete episodes."""

    env: str
    agent: str
    seed: int
    n_envs: int
    executor: ExecutorReport
    history: str
    preprocessors: Sequence[str]
    postprocessors: Sequence[str]
    reward_processors: Sequence[str]
    steps: int
    seconds: float
    made_by: MadeBy
    interrupted: bool
    episodes: Sequence[Episode]
    timings: Timings | None = None
    videos: Sequence[str] = ()
    faults: Sequence[EnvFault] = ()

    def document(self) -> dict[str, object]:
        """Return all of it for JSON; what is no number there is None."""
        return {
            "env": self.env,
            "agent": self.agent,
            "seed": self.seed,
            "n_envs": self.n_envs,
            "executor": self.executor.name,
            "workers": self.executor.workers,
            "executor_choice": {
                "chosen": self.executor.chosen,
                "reason": self.executor.reason,
                "advice": self.executor.advice,
                "seconds_per_step": dict(self.executor.seconds_per_step),
            },
            "history": self.history,
            "preprocessors": list(self.preprocessors),
            "postprocessors": list(self.postprocessors),
            "reward_processors": list(self.reward_processors),
            "steps": self.steps,
            "seconds": self.seconds,
            "steps_per_second": self._rate(),
            "complete_episodes": len(self._complete()),
            **{f"return_{name}": _finite(value) for name, value in self._returns().items()},
            "length_mean": self._lengths()["mean"],
            "end_reasons": self._end_reasons(),
            "made_by": self.made_by.document(),
            "interrupted": self.interrupted,
            "timings": None if self.timings is None else _times(self.timings),
            "videos": list(self.videos),
            "faults": [_fault(fault) for fault in self.faults],
            "episodes": [_record(episode) for episode in self.episodes],
        }

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield (what, value) line by line for people."""
        yield "env", self.env
        yield "agent", self.agent
        yield "seed", str(self.seed)
        yield "n_envs", str(self.n_envs)
        yield "executor", _executor(self.executor)
        if self.executor.advice:
            yield "advice", self.executor.advice
        yield "history", self.history
        if self.preprocessors:
            yield "preprocessors", ", ".join(self.preprocessors)
        if self.postprocessors:
            yield "postprocessors", ", ".join(self.postprocessors)
        if self.reward_processors:
            yield "reward processors", ", ".join(self.reward_processors)
        rate = self._rate()
        yield "steps", f"{self.steps:,}"
        yield "seconds", f"{self.seconds:.3g}" if self.seconds < 100 else f"{self.seconds:,.0f}"
        yield "steps/s", "-" if rate is None else f"{rate:,.0f}"
        yield "episodes", f"{len(self._complete()):,} complete"
        yield "return", _listing(self._returns())
        yield "length", _listing(self._lengths())
        yield from self._time_rows()
        for path in self.videos:
            yield "video", path
        yield "end reasons", ", ".join(f"{n:,} {reason}" for reason, n in self._end_reasons().items()) or "-"
        if self.faults:
            yield "restarts", f"{len(self.faults):,}"
        for fault in self.faults[:_MOST_FAULTS]:
            yield "fault", _fault_in_words(fault)
        if len(self.faults) > _MOST_FAULTS:
            yield "", f"and {len(self.faults) - _MOST_FAULTS:,} more: --json has them all"

    def _time_rows(self) -> Iterator[tuple[str, str]]:
        times = self.timings
        if times is None:
            return
        split = {name: getattr(times, name) for name in ("agent", "env", "reset", "wait", "other")}
        yield "time", _seconds(split)
        if len(times.workers) > 1:
            for k, worker in enumerate(times.workers):
                own = _seconds({name: getattr(worker, name) for name in ("env", "reset", "wait")})
                yield f"worker {k}", f"{own} (envs {', '.join(map(str, worker.env_indices))})"
        slowest = times.slowest
        if slowest is not None:
            yield "slowest env", f"env {slowest.env_index}: {slowest.seconds_per_step * 1e3:.3g} ms per step"

    def _rate(self) -> float | None:
        """Return the steps of all envs together, per second."""
        return self.steps / self.seconds if self.seconds > 0 else None

    def _complete(self) -> list[Episode]:
        return [episode for episode in self.episodes if episode.complete]

    def _returns(self) -> dict[str, float | None]:
        return _statistics([episode.total_return for episode in self._complete()])

    def _lengths(self) -> dict[str, float | None]:
        return {"mean": _statistics([episode.total_length for episode in self._complete()])["mean"]}

    def _end_reasons(self) -> dict[str, int]:
        """Return how many episodes ended for each reason, the most frequent first."""
        return dict(collections.Counter(str(episode.end_reason) for episode in self.episodes).most_common())


def _statistics(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean, std (of the population), min and max; None for each where there are no values."""
    if not values:
        return dict.fromkeys(("mean", "std", "min", "max"))
    with np.errstate(all="ignore"):  # rewards may be infinite, or no numbers: that is for the reader to see
        return {
            "mean": float(np.mean(values)),
            "std": float(np.std(values)),
            "min": float(np.min(values)),
            "max": float(np.max(values)),
        }


def _record(episode: Episode) -> dict[str, object]:
    return {
        "env_index": episode.env_index,
        "episode_index": episode.episode_index,
        "seed": episode.seed,
        "start": episode.start,
        "length": episode.length,
        "return": _finite(episode.return_),
        "end_reason": str(episode.end_reason),
        "steps_before": episode.steps_before,
        "return_before": _finite(episode.return_before),
        "total_length": episode.total_length,
        "total_return": _finite(episode.total_return),
    }


def _fault(fault: EnvFault) -> dict[str, object]:
    return {
        "env_index": fault.env_index,
        "episode_index": fault.episode_index,
        "seed": fault.seed,
        "step": fault.step,
        "action": None if fault.action is None else str(fault.action),
        "end_reason": str(fault.end_reason),
        "error": fault.error,
    }


def _fault_in_words(fault: EnvFault) -> str:
    facts = {"episode": fault.episode_index, "seed": fault.seed, "step": fault.step, "action": fault.action}
    known = [f"{name} {value}" for name, value in facts.items() if value is not None]
    return f"{', '.join([f'env {fault.env_index}', *known])}: {fault.error}"


def _finite(value: float | None) -> float | None:
    """Return the number, or None for those that JSON does not know."""
    return value if value is not None and math.isfinite(value) else None


def _seconds(split: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.3g} s" for name, seconds in split.items())


def _times(times: Timings) -> dict[str, object]:
    slowest = times.slowest
    return {
        **{name: getattr(times, name) for name in ("seconds", "steps", "agent", "env", "reset", "wait", "other")},
        "workers": [
            {"envs": list(worker.env_indices), "env": worker.env, "reset": worker.reset, "wait": worker.wait}
            for worker in times.workers
        ],
        "envs": [{"env_index": env.env_index, **{name: getattr(env, name) for name in _OF_ENVS}} for env in times.envs],
        "slowest": None if slowest is None else slowest.env_index,
    }


def _executor(report: ExecutorReport) -> str:
    chose = "" if report.chosen in (None, report.name) else f" chose {report.chosen}"
    reason = f" ({report.reason})" if report.reason else ""
    return f"{report.name}{chose}, {count(report.workers, 'worker')}{reason}"


def _listing(statistics: dict[str, float | None]) -> str:
    known = [f"{name} {value:.6g}" for name, value in statistics.items() if value is not None]
    return ", ".join(known) or "- (no episode was complete)"
