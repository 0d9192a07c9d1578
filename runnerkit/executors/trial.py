"""Finding out which of two ways to step envs is the faster, while they are being stepped."""

from __future__ import annotations

import statistics
from collections.abc import Generator, Sequence
from typing import Final, Literal, TypeAlias

from runnerkit.executors.waiting import has_gil

__all__ = ["Course", "Trial", "Way"]

Way: TypeAlias = Literal["serial", "threads"]

_Sample: TypeAlias = "tuple[float, bool]"
"""Seconds of a step of all envs, and whether an episode ended in it."""

Course: TypeAlias = Generator[Way, _Sample, Way]
"""Yields how to make each step, is sent the sample of that step, and returns the choice."""

HANDOVER: Final = 50e-6  # seconds that it takes to wake a thread that sleeps, and to be woken by it
WAITS: Final = 0.5  # the part of its time that an env waits at least, if it is to have a thread of its own
_PROCESS_HANDOVER: Final = 10e-6  # seconds, as both sides poll
_ADVISED: Final = 1.1  # times as fast is the least that is worth a word
_WARM_UP: Final = 2  # first steps of an env build what later ones find
_WATCHED: Final = 6
_CHUNK: Final = 5  # of which the first is not counted: memory moves from core to core
_LEADS: Final = (5, 20, 40, 80)  # steps of the one that leads, by round: a neighbour's burst must not decide
_CLEAR: Final = (4.0, 2.0, 1.5)  # how many times slower is enough to decide after one round, two, and more
_WORTH: Final = 0.96  # of serial's time; threads that save less are not worth having


