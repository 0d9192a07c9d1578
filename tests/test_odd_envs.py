"""Envs that break their own contract in a way that loses nothing: one warning, and the same data on every executor."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from numpy.typing import NDArray
from odd import BOX, Odd
from typing_extensions import override

import runnerkit
from runnerkit._core.arrays import as_array, without_tensors
from runnerkit.errors import EnvSpaceError, EnvSpaceWarning
from runnerkit.history import ArrayHistory

EXECUTORS: list[dict[str, Any]] = [
    {"executor": "serial"},
    {"executor": "threads", "workers": 2},
    {"executor": "processes", "workers": 2},
]
every_executor = pytest.mark.parametrize("executor", EXECUTORS, ids=lambda options: options["executor"])


def cases(name: str, values: Sequence[Any]) -> pytest.MarkDecorator:
    """Parametrize with the first value and every executor, and with the others and the serial one."""
    pairs = [(values[0], executor) for executor in EXECUTORS] + [(value, EXECUTORS[0]) for value in values[1:]]
    return pytest.mark.parametrize((name, "executor"), pairs)


class Zero:
    def act(self, observations: Any, /) -> NDArray[np.int64]:
        n = len(observations["a"] if isinstance(observations, dict) else observations)
        return np.zeros(n, np.int64)


def histories(make: Callable[[], Any], n: int = 3, steps: int = 7, **options: Any) -> list[ArrayHistory[Any, Any]]:
    with runnerkit.make(lambda seed: make(), n_envs=n, seed=0, **options) as runner:
        done: list[ArrayHistory[Any, Any]] = runner.rollout(Zero(), steps=steps)
        runner.rollout(Zero(), steps=2)  # warns of nothing again
    return done


def assert_plain(done: list[ArrayHistory[Any, Any]]) -> None:
    for history in done:
        assert history.rewards.tolist() == [1, 2, 3, 1, 2, 3, 1]
        assert history.rewards.dtype == np.float64
        assert history.terminated.tolist() == [False, False, True, False, False, True, False]
        assert history.next_observations[:, 0].tolist() == [0.25, 0.5, 0.75, 0.25, 0.5, 0.75, 0.25]


# ---- bounds


@every_executor
def test_a_first_observation_out_of_bounds_is_recorded_with_one_warning(executor: dict[str, Any]) -> None:
    def observe(t: int) -> Any:
        return np.array([t, 1.5, np.nan], np.float32)

    says = re.escape(
        "observation lies outside of its declared bounds in 2 of 3 entries: [1] is 1.5, 0.5 above 1; [2] is NaN"
    )
    with pytest.warns(EnvSpaceWarning, match="Env 0 returned from reset .*" + says) as caught:
        done = histories(lambda: Odd(observe=observe), **executor)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert [h.observations[:, 1].tolist() for h in done] == [[1.5] * 7] * 3


@every_executor
def test_strict_spaces_refuses_a_first_observation_out_of_bounds(executor: dict[str, Any]) -> None:
    with pytest.raises(EnvSpaceError, match=r"\[2\] is -2, 1 below -1; and 9 more. Fix the env, or wrap it") as caught:
        histories(
            lambda: Odd(spaces.Box(-1, 1, (12,), np.float64), lambda t: np.full(12, -2.0)),
            strict_spaces=True,
            **executor,
        )
    assert caught.value.env_index == 0


def test_an_observation_that_leaves_its_bounds_at_the_first_step_is_warned_of() -> None:
    with pytest.warns(EnvSpaceWarning, match="returned from step .* 3 of 3 entries: .* 1 above 1") as caught:
        histories(lambda: Odd(observe=lambda t: np.full(3, 2 * t, np.float32)))
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("space", "value", "says"),
    [
        (spaces.Discrete(3, start=1), np.int64(7), "1 of 1 entries: 7, 4 above 3"),
        (spaces.MultiDiscrete([3, 3]), np.array([0, 5]), r"1 of 2 entries: \[1\] is 5, 3 above 2"),
        (spaces.MultiBinary(2), np.array([3, 0], np.int8), r"1 of 2 entries: \[0\] is 3, 2 above 1"),
        (spaces.Text(3), "four", "does not lie in Text"),
        (spaces.Dict({"a": spaces.Discrete(2), "b": BOX}), {"a": np.int64(2), "b": np.ones(3, np.float32)}, r"\['a'\]"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_out_of_any_space_is_warned_of_and_recorded(space: spaces.Space[Any], value: Any, says: str) -> None:
    with pytest.warns(EnvSpaceWarning, match=says):
        (history,) = histories(lambda: Odd(space, lambda t: value), n=1)
    first = history.observations["a"] if isinstance(history.observations, dict) else history.observations
    assert np.array_equal(first[0], value["a"] if isinstance(value, dict) else value)


@cases("bad", [np.zeros(3), np.zeros(4, np.float32), [0.0, 0.0, 0.0]])
def test_dtype_and_shape_stay_strict(bad: Any, executor: dict[str, Any]) -> None:
    with pytest.raises(EnvSpaceError, match=r"must be an array of dtype float32 and shape \(3,\)"):
        histories(lambda: Odd(observe=lambda t: bad), **executor)


class Grammar(spaces.Space[Any]):
    """A space of a user's own, without contains()."""

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grammar)


