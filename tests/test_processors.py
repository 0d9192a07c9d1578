"""The built-in processors, and how processors of any kind are bound and chained."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import (
    ALL_SPACES,
    SPACES,
    CountingEnv,
    HashAgent,
    SampleEnv,
    ScriptedEnv,
    ZeroAgent,
    any_space,
    exact,
    is_flattenable,
    row_of,
)
from gymnasium import Space, spaces
from gymnasium.spaces.utils import flatten, flatten_space
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import GymRunner, Transition
from runnerkit.errors import AgentError, ArgumentError, PluginError, ProcessorError, SpaceError
from runnerkit.processors import Clip, Flatten, Normalize, Rescale, ScaleImage

PIXELS = spaces.Box(0, 255, (2, 2), np.uint8)


def runner_of(
    observation: Space[Any], action: Space[Any] = SPACES["Discrete"], **options: Any
) -> GymRunner[Any, Any, Any]:
    options = {"seed": 0, "n_envs": 2, **options}
    return GymRunner(lambda seed: SampleEnv(observation, action), **options)


class Named:
    """A processor of either kind that maps numbers, and notes the batches it was given."""

    def __init__(self, factor: float, plus: float, space: Space[Any] | None = None) -> None:
        self._factor, self._plus, self._space = factor, plus, space
        self.bound: list[Space[Any]] = []
        self.batches: list[Any] = []

    def bind(self, space: Space[Any], /) -> Space[Any]:
        self.bound.append(space)
        return self._space or spaces.Box(-np.inf, np.inf, space.shape, np.float64)

    def __call__(self, batch: Any, /) -> Any:
        self.batches.append(batch.copy())
        return batch * self._factor + self._plus


# ---- flatten

FLATTENABLE = [name for name in ALL_SPACES if is_flattenable(SPACES[name])]


@pytest.mark.parametrize("name", FLATTENABLE)
def test_flatten_does_what_gymnasium_does(name: str) -> None:
    space = SPACES[name]
    with runner_of(space, preprocessors=["flatten"], keep_raw=True) as runner:
        flat = flatten_space(space)
        assert runner.observation_space == flat
        for history in runner.rollout(HashAgent(runner.action_space), steps=12):
            raw = history.raw_observations
            expected = [np.asarray(flatten(space, row_of(raw, t)), flat.dtype) for t in range(12)]
            assert exact(history.observations) == exact(np.stack(expected))


@given(space=any_space().filter(is_flattenable))
@settings(max_examples=25)
def test_flatten_does_so_for_spaces_of_spaces(space: Space[Any]) -> None:
    with runner_of(space, preprocessors=["flatten"], keep_raw=True) as runner:
        (history, _) = runner.rollout(HashAgent(runner.action_space), steps=4)
    expected = [np.asarray(flatten(space, row_of(history.raw_observations, t))) for t in range(4)]
    assert history.observations.tolist() == np.stack(expected).tolist()
    assert history.observations.dtype == flatten_space(space).dtype


@pytest.mark.parametrize("name", ["Graph", "Sequence", "Sequence, stacked"])
def test_flatten_refuses_what_has_no_fixed_length(name: str) -> None:
    with pytest.raises(SpaceError, match=r"preprocessor flatten .* fixed length"):
        runner_of(SPACES[name], preprocessors=["flatten"])


def test_flatten_refuses_what_gymnasium_cannot_flatten() -> None:
    with pytest.raises(SpaceError, match="preprocessor flatten"):
        runner_of(SPACES["nested"], preprocessors=["flatten"])


def test_flatten_names_the_part_that_is_no_vector() -> None:
    class Mission(Space[str]):
        """A space that Gymnasium does not have."""

    for part in (Mission(), SPACES["Sequence"]):
        space = spaces.Dict({"image": SPACES["float32"], "goal": spaces.Tuple((SPACES["Discrete"], part))})
        with pytest.raises(SpaceError, match=r"observation\['goal'\]\[1\] of Dict.* Leave it out, with a wrapper"):
            Flatten().bind(space)


# ---- normalize


def all_observations(histories: Sequence[Sequence[Any]]) -> NDArray[np.float64]:
    """Return every raw observation that envs returned, in consecutive rollouts, each once."""
    rows = []
    for rollout in histories:
        for history in rollout:
            for part in history.split():
                raw = np.asarray(part.raw_observations, np.float64)
                rows.append(raw[1:] if part.record.continued else raw)
    return np.concatenate(rows)


@pytest.mark.parametrize("auto_reset", [True, False])
@pytest.mark.parametrize("name", ["float32", "float16", "image", "scalar", "unbounded"])
def test_normalize_has_the_mean_and_variance_of_all_observations(name: str, auto_reset: bool) -> None:
    normalize = Normalize()
    with runner_of(SPACES[name], preprocessors=[normalize], keep_raw=True, auto_reset=auto_reset) as runner:
        agent = HashAgent(runner.action_space)
        runner.maybe_reset()
        rollouts = [runner.rollout(agent, steps=steps) for steps in (7, 1, 13)]
    seen = all_observations(rollouts)
    assert normalize.count == len(seen)
    np.testing.assert_allclose(normalize.mean, seen.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(normalize.var, seen.var(axis=0), rtol=1e-10)
    assert normalize.mean.dtype == np.float64
    assert normalize.var.dtype == np.float64


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8), offset=st.floats(-1e6, 1e6))
@settings(max_examples=40)
def test_normalize_does_not_care_how_observations_are_batched(sizes: list[int], offset: float) -> None:
    data = np.random.default_rng(0).normal(offset, 3.0, (sum(sizes), 2))
    normalize = Normalize()
    normalize.bind(spaces.Box(-np.inf, np.inf, (2,), np.float64))
    for begin, size in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True):
        normalize(data[begin : begin + size])
    np.testing.assert_allclose(normalize.mean, data.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(normalize.var, data.var(axis=0), rtol=1e-6, atol=1e-12)


def test_normalize_gives_clipped_float32_of_zero_mean_and_unit_variance() -> None:
    data = np.random.default_rng(1).normal([5.0, -100.0], [2.0, 30.0], (1000, 2))
    normalize = Normalize(clip=2.5)
    assert normalize.bind(spaces.Box(-np.inf, np.inf, (2,), np.float64)) == spaces.Box(-2.5, 2.5, (2,), np.float32)
    before = data.copy()
    normal = normalize(data)
    assert np.array_equal(data, before)
    assert normal.dtype == np.float32
    assert np.abs(normal).max() == 2.5
    expected = (data - data.mean(axis=0)) / np.sqrt(data.var(axis=0) + 1e-8)
    np.testing.assert_allclose(normal, expected.clip(-2.5, 2.5), rtol=1e-5, atol=1e-6)


def test_a_frozen_normalize_counts_no_more_until_it_is_thawed() -> None:
    normalize = Normalize()
    with runner_of(SPACES["float32"], preprocessors=[normalize]) as runner:
        agent = HashAgent(runner.action_space)
        runner.rollout(agent, steps=5)
        before = normalize.state_dict()
        normalize.freeze()
        runner.rollout(agent, steps=5)
        assert exact(normalize.state_dict()) == exact(before)
        normalize.freeze(False)
        runner.rollout(agent, steps=5)
        assert normalize.count > before["count"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("frozen", [False, True])
def test_normalize_refuses_what_is_not_finite_and_does_not_count_it(value: float, frozen: bool) -> None:
    normalize = Normalize()
    normalize.bind(spaces.Box(-np.inf, np.inf, (2,), np.float64))
    normalize(np.array([[1.0, 2.0], [3.0, 4.0]]))
    normalize.freeze(frozen)
    before = exact(normalize.state_dict())
    with pytest.raises(ValueError, match=f"row 1 has {value}"):
        normalize(np.array([[1.0, 2.0], [3.0, value]]))
    assert exact(normalize.state_dict()) == before
    assert np.isfinite(normalize(np.array([[1.0, 2.0]]))).all()


def test_an_observation_that_is_not_finite_ends_a_rollout_through_normalize() -> None:
    class Infinite(Named):
        @override
        def __call__(self, batch: Any, /) -> Any:
            return np.full(batch.shape, np.inf)

    with (
        runner_of(SPACES["float32"], preprocessors=[Infinite(1, 0), Normalize()]) as runner,
        pytest.raises(ProcessorError, match=r"Processor Normalize raised ValueError: .*finite.* has inf"),
    ):
        runner.rollout(HashAgent(runner.action_space), steps=2)


def test_a_frozen_copy_evaluates_with_the_statistics_of_training() -> None:
    normalize = Normalize(clip=3.0, epsilon=1e-4)
    with runner_of(SPACES["float32"], preprocessors=[normalize]) as runner:
        runner.rollout(HashAgent(runner.action_space), steps=20)
        frozen = normalize.frozen()
        state = exact(frozen.state_dict())
        runner.rollout(HashAgent(runner.action_space), steps=20)
    assert (frozen.clip, frozen.epsilon, frozen.is_frozen) == (3.0, 1e-4, True)
    with runner_of(SPACES["float32"], preprocessors=[frozen], keep_raw=True, seed=9) as evaluation:
        (history, _) = evaluation.rollout(HashAgent(evaluation.action_space), steps=20)
    assert exact(frozen.state_dict()) == state
    expected = (history.raw_observations - frozen.mean) / np.sqrt(frozen.var + 1e-4)
    np.testing.assert_allclose(history.observations, expected.clip(-3, 3), rtol=1e-5, atol=1e-6)


def test_the_state_of_normalize_goes_round() -> None:
    normalize, other = Normalize(), Normalize()
    normalize.bind(SPACES["float32"])
    batch = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    normalize(batch)
    state: Any = pickle.loads(pickle.dumps(normalize.state_dict()))
    other.load_state_dict(state)
    other.bind(SPACES["float32"])
    assert exact(other.state_dict()) == exact(normalize.state_dict())
    assert exact(other(batch)) == exact(normalize(batch))
    state["mean"][0] = 99.0
    assert exact(other.state_dict()) == exact(normalize.state_dict())
    normalize.state_dict()["mean"][0] = 99.0
    assert exact(other.state_dict()) == exact(normalize.state_dict())


def by_json(state: Any, path: Path) -> Any:
    path.write_text(json.dumps(state))
    return json.loads(path.read_text())


def by_numpy(state: Any, path: Path) -> Any:
    with path.open("wb") as file:
        np.savez(file, **state)
    with np.load(path) as loaded:
        return dict(loaded)


def by_torch(state: Any, path: Path) -> Any:
    torch = pytest.importorskip("torch")
    torch.save(state, path)
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("shape", [(3,), (), (2, 1)], ids=str)
@pytest.mark.parametrize("keep", [by_json, by_numpy, by_torch])
def test_files_of_many_kinds_keep_the_state_of_normalize(
    keep: Callable[[Any, Path], Any], shape: tuple[int, ...], tmp_path: Path
) -> None:
    space = spaces.Box(-np.inf, np.inf, shape, np.float64)
    with runner_of(space, preprocessors=["normalize"]) as runner:
        runner.rollout(ZeroAgent(), steps=20)
        (normalize,) = runner.preprocessors
    assert isinstance(normalize, Normalize)
    other = Normalize()
    other.load_state_dict(keep(normalize.state_dict(), tmp_path / "state"))
    assert (other.count, other.mean.shape, other.var.shape) == (normalize.count, shape, shape)
    assert exact([other.mean, other.var]) == exact([normalize.mean, normalize.var])


def test_a_runner_has_its_processors_as_objects_in_their_order() -> None:
    scale = ScaleImage()
    with runner_of(PIXELS, SPACES["float32"], preprocessors=[scale, "flatten"], postprocessors=["clip"]) as r:
        first, second = r.preprocessors
        assert first is scale
        assert isinstance(second, Flatten)
        assert [type(processor) for processor in r.postprocessors] == [Clip]
    with runner_of(PIXELS) as r:
        assert r.preprocessors == r.postprocessors == ()


def test_normalize_refuses_statistics_and_spaces_of_another_shape() -> None:
    normalize = Normalize()
    normalize.load_state_dict({"count": 3, "mean": np.zeros(2), "var": np.ones(2)})
    with pytest.raises(SpaceError, match=r"shape \(2,\)"):
        runner_of(SPACES["float32"], preprocessors=[normalize])
    with pytest.raises(ArgumentError, match=r"mean has shape \(3,\).*statistics have shape \(2,\)"):
        normalize.load_state_dict({"count": 3, "mean": np.zeros(3), "var": np.ones(3)})
    with pytest.raises(ArgumentError, match="missing"):
        normalize.load_state_dict({"count": 3})
    with pytest.raises(ArgumentError, match="epsilon"):
        Normalize(epsilon=0)


def test_normalize_on_threads_sees_the_batches_of_serial() -> None:
    def statistics(executor: str) -> Any:
        normalize = Normalize()
        with runner_of(SPACES["float32"], preprocessors=[normalize], n_envs=5, executor=executor) as runner:
            histories = runner.rollout(HashAgent(runner.action_space), steps=40)
        return exact(normalize.state_dict()), [exact(h.next_observations) for h in histories]

    assert statistics("serial") == statistics("threads")


def test_a_history_of_your_own_gets_the_same_normalised_observations() -> None:
    class Own(GymRunner[Any, Any, Any]):
        @override
        def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
            return [*(history or []), (exact(transition.observation), exact(transition.next_observation))]

    with Own(
        lambda seed: SampleEnv(SPACES["float32"], SPACES["Discrete"]), 0, 2, preprocessors=["normalize"]
    ) as runner:
        told = runner.rollout(HashAgent(runner.action_space), steps=20)
    with runner_of(SPACES["float32"], preprocessors=["normalize"]) as plain:
        histories = plain.rollout(HashAgent(plain.action_space), steps=20)
    for own, history in zip(told, histories, strict=True):
        assert own == [(exact(history.observations[t]), exact(history.next_observations[t])) for t in range(20)]


# ---- scale-image


def test_scale_image_maps_the_bounds_to_0_and_1() -> None:
    scale = ScaleImage()
    assert scale.bind(SPACES["image"]) == spaces.Box(0.0, 1.0, (4, 3, 3), np.float32)
    images = np.full((2, 4, 3, 3), 255, np.uint8)
    images[0] = 0
    images[1, 0, 0, 0] = 51
    scaled = scale(images)
    assert scaled.dtype == np.float32
    assert scaled.min() == 0.0
    assert scaled.max() == 1.0
    assert scaled[1, 0, 0, 0] == np.float32(51) / np.float32(255)
    assert images.dtype == np.uint8
    assert images.max() == 255


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32])
def test_scale_image_stays_within_0_and_1_for_any_integer(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    scale = ScaleImage()
    scale.bind(spaces.Box(limits.min, limits.max, (3,), dtype))
    assert scale(np.array([[limits.min, 0, limits.max]], dtype))[0, [0, 2]].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", ["float32", "Discrete", "Dict", "bool"])
def test_scale_image_refuses_all_but_integer_boxes(name: str) -> None:
    with pytest.raises(SpaceError, match="scale-image"):
        runner_of(SPACES[name], preprocessors=["scale-image"])


# ---- clip and rescale

BOUNDS = spaces.Box(np.array([-2.0, 0.5, -1e-3], np.float32), np.array([1.0, 0.7, 3e7], np.float32))


def test_clip_lets_any_number_pass_and_the_env_gets_what_is_within_bounds() -> None:
    class Wild:
        def act(self, observations: Any, /) -> NDArray[np.float64]:
            return np.array([[-9.0, 0.6, 1e9], [9.0, 0.0, 5.0]])

    with runner_of(SPACES["float32"], BOUNDS, postprocessors=["clip"]) as runner:
        assert runner.action_space == spaces.Box(-np.inf, np.inf, (3,), np.float32)
        first, second = runner.rollout(Wild(), steps=1)
    assert exact(first.actions[0]) == exact(np.array([-9.0, 0.6, 1e9], np.float32))
    assert exact(first.env_actions[0]) == exact(np.array([-2.0, 0.6, 3e7], np.float32))
    assert exact(second.env_actions[0]) == exact(np.array([1.0, 0.5, 5.0], np.float32))


def test_clip_still_refuses_nan() -> None:
    class Broken:
        def act(self, observations: Any, /) -> NDArray[np.float32]:
            return np.full((2, 3), np.nan, np.float32)

    with (
        runner_of(SPACES["float32"], BOUNDS, postprocessors=["clip"]) as runner,
        pytest.raises(AgentError, match="NaN"),
    ):
        runner.rollout(Broken(), steps=1)


_NUMBERS = st.floats(-(2.0**99), 2.0**99, width=32)


@given(
    ends=st.lists(st.tuples(_NUMBERS, _NUMBERS), min_size=1, max_size=4),
    dtype=st.sampled_from([np.float32, np.float64]),
    share=st.floats(-1, 1, width=32),
)
@settings(max_examples=60)
def test_rescale_meets_the_bounds_exactly_and_never_leaves_them(
    ends: list[tuple[float, float]], dtype: Any, share: float
) -> None:
    low, high = np.sort(np.array(ends, dtype), axis=1).T
    rescale = Rescale()
    inner = rescale.bind(spaces.Box(low, high, dtype=dtype))
    assert inner == spaces.Box(-1, 1, low.shape, dtype)
    actions = np.stack([np.full(len(low), x, dtype) for x in (-1, 1, share)])
    stretched = rescale(actions)
    assert stretched.dtype == dtype
    assert np.array_equal(stretched[0], low)
    assert np.array_equal(stretched[1], high)
    assert np.all((stretched[2] >= low) & (stretched[2] <= high))


def test_rescale_maps_the_middle_to_the_middle() -> None:
    rescale = Rescale()
    rescale.bind(spaces.Box(np.array([0.0, -4.0]), np.array([10.0, 2.0]), dtype=np.float64))
    assert rescale(np.array([[0.0, 0.0], [0.5, -0.5]])).tolist() == [[5.0, -1.0], [7.5, -2.5]]


@pytest.mark.parametrize("name", ["unbounded", "Discrete", "int8"])
def test_rescale_refuses_what_has_no_finite_float_bounds(name: str) -> None:
    with pytest.raises(SpaceError, match="postprocessor rescale"):
        runner_of(SPACES["float32"], SPACES[name], postprocessors=["rescale"])


def test_clip_refuses_what_is_no_box_of_floats() -> None:
    with pytest.raises(SpaceError, match="postprocessor clip"):
        runner_of(SPACES["float32"], SPACES["Discrete"], postprocessors=["clip"])


# ---- shared by runners

SHARED: list[tuple[Any, str, Space[Any], Space[Any]]] = [
    (Flatten, "flatten", SPACES["float32"], SPACES["image"]),
    (ScaleImage, "scale-image", SPACES["image"], spaces.Box(0, 9, (4, 3, 3), np.uint8)),
    (Clip, "clip", BOUNDS, spaces.Box(-1, 1, (3,), np.float32)),
    (Rescale, "rescale", BOUNDS, spaces.Box(-1, 1, (3,), np.float32)),
]


@pytest.mark.parametrize(("kind", "name", "space", "other"), SHARED, ids=[name for _, name, _, _ in SHARED])
def test_a_processor_is_refused_by_a_second_runner_of_another_space(
    kind: Any, name: str, space: Space[Any], other: Space[Any]
) -> None:
    processor = kind()
    bound = processor.bind(space)
    with pytest.raises(SpaceError, match=rf"{name} is already bound to .*\. Use a new one for each runner") as caught:
        processor.bind(other)
    assert str(space) in str(caught.value)
    assert processor.bind(space) == bound
    with pytest.raises(SpaceError):
        processor.bind(other)


def test_a_processor_that_refused_a_space_may_be_bound_to_another() -> None:
    rescale = Rescale()
    with pytest.raises(SpaceError, match="finite bounds"):
        rescale.bind(SPACES["unbounded"])
    assert rescale.bind(BOUNDS) == spaces.Box(-1, 1, (3,), np.float32)


def test_a_processor_refused_by_one_runner_goes_on_in_the_other() -> None:
    rescale = Rescale()
    with runner_of(SPACES["float32"], BOUNDS, postprocessors=[rescale]) as runner:
        with pytest.raises(ArgumentError, match="Processor Rescale: this object is in another runner"):
            runner_of(SPACES["float32"], spaces.Box(0, 1, (3,), np.float32), postprocessors=[rescale])
        for history in runner.rollout(HashAgent(runner.action_space), steps=5):
            assert all(BOUNDS.contains(action) for action in history.env_actions)


def test_one_rescale_cannot_be_two_links_of_a_chain() -> None:
    rescale = Rescale()
    with pytest.raises(ArgumentError, match="this object is twice in this runner"):
        runner_of(SPACES["float32"], BOUNDS, postprocessors=[rescale, rescale])


def test_runners_of_equal_spaces_may_share_a_processor() -> None:
    rescale = Rescale()
    for _ in range(2):
        runner_of(SPACES["float32"], BOUNDS, postprocessors=[rescale]).close()


def test_dicts_in_another_order_are_another_space_to_flatten() -> None:
    flat, small, large = Flatten(), spaces.Discrete(2), spaces.Discrete(3)
    flat.bind(spaces.Dict([("b", small), ("a", large)]))
    with pytest.raises(SpaceError, match="already"):
        flat.bind(spaces.Dict([("a", large), ("b", small)]))


def test_runners_of_one_shape_may_share_the_statistics_of_a_normalize() -> None:
    normalize = Normalize()
    for space in (SPACES["float32"], spaces.Box(-9, 9, (3,), np.float64)):
        with runner_of(space, preprocessors=[normalize]) as runner:
            runner.rollout(HashAgent(runner.action_space), steps=4)
    assert normalize.count == 2 * 2 * 5


# ---- chains


def test_preprocessors_are_applied_in_the_order_given() -> None:
    first, second = Named(2, 0), Named(1, 10)
    with GymRunner(lambda seed: ScriptedEnv((5,)), seed=0, preprocessors=[first, second], keep_raw=True) as runner:
        (history,) = runner.rollout(ZeroAgent(), steps=3)
    assert history.raw_observations is not None
    assert history.observations.tolist() == (history.raw_observations * 2 + 10).tolist()
    assert first.bound == [ScriptedEnv.observation_space]
    assert second.bound == [spaces.Box(-np.inf, np.inf, (2,), np.float64)]


def test_postprocessors_are_applied_in_the_order_given_and_bound_from_the_env_backwards() -> None:
    box = spaces.Box(-100.0, 100.0, (1,), np.float64)
    first, second = Named(2, 0, space=spaces.Box(-3.0, 3.0, (1,), np.float64)), Named(1, 10, space=box)

    class Two:
        def act(self, observations: Any, /) -> NDArray[np.float64]:
            return np.full((2, 1), 2.0)

    with runner_of(SPACES["float32"], box, postprocessors=[first, second]) as runner:
        assert runner.action_space == spaces.Box(-3.0, 3.0, (1,), np.float64)
        (history, _) = runner.rollout(Two(), steps=2)
    assert history.actions.tolist() == [[2.0], [2.0]]
    assert history.env_actions.tolist() == [[14.0], [14.0]]
    assert second.bound == [box] == first.bound


def test_clip_after_rescale_is_not_rescale_after_clip() -> None:
    space = spaces.Box(0.0, 10.0, (1,), np.float32)
    with runner_of(SPACES["float32"], space, postprocessors=["clip", "rescale"]) as runner:
        assert runner.action_space == spaces.Box(-np.inf, np.inf, (1,), np.float32)

    with pytest.raises(SpaceError, match="postprocessor rescale does not fit"):
        runner_of(SPACES["float32"], space, postprocessors=["rescale", "clip"])


def test_a_chain_of_built_ins_ends_in_the_space_it_announced() -> None:
    space = spaces.Dict(image=SPACES["image"], pose=SPACES["float32"], mode=SPACES["Discrete"])
    with runner_of(space, preprocessors=["flatten", Normalize(clip=5.0)], keep_raw=True) as runner:
        assert runner.observation_space == spaces.Box(-5.0, 5.0, (36 + 3 + 4,), np.float32)
        for history in runner.rollout(HashAgent(runner.action_space), steps=10):
            assert all(runner.observation_space.contains(row) for row in history.observations)
            assert set(history.raw_observations) == {"image", "pose", "mode"}


def test_preprocessors_get_every_observation_once_in_batches_of_equal_age() -> None:
    spy = Named(1, 0)
    with GymRunner(lambda seed: ScriptedEnv((2,)), seed=0, n_envs=3, preprocessors=[spy]) as runner:
        runner.rollout(ZeroAgent(), steps=3)
        runner.rollout(ZeroAgent(), steps=1)
    assert [batch.tolist()[0] for batch in spy.batches] == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert all(len(batch) == 3 for batch in spy.batches)


def test_a_link_that_does_not_fit_is_named_when_the_runner_is_built() -> None:
    with pytest.raises(SpaceError, match=r"preprocessor normalize does not fit: .* Put flatten before it"):
        runner_of(SPACES["Dict"], preprocessors=["normalize"])
    with pytest.raises(SpaceError, match="preprocessor scale-image does not fit"):
        runner_of(SPACES["image"], preprocessors=["flatten", "normalize", "scale-image"])


def test_a_bind_that_returns_no_space_is_named() -> None:
    class Forgets(Named):
        @override
        def bind(self, space: Space[Any], /) -> Any:
            return None

    with pytest.raises(PluginError, match=r"Preprocessor Forgets: bind must return Space\[Any\], not None\."):
        runner_of(SPACES["float32"], preprocessors=[Forgets(1, 0)])


@pytest.mark.parametrize(
    "wrong", [lambda batch: batch[:1], lambda batch: batch[:, :2], lambda batch: None, lambda batch: batch.astype(str)]
)
def test_a_processor_that_breaks_its_word_is_named(wrong: Any) -> None:
    class Liar(Named):
        @override
        def __call__(self, batch: Any, /) -> Any:
            return wrong(batch)

    with (
        runner_of(SPACES["float32"], preprocessors=["flatten", Liar(1, 0)]) as runner,
        pytest.raises(PluginError, match="Liar"),
    ):
        runner.rollout(HashAgent(runner.action_space), steps=2)


def said(error: BaseException) -> str:
    return " ".join([str(error), *getattr(error, "__notes__", [])])


def test_a_processor_that_raises_is_named() -> None:
    class Breaks(Named):
        @override
        def __call__(self, batch: Any, /) -> Any:
            raise ZeroDivisionError("by zero")

    for options in ({"preprocessors": [Breaks(1, 0)]}, {"postprocessors": [Breaks(1, 0)]}):
        with (
            runner_of(SPACES["float32"], SPACES["float64"], **options) as runner,
            pytest.raises(Exception, match="by zero") as raised,
        ):
            runner.rollout(HashAgent(runner.action_space), steps=2)
        assert "Breaks" in said(raised.value)


def test_a_processor_that_raises_when_it_is_bound_is_named() -> None:
    class Breaks(Named):
        @override
        def bind(self, space: Space[Any], /) -> Space[Any]:
            raise ZeroDivisionError("by zero")

    for options in ({"preprocessors": [Breaks(1, 0)]}, {"postprocessors": [Breaks(1, 0)]}):
        with pytest.raises(Exception, match="by zero") as raised:
            runner_of(SPACES["float32"], SPACES["float64"], **options)
        assert "Breaks" in said(raised.value)


@pytest.mark.parametrize("processor", [Flatten, 3, None])
def test_what_is_no_processor_is_refused(processor: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Preprocessor Flatten is a class|must be a name or an object"):
        runner_of(SPACES["float32"], preprocessors=[processor])


def test_processors_are_given_as_a_list() -> None:
    with pytest.raises(ArgumentError, match=r"\['flatten'\]"):
        runner_of(SPACES["float32"], preprocessors="flatten")


def test_a_long_env_through_a_chain_with_raw_observations_kept_keeps_both() -> None:
    normalize = Normalize()
    with GymRunner(lambda seed: CountingEnv(2, 700), seed=0, preprocessors=[normalize], keep_raw=True) as runner:
        (history,) = runner.rollout(ZeroAgent(), episodes=1)
    assert history.raw_observations is not None
    assert history.raw_observations[:, 0].tolist() == list(range(700))
    assert normalize.count == 701


def test_a_runner_on_a_real_env_learns_statistics_of_it() -> None:
    normalize = Normalize()
    with GymRunner("CartPole-v1", seed=0, n_envs=4, preprocessors=[normalize], keep_raw=True) as runner:
        histories = runner.rollout(HashAgent(runner.action_space), steps=50)
    seen = all_observations([histories])
    assert isinstance(gymnasium.spec("CartPole-v1").max_episode_steps, int)
    np.testing.assert_allclose(normalize.mean, seen.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(normalize.var, seen.var(axis=0), rtol=1e-9)


def test_clip_and_rescale_leave_their_argument_alone() -> None:
    for processor in (Clip(), Rescale()):
        processor.bind(BOUNDS)
        actions = np.array([[0.1, 0.2, 0.3]], np.float32)
        before = exact(actions)
        processor(actions)
        assert exact(actions) == before
