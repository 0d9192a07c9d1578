"""The list of what plugins offer, and of those that do not work, as plain texts.

For example::

    installed = installed_plugins()
    installed.discover()
    for contribution in contributions(installed):
        print(contribution["kind"], contribution["name"])
"""

from __future__ import annotations

from runnerkit._core.faults import describe
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.offers import KINDS

__all__ = ["contributions", "problems"]


def contributions(plugins: Plugins) -> list[dict[str, str]]:
    """Return kind, name, plugin, distribution, version and summary of each contribution, kind by kind."""
    return [
        {
            "kind": KINDS[kind],
            "name": offer.name,
            "plugin": offer.plugin,
            "distribution": offer.distribution,
            "version": offer.version,
            "summary": offer.contribution.summary,
        }
        for kind in KINDS
        for offer in plugins.offers(kind).values()
    ]


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
