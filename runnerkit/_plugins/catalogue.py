"""What plugins offer, and which plugins do not work, as plain text.

For example::

    installed = installed_plugins()
    installed.discover()
    for contribution in contributions(installed):
        print(contribution["kind"], contribution["name"])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runnerkit._core.faults import describe
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.offers import KINDS, Offer
from runnerkit._plugins.options import Option
from runnerkit._plugins.sources import PluginProblem, Source
from runnerkit.errors import MissingDependencyError, RunnerKitError, UnknownNameError

__all__ = ["contributions", "described", "facts", "options", "problems", "unusable"]


def contributions(plugins: Plugins) -> list[dict[str, str]]:
    """Return kind, name, plugin, distribution, version and summary of each contribution, kind by kind."""
    return [facts(offer) for kind in KINDS for offer in plugins.offers(kind).values()]


def options(plugins: Plugins, name: str) -> list[dict[str, object]]:
    """Return every offer of a name with its options; each option has name, type, default, required and doc.

    This imports the part. Raises UnknownNameError, or PluginError if the import fails.
    """
    found = [offer for kind in KINDS if (offer := plugins.find(kind, name)) is not None]
    if not found:
        names = sorted({offer.name for kind in KINDS for offer in plugins.offers(kind).values()})
        raise UnknownNameError("part", name, names, plugins.left_out(None, name))
    return [described(offer) for offer in found]


def described(offer: Offer[Any]) -> dict[str, Any]:
    """Describe an offer and its options; raises PluginError if it cannot be imported."""
    return {**facts(offer), "options": [_option(option) for option in offer.options().known]}


def unusable(plugins: Plugins) -> list[PluginProblem]:
    """Import every offer and return what went wrong. A missing optional package is no problem."""
    found: list[PluginProblem] = []
    for kind in KINDS:
        for offer in plugins.offers(kind).values():
            try:
                offer.options()
            except MissingDependencyError:
                continue
            except RunnerKitError as error:
                found.append(Source(offer.plugin, offer.distribution, offer.version).problem("import", error))
    return found


def facts(offer: Offer[Any]) -> dict[str, str]:
    """Return kind, name, plugin, distribution, version and summary of an offer."""
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


def problems(known: Sequence[PluginProblem]) -> list[dict[str, str]]:
    """Return plugin, distribution, version, stage and error of each problem."""
    return [
        {
            "plugin": problem.plugin,
            "distribution": problem.distribution,
            "version": problem.version,
            "stage": problem.stage,
            "error": describe(problem.error),
        }
        for problem in known
    ]
