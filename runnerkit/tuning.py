"""Which executor, with how many workers, is the fastest for an env and an agent on this machine.

For example::

    tuning = measure("Humanoid-v5", agent_maker("random"), n_envs=[8, 16], seconds=20)
    for found in tuning.measurements:
        print(found.n_envs, found.executor, found.workers, found.steps_per_second)
    print(tuning.recommended())
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from runnerkit._core.cores import available_cores
from runnerkit._core.types import AnyEnv, AnyMakeEnv
from runnerkit._core.wording import count
from runnerkit._plugins.manager import Plugins, installed_plugins
from runnerkit._rollout.config import Named, check_min_batch, is_count
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit._rollout.parts import named
from runnerkit.agents import AnyAgent
from runnerkit.errors import ArgumentError, RunnerKitError, UnknownNameError
from runnerkit.evaluation import AgentMaker
from runnerkit.executors.base import SupportsOwnEnvs, SupportsTuning
from runnerkit.keys import EnvKey, PartName, Use
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, RewardProcessor

__all__ = ["AgentMaker", "Measurement", "Recommendation", "TellShare", "Tuning", "measure"]

TellShare: TypeAlias = Callable[[float, str], None]
"""Is called with the share of the time that has passed, from 0 to 1, and what was measured last."""

_ROUNDS: Final = 5
_OPEN: Final = 32  # workers that may be open at the same time, even if there are fewer cores
_WARM_UP: Final = 0.2  # of the time
_OURS: Final = "runnerkit"
_FASTER: Final = 1.03  # times as fast is the least that counts,
_MOSTLY: Final = 0.8  # in so many of the rounds,
_ENOUGH: Final = 3  # of which there must be so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How fast one executor was with one number of workers and envs."""

    executor: str
    workers: int | None
    """None, if that was left to the executor."""
    n_envs: int
    rounds: tuple[float, ...] = ()
    """Steps of all envs together per second, round by round; executors for one n_envs took turns, in groups
    of at most 32 workers, or as many as there are cores."""
    error: Exception | None = None
    """Why it could not be measured, or not to the end."""

    @property
    def steps_per_second(self) -> float | None:
        """The median over the rounds, None if there is an error, or no round."""
        return statistics.median(self.rounds) if self.rounds and self.error is None else None

    @property
    def name(self) -> str:
        """The executor and its workers in words."""
        alone = self.workers is None or self.executor == "serial"
        return self.executor if alone else f"{self.executor} with {count(self.workers or 0, 'worker')}"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to use, and why."""

    measurement: Measurement
    reason: str


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was measured; `interrupted` if Ctrl-C ended it before all was."""

    measurements: Sequence[Measurement]
    interrupted: bool = False

    def ratio_to_serial(self, measurement: Measurement) -> float | None:
        """Return how many times as fast as serial it was with as many envs; None where either was not measured."""
        serial = next(found for found in self.measurements if found.n_envs == measurement.n_envs)
        if measurement.steps_per_second is None or serial.steps_per_second is None:
            return None
        return measurement.steps_per_second / serial.steps_per_second

    def recommended(self) -> Recommendation | None:
        """Return the fastest, or a simpler one that is not clearly slower; None if nothing was measured."""
        measured = [found for found in self.measurements if found.steps_per_second is not None]
        if not measured:
            return None
        best = max(measured, key=lambda found: found.steps_per_second or 0.0)
        simplest = next(found for found in measured if found.n_envs == best.n_envs and not _is_beaten(found, best))
        if simplest is not best:
            ahead = (best.steps_per_second or 0.0) / (simplest.steps_per_second or 1.0) - 1
            noise = "not reliably so: that is noise, and the simpler one will do"
            but = noise if len(best.rounds) >= _ENOUGH else "measured too briefly to be sure: give it more seconds"
            return Recommendation(simplest, f"{best.name} was {ahead:.0%} faster, but {but}")
        ratio = self.ratio_to_serial(best)
        if ratio is None or best.executor == "serial":
            return Recommendation(best, "nothing was faster")
        return Recommendation(best, f"{ratio:.2f} times as fast as serial")


