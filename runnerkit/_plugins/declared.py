"""Parts that entry points declare, one each: `[project.entry-points."runnerkit.executors"] pool = "pkg:Pool"`."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import Any

from runnerkit import _sentences as sentences
from runnerkit._plugins.asking import fault_of_name
from runnerkit._plugins.discovery import AGENTS, GROUP, GYMNASIUM
from runnerkit._plugins.families import GymnasiumFamily
from runnerkit._plugins.offers import KINDS, Kind, Offer, Origin
from runnerkit._plugins.sources import Source
from runnerkit.errors import PluginError
from runnerkit.hooks import Contribution

__all__ = ["declared", "from_entry_point", "is_same"]


def from_entry_point(entry: EntryPoint, source: Source) -> Offer[Any]:
    """Return the part that an entry point declares; raises PluginError if it cannot be one."""
    if entry.group == GYMNASIUM:
        summary = f"Gymnasium's envs of the namespace {entry.name}"
        family = Contribution(entry.name, GymnasiumFamily(entry.name, entry.value), summary)
        return _offer("env_factories", family, source, Origin.GYMNASIUM)
    groups: dict[str, Kind] = {f"{GROUP}.{kind}": kind for kind in KINDS}
    if entry.group not in groups:
        raise PluginError(sentences.unknown("entry-point group", entry.group, sorted([AGENTS, GROUP, *groups])))
    return declared(groups[entry.group], entry.name, entry.value, source)


def declared(kind: Kind, name: str, value: str, source: Source) -> Offer[Any]:
    """Return the part that `name = "module:attribute"` declares; raises PluginError if it cannot be one."""
    value = value.partition("[")[0].strip()  # extras say what else to install
    if fault_of_name(name):
        raise PluginError(f"{source} declares {fault_of_name(name)}")
    module, colon, attribute = value.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise PluginError(f"{source} declares {name!r} as {value!r}. Write what makes it, as 'module:attribute'.")
    return _offer(kind, Contribution(name, value), source, Origin.DECLARED)


def is_same(value: object, make: object) -> bool:
    """Whether a declared `module:attribute` is the object that a hook offers; True if nobody can tell."""
    if value == make:
        return True
    module, _, attribute = str(value).partition(":")
    if not isinstance(make, str) and module in sys.modules:
        named: object = sys.modules[module]
        for name in attribute.split("."):
            named = getattr(named, name, None)
        return named is make
    return value == f"{getattr(make, '__module__', '')}:{getattr(make, '__qualname__', '')}"


def _offer(kind: Kind, contribution: Contribution[Any], source: Source, origin: Origin) -> Offer[Any]:
    return Offer(kind, contribution, source.plugin, source.distribution, source.version, origin=origin)
