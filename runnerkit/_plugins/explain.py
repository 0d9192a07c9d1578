"""Explain a name: who offers it, which offer it means, its options, and what its import costs.

For example::

    for answer in explain(installed_plugins(), "arrow"):
        print(answer["kind"], answer["distribution"], answer["meaning"], answer["options"])
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from runnerkit._core.origins import module_of
from runnerkit._plugins.catalogue import described, facts, options
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.metadata import canonical
from runnerkit._plugins.offers import KINDS, Offer
from runnerkit.errors import RunnerKitError

__all__ = ["explain", "import_cost"]

_TIMED: Final = """
import importlib, sys, time
import runnerkit.registry
before, began = len(sys.modules), time.perf_counter()
importlib.import_module(sys.argv[1])
print(time.perf_counter() - began, len(sys.modules) - before)
"""


def explain(plugins: Plugins, name: str) -> list[dict[str, Any]]:
    """Return every offer of a name, kind by kind, as plain values.

    Each has the fields of `catalogue.described`, and `asked_as`, `meaning` (which offer the name means, and why),
    `module` (what it imports) and `problems` (problems of plugins that concern the name).

    If an offer cannot be imported, it has no options, and `error` says why. Raises UnknownNameError.
    """
    plugins.discover()
    distribution, slash, base = name.rpartition("/")
    answers = [
        {
            **_described(offer),
            "asked_as": offer.name,
            "meaning": _meaning(offer, same),
            "module": _module(offer),
            "problems": [str(problem) for problem in plugins.problems if repr(base) in str(problem)],
        }
        for same in _of_one_name(plugins, base)
        for offer in same
        if not slash or canonical(offer.distribution) == canonical(distribution)
    ]
    return answers or list(options(plugins, name))  # which says that there is none, and what was meant


def import_cost(module: str) -> tuple[float, int] | None:
    """Return how long an import takes where RunnerKit is already imported, and how many modules it adds.

    None if the other process cannot import it, for example a module that only this process knows.
    """
    command = [sys.executable, "-c", _TIMED, module]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if done.returncode:
        return None
    seconds, modules = done.stdout.split()[-2:]  # after what the module prints as it is imported
    return float(seconds), int(modules)


def _of_one_name(plugins: Plugins, base: str) -> Iterator[list[Offer[Any]]]:
    for kind in KINDS:
        yield [offer for offer in plugins.offers(kind).values() if offer.contribution.name == base]


def _described(offer: Offer[Any]) -> dict[str, Any]:
    try:
        return {**described(offer), "error": ""}
    except RunnerKitError as error:
        return {**facts(offer), "options": [], "error": str(error)}


def _module(offer: Offer[Any]) -> str:
    make = offer.contribution.make
    written = make if isinstance(make, str) else getattr(make, "value", "")  # that of an entry point
    return str(written).partition(":")[0] or module_of(make)


def _meaning(offer: Offer[Any], same: Sequence[Offer[Any]]) -> str:
    """Return which of several offers a name means, and why."""
    base = offer.contribution.name
    if len(same) == 1:
        return f"the only {KINDS[offer.kind]} of that name"
    owner = next((other for other in same if other.name == base), None)
    if owner is None:
        return f"several distributions offer {base!r}; ask for {offer.full_name!r} to get this one"
    why = "it is built in" if owner.is_built_in else "it was registered by hand"
    if owner is offer:
        return f"{base!r} means this one, because {why}"
    return f"{base!r} means that of {owner.source}, because {why}; ask for {offer.full_name!r} to get this one"