def measure(
    env: str | EnvKey[Any, Any] | AnyMakeEnv,
    make_agent: AgentMaker,
    *,
    n_envs: Sequence[int] = (8,),
    executors: Sequence[PartName] | None = None,
    workers: Sequence[int] | None = None,
    seconds: float = 15.0,
    steps: int = 256,
    min_batch: int | None = None,
    preprocessors: Sequence[Named[ActionPreprocessor]] = (),
    postprocessors: Sequence[Named[ActionPostprocessor]] = (),
    reward_processors: Sequence[Named[RewardProcessor]] = (),
    lock: str | os.PathLike[str] | None = None,
    env_options: Mapping[str, Any] | None = None,
    wrappers: Sequence[Named[Callable[[AnyEnv], AnyEnv]]] = (),
    plugins: Plugins | None = None,
    progress: TellShare | None = None,
) -> Tuning:
    """Measure executors in turns and return how fast each was; serial is always one of them, and the first.

    If an executor fails, its measurement has the error. If all of them fail, the first error is raised, and so is that
    of one whose options are wrong. Ctrl-C ends the tuning early and returns what was measured until then.

    Args:
        env: as for `GymRunner`.
        make_agent: returns the agent for a runner, see `agent_maker`.
        n_envs: numbers of envs to measure, one after the other.
        executors: names, also with options; by default the built-in ones but for "auto", which only chooses among them,
            and "asyncio".
        workers: how many workers to try; by default what each executor finds worth trying: powers of two up to the
            number of cores, and for threads the number that they find themselves.
        seconds: about how long all of it takes. Slow envs take longer, as each executor makes at least one step.
        steps: steps per env of each rollout, as in your training. Slow envs make fewer.
        min_batch: as for `GymRunner`. With it, "processes" is also measured with several `own_envs`, so that the
            calling process has time for the agent.
        preprocessors: as for `GymRunner`.
        postprocessors: as for `GymRunner`.
        reward_processors: as for `GymRunner`.
        lock: as for `GymRunner`.
        env_options: as for `GymRunner`.
        wrappers: as for `GymRunner`.
        plugins: where names are looked up; by default what is installed.
        progress: is called after each measurement.

    Raises:
        ArgumentError: an argument is not valid.
        UnknownNameError: an env, executor or processor is not known.
        RunnerKitError: nothing could be measured.

    """
    _check(n_envs, workers, seconds, steps)
    if min_batch is not None:
        check_min_batch(min_batch, min(n_envs))
    known = plugins or installed_plugins()
    asked: Sequence[PartName] = ["serial", *(_built_in(known) if executors is None else executors)]
    contenders = {_label(executor): executor for executor in asked}
    with_options = {label for label, executor in contenders.items() if named(executor)[1]}
    makers = {label: _maker(known, executor) for label, executor in contenders.items()}

    def build(executor: str, workers: int | None, n_envs: int) -> GymRunner[Any, Any, Any]:
        return GymRunner(
            env,
            0,  # all get the same episodes
            n_envs,
            executor=contenders[executor],
            workers=None if executor == "serial" else workers,  # which a vector env would refuse, with other words
            min_batch=min_batch,
            preprocessors=preprocessors,
            postprocessors=postprocessors,
            reward_processors=reward_processors,
            lock=lock,
            env_options=env_options,
            wrappers=wrappers,
            plugins=known,
        )

    contestants: list[_Contestant] = []
    numbers = list(dict.fromkeys(n_envs))
    clock = _Clock(seconds, progress)
    interrupted = False
    try:
        for k, n in enumerate(numbers):
            entries = list(_entries(makers, workers, n))
            if min_batch is not None:
                shares = dict(_shares(makers, contenders, entries, n))
                contenders.update({label: part for (label, _), part in shares.items()})
                entries += [entry for entry in shares if entry not in entries]
            group = [_Contestant(name, w, n, build, make_agent, steps) for name, w in entries]
            contestants += group
            done = 0
            for heat in _heats(group):
                done += len(heat)
                with contextlib.ExitStack() as stack:
                    for contestant in heat:
                        stack.callback(contestant.close)
                    _open(heat, with_options)
                    _compete(heat, clock, (k + done / len(group)) / len(numbers))
    except KeyboardInterrupt:
        interrupted = True
    measurements = [contestant.measurement() for contestant in contestants]
    errors = [found.error for found in measurements if found.error is not None]
    if errors and len(errors) == len(measurements) and not interrupted:
        raise errors[0]
    return Tuning(measurements, interrupted)


