"""Ask a plugin what it offers. Its hooks are checked, then called one by one, so that each offer knows its source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pluggy

from runnerkit import _sentences as sentences
from runnerkit._checks.signatures import called_otherwise
from runnerkit._plugins import implementations
from runnerkit._plugins.offers import BUILTIN, CALLED, KINDS, OURS, Kind, Offer, Origin, fault_of_make, is_itself
from runnerkit._plugins.options import options_of
from runnerkit._plugins.sources import Source
from runnerkit.errors import PluginError
from runnerkit.hooks import Contribution

__all__ = ["fault_of_name", "offers_of"]


def offers_of(
    manager: pluggy.PluginManager, plugin: object, source: Source, clash: Callable[[Kind, str], Offer[Any] | None]
) -> list[Offer[Any]]:
    """Register a plugin with pluggy and return what it offers; raises PluginError, and then it is not registered.

    `clash` returns the offer that already has a name, if this plugin may not have that name as well.
    """
    try:
        _check(manager, plugin, source)
        manager.register(plugin, f"{source.plugin}@{source.distribution or id(plugin)}")
        if not manager.get_hookcallers(plugin):
            raise PluginError(f"{source} offers nothing: mark its functions with @hookimpl.")
        return list(_ask(manager, plugin, source, clash))
    except Exception as error:
        if manager.is_registered(plugin):
            manager.unregister(plugin)
        if isinstance(error, PluginError):
            raise
        raise PluginError(f"{source} cannot be registered: {error}") from error


def _check(manager: pluggy.PluginManager, plugin: object, source: Source) -> None:
    """Refuse implementations that cannot work before pluggy does, with messages of our own."""
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is None:
            continue
        hook = options["specname"] or name
        function = getattr(plugin, name)
        if hook not in KINDS:
            fault = "" if options["optionalhook"] else sentences.unknown("hook", hook, sorted(KINDS))
        elif isinstance(plugin, type) and called_otherwise(function, f"{hook}()"):  # without self
            fault = sentences.is_a_class("Plugin", plugin.__name__)
        else:
            arguments = pluggy.HookImpl(plugin, source.plugin, function, options).argnames
            fault = implementations.fault(hook, function, arguments, options)
        if fault:
            raise PluginError(f"{source}: {fault}")


def _ask(
    manager: pluggy.PluginManager, plugin: object, source: Source, clash: Callable[[Kind, str], Offer[Any] | None]
) -> Iterator[Offer[Any]]:
    for kind in KINDS:
        for implementation in getattr(manager.hook, kind).get_hookimpls():
            if implementation.plugin is plugin:
                try:
                    offers = [*_collect(kind, implementation.function(), source, clash)]
                except PluginError:
                    raise
                except Exception as error:
                    raise PluginError(f"{source}, hook {kind}, raised {type(error).__name__}: {error}") from error
                yield from offers


def _collect(
    kind: Kind, contributions: object, source: Source, clash: Callable[[Kind, str], Offer[Any] | None]
) -> Iterator[Offer[Any]]:
    where = f"{source}, hook {kind},"
    names: set[str] = set()
    if contributions is None:
        raise PluginError(f"{source}: {sentences.returned_none(kind)}")
    if isinstance(contributions, (str, Contribution)) or not isinstance(contributions, Iterable):
        raise PluginError(f"{source}: {implementations.wrong_result(kind, type(contributions).__name__)}")
    for contribution in contributions:
        if not isinstance(contribution, Contribution) or not _has_name(contribution):
            raise PluginError(f"{where} must yield Contribution(name, make), not {contribution!r}.")
        fault = fault_of_make(kind, contribution.name, contribution.make)
        if fault:
            raise PluginError(f"{where} offers {fault}")
        otherwise = _called_otherwise(kind, contribution)
        if otherwise:
            raise PluginError(f"{source}: {otherwise}")
        if fault_of_name(contribution.name):
            raise PluginError(f"{where} offers {fault_of_name(contribution.name)}")
        offer: Offer[Any] = Offer(
            kind, contribution, source.plugin, source.distribution, source.version, origin=_origin(source)
        )
        other = None if source.distribution else clash(kind, contribution.name)
        if other is not None or contribution.name in names:
            owner = _owner(other, source) if other else "the same plugin"
            raise PluginError(f"{where} offers {contribution.name!r}, which {owner} has already. Give it another name.")
        names.add(contribution.name)
        yield offer


def fault_of_name(name: str) -> str:
    """Return what is wrong with a name; empty if it is valid."""
    return (
        ""
        if name and not set(name) & {":", "/"}
        else f"{name!r}, but a name has neither ':' nor '/', and is not empty."
    )


def _called_otherwise(kind: Kind, contribution: Contribution[object]) -> str:
    """Return how `make` must be called, unless it takes only options or is itself what is offered."""
    make = contribution.make
    if isinstance(make, str) or is_itself(kind, make):
        return ""
    known = () if kind in CALLED else options_of(make).known  # functions that return what is called have none
    required = [option.name for option in known if option.is_required]
    otherwise = called_otherwise(make, f"make(*, {', '.join(required)})" if required else "make()")
    return sentences.not_callable_so("Contribution", contribution.name, "make()", otherwise) if otherwise else ""


def _has_name(contribution: Contribution[object]) -> bool:
    name: object = contribution.name  # the value may differ from the annotation
    return isinstance(name, str)


def _origin(source: Source) -> Origin:
    if (source.plugin, source.distribution) == (BUILTIN, OURS):
        return Origin.BUILT_IN
    return Origin.INSTALLED if source.distribution else Origin.BY_HAND


def _owner(offer: Offer[Any], clashing: Source) -> str:
    if offer.plugin == clashing.plugin and offer.distribution in ("", clashing.distribution):
        return "another plugin of that name"
    return offer.source
