"""Wrappers around each env: the same data as of envs that were wrapped by hand, and errors that name the wrapper."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation, TimeAwareObservation
from typing_extensions import override

from runnerkit import GymRunner, RandomAgent, make, use
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.history import ArrayHistory
from runnerkit.typing import AnyEnv

STACKED = "gymnasium.wrappers:FrameStackObservation"


def by_hand(seed: int | None) -> AnyEnv:
    del seed
    return FrameStackObservation(TimeAwareObservation(gymnasium.make("CartPole-v1")), 3)


def history(env: Any, executor: str = "serial", **options: Any) -> ArrayHistory[Any, Any]:
    with make(env, seed=0, n_envs=2, executor=executor, **options) as runner:
        histories: list[ArrayHistory[Any, Any]] = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=60)
        return histories[1]


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
@pytest.mark.parametrize(
    "stacked",
    [use(STACKED, stack_size=3), (STACKED, {"stack_size": 3}), functools.partial(FrameStackObservation, stack_size=3)],
    ids=["use", "pair", "partial"],
)
def test_envs_are_wrapped_from_the_inside_out_and_the_data_say_so(executor: str, stacked: Any) -> None:
    found = history("CartPole-v1", executor, wrappers=[TimeAwareObservation, stacked])
    expected = history(by_hand)
    np.testing.assert_array_equal(found.observations, expected.observations, strict=True)
    assert found.observations.shape == (60, 3, 5)
    inner, outer = [part for part in found.made_by.parts if part.kind == "wrapper"]
    assert inner.name.endswith(":TimeAwareObservation")
    assert outer.name.endswith(":FrameStackObservation")
    assert outer.options == {"stack_size": 3}
    assert (outer.distribution, outer.version) == ("gymnasium", gymnasium.__version__)


class Failing(gymnasium.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: AnyEnv) -> None:
        raise ZeroDivisionError("no wrapper")


@pytest.mark.parametrize(
    ("wrapper", "error", "says"),
    [
        (Failing, EnvError, "test_wrappers:Failing: ZeroDivisionError: no wrapper"),
        (lambda env: None, ArgumentError, "must return an env, not None"),
        (3, ArgumentError, "not 3"),
        ("TimeAware", ArgumentError, "named MODULE:CLASS, such as gymnasium.wrappers:TimeAwareObservation"),
        ("gymnasium.wrappers:TimeAwareObservatio", ArgumentError, "Did you mean 'TimeAwareObservation'?"),
        ("nowhere_at_all:Wrapper", ArgumentError, "importing nowhere_at_all failed: ModuleNotFoundError"),
        ("gymnasium:__version__", ArgumentError, "which cannot be called with an env"),
        (use(STACKED, stak_size=3), ArgumentError, "Did you mean 'stack_size'?"),
        (use(STACKED, stack_size="3"), ArgumentError, "option 'stack_size' expects int, not '3'"),
    ],
)
def test_what_cannot_wrap_is_named_and_the_env_is_closed(
    wrapper: Any, error: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []
    monkeypatch.setattr("gymnasium.envs.classic_control.CartPoleEnv.close", lambda env: closed.append(env))
    with pytest.raises(error) as caught:
        make("CartPole-v1", wrappers=[wrapper])
    assert says in str(caught.value)
    assert len(closed) == (not isinstance(wrapper, str | int) and callable(wrapper))


def test_a_string_is_no_list_of_wrappers() -> None:
    with pytest.raises(ArgumentError, match="Write wrappers="):
        make("CartPole-v1", wrappers=STACKED)


def test_a_runner_that_makes_its_own_envs_wraps_them_itself() -> None:
    class Own(GymRunner[Any, Any]):
        @override
        def make_env(self, seed: int | None = None) -> AnyEnv:
            return gymnasium.make("CartPole-v1")

    with pytest.raises(ArgumentError, match="Wrap the env there"):
        Own("CartPole-v1", wrappers=[TimeAwareObservation])
