"""History formats and other contributions of third parties with one fault each."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gymnasium

import runnerkit
from runnerkit import Contribution, Registry, RunSpec, hookimpl
from runnerkit.executors import MakeExecutor
from runnerkit.history.arrays import ArrayFormat
from runnerkit.history.block import Block
from runnerkit.typing import ActionPostprocessor, ActionPreprocessor, AnyEnv, EnvFactory, HistoryFormat, Recorder


class Returns:
    def finish(self, block: Block, /) -> list[float]:
        return [0.0] * block.n_envs

    def close(self) -> None:
        """Nothing is open."""


class NoFormat:
    def write(self, spec: RunSpec, /) -> Recorder[float]:
        return Returns()


class Misspelt:
    def opens(self, spec: RunSpec, /) -> Recorder[float]:
        return Returns()


class WithoutSpec:
    def open(self) -> Recorder[float]:
        return Returns()


class WithPath:
    def open(self, spec: RunSpec, path: str) -> Recorder[float]:
        return Returns()


class Async:
    async def open(self, spec: RunSpec, /) -> Recorder[float]:
        return Returns()


class NoFinish:
    def close(self) -> None:
        """Nothing is open."""


class OpensNoFinish:
    def open(self, spec: RunSpec, /) -> NoFinish:
        return NoFinish()


class NoClose:
    def finish(self, block: Block, /) -> list[float]:
        return [0.0] * block.n_envs


class OpensNoClose:
    def open(self, spec: RunSpec, /) -> NoClose:
        return NoClose()


class FinishWithoutBlock:
    def finish(self) -> list[float]:
        return []

    def close(self) -> None:
        """Nothing is open."""


class OpensFinishWithoutBlock:
    def open(self, spec: RunSpec, /) -> FinishWithoutBlock:
        return FinishWithoutBlock()


def no_format() -> None:
    runnerkit.make("CartPole-v1", history=NoFormat())  # FAULT


def a_misspelt_open() -> None:
    runnerkit.make("CartPole-v1", history=Misspelt())  # FAULT


def a_format_class() -> None:
    runnerkit.make("CartPole-v1", history=ArrayFormat)  # FAULT


def open_without_the_spec() -> None:
    runnerkit.make("CartPole-v1", history=WithoutSpec())  # FAULT


def open_with_more_than_the_spec() -> None:
    runnerkit.make("CartPole-v1", history=WithPath())  # FAULT


def an_async_open() -> None:
    runnerkit.make("CartPole-v1", history=Async())  # FAULT


def a_recorder_without_finish() -> None:
    runnerkit.make("CartPole-v1", history=OpensNoFinish())  # FAULT


def a_recorder_without_close() -> None:
    runnerkit.make("CartPole-v1", history=OpensNoClose())  # FAULT


def a_recorder_that_takes_no_block() -> None:
    runnerkit.make("CartPole-v1", history=OpensFinishWithoutBlock())  # FAULT


def a_contribution_that_makes_no_format() -> None:
    @hookimpl.history_formats
    def history_formats() -> Iterator[Contribution[HistoryFormat[object]]]:
        yield Contribution("mine", NoFormat)  # FAULT

    registry = Registry()
    registry.register(SimpleNamespace(history_formats=history_formats))
    registry.build("CartPole-v1", history="mine")


def a_contribution_that_makes_no_preprocessor() -> None:
    @hookimpl.action_preprocessors
    def action_preprocessors() -> Iterator[Contribution[ActionPreprocessor]]:
        yield Contribution("mine", ArrayFormat)  # FAULT

    registry = Registry()
    registry.register(SimpleNamespace(action_preprocessors=action_preprocessors))
    registry.build("CartPole-v1", preprocessors=["mine"])


def a_contribution_that_makes_no_postprocessor() -> None:
    @hookimpl.action_postprocessors
    def action_postprocessors() -> list[Contribution[ActionPostprocessor]]:
        return [Contribution("mine", Returns)]  # FAULT

    registry = Registry()
    registry.register(SimpleNamespace(action_postprocessors=action_postprocessors))
    registry.build("Pendulum-v1", postprocessors=["mine"])


def make_lake(env_id: str) -> AnyEnv:
    env: gymnasium.Env[Any, Any] = gymnasium.make("FrozenLake-v1")
    return env


def an_env_factory_without_a_seed() -> None:
    @hookimpl.env_factories
    def env_factories() -> Iterator[Contribution[EnvFactory]]:
        yield Contribution("lake", lambda: make_lake)  # FAULT

    registry = Registry()
    registry.register(SimpleNamespace(env_factories=env_factories))
    registry.build("lake:Small")


class OfNothing:
    """An executor that nobody told for how many envs it is."""


def an_executor_for_no_envs() -> None:
    @hookimpl.executors
    def executors() -> Iterator[Contribution[MakeExecutor]]:
        yield Contribution("mine", lambda: OfNothing)  # FAULT

    registry = Registry()
    registry.register(SimpleNamespace(executors=executors))
    registry.build("CartPole-v1", executor="mine")
