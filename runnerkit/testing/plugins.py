"""The checks of a plugin as such, and of all that it offers."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from gymnasium import Space

from runnerkit._core.faults import describe
from runnerkit._envs.elsewhere import ElsewhereError, call_elsewhere
from runnerkit._plugins.choice import Choice
from runnerkit._plugins.declared import is_same
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.offers import KINDS, Kind, Offer
from runnerkit.errors import ArgumentError, MissingDependencyError, PluginError, RunnerKitError
from runnerkit.registry import Registry
from runnerkit.testing.checks import Check, Checks, Fault, Skip, check
from runnerkit.testing.envs import factory_checks
from runnerkit.testing.executors import ExecutorChecks
from runnerkit.testing.formats import HistoryFormatChecks, ReadHistory
from runnerkit.testing.processors import ActionProcessorChecks, ObservationProcessorChecks
from runnerkit.testing.rewards import RewardProcessorChecks
from runnerkit.testing.targets import Target, resolve_target

__all__ = ["IMPORT_SECONDS", "PartOptions", "PluginChecks", "plugin_checks"]

IMPORT_SECONDS: Final = 0.5
"""How much CPU time the import of a plugin may take, in a process that has imported RunnerKit."""

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_SUMMARY: Final = 100
_MOST_MODULES: Final = 20
_ATTRIBUTES: Final[Mapping[Kind, str]] = {
    "env_factories": "env_factories",
    "action_preprocessors": "preprocessors",
    "action_postprocessors": "postprocessors",
    "reward_processors": "reward_processors",
    "history_formats": "history_formats",
    "executors": "executors",
}
_BUILTIN: Final = "runnerkit._plugins.builtin"


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """What the checks of parts must be told, by the name of the part."""

    envs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For env factories: the ids of envs to check. By default the first one that the factory tells by itself."""
    env_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """For env factories: keyword arguments for the factory."""
    spaces: Mapping[str, Mapping[str, Space[Any]]] = field(default_factory=dict)
    """For processors: the spaces to bind them to, by a name. By default `SPACES`."""
    read: Mapping[str, ReadHistory] = field(default_factory=dict)
    """For history formats: how to read a history back, where it is not like one of the built-in formats."""
    make: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """For any part: how to make it, if not as by its name alone; formats that write files need a new path each time."""


