"""The history format on the driver, which makes histories of what comes from actors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from runnerkit import HistoryKey, MadeBy, PartRecord, Use, default_registry
from runnerkit.errors import ArgumentError, UnknownNameError
from runnerkit.history import ArrayFormat, Block, BlockLayout, HistoryFormat, RunSpec, SupportsWindows
from runnerkit.typing import PartName
from runnerkit_ray.data import joined, spread
from runnerkit_ray.jobs import Done

__all__ = ["Histories"]


class Histories:
    """Makes histories of units, in any format.

    Args:
        given: the history format, as `GymRunner` accepts it.
        spec: what the runner of an actor is, but for all envs.

    """

    def __init__(self, given: PartName | HistoryKey[Any] | HistoryFormat[Any], spec: RunSpec) -> None:
        chosen, record = _format_of(given)
        self.spec: RunSpec = replace(spec, made_by=_made_by(spec.made_by, record, spec.n_envs))
        self._owns = not isinstance(chosen, ArrayFormat)  # else histories may share memory with the object store
        self._layout = BlockLayout.of(self.spec, spec.n_envs)
        self._recorder = chosen.open(self.spec)

    def each(self, made: Sequence[Done]) -> list[Any]:
        """Return one history per unit."""
        found = []
        for done in made:
            block = spread(done.data, self.spec, self._layout, done.job.policy.version, owned=self._owns)
            found.append(self._of(block)[done.data.unit.env_index])
        return found

    def joined(self, made: Sequence[Done]) -> list[Any]:
        """Return one history per env, with the episodes of all units."""
        return self._of(joined([done.data for done in made], self.spec, self._layout, 0))

    def _of(self, block: Block) -> list[Any]:
        if isinstance(self._recorder, SupportsWindows):
            self._recorder.begin()
        return list(self._recorder.finish(block))

    def close(self) -> None:
        """Close what is open, such as files."""
        self._recorder.close()


def _format_of(given: PartName | HistoryKey[Any] | HistoryFormat[Any]) -> tuple[HistoryFormat[Any], PartRecord]:
    record: object = getattr(given, "record", None)
    if isinstance(record, PartRecord):  # a part that was found already, as the command line does
        return cast("HistoryFormat[Any]", getattr(given, "thing", None)), record
    name, options = _named(given)
    if name is None:
        return cast("HistoryFormat[Any]", given), PartRecord(
            "history format", f"{type(given).__module__}:{type(given).__qualname__}"
        )
    registry = default_registry
    offer = registry.history_formats.get(name)
    if offer is None:
        registry.discover()
        offer = registry.history_formats.get(name)
    if offer is None:
        raise UnknownNameError("history format", name, registry.history_formats)
    return offer.make(options), PartRecord("history format", name, offer.distribution, offer.version, _plain(options))


def _named(given: object) -> tuple[str | None, Mapping[str, object]]:
    if isinstance(given, str):
        return given, {}
    if isinstance(given, HistoryKey):
        return given.name, {}
    if isinstance(given, Use):
        return given.name, given.options
    if isinstance(given, tuple):
        name, options = given
        return name, options
    if not callable(getattr(given, "open", None)):
        raise ArgumentError(f"history must be the name of a history format, or a HistoryFormat object, not {given!r}.")
    return None, {}


def _plain(options: Mapping[str, object]) -> dict[str, object]:
    """Return options as JSON has them; what it does not have, as text."""
    loaded: dict[str, object] = json.loads(json.dumps(dict(options), default=str))
    return loaded


def _made_by(made_by: MadeBy, history: PartRecord, n_envs: int) -> MadeBy:
    """Return what made the data: units on actors, in this format."""
    try:
        ours = version("runnerkit-ray")
    except PackageNotFoundError:  # of a checkout that is not installed
        ours = ""
    others = {"history format": history, "executor": PartRecord("executor", "ray actors", "runnerkit-ray", ours)}
    return replace(made_by, n_envs=n_envs, parts=tuple(others.get(part.kind, part) for part in made_by.parts))
