"""How parts and their options are written in a terminal: `parquet:compression=zstd,level=3`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runnerkit._plugins.options import Typed
from runnerkit.errors import ArgumentError
from runnerkit.keys import Use

__all__ = ["env_options", "part", "wrapper"]

_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "\"'"


def part(text: str, option: str) -> str | Use[object]:
    """Return the name in a text, with its options if it has any; raises ArgumentError, which names the `option`."""
    name, colon, rest = text.partition(":")
    return Use(name, _pairs(_items(rest), option, f"{name}:")) if colon else name


def wrapper(text: str) -> str | Use[object]:
    """Return the name of a wrapper, MODULE:CLASS, with the options that come after another colon if it has any."""
    module, first, rest = text.partition(":")
    attribute, second, options = rest.partition(":")
    name = f"{module}{first}{attribute}"
    return Use(name, _pairs(_items(options), "--wrapper", f"{name}:")) if second else name


def env_options(texts: Iterable[str]) -> dict[str, object]:
    """Return the options of an env in texts such as `size=4`."""
    return _pairs(texts, "--env-option", "")


def _pairs(items: Iterable[str], option: str, before: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for item in items:
        name, value = _pair(item, option, before)
        if name in found:
            raise ArgumentError(f"{option} {before}{item}: the option {name} is there twice. Give it once.")
        found[name] = value
    return found


def _pair(item: str, option: str, before: str) -> tuple[str, Typed]:
    name, equals, value = item.partition("=")
    if not equals or not name.strip().isidentifier():
        raise ArgumentError(f"{option} {before}{item}: write options as {before}NAME=VALUE, not {item!r}.")
    return name.strip(), Typed(value)


def _items(text: str) -> Iterator[str]:
    """Yield what is between commas, but not between those in brackets or quotes, as of a JSON list."""
    begin, depth, quote = 0, 0, ""
    for i, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and depth <= 0:
            yield text[begin:i]
            begin = i + 1
    yield text[begin:]
