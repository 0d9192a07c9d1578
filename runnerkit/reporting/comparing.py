"""Which of several runs is better, and how certain that is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from runnerkit.reporting.runs import Run
from runnerkit.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    improvement_interval,
    interquartile_mean,
    mean_score,
    probability_of_improvement,
    rank_test,
)

__all__ = ["Group", "Pair", "grouped", "over_envs", "pairs"]

_MOST_NUMBERS = 4_000_000  # that are drawn for one interval


@dataclass(frozen=True)
class Group:
    """The runs of one method in one env, with their scores.

    Attributes:
        name: of the group.
        env: the env.
        runs: its runs.
        series: its colour.
        strata: the scores: the mean return of each run, if every group has several; otherwise the returns of
            episodes, run by run.
        of_runs: whether scores are those of runs.

    """

    name: str
    env: str
    runs: Sequence[Run]
    series: int
    strata: Sequence[NDArray[np.float64]]
    of_runs: bool

    @property
    def scores(self) -> NDArray[np.float64]:
        """All scores."""
        return np.concatenate(self.strata) if self.strata else np.zeros(0)

    @property
    def iqm(self) -> float:
        """The interquartile mean of the scores."""
        return float(interquartile_mean(self.scores))

    @property
    def mean(self) -> float:
        """The mean of the scores."""
        return float(mean_score(self.scores))

    @cached_property
    def iqm_interval(self) -> Interval | None:
        """Its 95 % interval."""
        return bootstrap_interval(self.strata, interquartile_mean, resamples=self._resamples)

    @cached_property
    def mean_interval(self) -> Interval | None:
        """The 95 % interval of the mean."""
        return bootstrap_interval(self.strata, mean_score, resamples=self._resamples)

    @property
    def _resamples(self) -> int:
        return _resamples(len(self.scores))


@dataclass(frozen=True)
class Pair:
    """Two groups in one env: is the second one better than the first?"""

    first: Group
    second: Group
    p_value: float
    """Of the rank test, corrected for the number of pairs."""
    n_pairs: int

    @cached_property
    def probability(self) -> float:
        """The probability that a score of the second is higher than one of the first."""
        return probability_of_improvement(self.second.scores, self.first.scores)

    @cached_property
    def interval(self) -> Interval | None:
        """Its 95 % interval."""
        scores = (self.second.scores, self.first.scores)
        return improvement_interval([scores], resamples=_resamples(sum(map(len, scores)), 2000))

    @property
    def can_differ(self) -> bool:
        """Whether the test could find any difference at all with so few scores."""
        return 2 / _ways(len(self.first.scores), len(self.second.scores)) * self.n_pairs <= 0.05


def grouped(runs: Sequence[Run], last: int) -> list[Group]:
    """Return the groups of each env, in the order in which they were given; those without a score are left out."""
    by_env: dict[str, dict[str, list[Run]]] = {}
    colours = {name: k for k, name in enumerate(dict.fromkeys(run.group for run in runs))}
    for run in runs:
        if len(run.scores(last)):
            by_env.setdefault(run.env, {}).setdefault(run.group, []).append(run)
    found = []
    for env, groups in by_env.items():
        of_runs = all(len(members) > 1 for members in groups.values())
        for name, members in groups.items():
            scores = [run.scores(last) for run in members]
            strata = [np.array([part.mean() for part in scores])] if of_runs else scores
            found.append(Group(name, env, members, colours[name], strata, of_runs))
    return found


def pairs(groups: Sequence[Group]) -> list[Pair]:
    """Return every two groups of one env, tested, with p-values that are corrected for their number."""
    chosen = [(a, b) for a, b in itertools.combinations(groups, 2) if a.env == b.env]
    found = [rank_test(b.scores, a.scores, permutations=_resamples(len(a.scores) + len(b.scores))) for a, b in chosen]
    return [Pair(a, b, p, len(chosen)) for (a, b), p in zip(chosen, holm(found), strict=True)]


def over_envs(groups: Sequence[Group]) -> list[tuple[str, str, int, float, Interval | None]]:
    """Return (first, second, number of envs, probability, interval) for two groups that share several envs.

    The probability that the second one is better is no matter of scale, so that it may be averaged over envs.
    """
    by_name: dict[str, dict[str, Group]] = {}
    for group in groups:
        by_name.setdefault(group.name, {})[group.env] = group
    found = []
    for (first, ours), (second, theirs) in itertools.combinations(by_name.items(), 2):
        envs = [env for env in ours if env in theirs]
        if len(envs) > 1:
            scores = [(theirs[env].scores, ours[env].scores) for env in envs]
            mean = float(np.mean([probability_of_improvement(a, b) for a, b in scores]))
            size = sum(len(a) + len(b) for a, b in scores)
            bounds = improvement_interval(scores, resamples=_resamples(size, 2000))
            found.append((first, second, len(envs), mean, bounds))
    return found


def _resamples(n: int, most: int = 10_000) -> int:
    """Return how often n scores are drawn, so that the time stays bounded."""
    return max(200, min(most, _MOST_NUMBERS // max(1, n)))


def _ways(n: int, m: int) -> float:
    """Return in how many ways n + m scores can be parted, as a float, which may be large."""
    ways = 1.0
    for k in range(1, min(n, m) + 1):
        ways = ways * (max(n, m) + k) / k
        if ways > 1e12:
            break
    return ways
