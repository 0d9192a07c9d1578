"""The names that there are: those built in, those that installed packages declare, and those of the configuration.

A package declares each part that it offers as an entry point::

    # pyproject.toml of runnerkit-arrow
    [project.entry-points."runnerkit.history_formats"]
    arrow = "runnerkit_arrow.format:ArrowFormat"

so that nothing needs to be imported to know what is there. Who registers plugins by hand declares their names in the
configuration, in the same way; for a history format, its HistoryKey will do, too::

    [tool.runnerkit.mypy.names.history_formats]
    mine = "my_project.formats:MINE"
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mypy.modulefinder import SearchPaths
from mypy.nodes import Import, ImportAll, ImportFrom, MypyFile
from mypy.options import Options
from mypy.plugin import Plugin
from runnerkit_mypy.config import Config, ConfigError
from runnerkit_mypy.finding import Finder
from runnerkit_mypy.part import Part
from typing_extensions import override

from runnerkit import _sentences as sentences

GROUP: Final = "runnerkit"

KINDS: Final[Mapping[str, str]] = {
    "env_factories": "env factory",
    "action_preprocessors": "preprocessor",
    "action_postprocessors": "postprocessor",
    "reward_processors": "reward processor",
    "history_formats": "history format",
    "executors": "executor",
}
"""What can have a name, by hook, and in words."""

BUILTIN: Final[Mapping[str, Mapping[str, str]]] = {
    "env_factories": {"vector": "runnerkit._envs.vector:make_vector_env"},
    "action_preprocessors": {
        "flatten": "runnerkit.processors:Flatten",
        "frame-stack": "runnerkit.processors:FrameStack",
        "last-action": "runnerkit.processors:LastAction",
        "normalize": "runnerkit.processors:Normalize",
        "scale-image": "runnerkit.processors:ScaleImage",
        "time-aware": "runnerkit.processors:TimeAware",
    },
    "action_postprocessors": {
        "clip": "runnerkit.processors:Clip",
        "rescale": "runnerkit.processors:Rescale",
    },
    "reward_processors": {
        "clip": "runnerkit.processors:ClipReward",
        "normalize-reward": "runnerkit.processors:NormalizeReward",
        "scale": "runnerkit.processors:ScaleReward",
        "sign": "runnerkit.processors:SignReward",
    },
    "history_formats": {
        "arrays": "runnerkit.history.arrays:ArrayHistory",
        "torch": "runnerkit.history.torch:TorchHistory",
        "transitions": "runnerkit.records.episodes:Transition",
        "npz": "runnerkit.history.arrays:ArrayHistory",
    },
    "executors": {
        "auto": "runnerkit.executors.auto:AutoExecutor",
        "serial": "runnerkit.executors.serial:SerialExecutor",
        "threads": "runnerkit.executors.threads:ThreadsExecutor",
        "processes": "runnerkit.executors.processes.executor:ProcessesExecutor",
        "asyncio": "runnerkit.executors.asynchronous:AsyncioExecutor",
    },
}
"""What RunnerKit itself offers; of the history formats, what their histories are made of."""

FORMATS: Final[Mapping[str, str]] = {
    "arrays": "runnerkit.history.arrays:ArrayFormat",
    "torch": "runnerkit.history.torch:TorchFormat",
    "transitions": "runnerkit.history.transitions:TransitionFormat",
    "npz": "runnerkit.history.npz:NpzFormat",
}
"""What makes the history formats of RunnerKit itself."""

_TYPED: Final = ("action_preprocessors", "action_postprocessors", "history_formats")  # whose types matter to a runner


@dataclass(frozen=True, slots=True)
class Names:
    """What there is, as {kind: {name: target}}; a target is written `module:attribute`."""

    targets: Mapping[str, Mapping[str, str]]
    incomplete: Mapping[str, str]
    """The kinds of which there may be more, and the package with hooks that may offer them; nothing where it is not
    known what is installed."""
    qualified: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The same targets by `distribution/name`."""

    def is_known(self, kind: str, name: str) -> bool:
        """Whether there is such a name, or such a `distribution/name`."""
        return bool(self.target(kind, name))

    def known(self, kind: str) -> list[str]:
        """Return the names of a kind, those built in included, sorted."""
        return sorted({*BUILTIN[kind], *self.targets[kind]})

    def target(self, kind: str, name: str) -> str:
        """Return the full name of what a name stands for, `module.attribute`, or nothing."""
        return self._target(kind, name, BUILTIN[kind]).replace(":", ".")

    def maker(self, kind: str, name: str) -> str:
        """Return the full name of what makes the part of that name, `module.attribute`, or nothing."""
        built_in = FORMATS if kind == "history_formats" else BUILTIN[kind]
        return self._target(kind, name, built_in).replace(":", ".")

    def _target(self, kind: str, name: str, built_in: Mapping[str, str]) -> str:
        distribution, slash, rest = name.partition("/")
        distribution = re.sub(r"[-_.]+", "-", distribution).lower()
        if slash and distribution == GROUP:
            return built_in.get(rest, "")
        full = self.qualified.get(kind, {}).get(f"{distribution}/{rest}", "") if slash else ""
        return built_in.get(name) or self.targets[kind].get(name) or full

    def modules_in(self, text: str) -> set[str]:
        """Return the modules of which a file may need types: those of the names that it has in quotes."""
        return set(self._modules_in(text))

    def _modules_in(self, text: str) -> Iterator[str]:
        for kind in KINDS:
            may_have_options = "env_options" in text if kind == "env_factories" else "use(" in text or "{" in text
            makers = {**self.targets[kind], **BUILTIN[kind], **(FORMATS if kind == "history_formats" else {})}
            for name, target in makers.items():
                is_typed = kind in _TYPED and name not in BUILTIN[kind]
                after = ":" if kind == "env_factories" else "['\"]"
                if (is_typed or may_have_options) and re.search(f"['\"/]{re.escape(name)}{after}", text):
                    yield target.partition(":")[0]


