"""What the plugin is told in the configuration, beside that of mypy itself::

    # pyproject.toml
    [tool.runnerkit.mypy]
    specs = ["pytest", "my_project.hooks:Specs"]
    markers = ["my_plugin.hookimpl"]
    prefixes = ["my_project_"]

`specs` are where hooks are specified: modules, classes in them, or well-known projects (see `runnerkit_mypy.hosts`),
whose hooks are checked in any case, but an unknown one is reported only if it looks like a misspelt one, unless
the project is listed here. `markers` are those of which it cannot be read for which project they are. Functions
that begin with one of the `prefixes` are hooks without a marker, as those of pytest are that begin with `pytest_`.

The file is the one that mypy takes its configuration from. If that is an INI file, it has the same in a section
`[runnerkit.mypy]`, with commas between the values; if it has none, the pyproject.toml beside it counts. The table
`names` is that of the plugin `runnerkit.mypy`.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from mypy.options import Options

from runnerkit_mypy import sentences
from runnerkit_mypy.hosts import HOSTS

KEYS: Final = ("markers", "names", "prefixes", "specs")

_NAME: Final = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_SPEC: Final = re.compile(rf"{_NAME}(:{_NAME})?|{'|'.join(HOSTS)}")
_MARKER: Final = re.compile(rf"{_NAME}\.[^\W\d]\w*")
_PREFIX: Final = re.compile(r"[^\W\d]\w*")


class ConfigError(ValueError):
    """The configuration is wrong; the message names the file and the key."""


class Config(NamedTuple):
    """What `[tool.runnerkit.mypy]` says. `file` is its file's name, for errors; empty if nothing is configured."""

    file: str = ""
    specs: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    names: Mapping[str, Any] = MappingProxyType({})
    """The table `names` as it is written."""

    @property
    def all_prefixes(self) -> tuple[str, ...]:
        """The prefixes of functions that are hooks without a marker, those of well-known projects included."""
        return (*self.prefixes, *(host.prefix for host in HOSTS.values() if host.prefix))


def read_config(options: Options) -> Config:
    """Read the configuration that belongs to mypy's; raises ConfigError."""
    if options.config_file is None:
        return Config()
    path = Path(options.config_file)
    if path.suffix == ".toml":
        return _from_toml(path) or Config()
    return _from_ini(path) or _from_toml(path.with_name("pyproject.toml")) or Config()


def _from_toml(path: Path) -> Config | None:
    if not path.exists():
        return None
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: error: this is not TOML: {error}") from error
    section = "tool.runnerkit.mypy"
    for key in section.split("."):
        table = table.get(key)
        if table is None:
            return None
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: error: [{section}] must be a table, but {key!r} is {table!r}.")
    return _config(str(path), section, table)


def _from_ini(path: Path) -> Config | None:
    parser = configparser.RawConfigParser()
    parser.read(path, encoding="utf-8")
    section = "runnerkit.mypy"
    names = f"{section}.names"
    if not (parser.has_section(section) or parser.has_section(names)):
        return None
    table: dict[str, Any] = {}
    for key, value in parser[section].items() if parser.has_section(section) else ():
        table[key] = value if key == "names" else [part.strip() for part in re.split("[,\n]", value) if part.strip()]
    if parser.has_section(names):
        table["names"] = dict(parser[names])
    return _config(str(path), section, table)


def _config(file: str, section: str, table: Mapping[str, Any]) -> Config:
    for key in table:
        if key not in KEYS:
            hint = sentences.did_you_mean(key, KEYS)
            raise ConfigError(f"{file}: error: [{section}] has no key {key!r}.{hint} Known: {', '.join(KEYS)}.")
    names = table.get("names", {})
    if not isinstance(names, dict):
        raise ConfigError(f"{file}: error: [{section}] names must be a table, not {names!r}.")
    specs = _texts(file, section, table, "specs", _SPEC, '"module" or "module:Class"')
    return Config(
        Path(file).name,
        tuple(dict.fromkeys(spec for name in specs for spec in (HOSTS[name].specs if name in HOSTS else (name,)))),
        _texts(file, section, table, "markers", _MARKER, '"module.hookimpl"'),
        _texts(file, section, table, "prefixes", _PREFIX, '"my_project_"'),
        names,
    )


def _texts(
    file: str, section: str, table: Mapping[str, Any], key: str, form: re.Pattern[str], wanted: str
) -> tuple[str, ...]:
    """Return a list of strings of one form, each of them once."""
    values = table.get(key, [])
    if not isinstance(values, list):
        hint = f" Write {key} = [{values!r}]." if isinstance(values, str) else ""
        raise ConfigError(f"{file}: error: [{section}] {key} must be a list of {wanted}, not {values!r}.{hint}")
    for value in values:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ConfigError(f"{file}: error: [{section}] {key} must be a list of {wanted}, but one is {value!r}.")
    return tuple(dict.fromkeys(values))
