"""The zoo: what is broken, the check that names it, and how to run the kit on it.

`python tests/zoo/zoo.py` prints the table of faults, checks and messages.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import broken_envs as envs
import broken_parts as parts
import numpy as np
from broken_plugins import written
from gymnasium import spaces

from runnerkit import testing
from runnerkit.testing import Report

__all__ = ["GOOD", "ZOO", "Specimen"]

_BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
_SPACES = {"box": _BOX, "number": spaces.Discrete(3)}


@dataclass(frozen=True)
class Specimen:
    """One broken thing."""

    fault: str
    check: str
    """The id of the check that must fail, and no other."""
    report: Callable[[], Report]

    @property
    def id(self) -> str:
        return self.fault.replace(" ", "-")


def _env(kind: type[envs.Walk]) -> Callable[[], Report]:
    return lambda: testing.check_env(envs.Maker(kind))


def _vector(kind: type[envs.WalkVector]) -> Callable[[], Report]:
    return lambda: testing.check_vector_env(kind, steps=20)


def _observations(make: Any) -> Callable[[], Report]:
    return lambda: testing.check_observation_processor(make, spaces=_SPACES)


def _actions(make: Any) -> Callable[[], Report]:
    return lambda: testing.check_action_processor(make, spaces=_SPACES)


def _rewards(make: Any) -> Callable[[], Report]:
    return lambda: testing.check_reward_processor(make)


def _recorder(kind: type[parts.Recorder]) -> Callable[[], Report]:
    return _format(parts.format_of(kind))


def _format(make: Any) -> Callable[[], Report]:
    return lambda: testing.check_history_format(make)


def _executor(make: Any) -> Callable[[], Report]:
    return lambda: testing.check_executor(make)


def _agent(make: Any) -> Callable[[], Report]:
    return lambda: testing.check_agent(make, _BOX, spaces.Discrete(2))


def _runner(make: Any) -> Callable[[], Report]:
    return lambda: testing.check_runner(make)


def _plugin(fault: str) -> Callable[[], Report]:
    def report() -> Report:
        with tempfile.TemporaryDirectory() as folder:
            return testing.check_plugin(written(fault, Path(folder)))

    return report


def _specimens() -> Iterator[Specimen]:
    yield Specimen("a factory returns one env twice", "makes-envs", lambda: testing.check_env(envs.Same()))
    yield Specimen("step returns four things", "api", _env(envs.FourTuple))
    yield Specimen("terminated is an int", "api", _env(envs.FlagOfInt))
    yield Specimen("the reward is a vector", "api", _env(envs.VectorReward))
    yield Specimen("the info is None", "api", _env(envs.NoInfo))
    yield Specimen("reset returns the observation only", "api", _env(envs.ResetOfObservation))
    yield Specimen("observations are float64", "spaces", _env(envs.Float64))
    yield Specimen("observations leave their bounds", "spaces", _env(envs.OutOfBounds))
    yield Specimen("observations have another shape", "spaces", _env(envs.OtherShape))
    yield Specimen("an env draws from numpy.random", "global-generators", _env(envs.GlobalNumPy))
    yield Specimen("an env seeds random", "global-generators", _env(envs.SeedsRandom))
    yield Specimen("an env has a generator without a seed", "seed", _env(envs.Unseeded))
    yield Specimen("an env counts its episodes", "after-other-episodes", _env(envs.CountsEpisodes))
    yield Specimen("an env overwrites its action", "keeps-its-action", _env(envs.SpoilsActions))
    yield Specimen("an env returns one buffer", "keeps-no-hold-of-observations", _env(envs.OneBuffer))
    yield Specimen("envs share a counter in their class", "no-shared-state", _env(envs.ClassState))
    yield Specimen("envs share an array in their module", "threads", _env(envs.ModuleScratch))
    yield Specimen("an env forgets its generator", "snapshots", _env(envs.ForgetsItsGenerator))
    yield Specimen("a snapshot has an object", "snapshots", _env(envs.KeepsAnObject))
    yield Specimen("a factory holds a lock", "pickles", lambda: testing.check_env(envs.Locked()))
    yield Specimen("an env goes by the hash of a string", "other-processes", _env(envs.HashOfText))
    yield Specimen("an env goes by the process id", "other-processes", _env(envs.ProcessId))
    yield Specimen("an env can be closed once only", "closes", _env(envs.ClosesOnce))
    yield Specimen("an env leaves a thread", "closes", _env(envs.LeavesThread))
    yield Specimen(
        "a factory raises KeyError", "unknown-env", lambda: testing.check_env_factory(envs.raises_key_error, ["Walk"])
    )
    yield Specimen("a factory tells no ids", "has-envs", lambda: testing.check_env_factory(envs.tells_no_ids))

    yield Specimen("a vector env declares no auto-reset", "declares-auto-reset", _vector(envs.SaysNothing))
    yield Specimen("a vector env declares SAME_STEP wrongly", "auto-reset", _vector(envs.SaysSameStep))
    yield Specimen("a vector env declares NEXT_STEP wrongly", "auto-reset", _vector(envs.SaysNextStep))
    yield Specimen("rewards of a vector env are a column", "api", _vector(envs.ColumnOfRewards))
    yield Specimen("a vector env overwrites its actions", "keeps-its-actions", _vector(envs.SpoilsBatches))
    yield Specimen("a vector env seeds all envs alike", "envs-differ", _vector(envs.SameSeeds))

    yield Specimen("a processor has no bind", "contract", _observations(parts.WithoutBind))
    yield Specimen("a processor is made once", "contract", _observations(lambda: parts.ONE))
    yield Specimen("bind raises AttributeError", "bind", _observations(parts.RefusesWithAttributeError))
    yield Specimen("bind changes the space", "keeps-its-space", _observations(parts.ChangesSpace))
    yield Specimen("a processor returns float64", "announced-space", _observations(parts.ReturnsFloat64))
    yield Specimen("a processor leaves its bounds", "announced-space", _observations(parts.LeavesBounds))
    yield Specimen("a processor loses a row", "announced-space", _observations(parts.DropsRow))
    yield Specimen("a processor works in place", "keeps-its-input", _observations(parts.InPlace))
    yield Specimen("a processor returns a view", "keeps-no-hold-of-results", _observations(parts.ReturnsView))
    yield Specimen("a processor returns one buffer", "keeps-no-hold-of-results", _observations(parts.ReusesBuffer))
    yield Specimen("a processor adds noise", "function-of-its-input", _observations(parts.Noisy))
    yield Specimen("processors count calls in their class", "no-shared-state", _observations(parts.ClassCalls))
    yield Specimen("a processor subtracts the mean of the batch", "row-independence", _observations(parts.BatchMean))
    yield Specimen("begin_episodes is misspelt", "contract", _observations(parts.MisspeltEpisodes))
    yield Specimen("a processor takes rows for envs", "keeps-envs-apart", _observations(parts.RowsForEnvs))
    yield Specimen("a processor never forgets an episode", "begin-episodes-clears", _observations(parts.NeverForgets))
    yield Specimen("a processor forgets all envs", "begin-episodes-keeps-others", _observations(parts.ForgetsAll))
    yield Specimen("a processor starts episodes anew", "episode-state", _observations(parts.StartsAnew))
    yield Specimen("final observations become float64", "final-observations", _observations(parts.OtherFinals))
    yield Specimen("a state_dict lacks something", "state", _observations(parts.HalfAState))
    yield Specimen("an action processor leaves the bounds", "announced-space", _actions(parts.DoublesInstead))
    yield Specimen("an action processor works in place", "keeps-its-input", _actions(parts.ActsInPlace))

    yield Specimen("a reward processor returns one number", "one-number-per-reward", _rewards(parts.OneForAll))
    yield Specimen("a reward processor works in place", "keeps-its-input", _rewards(parts.ScalesInPlace))
    yield Specimen("a reward processor takes rows for envs", "keeps-envs-apart", _rewards(parts.SumsByRow))
    yield Specimen("a reward processor saves half of its sums", "episode-state", _rewards(parts.HalfTheSums))
    yield Specimen("a reward processor never forgets", "begin-episodes", _rewards(parts.SumsForEver))

    yield Specimen("a format has no open", "contract", _format(parts.WithoutOpen))
    yield Specimen("a format raises ValueError for a space", "open", _format(parts.RefusesWithValueError))
    yield Specimen("a format loses an env", "one-history-per-env", _recorder(parts.LosesAnEnv))
    yield Specimen("a format keeps rewards as float32", "round-trip", _recorder(parts.Float32Rewards))
    yield Specimen("a format loses final observations", "round-trip", _recorder(parts.NextRowAsNext))
    yield Specimen("a format mixes the flags up", "round-trip", _recorder(parts.OneFlag))
    yield Specimen("a format loses a step", "round-trip", _recorder(parts.LosesAStep))
    yield Specimen("a format loses windows", "windows", _recorder(parts.LosesWindows))
    yield Specimen("a format changes the seeds of episodes", "episodes", _recorder(parts.OtherSeeds))
    yield Specimen("a history has a random id", "function-of-the-run", _recorder(parts.Stamped))
    yield Specimen("a history grows later", "keeps-no-hold-of-histories", _recorder(parts.GrowingList))
    yield Specimen("a format has the state of its recorders", "no-shared-state", _format(parts.StateInFormat))
    yield Specimen("a format needs all steps", "crash", _recorder(parts.NeedsAllSteps))
    yield Specimen("a format goes by the kind of block", "executors", _recorder(parts.KindOfBlock))

    yield Specimen("an executor is made of one argument", "contract", _executor(parts.WithoutWorkers))
    yield Specimen("an executor loses rewards", "same-bytes", _executor(parts.ZeroRewards))
    yield Specimen("an executor ignores seeds", "same-bytes", _executor(parts.ResetsToSeedZero))
    yield Specimen("an executor refuses one env", "any-number-of-workers", _executor(parts.NeverAlone))
    yield Specimen("an executor always restarts", "same-bytes", _executor(parts.AlwaysRestarts))
    yield Specimen("an executor loses rewards of few", "without-auto-reset", _executor(parts.LosesRewardsOfFew))
    yield Specimen("an executor loses rewards at own pace", "own-pace", _executor(parts.LosesRewardsAtOwnPace))
    yield Specimen("an executor loses infos", "infos", _executor(parts.LosesInfos))
    yield Specimen("an executor hides which env failed", "names-the-env-that-fails", _executor(parts.HidesTheEnv))
    yield Specimen(
        "an executor leaves envs after a failed start", "closes-after-a-failed-start", _executor(parts.ForgetsTheMade)
    )
    yield Specimen("an executor leaves a thread", "closes", _executor(parts.KeepsThread))

    yield Specimen("an agent has no act", "contract", _agent(parts.WithoutAct))
    yield Specimen("an agent leaves the action space", "actions", _agent(parts.OutOfSpace))
    yield Specimen("an agent returns one action for all", "actions", _agent(parts.OneAction))
    yield Specimen("an agent has no seed", "function-of-its-seed", _agent(parts.UnseededAgent))
    yield Specimen("agents count steps in their class", "no-shared-state", _agent(parts.ClassSteps))
    yield Specimen("an agent overwrites its observations", "keeps-its-input", _agent(parts.SpoilsObservations))
    yield Specimen("an agent compares rows", "row-independence", _agent(parts.BatchAgent))
    yield Specimen("an agent compares rows in a column", "extra-columns-row-independence", _agent(parts.BatchValues))
    yield Specimen("an agent returns one value for all", "extra-columns", _agent(parts.OneValue))
    yield Specimen("an agent never clears its state", "begin-episodes-clears", _agent(parts.NeverClears))
    yield Specimen("an agent clears the state of all envs", "begin-episodes-keeps-others", _agent(parts.ClearsAll))

    yield Specimen("a runner leaves a thread", "closes", _runner(parts.LeavesARunnersThread))
    yield Specimen("a runner has no seed", "function-of-its-seed", _runner(parts.NoSeed))
    yield Specimen("a runner returns one list", "keeps-no-hold-of-histories", _runner(parts.OneList))
    yield Specimen("a runner goes on after close", "refuses-after-close", _runner(parts.NeverClosed))

    yield Specimen("a plugin cannot be imported", "plugin/imports", _plugin("fails_to_import"))
    yield Specimen("a plugin has no entry point", "plugin/imports", _plugin("has_no_entry_point"))
    yield Specimen("a plugin has no hook", "plugin/registers", _plugin("has_no_hook"))
    yield Specimen("a plugin misspells a hook", "plugin/registers", _plugin("misspells_a_hook"))
    yield Specimen("a plugin offers an object that is made", "plugin/registers", _plugin("offers_an_instance"))
    yield Specimen("a plugin offers nothing", "plugin/offers-something", _plugin("offers_nothing"))
    yield Specimen("a name has capitals", "plugin/names", _plugin("has_a_bad_name"))
    yield Specimen("a contribution has no summary", "plugin/summaries", _plugin("has_no_summary"))
    yield Specimen("metadata and hooks disagree", "plugin/metadata", _plugin("offers_another_part"))
    yield Specimen("a declared name stands for nothing", "plugin/imports", _plugin("points_nowhere"))
    yield Specimen("an option has a default of another type", "plugin/options", _plugin("has_a_wrong_default"))
    yield Specimen("a plugin takes long to import", "plugin/import-time", _plugin("takes_long"))
    yield Specimen("a package has no py.typed", "plugin/py-typed", _plugin("has_no_marker"))


ZOO = tuple(_specimens())

GOOD: dict[str, Callable[[], Report]] = {
    "env": _env(envs.Walk),
    "an env with snapshots": _env(envs.Drifting),
    "vector env": _vector(envs.WalkVector),
    "observation processor": _observations(parts.Double),
    "observation processor with state": _observations(parts.Previous),
    "action processor": _actions(parts.Halve),
    "reward processor": _rewards(parts.RewardSums),
    "history format": _format(parts.Format),
    "agent": _agent(parts.Sign),
    "agent with state": _agent(parts.Alternating),
    "runner": _runner(parts.PlainRunner),
    "plugin": _plugin("good"),
}
"""Things without a fault, from which the broken ones are derived."""


def main() -> None:
    """Print the table."""
    print("| fault | check | message |\n|---|---|---|")
    for specimen in ZOO:
        failures = specimen.report().failures
        said = "; ".join(result.message for result in failures).replace("|", "\\|").replace("\n", " ")
        print(f"| {specimen.fault} | {', '.join(result.id for result in failures)} | {said} |", flush=True)


if __name__ == "__main__":
    main()
