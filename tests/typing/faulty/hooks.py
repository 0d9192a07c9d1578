"""Plugins of third parties with one fault each: hooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

from runnerkit import Contribution, Registry, hookimpl
from runnerkit.executors import MakeExecutor
from runnerkit.executors.serial import SerialExecutor
from runnerkit.history.arrays import ArrayFormat
from runnerkit.processors import Flatten
from runnerkit.typing import ActionPreprocessor, EnvFactory, HistoryFormat


def a_misspelt_typed_hook() -> None:
    class Plugin:
        @hookimpl.history_format  # FAULT
        def history_formats(self) -> Iterator[Contribution[HistoryFormat[object]]]:
            yield Contribution("mine", ArrayFormat)

    Registry().register(Plugin())


def a_misspelt_plain_hook() -> None:
    class Plugin:
        @hookimpl
        def history_format(self) -> Iterator[Contribution[HistoryFormat[object]]]:  # FAULT
            yield Contribution("mine", ArrayFormat)

    Registry().register(Plugin())


def a_misspelt_option() -> None:
    class Plugin:
        @hookimpl.history_formats(try_first=True)  # FAULT
        def history_formats(self) -> Iterator[Contribution[HistoryFormat[object]]]:
            yield Contribution("mine", ArrayFormat)

    Registry().register(Plugin())


def an_argument_that_the_hook_has_not() -> None:
    @hookimpl.history_formats
    def history_formats(config: str) -> Iterator[Contribution[HistoryFormat[object]]]:  # FAULT
        yield Contribution(config, ArrayFormat)

    Registry().register(SimpleNamespace(history_formats=history_formats))


def an_argument_of_a_method() -> None:
    class Plugin:
        @hookimpl.history_formats
        def formats(self, config: str) -> Iterator[Contribution[HistoryFormat[object]]]:  # FAULT
            yield Contribution(config, ArrayFormat)

    Registry().register(Plugin())


def an_argument_of_a_class_method() -> None:
    class Plugin:
        @classmethod
        @hookimpl.history_formats
        def formats(cls, config: str) -> Iterator[Contribution[HistoryFormat[object]]]:  # FAULT
            yield Contribution(config, ArrayFormat)

    Registry().register(Plugin())


def an_argument_of_a_plain_hook() -> None:
    @hookimpl
    def executors(config: str) -> list[Contribution[MakeExecutor]]:  # FAULT
        return [Contribution(config, lambda: SerialExecutor)]

    Registry().register(SimpleNamespace(executors=executors))


def a_keyword_only_argument() -> None:
    @hookimpl.history_formats
    def history_formats(*, config: str) -> Iterator[Contribution[HistoryFormat[object]]]:  # FAULT
        yield Contribution(config, ArrayFormat)

    Registry().register(SimpleNamespace(history_formats=history_formats))


def names_instead_of_contributions() -> None:
    @hookimpl.history_formats
    def history_formats() -> list[str]:  # FAULT
        return ["mine"]

    Registry().register(SimpleNamespace(history_formats=history_formats))


def a_dict_instead_of_contributions() -> None:
    @hookimpl.action_preprocessors
    def action_preprocessors() -> dict[str, ActionPreprocessor]:  # FAULT
        return {"mine": Flatten()}

    Registry().register(SimpleNamespace(action_preprocessors=action_preprocessors))


def one_contribution_instead_of_several() -> None:
    @hookimpl.history_formats
    def history_formats() -> Contribution[HistoryFormat[object]]:  # FAULT
        return Contribution("mine", ArrayFormat)

    Registry().register(SimpleNamespace(history_formats=history_formats))


def no_result() -> None:
    @hookimpl.history_formats
    def history_formats() -> int:  # FAULT
        return 0

    Registry().register(SimpleNamespace(history_formats=history_formats))


def contributions_of_another_kind() -> None:
    @hookimpl.history_formats
    def history_formats() -> Iterator[Contribution[EnvFactory]]:  # FAULT
        yield from ()

    Registry().register(SimpleNamespace(history_formats=history_formats))


def processors_of_the_other_end() -> None:
    @hookimpl.executors
    def executors() -> Iterator[Contribution[ActionPreprocessor]]:  # FAULT
        yield Contribution("mine", Flatten)

    Registry().register(SimpleNamespace(executors=executors))


def executors_instead_of_what_makes_them() -> None:
    @hookimpl.executors
    def executors() -> Iterator[Contribution[SerialExecutor]]:  # FAULT
        yield Contribution("mine", lambda: SerialExecutor(1))

    Registry().register(SimpleNamespace(executors=executors))


def formats_without_open() -> None:
    @hookimpl.history_formats
    def history_formats() -> list[Contribution[Flatten]]:  # FAULT
        return [Contribution("mine", Flatten)]

    Registry().register(SimpleNamespace(history_formats=history_formats))


def an_async_hook() -> None:
    @hookimpl.history_formats
    async def history_formats() -> list[Contribution[HistoryFormat[object]]]:  # FAULT
        return [Contribution("mine", ArrayFormat)]

    Registry().register(SimpleNamespace(history_formats=history_formats))


def an_async_generator() -> None:
    class Plugin:
        @hookimpl.history_formats(tryfirst=True)
        async def formats(self) -> AsyncIterator[Contribution[HistoryFormat[object]]]:  # FAULT
            yield Contribution("mine", ArrayFormat)

    Registry().register(Plugin())


def an_async_plain_hook() -> None:
    @hookimpl
    async def history_formats() -> list[Contribution[HistoryFormat[object]]]:  # FAULT
        return [Contribution("mine", ArrayFormat)]

    Registry().register(SimpleNamespace(history_formats=history_formats))


def a_wrapper() -> None:
    @hookimpl(wrapper=True)
    def history_formats() -> Iterator[None]:  # FAULT
        yield

    Registry().register(SimpleNamespace(history_formats=history_formats))