class PluginChecks(Checks):
    """The checks of how a plugin is found, imported and registered, and of the names that it offers."""

    def __init__(self, target: Target, *, import_seconds: float = IMPORT_SECONDS, mypy: bool = False) -> None:
        super().__init__()
        self._target = target
        self._import_seconds = import_seconds
        self._mypy = mypy

    @cached_property
    def _loaded(self) -> Mapping[str, object]:
        return self._target.load()

    @cached_property
    def offers(self) -> list[Offer[Any]]:
        """What it offers; nothing if it cannot be registered, which a check reports."""
        try:
            return self._registered()
        except Exception:
            return []

    def _registered(self) -> list[Offer[Any]]:
        plugins = Plugins(Choice(allow=frozenset()))
        registry = Registry(plugins=lambda: plugins)
        built_in = {id(offer.contribution) for offer in _all_offers(registry)}
        for name, plugin in self._loaded.items():
            if getattr(plugin, "__name__", "") == _BUILTIN:
                built_in = set()
            else:
                registry.register(plugin, name)
        offers = [offer for offer in _all_offers(registry) if id(offer.contribution) not in built_in]
        by_hooks = {(offer.kind, offer.contribution.name) for offer in offers}
        for kind, name, value in self._target.declarations:
            if (kind, name) not in by_hooks:
                plugins.declare(kind, name, value, self._target.title, "")
        of_all = _all_offers(registry)
        return [*offers, *(one for one in of_all if one.distribution == self._target.title)]

    @check("The plugin can be imported.")
    def imports(self) -> None:
        """Check the import."""
        if not self._target.plugins and not self._target.declarations:
            groups = ", ".join(f"runnerkit.{kind}" for kind in KINDS)
            raise Fault(
                f"{self._target.title} has no entry point in one of the groups {groups}",
                "add one to pyproject.toml, as '[project.entry-points.\"runnerkit.executors\"]' with "
                "'thing = \"runnerkit_thing:Thing\"'",
            )
        try:
            _ = self._loaded
        except (Exception, SystemExit) as error:
            raise Fault(describe(error), "let the module be imported without an exception") from error

    @check("RunnerKit accepts its hooks and what they offer.", needs=["imports"])
    def registers(self) -> None:
        """Check the registration in a registry of its own."""
        try:
            self._registered()
        except PluginError as error:
            raise Fault(str(error), "change the plugin as the message says") from error

    @check("It offers something.", needs=["registers"])
    def offers_something(self) -> None:
        """Check that there is something."""
        if not self.offers:
            raise Fault(
                "its hooks yield nothing", "declare a name by an entry point, or yield Contribution(name, make)"
            )

    @check("Each name is in lower case, with hyphens between words.", needs=["registers"])
    def names(self) -> None:
        """Check the names."""
        for offer in self.offers:
            if not _NAME.fullmatch(offer.name):
                raise Fault(f"the {KINDS[offer.kind]} {offer.name!r}", "a name such as 'scale-image'")

    @check(f"Each contribution has a summary of at most {_LONGEST_SUMMARY} characters.", needs=["registers"])
    def summaries(self) -> None:
        """Check what `runnerkit plugins` shows."""
        for offer in self.offers:
            summary = offer.summary
            if not summary.strip() or "\n" in summary or len(summary) > _LONGEST_SUMMARY:
                raise Fault(
                    f"the {KINDS[offer.kind]} {offer.name!r} has the summary {summary!r}",
                    "say in a few words what it does, in the first line of the docstring of what makes it",
                )

    @check("Where metadata and hooks offer the same name, they mean the same.", needs=["registers"])
    def metadata(self) -> None:
        """Check entry points of the kinds against hooks: RunnerKit would use what the metadata declare."""
        declared = self._target.declared
        if not self._target.declarations or declared is None:
            raise Skip("Its metadata declare no names, so that mypy does not know them.")
        for offer in self.offers:
            name, make = offer.contribution.name, offer.contribution.make
            value = declared[offer.kind].get(name)
            if value is not None and not is_same(value, make):
                raise Fault(
                    f'[project.entry-points."runnerkit.{offer.kind}"] says that {name!r} is {value!r}, but the hook '
                    f"{offer.kind} offers {make!r}",
                    "remove the name from the hook: its declaration is enough",
                )

    @check(
        "Options have defaults that fit their annotations, and parts are made with all of them.", needs=["registers"]
    )
    def options(self) -> None:
        """Check the options of each part: give each of them by name, with its default."""
        for offer in self.offers:
            what = f"the {KINDS[offer.kind]} {offer.name!r}"
            try:
                options = offer.options().known
            except PluginError as error:
                raise Fault(str(error), "let what the name stands for be imported") from error
            for option in options:
                try:
                    _ = None if option.is_required else option.read(option.default)
                except ValueError:
                    fault = f"{what} has the option {option.name!r} of type {option.type} with {option.default!r}"
                    raise Fault(fault, "give it a default of its type, or change the annotation") from None
            if not any(option.is_required for option in options) and offer.kind != "env_factories":
                _made(offer, what, {option.name: option.default for option in options})

    @check("Its import takes little time.", needs=["imports"])
    def import_time(self) -> None:
        """Check the CPU time of the import in a process that has imported RunnerKit and nothing else."""
        if not self._target.modules:
            raise Skip("Nothing of it is imported before it is asked for.")
        path = [str(path) for path in self._target.paths]
        try:
            seconds, imported = call_elsewhere(_time_import, path, self._target.modules)
        except ElsewhereError as error:
            raise Fault(f"in a process of its own, {error}", "import in the module what it needs") from error
        if seconds > self._import_seconds:
            limit = f"more than {self._import_seconds} s"
            raise Fault(
                f"it took {seconds:.2f} s of CPU time, {limit}, and imported {_listed(imported)}",
                "import what is heavy in the function that makes a part, not at the top of the module",
            )

    @check("Its package has a py.typed, so that type checkers read its annotations.", needs=["imports"])
    def py_typed(self) -> None:
        """Check the marker of PEP 561."""
        packages = [path for path in self._target.sources() if path.is_dir()]
        if not packages:
            raise Skip("It is no package.")
        for path in packages:
            if not (path / "py.typed").exists():
                raise Fault(f"{path.name} has no py.typed", "add an empty file of this name beside __init__.py")

    @check("mypy --strict finds nothing in its package.", needs=["imports"])
    def types(self) -> None:
        """Check its types, if this was asked for."""
        if not self._mypy:
            raise Skip("It was not asked for: mypy=True, or runnerkit check without --no-mypy.")
        if importlib.util.find_spec("runnerkit_mypy") is None:
            raise Skip("The mypy plugin is not installed: pip install 'runnerkit[mypy]'.")
        sources = self._target.sources()
        if not sources:
            raise Skip("It is an object, which has no files.")
        if said := _mypy(sources, self._target.paths):
            raise Fault(said, "change the annotations as mypy says")


