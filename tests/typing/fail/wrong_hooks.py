"""Implementations of hooks that type checkers must refuse without any plugin. Never executed."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit import Contribution, hookimpl
from runnerkit.executors.serial import SerialExecutor
from runnerkit.history.arrays import ArrayFormat
from runnerkit.processors import Flatten
from runnerkit.typing import HistoryFormat


@hookimpl.history_format  # type: ignore[attr-defined, untyped-decorator]  # pyright: ignore[reportAttributeAccessIssue]
def misspelt() -> Iterator[Contribution[HistoryFormat[object]]]:
    yield Contribution("mine", ArrayFormat)


@hookimpl.history_formats(wrapper=True)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore
def wrapped() -> Iterator[Contribution[HistoryFormat[object]]]:
    yield Contribution("mine", ArrayFormat)


@hookimpl.history_formats  # type: ignore[arg-type]  # pyright: ignore
def with_an_argument(config: str) -> Iterator[Contribution[HistoryFormat[object]]]:
    yield Contribution(config, ArrayFormat)


@hookimpl.executors  # type: ignore[arg-type]  # pyright: ignore
def wrong_kind() -> Iterator[Contribution[HistoryFormat[object]]]:
    yield Contribution("mine", ArrayFormat)


@hookimpl.action_preprocessors(tryfirst=True)  # type: ignore[arg-type]  # pyright: ignore
def wrong_result() -> list[type[Flatten]]:
    return [Flatten]


class Plugin:
    @hookimpl.env_factories  # type: ignore[arg-type]  # pyright: ignore
    def executors(self) -> Iterator[Contribution[type[SerialExecutor]]]:  # type: ignore[misc]
        yield Contribution("mine", lambda: SerialExecutor)

    @hookimpl.history_formats  # type: ignore[arg-type]  # pyright: ignore
    async def formats(self) -> list[Contribution[ArrayFormat]]:  # type: ignore[misc]
        return [Contribution("mine", ArrayFormat)]
