"""What the plugin is told in the configuration, beside that of mypy itself::

    # pyproject.toml
    [tool.runnerkit.mypy]
    specs = ["_pytest.hookspec", "datasette.hookspecs", "my_project.hooks:Specs"]
    markers = ["my_plugin.hookimpl"]

`specs` are where hooks are specified: modules, or classes in them. A marker belongs to the specs of its own top-level
package (`pytest.hookimpl` is made in `_pytest.config`, so to `_pytest.hookspec`). `markers` are those that are made
in other packages, as `hookimpl = pluggy.HookimplMarker("my_project")` in a plugin is: they belong to all specs.

The file is the one that mypy takes its configuration from. If that is an INI file, it has the same in a section
`[runnerkit.mypy]`, with commas between the values; if it has none, the pyproject.toml beside it counts.
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

from runnerkit import _sentences as sentences

KEYS: Final = ("markers", "names", "specs")

_NAME: Final = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_SPEC: Final = re.compile(rf"{_NAME}(:{_NAME})?")
_MARKER: Final = re.compile(rf"{_NAME}\.[^\W\d]\w*")


class ConfigError(ValueError):
    """The configuration is wrong; the message names the file and the key."""


class Config(NamedTuple):
    """What `[tool.runnerkit.mypy]` says. `file` is its file's name, for errors; empty if nothing is configured."""

    file: str = ""
    specs: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    names: Mapping[str, Any] = MappingProxyType({})
    """The table `names` as it is written."""


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
    return Config(
        Path(file).name,
        _texts(file, section, table, "specs", _SPEC, '"module" or "module:Class"'),
        _texts(file, section, table, "markers", _MARKER, '"module.hookimpl"'),
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
