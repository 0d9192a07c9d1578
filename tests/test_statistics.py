"""Scores: values that are computed by hand, and intervals that hold what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runnerkit.errors import ArgumentError
from runnerkit.statistics import (
    Statistic,
    bootstrap_interval,
    holm,
    improvement_interval,
    interquartile_mean,
    mean_interval,
    mean_score,
    permutation_test,
    probability_of_improvement,
    rank_test,
)


def test_the_interquartile_mean_is_the_mean_of_the_middle_half() -> None:
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 100]) == 3.5
    assert interquartile_mean([100, 4, 1, 3, 2]) == 3.0  # a quarter of five is one
    assert interquartile_mean([7.0]) == 7.0
    assert interquartile_mean([1, 2, 9]) == 4.0  # fewer than four: the mean
    assert interquartile_mean([[0, 0, 4, 8], [1, 1, 1, 1]]).tolist() == [2.0, 1.0]


def test_the_probability_of_improvement_counts_pairs_and_equal_ones_half() -> None:
    assert probability_of_improvement([2, 3], [1, 2]) == 0.875
    assert probability_of_improvement([1, 2], [2, 3]) == 0.125
    assert probability_of_improvement([5, 5], [5]) == 0.5
    assert probability_of_improvement([9], [1, 2, 3]) == 1.0


def test_the_permutation_test_counts_all_ways_to_part_a_few_scores() -> None:
    assert permutation_test([1, 2, 3], [11, 12, 13]) == 2 / 20
    assert permutation_test([1, 4], [2, 3], mean_score) == 1.0
    assert permutation_test([0, 1], [1, 5], mean_score) == 4 / 6  # sums of the first pair: 1, 1, 5, 2, 6, 6; of all: 7
    assert permutation_test([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) == 1.0


def test_the_rank_test_does_not_look_at_how_far_scores_are_apart() -> None:
    assert rank_test([1, 2, 3, 4], [15, 16, 17, 100]) == 2 / 70
    assert rank_test([1, 1], [1, 1]) == 1.0
    assert (
        rank_test([1, 2], [2, 3]) == 4 / 6
    )  # mean ranks of 1, 2 are 1 and 2.5: sums 3.5 and 6.5; 4 of 6 ways have them


def test_the_permutation_test_of_many_scores_tells_them_apart_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=40), rng.normal(size=60)
    p = permutation_test(first, second + 2, permutations=2000)
    assert p == 1 / 2001
    assert (
        0.05 < permutation_test(first, second, permutations=2000) == permutation_test(first, second, permutations=2000)
    )


def test_holm_corrects_for_the_number_of_tests() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    scores = np.random.default_rng(0).normal(10, 2, size=400)
    low, high = mean_interval(scores) or (0.0, 0.0)
    half = 1.96 * scores.std() / 20
    assert (low, high) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.02)
    narrow = mean_interval(scores, 0.5)
    assert narrow is not None
    assert low < narrow[0] < narrow[1] < high


def test_an_interval_is_stratified() -> None:
    strata = [[0.0, 0.0, 0.0], [10.0, 10.0]]  # they differ much, but within each there is nothing to draw
    assert bootstrap_interval(strata, mean_score, resamples=100) == (4.0, 4.0)
    assert bootstrap_interval([[1.0], [2.0, 2.0]], mean_score, resamples=10) == (5 / 3, 5 / 3)


def test_the_interval_of_an_improvement_is_stratified_by_env() -> None:
    assert improvement_interval([([2.0, 3.0], [1.0]), ([0.0], [4.0, 5.0])]) == (
        0.5,
        0.5,
    )  # 1 in one env, 0 in the other
    rng = np.random.default_rng(1)
    better, worse = rng.normal(1, 1, 50), rng.normal(0, 1, 50)
    low, high = improvement_interval([(better, worse)]) or (0.0, 0.0)
    assert 0.6 < low < probability_of_improvement(better, worse) < high < 0.95
    assert improvement_interval([([1.0], [2.0])]) is None
    many = rng.normal(0.5, 1, (2, 1600))  # more pairs than are compared at once
    low, high = improvement_interval([(many[0], many[1])], resamples=100) or (0.0, 0.0)
    assert 0.45 < low < probability_of_improvement(many[0], many[1]) < high < 0.55


def test_one_score_has_no_interval() -> None:
    assert mean_interval([3.0]) is None
    assert bootstrap_interval([[3.0], [4.0]], interquartile_mean) is None


def test_memory_does_not_grow_with_scores_times_resamples() -> None:
    import tracemalloc

    scores = np.random.default_rng(0).normal(size=100_000)
    tracemalloc.start()
    try:
        assert bootstrap_interval([scores], mean_score, resamples=100) is not None
        assert tracemalloc.get_traced_memory()[1] < 100e6  # of 160 MB for all draws at once
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("scores", [[], [[1.0]], 3.0])
def test_what_is_no_list_of_scores_is_refused(scores: object) -> None:
    with pytest.raises(ArgumentError, match="Scores must be a list of numbers"):
        probability_of_improvement(scores, [1.0])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="confidence must be"):
        mean_interval([1.0, 2.0], 1.5)


@pytest.mark.parametrize("statistic", [interquartile_mean, mean_score])
@pytest.mark.parametrize("scores", [[], [[], []], 3.0])
def test_no_score_has_no_mean(statistic: Statistic, scores: Any) -> None:
    with pytest.raises(ArgumentError, match="at least one number in its last axis"):
        statistic(scores)
