"""How certain a score is, and whether two sets of scores differ.

The score of a run is one number, such as the mean return of its last episodes. A few runs say little, so that scores
come with intervals, and a few bad runs should not decide, so that the middle half of them is averaged. All follows
Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021, arXiv:2108.13264::

    old, new = [200.0, 180.0, 240.0], [310.0, 290.0, 500.0]     # one score per training run
    interquartile_mean(new), bootstrap_interval([new], interquartile_mean)
    probability_of_improvement(new, old), rank_test(new, old)

With several envs, give `bootstrap_interval` a list of scores for each env: it is stratified, that is, it draws runs
within each env. Everything is deterministic: the same scores give the same numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runnerkit.errors import ArgumentError

__all__ = [
    "Interval",
    "Statistic",
    "bootstrap_interval",
    "holm",
    "improvement_interval",
    "interquartile_mean",
    "mean_interval",
    "mean_score",
    "permutation_test",
    "probability_of_improvement",
    "rank_test",
]

Interval: TypeAlias = tuple[float, float]
"""The lower and the upper bound."""

Statistic: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A function that reduces the last axis of an array to one number, such as `interquartile_mean`."""

_RESAMPLES: Final = 10_000
_AT_ONCE: Final = 2_000_000  # numbers that are drawn at a time, so that memory does not grow with the scores


def mean_score(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the mean over the last axis."""
    return np.asarray(_some(scores).mean(axis=-1))


def interquartile_mean(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the mean of the middle half of the scores, over the last axis::

        interquartile_mean([0, 1, 2, 3, 4, 5, 6, 100])      # 3.5, the mean of 2, 3, 4 and 5

    A quarter of the scores, rounded down, is left out at either end, so that one run of chance does not decide. It is
    the mean for fewer than four scores.
    """
    ordered = np.sort(_some(scores), axis=-1)
    cut = ordered.shape[-1] // 4
    return np.asarray(ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1))


def probability_of_improvement(scores: ArrayLike, baseline: ArrayLike) -> float:
    """Return how likely a score, drawn at random, is higher than one of the baseline; equal ones count one half::

        probability_of_improvement([2, 3], [1, 2])      # 0.875: 3 of 4 pairs are higher, and one is equal

    This is the U of Mann and Whitney, divided by the number of pairs.
    """
    values, others = _scores(scores), np.sort(_scores(baseline))
    below = np.searchsorted(others, values, "left")
    not_above = np.searchsorted(others, values, "right")
    return float((below + not_above).sum() / (2 * len(values) * len(others)))


def improvement_interval(
    pairs: Sequence[tuple[ArrayLike, ArrayLike]], confidence: float = 0.95, *, resamples: int = 2000
) -> Interval | None:
    """Return the stratified bootstrap interval of the mean probability of improvement over envs.

    None if each list has one score only.

    Args:
        pairs: for each env, the scores and those of the baseline.
        confidence: between 0 and 1.
        resamples: how often scores are drawn, with replacement, in each list by itself.

    """
    strata = [(_scores(scores), _scores(baseline)) for scores, baseline in pairs]
    tail = _tail(confidence)
    if max((len(part) for pair in strata for part in pair), default=0) < 2:
        return None
    rng = np.random.default_rng(0)
    found = np.mean([_improvements(scores, baseline, resamples, rng) for scores, baseline in strata], axis=0)
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def mean_interval(scores: ArrayLike, confidence: float = 0.95) -> Interval | None:
    """Return the percentile bootstrap interval of the mean (Efron, 1979); None for fewer than two scores."""
    return bootstrap_interval([scores], mean_score, confidence)


def bootstrap_interval(
    strata: Sequence[ArrayLike], statistic: Statistic, confidence: float = 0.95, *, resamples: int = _RESAMPLES
) -> Interval | None:
    """Return the interval in which a statistic lies, with the given confidence, if scores are drawn anew.

    Scores are drawn with replacement within each stratum, such as the scores of one env; the statistic is that of all
    strata together. None if no stratum has two scores: one does not say how far scores scatter.

    Args:
        strata: the scores of each stratum.
        statistic: reduces the last axis, such as `interquartile_mean`.
        confidence: between 0 and 1.
        resamples: how often scores are drawn.

    """
    tail = _tail(confidence)
    values = [_scores(scores) for scores in strata]
    if max(map(len, values), default=0) < 2:
        return None
    found = np.concatenate([statistic(drawn) for drawn in _drawn(values, resamples)])
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def permutation_test(
    scores: ArrayLike,
    others: ArrayLike,
    statistic: Statistic = mean_score,
    *,
    permutations: int = _RESAMPLES,
) -> float:
    """Return the p-value of "both sets are drawn from the same distribution", two-sided::

        permutation_test([1, 2, 3], [11, 12, 13])       # 0.1: 2 of the 20 ways to part them differ as much

    It is the share of the ways to part all scores into two sets of these sizes in which the statistic differs at least
    as much. All ways are counted if there are at most `permutations`; otherwise so many are drawn.
    """
    first, second = _scores(scores), _scores(others)
    together = np.concatenate([first, second])
    observed = abs(float(statistic(first)) - float(statistic(second)))
    least = observed - 1e-9 * max(1.0, observed)  # sums in another order differ in their last digits
    ways = math.comb(len(together), len(first))
    if ways <= permutations:
        chosen = np.array(list(itertools.combinations(range(len(together)), len(first))))
        return float(np.mean(_differences(together, chosen, statistic) >= least))
    rng = np.random.default_rng(0)
    hits = 0
    for n in _portions(permutations, len(together)):
        order = rng.permuted(np.tile(np.arange(len(together)), (n, 1)), axis=1)
        hits += int(np.sum(_differences(together, order[:, : len(first)], statistic) >= least))
    return (hits + 1) / (permutations + 1)