def find_names(options: Options, paths: SearchPaths, config: Config) -> Names:
    """Read what is declared in the environment that mypy checks, which may be another than its own."""
    targets: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    qualified: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    incomplete: dict[str, str] = {}
    if options.python_executable is None:  # mypy was told to look at no installed package
        incomplete.update(dict.fromkeys(KINDS, ""))
    path = [*paths.mypy_path, *paths.package_path]
    for distribution, groups in _entry_points(path):
        declared = {kind: groups[f"{GROUP}.{kind}"] for kind in KINDS if f"{GROUP}.{kind}" in groups}
        for kind, points in declared.items():
            for name, target in points.items():
                qualified[kind][f"{distribution}/{name}"] = target = target.partition("[")[0].strip()
                targets[kind].setdefault(name, target)
        if GROUP in groups:  # hooks, which may compute names
            for kind in _kinds_in(groups[GROUP].values(), path):
                incomplete.setdefault(kind, distribution)
    for kind, name, target in _configured(config):
        targets[kind][name] = target
    return Names(targets, incomplete, qualified)


def _kinds_in(modules: Iterable[str], path: Sequence[str]) -> list[str]:
    """Return the kinds that plugin modules may offer, by the hooks that their sources mention; all if none is found.

    A package may keep its hooks in any module, so that all its sources count.
    """
    found: set[str] = set()
    for module in modules:
        top = module.partition(":")[0].strip().partition(".")[0]
        sources = [source for folder in path for source in _sources(Path(folder), top)]
        if not sources:
            return list(KINDS)
        text = "".join(source.read_text(encoding="utf-8", errors="replace") for source in sources)
        found |= {kind for kind in KINDS if kind in text}
    return [kind for kind in KINDS if kind in found] or list(KINDS)


def _sources(folder: Path, top: str) -> list[Path]:
    module = folder / f"{top}.py"
    return [module] if top and module.is_file() else sorted((folder / top).rglob("*.py")) if top else []


def _entry_points(path: Sequence[str]) -> Iterator[tuple[str, ConfigParser]]:
    """Yield each distribution that has entry points which may be ours, and those.

    Of several distributions of one name, that found first counts. (`importlib.metadata` does the same, but to import
    it takes longer than all the rest of the plugin in a run of mypy in which nothing has changed.)
    """
    seen: set[str] = set()
    for metadata in (found for folder in path for found in sorted(Path(folder).glob("*.*-info"))):
        name = metadata.name.partition("-")[0].lower().replace(".", "_")
        if name in seen:
            continue
        seen.add(name)
        try:
            text = (metadata / "entry_points.txt").read_text(encoding="utf-8")
        except OSError:  # most have none
            continue
        if f"[{GROUP}" in text:
            yield name.replace("_", "-"), _parsed(text)


def _parsed(text: str) -> ConfigParser:
    parser = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign, assignment]  # names keep their case
    try:
        parser.read_string(text)
    except ConfigParserError:  # a damaged package: who knows what it offers
        parser.clear()
        parser.add_section(GROUP)
    return parser


def _configured(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and target of what the configuration declares; raises ConfigError."""
    section = "[tool.runnerkit.mypy.names]"
    for key, value in config.names.items():
        kind, _, name = key.partition(".")  # an INI file has no tables in tables: history_formats.mine = ...
        if kind not in KINDS:
            hint = sentences.did_you_mean(kind, KINDS)
            known = ", ".join(KINDS)
            raise ConfigError(f"{config.file}: error: {section} has no key {kind!r}.{hint} Known: {known}.")
        table: Any = {name: value} if name else value
        if not isinstance(table, dict):
            raise ConfigError(f"{config.file}: error: {section} {kind} must be a table, not {value!r}.")
        for name, target in table.items():
            if not isinstance(target, str) or not all(target.partition(":")):
                must = f'{section} {kind}: {name!r} must be "module:object"'
                raise ConfigError(f"{config.file}: error: {must}, not {target!r}.")
            yield kind, name, target


class NamesPart(Part):
    """Makes known to mypy what is declared: to its cache, and the modules of what a file names."""

    def __init__(self, plugin: Plugin, config: Config, finder: Finder) -> None:
        super().__init__(plugin)
        self.finder: Finder = finder
        self.names: Names = find_names(plugin.options, finder.paths, config)

    def config_data(self) -> object:
        """Return, as JSON, all that is declared; mypy checks anew when it changes."""
        return [self.names.incomplete, self.names.targets, self.names.qualified]

    @override
    def modules_for(self, file: MypyFile) -> Collection[str]:
        if not _imports_runnerkit(file):
            return ()
        try:
            text = Path(file.path).read_text(encoding="utf-8", errors="replace")
        except OSError:  # no file, but code on the command line
            return ()
        return [module for module in self.names.modules_in(text) if self.finder.is_module(module, file)]


def _imports_runnerkit(file: MypyFile) -> bool:
    for node in file.imports:
        if isinstance(node, Import):
            modules = [name for name, _ in node.ids]
        elif isinstance(node, ImportFrom | ImportAll):
            modules = [node.id]
        else:
            continue
        if any(module.partition(".")[0] == GROUP for module in modules):
            return True
    return False