def _made(offer: Offer[Any], what: str, options: Mapping[str, object]) -> None:
    try:
        offer.make(options)
    except MissingDependencyError:
        return
    except RunnerKitError as error:
        raise Fault(f"{what} with {dict(options)!r}: {error}", "take each option by its name") from error


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_MODULES} more" if len(names) > _MOST_MODULES else ""
    return ", ".join(names[:_MOST_MODULES]) + more


def _all_offers(registry: Registry) -> list[Offer[Any]]:
    return [offer for attribute in _ATTRIBUTES.values() for offer in getattr(registry, attribute).values()]


def _time_import(path: list[str], modules: list[str]) -> tuple[float, list[str]]:
    """Import modules; return the CPU seconds, and the packages that were imported on the way."""
    sys.path[:0] = path
    before = set(sys.modules)
    began = time.process_time()
    for module in modules:
        importlib.import_module(module)
    seconds = time.process_time() - began
    return seconds, sorted({name.partition(".")[0] for name in set(sys.modules) - before})


def _mypy(sources: Sequence[Path], paths: Sequence[Path]) -> str:
    """Return what mypy says, nothing if it is content."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mypy.ini"
        config.write_text("[mypy]\nstrict = True\nplugins = runnerkit.mypy\n")
        options = ["--config-file", str(config), "--no-error-summary", "--no-color-output"]
        command = [sys.executable, "-m", "mypy", *options, *map(str, sources)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=paths[-1] if paths else None)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip().replace("\n", "; ")


def plugin_checks(
    plugin: object, options: PartOptions, *, import_seconds: float = IMPORT_SECONDS, mypy: bool = False
) -> tuple[str, list[Check]]:
    """Return the title of a plugin, and its checks with those of all that it offers."""
    target = resolve_target(plugin)
    suite = PluginChecks(target, import_seconds=import_seconds, mypy=mypy)
    found = suite.named("plugin/")
    if suite.run("imports").ok:
        for offer in suite.offers:
            found += _part_checks(offer, options)
        _refuse_unknown_parts(options, suite.offers)
    return target.title, found


def _part_checks(offer: Offer[Any], options: PartOptions) -> list[Check]:
    name, prefix = offer.name, f"{KINDS[offer.kind].replace(' ', '-')}/{offer.name}/"
    make = options.make.get(name, offer.make)
    if offer.kind == "action_preprocessors":
        return ObservationProcessorChecks(make, options.spaces.get(name)).named(prefix)
    if offer.kind == "action_postprocessors":
        return ActionProcessorChecks(make, options.spaces.get(name)).named(prefix)
    if offer.kind == "reward_processors":
        return RewardProcessorChecks(make).named(prefix)
    if offer.kind == "history_formats":
        return HistoryFormatChecks(make, options.read.get(name)).named(prefix)
    suite = _MadeChecks(make)
    if not suite.run("makes").ok or suite.made is None:
        return suite.named(prefix)
    if offer.kind == "executors":
        return ExecutorChecks(suite.made).named(prefix)
    return factory_checks(suite.made, options.envs.get(name), options.env_options.get(name), prefix)


class _MadeChecks(Checks):
    """The check of a contribution whose own checks need what it makes."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self._make = make
        self.made: Any = None

    @check("The contribution can be made, and is of its kind.")
    def makes(self) -> None:
        """Check what `make` returns."""
        try:
            self.made = self._make()
        except PluginError as error:
            raise Fault(str(error), "change the plugin as the message says") from error


def _refuse_unknown_parts(options: PartOptions, offers: Sequence[Offer[Any]]) -> None:
    known = sorted({offer.name for offer in offers})
    for what, given in vars(options).items():
        for name in given:
            if name not in known:
                raise ArgumentError(f"{what} has {name!r}, but the plugin offers {', '.join(known) or 'nothing'}.")
