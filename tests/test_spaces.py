"""Layouts: any space to columns and back, in full precision, and what does not fit is refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from envs import ALL_SPACES, SPACES, SampleEnv, any_space, exact, row_of
from gymnasium import Space, spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from runnerkit import GymRunner
from runnerkit._core.batches import BatchReader
from runnerkit._core.spaces import Layout, MisfitError
from runnerkit.errors import EnvSpaceError


def samples_of(space: Space[Any], count: int, seed: int = 0) -> list[Any]:
    mine = copy.deepcopy(space)
    mine.seed(seed)
    return [mine.sample() for _ in range(count)]


class Two:
    """Answers for two envs, whatever they observe."""

    def act(self, observations: Any, /) -> list[int]:
        return [0, 1]


# ---- round trips


@given(space=any_space(), seed=st.integers(0, 1000))
@settings(max_examples=100)
def test_join_undoes_split(space: Space[Any], seed: int) -> None:
    layout = Layout(space, "x")
    (sample,) = samples_of(space, 1, seed)
    values = layout.split(sample)
    assert len(values) == len(layout.leaves)
    assert exact(layout.join(values)) == exact(sample)


@given(space=any_space(), n_envs=st.integers(1, 3))
@settings(max_examples=60)
def test_what_is_written_can_be_read_back_bit_by_bit(space: Space[Any], n_envs: int) -> None:
    layout = Layout(space, "x")
    columns = layout.allocate(4, n_envs)
    write = layout.writer(columns)
    samples = samples_of(space, 4 * n_envs)
    for k, sample in enumerate(samples):
        write(k // n_envs, k % n_envs, sample)
    for k, sample in enumerate(samples):
        assert exact(layout.sample(columns, (k // n_envs, k % n_envs))) == exact(sample)
    for row in range(4):
        batch = layout.batch(columns, row)
        assert [exact(row_of(batch, i)) for i in range(n_envs)] == [
            exact(sample) for sample in samples[row * n_envs : (row + 1) * n_envs]
        ]


@pytest.mark.parametrize("name", ALL_SPACES)
def test_the_fast_writer_of_rows_takes_what_the_careful_one_takes(name: str) -> None:
    layout = Layout(SPACES[name], "x")
    fast, careful = layout.allocate(5, 3), layout.allocate(5, 3)
    rows, write = layout.row_writer(fast, 3), layout.writer(careful)
    for k, sample in enumerate(samples_of(SPACES[name], 15)):
        row, i = divmod(k, 3)
        write(row, i, sample)
        try:
            rows.open(row)[rows.slots[i]] = sample
        except Exception:  # refused: by contract the careful writer then decides
            layout.writer(fast)(row, i, sample)
    for cell in np.ndindex(5, 3):
        assert exact(layout.sample(fast, cell)) == exact(layout.sample(careful, cell))


@pytest.mark.parametrize("name", ALL_SPACES)
def test_what_is_written_is_a_copy(name: str) -> None:
    layout = Layout(SPACES[name], "x")
    columns = layout.allocate(1, 1)
    (sample,) = samples_of(SPACES[name], 1)
    layout.writer(columns)(0, 0, sample)
    before = exact(layout.sample(columns, (0, 0)))
    spoil(sample)
    assert exact(layout.sample(columns, (0, 0))) == before
    spoil(layout.sample(columns, (0, 0)))
    spoil(layout.batch(columns, 0))
    assert exact(layout.sample(columns, (0, 0))) == before


def spoil(value: Any) -> None:
    """Overwrite every array in a sample or batch."""
    if isinstance(value, np.ndarray):
        value[...] = 1 - value if value.dtype != np.bool_ else ~value
    elif isinstance(value, (tuple, list, dict)):
        for sub in value.values() if isinstance(value, dict) else value:
            spoil(sub)


@pytest.mark.parametrize("name", ALL_SPACES)
def test_a_batch_given_as_a_list_of_samples_is_read_as_they_are(name: str) -> None:
    layout = Layout(SPACES[name], "action")
    samples = samples_of(SPACES[name], 4)
    columns = BatchReader(layout, bounded=True)(samples, 4)
    rows = layout.rows(columns, 4)
    assert [exact(rows[k]) for k in range(4)] == [exact(sample) for sample in samples]


def test_leaves_are_in_the_order_of_the_space_and_know_their_paths() -> None:
    layout = Layout(SPACES["nested"], "observation")
    assert [leaf.path for leaf in layout.leaves] == [
        "observation['left'][0]", "observation['left'][1]['deep']", "observation['right']",
    ]  # fmt: skip
    assert [leaf.dtype for leaf in layout.leaves] == [np.int64, np.float16, object]
    assert [leaf.is_object for leaf in layout.leaves] == [False, False, True]
    assert layout.nbytes == 8 + 4 + 8


@pytest.mark.parametrize("space", [spaces.Dict({}), spaces.Tuple(())], ids=["Dict", "Tuple"])
def test_a_space_of_nothing_can_be_observed(space: Space[Any]) -> None:
    with GymRunner(lambda seed: SampleEnv(space, SPACES["Discrete"]), seed=0, n_envs=2) as runner:
        histories = runner.rollout(Two(), steps=9)
    assert [history.observations for history in histories] == [space.sample()] * 2
    assert [len(history) for history in histories] == [9, 9]


# ---- refusals

MISFITS: dict[str, tuple[Space[Any], Any, str]] = {
    "another shape": (SPACES["float32"], np.zeros(4, np.float32), r"shape \(3,\)"),
    "a shape that broadcasts": (SPACES["float32"], np.zeros(1, np.float32), r"shape \(3,\)"),
    "another dtype": (SPACES["float32"], np.zeros(3, np.float64), "dtype float32"),
    "a list": (SPACES["float32"], [0.0, 0.0, 0.0], "list"),
    "nothing": (SPACES["float32"], None, "NoneType"),
    "an integer image as floats": (SPACES["image"], np.zeros((4, 3, 3)), "uint8"),
    "a float for Discrete": (SPACES["Discrete"], 1.0, "an integer of Discrete"),
    "a vector for Discrete": (SPACES["Discrete"], np.zeros(1, np.int64), "an integer of Discrete"),
    "too great for int8": (SPACES["Discrete of int8"], 300, "an integer of Discrete"),
    "below uint8": (SPACES["Discrete of uint8"], -1, "an integer of Discrete"),
    "a missing key": (SPACES["Dict"], {"a": np.zeros(2, np.uint8)}, "keys"),
    "a key too many": (SPACES["Dict"], {"a": 0, "z": 0, "b": 0}, "keys"),
    "a deep misfit": (SPACES["nested"], {"left": (0, {"deep": np.zeros(2)}), "none": (), "right": (0, 0)}, "'deep'"),
    "a list for a Tuple": (SPACES["Tuple"], [np.zeros(()), np.zeros(2, np.int8)], "tuple of 2"),
    "a tuple too short": (SPACES["Tuple"], (np.zeros(()),), "tuple of 2"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_refused_by_name(case: str) -> None:
    space, value, says = MISFITS[case]
    layout = Layout(space, "observation")
    columns = layout.allocate(1, 1)
    with pytest.raises(MisfitError, match=says):
        layout.writer(columns)(0, 0, value)


@pytest.mark.parametrize("executor", ["serial", "threads"])
@pytest.mark.parametrize("case", MISFITS)
@pytest.mark.parametrize("at", ["reset", "step"])
def test_an_env_that_returns_it_is_refused_too(case: str, at: str, executor: str) -> None:
    space, value, says = MISFITS[case]

    class Misfit(SampleEnv):
        @override
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            observation, info = super().reset(seed=seed, options=options)
            return value if at == "reset" else observation, info

        @override
        def step(self, action: Any) -> Any:
            _, *rest = super().step(action)
            return value, *rest

    with GymRunner(lambda seed: Misfit(space, SPACES["Discrete"]), seed=0, n_envs=2, executor=executor) as runner:
        with pytest.raises(EnvSpaceError, match=says) as raised:
            runner.rollout(Two(), steps=3)
        assert f"from {at}" in str(raised.value)


@pytest.mark.parametrize("value", [5, np.int32(5), np.int64(5), np.array(5), np.uint8(5)])
def test_an_integer_of_any_type_will_do_for_discrete(value: Any) -> None:
    layout = Layout(SPACES["Discrete of int8"], "observation")
    columns = layout.allocate(1, 1)
    layout.writer(columns)(0, 0, value)
    assert exact(columns[0][0, 0]) == exact(np.int8(5))


BAD_BATCHES: dict[str, tuple[Space[Any], Any, str]] = {
    "too few rows": (SPACES["Discrete"], [0, 1], "3 rows"),
    "too many rows": (SPACES["float32"], np.zeros((4, 3), np.float32), "3 rows"),
    "a single sample": (SPACES["float32"], np.zeros(3, np.float32), r"\(3, 3\)"),
    "a column vector": (SPACES["Discrete"], np.zeros((3, 1), np.int64), r"\(3,\)"),
    "ragged": (SPACES["float32"], [[0.0], [0.0, 1.0], [0.0]], "rectangular"),
    "floats": (SPACES["Discrete"], np.zeros(3), "dtype int64"),
    "outside": (SPACES["Discrete"], [0, 9, 0], "must lie in"),
    "NaN": (SPACES["float32"], np.full((3, 3), np.nan, np.float32), "NaN"),
    "wrapping around": (SPACES["int8"], np.full((3, 3), 256), "must lie in"),
    "outside of MultiDiscrete": (SPACES["MultiDiscrete"], np.full((3, 3), 4), "must lie in"),
    "not binary": (SPACES["MultiBinary"], np.full((3, 5), 2, np.int8), "must lie in"),
    "not in Text": (SPACES["Text"], ["a", "waytoolong", "b"], "must lie in"),
    "None": (SPACES["Discrete"], None, "shape"),
    "strings": (SPACES["float32"], np.full((3, 3), "x"), "dtype"),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_a_batch_that_does_not_fit_is_refused(case: str) -> None:
    space, value, says = BAD_BATCHES[case]
    with pytest.raises(MisfitError, match=says):
        BatchReader(Layout(space, "action"), bounded=True)(value, 3)


@pytest.mark.parametrize(("row", "case"), [(1, "outside"), (1, "not in Text"), (0, "NaN")])
def test_a_refusal_names_the_row_that_does_not_fit(row: int, case: str) -> None:
    space, value, _ = BAD_BATCHES[case]
    with pytest.raises(MisfitError) as raised:
        BatchReader(Layout(space, "action"), bounded=True)(value, 3)
    assert raised.value.row == row


NUMBERS: dict[str, Callable[[], Any]] = {
    "integers for floats": lambda: np.ones((2, 3), np.int32),
    "float64 for float32": lambda: np.ones((2, 3)),
    "a nested list": lambda: [[1, 1, 1], [1.0, 1.0, 1.0]],
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_of_another_precision_are_converted_to_that_of_the_space(case: str) -> None:
    (column,) = BatchReader(Layout(SPACES["float32"], "action"), bounded=True)(NUMBERS[case](), 2)
    assert exact(column) == exact(np.ones((2, 3), np.float32))


def test_what_is_read_is_a_copy_of_what_was_given() -> None:
    given_ = np.zeros((2, 3), np.float32)
    (column,) = BatchReader(Layout(SPACES["float32"], "action"), bounded=True)(given_, 2)
    assert not np.shares_memory(column, given_)
