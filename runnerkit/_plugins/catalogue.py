"""The list of what plugins offer, and of those that do not work, as plain texts.

For example::

    installed = installed_plugins()
    installed.discover()
    for contribution in contributions(installed):
        print(contribution["kind"], contribution["name"])
"""

from __future__ import annotations

from typing import Any

from runnerkit._core.faults import describe
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.offers import KINDS, Offer
from runnerkit._plugins.options import Option
from runnerkit.errors import UnknownNameError

__all__ = ["contributions", "options", "problems"]


def contributions(plugins: Plugins) -> list[dict[str, str]]:
    """Return kind, name, plugin, distribution, version and summary of each contribution, kind by kind."""
    return [_facts(offer) for kind in KINDS for offer in plugins.offers(kind).values()]


def options(plugins: Plugins, name: str) -> list[dict[str, object]]:
    """Return what there is of a name, with its options: name, type, default, required and doc of each.

    This imports what it is made of. Raises UnknownNameError, or PluginError if it cannot be imported.
    """
    found = [offer for kind in KINDS if (offer := plugins.find(kind, name)) is not None]
    if not found:
        names = sorted({offer.name for kind in KINDS for offer in plugins.offers(kind).values()})
        raise UnknownNameError("part", name, names, plugins.left_out())
    return [{**_facts(offer), "options": [_option(option) for option in offer.options().known]} for offer in found]


def _facts(offer: Offer[Any]) -> dict[str, str]:
    return {
        "kind": KINDS[offer.kind],
        "name": offer.name,
        "plugin": offer.plugin,
        "distribution": offer.distribution,
        "version": offer.version,
        "summary": offer.summary,
    }


def _option(option: Option) -> dict[str, object]:
    return {
        "option": option.name,
        "type": option.type,
        "default": None if option.is_required else repr(option.default),
        "required": option.is_required,
        "doc": option.doc,
    }


def problems(plugins: Plugins) -> list[dict[str, str]]:
    """Return plugin, distribution, version, stage and error of each plugin that was left out."""
    return [
        {
            "plugin": problem.plugin,
            "distribution": problem.distribution,
            "version": problem.version,
            "stage": problem.stage,
            "error": describe(problem.error),
        }
        for problem in plugins.problems
    ]