def rank_test(scores: ArrayLike, others: ArrayLike, *, permutations: int = _RESAMPLES) -> float:
    """Return the p-value of the test of Mann and Whitney (1947), two-sided: the permutation test of the mean rank::

        rank_test([1, 2, 3, 4], [15, 16, 17, 100])      # 2 of the 70 ways to part them, about 0.029

    It fits `probability_of_improvement`, which is 0.5 where mean ranks are equal. Equal scores share their mean rank.
    """
    first, second = _scores(scores), _scores(others)
    together = np.concatenate([first, second])
    ordered = np.sort(together)
    ranks = (np.searchsorted(ordered, together, "left") + np.searchsorted(ordered, together, "right")) / 2
    return permutation_test(ranks[: len(first)], ranks[len(first) :], permutations=permutations)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of several tests, corrected for their number (Holm, 1979)::

        holm([0.01, 0.04, 0.03])        # [0.03, 0.06, 0.06]

    If each is compared with 0.05 then, the chance that any of them is below by mere chance is at most 5 %.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, p_values[k] * (len(p_values) - rank)))
        corrected[k] = least
    return corrected


def _improvements(
    scores: NDArray[np.float64], baseline: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the probabilities of improvement of scores drawn anew, float64 `[resamples]`."""
    n, m = len(scores), len(baseline)
    if n * m > _AT_ONCE:
        drawn = (probability_of_improvement(rng.choice(scores, n), rng.choice(baseline, m)) for _ in range(resamples))
        return np.fromiter(drawn, np.float64, resamples)
    # Each pair of scores is compared once, and counts for as often as both are drawn.
    wins = (scores[:, None] > baseline) + 0.5 * (scores[:, None] == baseline)
    ours, theirs = (rng.multinomial(k, np.full(k, 1 / k), resamples) for k in (n, m))
    return np.asarray(((ours @ wins) * theirs).sum(axis=1) / (n * m))


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ArgumentError(f"confidence must be a number between 0 and 1, not {confidence!r}.")
    return (1 - confidence) / 2


def _some(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, np.float64)
    if not values.ndim or not values.shape[-1]:
        raise ArgumentError(f"Scores must be an array with at least one number in its last axis, not {scores!r:.80}.")
    return values


def _scores(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not values.size:
        raise ArgumentError(f"Scores must be a list of numbers, at least one, not an array of shape {values.shape}.")
    return values


def _portions(n: int, size: int) -> Iterator[int]:
    """Yield numbers of rows of this size that add up to n, each of them small enough for the memory."""
    most = max(1, _AT_ONCE // max(1, size))
    for start in range(0, n, most):
        yield min(most, n - start)


def _drawn(strata: Sequence[NDArray[np.float64]], resamples: int) -> Iterator[NDArray[np.float64]]:
    """Yield scores drawn anew, `[some resamples, scores]`, until there are as many resamples as wanted."""
    rng = np.random.default_rng(0)
    for n in _portions(resamples, sum(map(len, strata))):
        yield np.concatenate([values[rng.integers(0, len(values), (n, len(values)))] for values in strata], axis=1)


def _differences(together: NDArray[np.float64], chosen: NDArray[np.intp], statistic: Statistic) -> NDArray[np.float64]:
    """Return by how much the statistics of the chosen scores and of the rest differ, for each row of `chosen`."""
    rest = np.ones((len(chosen), len(together)), np.bool_)
    np.put_along_axis(rest, chosen, False, axis=1)
    others = np.broadcast_to(together, rest.shape)[rest].reshape(len(chosen), -1)
    return np.abs(statistic(together[chosen]) - statistic(others))