def _check(n_envs: Sequence[int], workers: Sequence[int] | None, seconds: float, steps: int) -> None:
    given: Sequence[tuple[str, object]] = [("n_envs", n_envs), ("workers", [1] if workers is None else workers)]
    for what, values in given:  # annotations bind nobody
        if not isinstance(values, Sequence) or not values or not all(map(is_count, values)):
            raise ArgumentError(f"{what} must be whole numbers of at least 1, such as [8, 16], not {values!r}.")
    if not is_count(steps):
        raise ArgumentError(f"steps must be a whole number of at least 1, not {steps!r}.")
    time_given: object = seconds
    if not isinstance(time_given, int | float) or not 0 < time_given < math.inf:
        raise ArgumentError(f"seconds must be a finite number above 0, not {seconds!r}.")


def _built_in(plugins: Plugins) -> list[str]:
    """Return the built-in executors that are worth measuring: "asyncio" is for envs that run with no other one."""
    offers = plugins.offers("executors").values()
    return [offer.name for offer in offers if offer.distribution == _OURS and offer.name not in ("auto", "asyncio")]


def _entries(
    makers: Mapping[str, object], workers: Sequence[int] | None, n_envs: int
) -> Iterator[tuple[str, int | None]]:
    """Yield who takes part, (executor, workers), the simplest first."""
    for name, make_executor in makers.items():
        tries: Sequence[int | None] = [None]  # of others nobody knows how many they take
        if workers is not None and name != "serial":
            tries = sorted({min(w, n_envs) for w in workers})
        elif isinstance(make_executor, SupportsTuning):
            tries = make_executor.workers_to_try(n_envs)
        yield from ((name, w) for w in tries)


def _shares(
    makers: Mapping[str, object],
    contenders: Mapping[str, PartName],
    entries: Sequence[tuple[str, int | None]],
    n_envs: int,
) -> Iterator[tuple[tuple[str, int | None], PartName]]:
    """Yield who else takes part where the agent is asked while envs step: with most workers, but another share."""
    for label, workers in dict(entries).items():
        name, options = named(contenders[label])
        maker = makers[label]
        if workers is not None and not options and isinstance(maker, SupportsOwnEnvs):
            for own_envs, w in maker.shares_to_try(n_envs, workers):
                part: PartName = Use(str(name), {"own_envs": own_envs})
                yield (_label(part), w), part


def _label(executor: PartName) -> str:
    """Return how an executor is written in a terminal: `processes:isolate=True`."""
    name, options = named(executor)
    given = ",".join(f"{option}={value}" for option, value in options.items())
    return f"{name}:{given}" if given else str(name)


def _maker(plugins: Plugins, executor: PartName) -> object:
    """Return what makes the executor, or None if it cannot be had: building a runner will raise the error again."""
    name, options = named(executor)
    offer = plugins.get("executors", str(name))
    try:
        made: object = offer.make(options)
    except RunnerKitError:
        return None
    return made.func if options and isinstance(made, functools.partial) else made


def _heats(group: Sequence[_Contestant]) -> list[list[_Contestant]]:
    """Return who is open at the same time, so that all of them together do not take the machine's memory."""
    heats: list[list[_Contestant]] = []
    room, most = 0, max(_OPEN, available_cores())
    for contestant in group:
        if contestant.workers > room:
            heats.append([])
            room = most
        heats[-1].append(contestant)
        room -= contestant.workers
    return heats


class _Clock:
    """How much of the time is left."""

    def __init__(self, seconds: float, progress: TellShare | None) -> None:
        self._began = time.perf_counter()
        self._seconds = seconds
        self._progress = progress

    def left(self, share: float) -> float:
        """Return the seconds until that share of the time has passed."""
        return max(0.0, self._began + share * self._seconds - time.perf_counter())

    def tell(self, last: str) -> None:
        if self._progress is not None:
            self._progress(min(1.0, (time.perf_counter() - self._began) / self._seconds), last)


