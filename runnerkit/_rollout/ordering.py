"""The order of processors: one that says `before = ("normalize",)` or `after = (...)` is held to it."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from typing import Any

from runnerkit import _sentences as sentences
from runnerkit._plugins.metadata import canonical
from runnerkit._rollout.parts import Part
from runnerkit.errors import ArgumentError

__all__ = ["check_order"]


def check_order(option: str, parts: Sequence[Part[Any]]) -> None:
    """Raise ArgumentError if a processor is not where another, or itself, says that it must be.

    The order is never changed: that of the list is what was asked for. The message has one that would do.
    """
    known = [_names(part) for part in parts]
    orders = [(_wanted(part, "before"), _wanted(part, "after")) for part in parts]
    first: dict[int, set[int]] = {i: set() for i in range(len(parts))}
    """Which processors must come before each."""
    for i, (before, after) in enumerate(orders):
        for j, names in enumerate(known):
            if i != j and names & before:
                first[j].add(i)
            if i != j and names & after:
                first[i].add(j)
    wrong = [(earlier, i) for i, others in first.items() for earlier in sorted(others) if earlier > i]
    if wrong:
        earlier, later = wrong[0]
        order = [_written(parts[i]) for i in _sorted(option, parts, first)]
        raise ArgumentError(sentences.wrong_order(option, _written(parts[earlier]), _written(parts[later]), order))


def _sorted(option: str, parts: Sequence[Part[Any]], first: Mapping[int, set[int]]) -> list[int]:
    """Return an order that all agree with, near to the given one; raises ArgumentError if there is none."""
    sorter = graphlib.TopologicalSorter(first)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle: list[int] = error.args[1]
        raise ArgumentError(sentences.no_order(option, [_written(parts[i]) for i in circle])) from None
    order: list[int] = []
    ready: set[int] = set()
    while sorter.is_active():
        ready |= set(sorter.get_ready())
        order.append(min(ready))
        ready.remove(order[-1])
        sorter.done(order[-1])
    return order


def _names(part: Part[Any]) -> set[str]:
    """Return what others may call a processor: its name, that with its distribution, and that of its class."""
    record = part.record
    return {record.name, f"{canonical(record.distribution)}/{record.name}", type(part.thing).__name__}


def _wanted(part: Part[Any], which: str) -> set[str]:
    names: object = getattr(part.thing, which, ())
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(sentences.no_names(part.title, which, repr(names)))
    return set(names)


def _written(part: Part[Any]) -> str:
    return repr(part.record.name.rpartition(":")[2])