class Trial:
    """Times steps of both ways in turns, until it knows the faster::

        trial = Trial(parallel=0.5)
        while trial.choice is None:
            trial.note(step_all_envs(trial.way), ended=False)

    Steps are serial at first. Each thread would get at most the `parallel` part of the envs. If the steps are so light
    that threads would save less than the handover costs, threads are not tried. Otherwise short chunks of steps of the
    slower way alternate with longer and longer chunks of the faster way, so that the trial costs little. The ratios of
    chunks that follow each other decide.
    """

    def __init__(self, parallel: float) -> None:
        self.way: Way
        """How the next step is to be made."""
        self.choice: Way | None = None
        """What was chosen; None as long as that is not known."""
        self.reason: str = ""
        """Why."""
        self.waiting: float = 0.0
        """The part of their time, from 0 to 1, that envs waited instead of computing in the first steps."""
        self.known_safe: bool = True
        """Whether the envs are known to be thread-safe. If not, they are measured, but stay serial."""
        self._parallel = parallel
        self._cpu: list[float] = []
        self._samples: dict[Way, list[_Sample]] = {"serial": [], "threads": []}
        self._course = self.course()
        self.way = next(self._course)

    def note(self, seconds: float, ended: bool, cpu: float | None = None) -> None:
        """Take note of what a step took, whether an episode ended in it, and for how long it kept its core busy."""
        if self.way == "serial" and len(self._cpu) < _WARM_UP + _WATCHED:
            self._cpu.append(seconds if cpu is None else cpu)
        try:
            self.way = self._course.send((seconds, ended))
        except StopIteration as done:
            # Ctrl-C in here may have ended the course without a choice.
            self.choose(done.value or "serial", self.reason or "the trial was interrupted")

    def choose(self, choice: Way, reason: str) -> None:
        """End the trial."""
        self._course.close()
        self.choice, self.way, self.reason = choice, choice, reason

    def seconds(self) -> dict[str, float]:
        """Return the typical seconds of a step of all envs, for each way that was timed."""
        return {way: _typical(samples, samples) for way, samples in self._samples.items() if samples}

    def timed(self) -> int:
        """Return how many steps were timed."""
        return sum(map(len, self._samples.values()))

    def course(self) -> Course:
        """Yield how the next step is to be made, be sent the sample of it, and return the choice."""
        watched = yield from self._chunk("serial", _WARM_UP + _WATCHED, _WARM_UP)
        total = sum(seconds for seconds, _ in watched)
        self.waiting = max(0.0, 1 - sum(self._cpu[_WARM_UP:]) / max(total, 1e-9))
        serial = _typical(watched, watched)
        if not self.known_safe:
            self.reason = "the envs are not known to be thread-safe"
            return "serial"
        saving = serial * (1 - self._parallel)
        if has_gil() and saving < HANDOVER:
            self.reason = (
                f"threads could save at most {saving * 1e6:.0f} us per step, and the handover costs about "
                f"{HANDOVER * 1e6:.0f} us"
            )
            return "serial"
        ratio = _ratio((yield from self._chunk("threads", _CHUNK)), watched)
        ratios = [ratio]
        for lead in _LEADS:
            if _is_clear(ratios):
                break
            ratios.append((yield from self._round(lead, threads_lead=ratio < _WORTH)))
            ratio = statistics.median(ratios)
        self.reason = f"threads took {ratio:.2f} of serial's time per step"
        return "threads" if ratio < _WORTH else "serial"

    def advise(self, n_envs: int) -> str:
        """Return how much faster another executor could probably step so many envs; empty if not much faster."""
        serial = self.seconds().get("serial")
        if serial is None:
            return ""
        if self.waiting >= WAITS and not self.known_safe:
            # Each in a thread of its own: they wait together, and compute one after the other.
            in_threads = max(serial / n_envs, serial * (1 - self.waiting)) + HANDOVER
            if serial / in_threads < _ADVISED:
                return ""
            return (
                f"the envs wait {self.waiting:.0%} of the time: executor='threads' could be "
                f"{_times(serial / in_threads)} faster, if they are thread-safe"
            )
        faster = serial / (serial * self._parallel + _PROCESS_HANDOVER)
        return f"executor='processes' could be up to {_times(faster)} faster" if faster >= _ADVISED else ""

    def _round(self, lead: int, *, threads_lead: bool) -> Generator[Way, _Sample, float]:
        if threads_lead:
            serial = yield from self._chunk("serial", _CHUNK)
            return _ratio((yield from self._chunk("threads", lead)), serial)
        threads = yield from self._chunk("threads", _CHUNK)
        return _ratio(threads, (yield from self._chunk("serial", lead)))

    def _chunk(self, way: Way, steps: int, uncounted: int = 1) -> Generator[Way, _Sample, list[_Sample]]:
        samples: list[_Sample] = []
        for k in range(steps):
            sample = yield way
            if k >= uncounted:
                samples.append(sample)
                self._samples[way].append(sample)
        return samples


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 3 else f"{ratio:.1f} times"


def _is_clear(ratios: Sequence[float]) -> bool:
    enough = _CLEAR[min(len(ratios), len(_CLEAR)) - 1]
    if min(ratios) > enough:
        return True
    # After one round serial was only measured before threads, while envs may have been warming up still.
    return len(ratios) > 1 and max(ratios) < 1 / enough


def _ratio(threads: Sequence[_Sample], serial: Sequence[_Sample]) -> float:
    """Return the seconds of a step in threads over those of a serial one."""
    return _typical(threads, serial) / max(_typical(serial, threads), 1e-9)


def _typical(samples: Sequence[_Sample], others: Sequence[_Sample]) -> float:
    """Return the mean seconds without the slowest tenth; of steps without a reset, if that is most of both.

    A median would not see that threads which contend for the GIL are late now and then.
    """
    if all(2 * sum(ended for _, ended in each) <= len(each) for each in (samples, others)):
        samples = [sample for sample in samples if not sample[1]]
    fastest = sorted(seconds for seconds, _ in samples)
    return statistics.fmean(fastest[: len(fastest) - len(fastest) // 10 - 1] or fastest)