class _Contestant:
    """A runner that is measured in rounds. Its errors do not stop the others."""

    def __init__(
        self,
        executor: str,
        workers: int | None,
        n_envs: int,
        build: Callable[[str, int | None, int], GymRunner[Any, Any, Any]],
        make_agent: AgentMaker,
        steps: int,
    ) -> None:
        self._executor, self._workers, self._n_envs = executor, workers, n_envs
        self._build, self._make_agent, self._steps = build, make_agent, steps
        self._runner: GymRunner[Any, Any, Any] | None = None
        self._agent: AnyAgent
        self._rounds: list[float] = []
        self._error: Exception | None = None

    @property
    def workers(self) -> int:
        """How many there may be."""
        return min(self._n_envs, self._workers or available_cores())

    @property
    def name(self) -> str:
        return f"{self.measurement().name}, {count(self._n_envs, 'env')}"

    def measurement(self) -> Measurement:
        return Measurement(
            executor=self._executor,
            workers=self._workers,
            n_envs=self._n_envs,
            rounds=tuple(self._rounds),
            error=self._error,
        )

    def attempt(self, work: Callable[[], None]) -> None:
        """Do one thing more, unless one went wrong before."""
        if self._error is not None:
            return
        try:
            work()
        except Exception as error:
            self._error = error
            if self._executor == "serial" and isinstance(error, (ArgumentError, UnknownNameError)):
                raise  # no executor would do

    def open(self) -> None:
        self._runner = self._build(self._executor, self._workers, self._n_envs)
        if self._runner.executor_report.chosen == "vector":
            raise ArgumentError(
                f"{self._runner.env_id} is a vector env, which steps all its envs itself: there is no executor to "
                "choose. Tune the env that it has many of, and compare with the steps/s of `runnerkit rollout`."
            )
        self._agent = self._make_agent(self._runner)

    def warm_up(self, seconds: float) -> None:
        """Make longer and longer rollouts, up to one that takes about so long."""
        most, self._steps = self._steps, 1
        self._roll_out()  # at least, as envs begin in it
        began = now = time.perf_counter()
        while now - began < seconds:
            self._roll_out()
            before, now = now, time.perf_counter()
            fitting = int(self._steps * seconds / max(now - before, 1e-9))
            self._steps = max(1, min(most, 2 * self._steps, fitting))

    def run(self, seconds: float) -> None:
        """Measure a round of whole rollouts."""
        steps, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < seconds or not steps:
            steps += self._roll_out()
        self._rounds.append(steps * self._n_envs / took)

    def close(self) -> None:
        try:
            if self._runner is not None:
                self._runner.close()
        except Exception as error:
            self._error = self._error or error

    def _roll_out(self) -> int:
        assert self._runner is not None
        self._runner.rollout(self._agent, self._steps)
        return self._steps


def _open(group: Sequence[_Contestant], with_options: Collection[str]) -> None:
    """Build the runners; raises the error of an executor that cannot be built with the options that it was given."""
    refused: dict[str, list[Exception | None]] = {label: [] for label in with_options}
    for contestant in group:
        contestant.attempt(contestant.open)
        found = contestant.measurement()
        if found.executor in refused:
            refused[found.executor].append(found.error)
    for errors in refused.values():
        if errors and all(isinstance(error, ArgumentError) for error in errors):
            raise cast(ArgumentError, errors[0])


def _compete(group: Sequence[_Contestant], clock: _Clock, share: float) -> None:
    """Measure contestants in turns, until that share of the time has passed."""
    for contestant in group:
        contestant.attempt(functools.partial(contestant.warm_up, _WARM_UP * clock.left(share) / len(group)))
        clock.tell(contestant.name)
    per_round = clock.left(share) / len(group) / _ROUNDS
    for k in range(_ROUNDS):
        if k and not clock.left(share):
            return
        for contestant in group:
            contestant.attempt(functools.partial(contestant.run, per_round))
            clock.tell(contestant.name)


def _is_beaten(found: Measurement, best: Measurement) -> bool:
    """Whether the best was faster in nearly all rounds, by more than nothing."""
    ratios = [b / f for b, f in zip(best.rounds, found.rounds, strict=False)]  # Ctrl-C may have come in a round
    if len(ratios) < _ENOUGH:
        return False
    return statistics.median(ratios) > _FASTER and sum(ratio > 1 for ratio in ratios) >= _MOSTLY * len(ratios)
