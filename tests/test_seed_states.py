"""Seeds of episodes: those of NumPy's SeedSequence, in memory that does not grow with the episodes."""

from __future__ import annotations

import numpy as np
import pytest

from runnerkit._core.seed_states import states
from runnerkit.executors import SeedSchedule


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1, 2**200 + 3])
def test_any_part_of_a_stream_is_that_of_numpy(seed: int) -> None:
    sequence = np.random.SeedSequence(seed, spawn_key=(0, 5))
    whole = sequence.generate_state(3000, np.uint64)
    for first, count in ((0, 1), (0, 64), (1, 7), (64, 64), (2900, 100)):
        part = states(sequence, first, count)
        assert part.dtype == whole.dtype
        np.testing.assert_array_equal(part, whole[first : first + count])


def test_seeds_are_the_same_in_any_order_and_the_schedule_does_not_grow() -> None:
    expected = np.random.SeedSequence(3, spawn_key=(0, 2)).generate_state(10_000, np.uint64) >> np.uint64(1)
    schedule = SeedSchedule(3)
    for k in (0, 9_999, 63, 64, 65, 63, 5_000):
        assert schedule.episode_seed(2, k) == expected[k]
    schedule.episode_seed(2, 10**12)
    assert sum(seeds.nbytes for _, seeds in schedule._seeds.values()) <= 1024