class Raises(spaces.Box):
    @override
    def contains(self, x: Any) -> bool:
        raise RuntimeError("not today")


RAISES = Raises(-1, 1, (3,), np.float32)


@pytest.mark.parametrize(("space", "says"), [(Grammar(), "NotImplementedError"), (RAISES, "not today")])
def test_a_space_that_cannot_say_what_it_contains_goes_by_dtype_and_shape(space: spaces.Space[Any], says: str) -> None:
    observe = (lambda t: "word") if isinstance(space, Grammar) else (lambda t: np.full(3, t / 4, np.float32))
    with pytest.warns(EnvSpaceWarning, match=f"cannot be checked, as contains.* raised .*{says}") as caught:
        (history,) = histories(lambda: Odd(space, observe), n=1)
    assert len(caught) == 1
    assert len(history) == 7
    with pytest.raises(EnvSpaceError, match=says):
        histories(lambda: Odd(space, observe), strict_spaces=True)


# ---- flags and rewards


@cases("flag", ["torch", "jax", np.array, np.bool_])
def test_a_flag_of_any_library_is_taken_from_the_first_step_to_the_last(flag: Any, executor: dict[str, Any]) -> None:
    if isinstance(flag, str):
        module = pytest.importorskip(flag)
        flag = module.tensor if flag == "torch" else module.numpy.asarray
    with warnings.catch_warnings():
        warnings.simplefilter("error", EnvSpaceWarning)
        assert_plain(histories(lambda: Odd(flag=flag), strict_spaces=True, **executor))


@cases("flag", [int, float, lambda ends: [ends], lambda ends: np.array([ends]), np.uint8])
def test_a_flag_that_can_only_mean_one_thing_is_taken_with_one_warning(flag: Any, executor: dict[str, Any]) -> None:
    with pytest.warns(EnvSpaceWarning, match="Env . returned the flag terminated=.*, which is not a bool") as caught:
        assert_plain(histories(lambda: Odd(flag=flag), **executor))
    assert len(caught) == 1
    with pytest.raises(EnvSpaceError, match="strict_spaces=True refuses it"):
        histories(lambda: Odd(flag=flag), strict_spaces=True, **executor)


@cases("flag", [None, "", "no", [None], 0.5, 2, np.nan, np.zeros(2, np.bool_), np.zeros(0, np.bool_), [], {}])
def test_a_flag_that_may_mean_anything_is_refused_at_the_first_step(flag: Any, executor: dict[str, Any]) -> None:
    with pytest.raises(EnvSpaceError, match="flags must be bools") as caught:
        histories(lambda: Odd(flag=lambda ends: flag), **executor)
    assert caught.value.step == 0


