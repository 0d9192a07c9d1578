"""Implementations of hooks in every form that is right. Also executed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, assert_type

from runnerkit import Contribution, Registry, hookimpl
from runnerkit.executors import MakeExecutor
from runnerkit.executors.serial import SerialExecutor
from runnerkit.history.arrays import ArrayFormat
from runnerkit.hooks import Hook
from runnerkit.processors import Clip, Flatten
from runnerkit.typing import ActionPostprocessor, ActionPreprocessor, AnyEnv, EnvFactory, HistoryFormat


def make_nothing(env_id: str, /, *, seed: int | None, **options: Any) -> AnyEnv:
    raise LookupError(env_id)


@hookimpl.history_formats
def history_formats() -> Iterator[Contribution[HistoryFormat[object]]]:
    yield Contribution("a", ArrayFormat)


@hookimpl.env_factories(optionalhook=True)
def whatever_it_is_called() -> list[Contribution[EnvFactory]]:
    return [Contribution("b", lambda: make_nothing)]


@hookimpl
def action_postprocessors() -> list[Contribution[ActionPostprocessor]]:
    return [Contribution("c", Clip)]


class Plugin:
    @hookimpl.executors
    def executors(self) -> Iterator[Contribution[MakeExecutor]]:
        yield Contribution("d", lambda: SerialExecutor)

    @hookimpl.action_preprocessors(tryfirst=True)
    def preprocessors(self) -> Sequence[Contribution[Flatten]]:
        return (Contribution("e", Flatten),)

    @classmethod
    @hookimpl.history_formats
    def formats(cls) -> tuple[Contribution[ArrayFormat], ...]:
        return (Contribution("f", ArrayFormat),)

    @staticmethod
    @hookimpl.history_formats(trylast=True)
    def more_formats() -> tuple[Contribution[ArrayFormat], ...]:
        return (Contribution("g", ArrayFormat),)

    @hookimpl(specname="history_formats", tryfirst=True)
    def plain(self) -> Iterator[Contribution[HistoryFormat[object]]]:
        yield Contribution("h", ArrayFormat)


def hooks_know_what_they_are_for() -> None:
    assert_type(hookimpl.env_factories, Hook[EnvFactory])
    assert_type(hookimpl.action_preprocessors, Hook[ActionPreprocessor])
    assert_type(hookimpl.action_postprocessors, Hook[ActionPostprocessor])
    assert_type(hookimpl.history_formats, Hook[HistoryFormat[object]])
    assert_type(hookimpl.executors(trylast=True), Hook[MakeExecutor])


def what_is_decorated_is_called_as_before() -> None:
    assert [offer.name for offer in history_formats()] == ["a"]
    assert [offer.name for offer in whatever_it_is_called()] == ["b"]
    assert [offer.name for offer in Plugin().executors()] == ["d"]
    assert [offer.name for offer in Plugin().preprocessors()] == ["e"]
    assert [offer.name for offer in Plugin.formats()] == ["f"]
    assert [offer.name for offer in Plugin.more_formats()] == ["g"]


def all_of_them_are_found() -> None:
    registry = Registry()
    registry.register(
        SimpleNamespace(
            formats=history_formats, factories=whatever_it_is_called, action_postprocessors=action_postprocessors
        )
    )
    registry.register(Plugin())
    assert {"a", "f", "g", "h"} < set(registry.history_formats)
    assert "b" in registry.env_factories
    assert "c" in registry.postprocessors
    assert "d" in registry.executors
    assert "e" in registry.preprocessors


if __name__ == "__main__":
    hooks_know_what_they_are_for()
    what_is_decorated_is_called_as_before()
    all_of_them_are_found()
