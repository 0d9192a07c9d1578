"""Processors of third parties with one fault each."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

import runnerkit
from runnerkit import EnvKey
from runnerkit.processors import Clip, Flatten

CARTPOLE: EnvKey[NDArray[np.float32], NDArray[np.int64]] = EnvKey("CartPole-v1")
PENDULUM: EnvKey[NDArray[np.float32], NDArray[np.float32]] = EnvKey("Pendulum-v1")


class Same:
    """What all processors below have of `bind`."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        return space


class NoBind:
    def __call__(self, observations: NDArray[Any], /) -> NDArray[Any]:
        return observations


class NoCall(Same):
    def process(self, observations: NDArray[Any], /) -> NDArray[Any]:
        return observations


class Misspelt(NoBind):
    def binds(self, space: Space[Any], /) -> Space[Any]:
        return space


class BindsWithoutSpace(NoBind):
    def bind(self) -> Space[Any]:
        return spaces.Discrete(2)


class BindsToNothing(NoBind):
    def bind(self, space: Space[Any], /) -> None:
        """Forget to return the space."""


class BindsToShape(NoBind):
    def bind(self, space: Space[Any], /) -> tuple[int, ...]:
        return space.shape or ()


class AsyncBind(NoBind):
    async def bind(self, space: Space[Any], /) -> Space[Any]:
        return space


class AsyncCall(Same):
    async def __call__(self, observations: NDArray[Any], /) -> NDArray[Any]:
        return observations


class WithInfos(Same):
    def __call__(self, observations: NDArray[Any], infos: dict[str, Any]) -> NDArray[Any]:
        return observations


class Smooth(Same):
    def __call__(self, observations: NDArray[np.float32], /) -> NDArray[np.float32]:
        return observations


class Brighten(Same):
    def __call__(self, observations: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        return observations


class Torque(Same):
    def __call__(self, actions: NDArray[np.float32], /) -> NDArray[np.float32]:
        return actions


def a_preprocessor_without_bind() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[NoBind()])  # FAULT


def a_preprocessor_that_cannot_be_called() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[NoCall()])  # FAULT


def a_misspelt_bind() -> None:
    runnerkit.make("CartPole-v1", preprocessors=["flatten", Misspelt()])  # FAULT


def a_preprocessor_class() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[Flatten])  # FAULT


def bind_without_the_space() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[BindsWithoutSpace()])  # FAULT


def bind_without_a_result() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[BindsToNothing()])  # FAULT


def bind_with_another_result() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[BindsToShape()])  # FAULT


def an_async_bind() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[AsyncBind()])  # FAULT


def an_async_call() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[AsyncCall()])  # FAULT


def a_call_with_infos() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[WithInfos()])  # FAULT


def a_function_instead_of_a_preprocessor() -> None:
    def double(observations: NDArray[Any]) -> NDArray[Any]:
        return observations * 2

    runnerkit.make("CartPole-v1", preprocessors=[double])  # FAULT


def a_space_instead_of_a_preprocessor() -> None:
    runnerkit.make("CartPole-v1", preprocessors=[spaces.Box(0, 1, (4,))])  # FAULT


def a_name_instead_of_a_list() -> None:
    runnerkit.make("CartPole-v1", preprocessors="flatten")  # FAULT


def a_postprocessor_without_bind() -> None:
    runnerkit.make("Pendulum-v1", postprocessors=[NoBind()])  # FAULT


def a_postprocessor_class() -> None:
    runnerkit.make("Pendulum-v1", postprocessors=[Clip])  # FAULT


def an_async_postprocessor() -> None:
    runnerkit.make("Pendulum-v1", postprocessors=[AsyncCall()])  # FAULT


def preprocessors_that_do_not_connect() -> None:
    runnerkit.make(CARTPOLE, preprocessors=[Smooth(), Brighten()])  # FAULT


def a_preprocessor_for_other_observations() -> None:
    runnerkit.make(CARTPOLE, preprocessors=[Brighten()])  # FAULT


def a_postprocessor_for_other_actions() -> None:
    runnerkit.make(CARTPOLE, postprocessors=[Torque()])  # FAULT