@every_executor
def test_a_reward_and_a_flag_in_the_wrong_order_are_refused(executor: dict[str, Any]) -> None:
    with pytest.raises(EnvSpaceError, match=r"terminated=1\.0, but flags must be bools"):
        histories(lambda: Odd(reward=lambda r: r == 3, flag=lambda ends: 1.0), **executor)


@every_executor
def test_a_tensor_of_one_entry_is_no_plain_number_where_spaces_are_strict(executor: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    assert_plain(histories(lambda: Odd(reward=lambda r: torch.tensor(float(r))), strict_spaces=True, **executor))
    with pytest.raises(EnvSpaceError, match="strict_spaces=True refuses it"):
        histories(lambda: Odd(reward=lambda r: torch.tensor([float(r)])), strict_spaces=True, **executor)


@pytest.mark.skipif(np.__version__ < "2", reason="this NumPy makes a number of it, with a warning of its own")
@every_executor
def test_a_reward_of_one_entry_is_a_number_from_the_first_step_to_the_last(executor: dict[str, Any]) -> None:
    with pytest.warns(EnvSpaceWarning, match=r"returned a reward of shape \(1,\)") as caught:
        assert_plain(histories(lambda: Odd(reward=lambda r: np.array([r], np.float32)), **executor))
    assert len(caught) == 1
    with pytest.raises(EnvSpaceError, match="strict_spaces=True refuses it"):
        histories(lambda: Odd(reward=lambda r: np.array([r])), strict_spaces=True, **executor)


@every_executor
def test_a_vector_of_rewards_is_refused_with_its_shape_and_the_wrapper_that_helps(executor: dict[str, Any]) -> None:
    with pytest.raises(EnvSpaceError, match=r"of shape \(2,\), but a reward must be one number"):
        histories(lambda: Odd(reward=lambda r: (r, -r)), **executor)
    with pytest.raises(EnvSpaceError, match=r"of shape \(2,\), but a reward must be one number") as caught:
        histories(lambda: Odd(reward=lambda r: np.array([r, -r])), **executor)
    lines = [line for line in str(caught.value).splitlines() if line.startswith("    ")]
    scope: dict[str, Any] = {"gymnasium": gymnasium, "np": np}
    exec("\n".join(line[4:] for line in lines), scope)  # the wrapper that the message gives
    (history,) = histories(lambda: scope["OneReward"](Odd(reward=lambda r: np.array([r, 3 * r]))), n=1)
    assert history.rewards[:3].tolist() == [2, 4, 6]


# ---- tensors


def of_torch(**options: Any) -> Any:
    torch = pytest.importorskip("torch")
    return lambda value: torch.tensor(value, **options)


@cases("grad", [True, False])
def test_tensors_are_read_as_arrays_wherever_they_stand(grad: bool, executor: dict[str, Any]) -> None:
    tensor = of_torch(requires_grad=grad)

    def make() -> Any:
        return Odd(
            observe=lambda t: tensor(np.full(3, t / 4, np.float32)) * 1,  # no leaf of its graph
            reward=lambda r: tensor(float(r)).detach(),
            info=lambda t: {"x": tensor([t + 0.0]) * 1, "deep": [{"y": tensor(1.0)}]},
        )

    done = histories(make, keep_infos=True, **executor)
    assert_plain(done)
    assert type(done[2].infos[1]["x"]) is np.ndarray
    assert done[2].infos[1]["x"].tolist() == [2]
    assert float(done[2].infos[1]["deep"][0]["y"]) == 1


class OnlyDLPack:
    """Speaks nothing but DLPack."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def test_what_speaks_dlpack_is_an_array() -> None:
    assert_plain(histories(lambda: Odd(observe=lambda t: OnlyDLPack(np.full(3, t / 4, np.float32)))))
    assert as_array([1.0]) is None


def test_an_info_that_contains_itself_is_left_as_it_is() -> None:
    info: dict[str, Any] = {"a": 1}
    info["me"] = info
    assert without_tensors(info) is info


def test_numpy_to_torch_wraps_single_envs() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")
    from gymnasium.wrappers import NumpyToTorch

    done = histories(lambda: NumpyToTorch(Odd()), keep_infos=True)
    assert_plain(done)


class Simulator(VectorEnv[Any, Any, Any]):
    """As those on GPUs: all that it returns are tensors, or what `form` makes of them."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, form: Callable[[Any], Any] | None = None, share: bool = False) -> None:
        self.num_envs = 3
        self.single_observation_space = spaces.Box(-9, 9, (1,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self._tensor, self._form, self._share = of_torch(), form or (lambda tensor: tensor), share
        self._t = self._tensor(np.zeros((3, 1), np.float32))

    @override
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self._t *= 0
        return self._t.clone(), {}

    @override
    def step(self, actions: Any) -> Any:
        self._t += 1
        over = self._t[:, 0] >= self._tensor([2, 3, 4])
        infos = {"success": over.clone(), "final_obs": self._t if self._share else self._t.clone()}
        infos["_final_obs"] = over.clone()
        self._t[over] = 0
        rewards = self._form(self._tensor([1.0, 2.0, 3.0]))
        return self._t if self._share else self._t.clone(), rewards, self._form(over), self._form(~over & over), infos


def test_tensors_of_a_vector_env_are_read_wherever_they_stand() -> None:
    done = histories(Simulator, steps=5, keep_infos=True)
    assert done[1].next_observations[:, 0].tolist() == [1, 2, 3, 1, 2]
    assert done[1].next_known.all()
    assert [done[1].infos[t]["success"] for t in (0, 1)] == [np.False_, np.False_]
    assert [type(info["success"]) for info in done[1].reset_infos.values()] == [np.bool_]


def test_rewards_and_flags_of_a_vector_env_may_be_columns_of_numbers() -> None:
    with pytest.warns(EnvSpaceWarning, match="The vector env returned") as caught:
        done = histories(lambda: Simulator(lambda tensor: (tensor * 1).reshape(3, 1)), steps=5)
    assert len(caught) == 2
    assert [h.rewards.tolist() for h in done] == [[1.0] * 5, [2.0] * 5, [3.0] * 5]
    assert done[0].terminated.tolist() == [False, True, False, True, False]


def test_vectors_of_rewards_of_a_vector_env_are_refused_with_the_wrapper_that_helps() -> None:
    with pytest.raises(EnvSpaceError, match=r"float32 of shape \(3, 2\)[^@]*VectorRewardWrapper[^@]*@ \[0.5, 0.5\]"):
        histories(
            lambda: Simulator(lambda tensor: tensor[:, None].repeat(1, 2) if tensor.is_floating_point() else tensor)
        )


def test_final_observations_that_share_the_memory_of_the_first_ones_are_unknown() -> None:
    done = histories(lambda: Simulator(share=True), steps=5)
    assert done[0].next_known.tolist() == [True, False, True, False, True]


# ---- what envs that reset in the same step tell


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_an_env_that_always_comes_back_to_where_it_began_is_believed(kind: Any) -> None:
    def observe(t: int) -> Any:
        return np.array([0, t % 3, 0], np.float32) / 4

    make = lambda: kind([lambda: Odd(observe=observe)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)  # noqa: E731
    (history, _) = histories(make, n=2)
    assert history.next_known.all()
    assert history.seeding.final_observations
    assert history.next_observations[:, 1].tolist() == [0.25, 0.5, 0, 0.25, 0.5, 0, 0.25]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_statistics_are_those_of_the_episode_that_ended(mode: AutoresetMode) -> None:
    def make(seed: int | None) -> Any:
        envs = SyncVectorEnv([lambda: Odd(info=lambda t: {"t": t})] * 2, autoreset_mode=mode)
        return RecordEpisodeStatistics(envs, stats_key="stats")

    with runnerkit.make(make, n_envs=2, seed=0, keep_infos=True) as runner:
        first, then = runner.rollout(Zero(), steps=3)[0], runner.rollout(Zero(), steps=2)[0]
    assert (first.infos[2]["stats"]["l"], first.infos[2]["stats"]["r"], first.infos[2]["t"]) == (3, 6, 3)
    assert not any("stats" in info for info in then.reset_infos.values())
