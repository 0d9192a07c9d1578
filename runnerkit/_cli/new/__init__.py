"""`runnerkit new`: the files of a new plugin package, from templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from runnerkit.errors import ArgumentError

__all__ = ["KINDS", "command_for", "write_package"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PLACEHOLDER: Final = re.compile(r"@([A-Z]+)@")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What differs from kind to kind."""

    hook: str
    part: str
    summary: str
    use: str
    command: str


KINDS: Final[Mapping[str, _Kind]] = {
    "env-factory": _Kind(
        "env_factories",
        "envs",
        "corridors, Short and Long",
        "`runnerkit.make('@NAME@:Short')` makes its envs.",
        "runnerkit rollout @NAME@:Short --steps 100",
    ),
    "preprocessor": _Kind(
        "action_preprocessors",
        "processor",
        "large observations are compressed",
        "`runnerkit.make('CartPole-v1', preprocessors=['@NAME@'])` puts it before the agent.",
        "runnerkit rollout CartPole-v1 --pre @NAME@",
    ),
    "postprocessor": _Kind(
        "action_postprocessors",
        "processor",
        "actions in [0, 1] stretched to the bounds",
        "`runnerkit.make('Pendulum-v1', postprocessors=['@NAME@'])` puts it behind the agent.",
        "runnerkit rollout Pendulum-v1 --post @NAME@",
    ),
    "reward-processor": _Kind(
        "reward_processors",
        "processor",
        "large rewards are compressed",
        "`runnerkit.make('Pendulum-v1', reward_processors=['@NAME@'])` puts it before the learner.",
        "runnerkit rollout Pendulum-v1 --reward @NAME@:epsilon=0.01",
    ),
    "history-format": _Kind(
        "history_formats",
        "history",
        "the arrays of a rollout as a dataclass",
        "`runnerkit.make('CartPole-v1', history='@NAME@')` returns its histories.",
        "runnerkit rollout CartPole-v1 --history @NAME@:title=first",
    ),
    "executor": _Kind(
        "executors",
        "executor",
        "serial, with the time that envs take",
        "`runnerkit.make('CartPole-v1', executor='@NAME@')` steps envs with it.",
        "runnerkit rollout CartPole-v1 --executor @NAME@",
    ),
}
"""The kinds of plugins that can be written."""


def write_package(name: str, kind: str, folder: Path) -> Path:
    """Write a package `runnerkit-NAME` into a folder, and return the package's own folder.

    Raises ArgumentError for a name that cannot be, or if there is such a folder already.
    """
    name = name.removeprefix("runnerkit-")
    if not _NAME.fullmatch(name):
        raise ArgumentError(f"NAME must be in lower case, with hyphens, such as scale-image, not {name!r}.")
    root = folder / f"runnerkit-{name}"
    if root.exists():
        raise ArgumentError(f"{root} exists already. Choose another name, or another folder with -o.")
    values = _values(name, KINDS[kind])
    module = values["MODULE"]
    for path, template in {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".github/workflows/check.yml": "ci.yml",
        f"src/{module}/__init__.py": "init.py",
        f"src/{module}/{values['PART']}.py": f"{kind}.py",
        "tests/test_conformance.py": "test_conformance.py",
    }.items():
        _write(root / path, _filled(template, values))
    _write(root / "src" / module / "py.typed", "")
    return root


def command_for(name: str, kind: str) -> str:
    """Return the command that tries a new plugin, once it is installed."""
    return KINDS[kind].command.replace("@NAME@", name.removeprefix("runnerkit-"))


def _values(name: str, kind: _Kind) -> dict[str, str]:
    words = name.split("-")
    snake = "_".join(words)
    return {
        "NAME": name,
        "DISTRIBUTION": f"runnerkit-{name}",
        "MODULE": f"runnerkit_{snake}",
        "OBJECT": f"make_{snake}" if kind.hook == "env_factories" else "".join(word.capitalize() for word in words),
        "HOOK": kind.hook,
        "PART": kind.part,
        "SUMMARY": kind.summary,
        "USE": kind.use.replace("@NAME@", name),
        "COMMAND": kind.command.replace("@NAME@", name),
    }


def _filled(template: str, values: Mapping[str, str]) -> str:
    text = files(__name__).joinpath("templates", f"{template}.txt").read_text("utf-8")
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
