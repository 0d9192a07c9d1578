"""The trail: the last actions of running episodes, however rollouts cut them."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from runnerkit._core.spaces import Layout
from runnerkit._rollout import trail as module
from runnerkit._rollout.trail import Trail


@pytest.mark.parametrize("longest", [1, 3, 40, 2000])
@pytest.mark.parametrize("is_ragged", [False, True])
def test_a_trail_has_the_last_actions_of_each_running_episode(longest: int, is_ragged: bool) -> None:
    random = np.random.default_rng(longest)
    trail, made, steps = Trail(Layout(spaces.Discrete(10**9), "action"), 3), [list[int]() for _ in range(3)], [0, 0, 0]
    for _ in range(150):
        rows = int(random.integers(1, 30))
        lengths = [int(random.integers(1, rows)) if is_ragged and i and rows > 1 else rows for i in range(3)]
        column = random.integers(0, 10**9, (rows + 2, 3))
        for i, length in enumerate(lengths):
            made[i] += column[:length, i].tolist()
            ends = random.random() < length / longest
            steps[i] = int(random.integers(0, length + 1)) if ends else steps[i] + length
        trail.add([column], lengths, steps)
        for i in range(3):
            (found,) = trail.last(i, steps[i]) or ([],)
            assert list(found) == made[i][len(made[i]) - steps[i] :]


def test_a_trail_gives_up_what_is_too_long_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 8 * 100)
    trail = Trail(Layout(spaces.Discrete(9), "action"), 1)
    for total in range(10, 160, 10):
        trail.add([np.full((10, 1), total)], [10], [total])
        found = trail.last(0, total)
        assert (found is None) == (total > 100)
    trail.add([np.arange(10)[:, None]], [10], [4])
    assert [column.tolist() for column in trail.last(0, 4) or ()] == [[6, 7, 8, 9]]
