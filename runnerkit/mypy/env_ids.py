"""Gymnasium's own env ids, read from its source: `"CartPol-v1"` is an error where it stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from mypy.nodes import MypyFile
from runnerkit_mypy.finding import Finder

from runnerkit import _sentences as sentences

_MODULE = "gymnasium.envs"


class EnvIds:
    """Knows the ids that Gymnasium registers as it is imported; it is not imported here."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._ids: Sequence[str] | None = None

    def fault(self, env_id: str, file: MypyFile) -> str:
        """Return what to say of an env id, or nothing.

        Others may be registered anywhere. So only those are told of that differ by a letter or two neighbours from one
        of Gymnasium's of the same version.
        """
        name, dash, version = env_id.rpartition("-v")
        if not dash or ":" in env_id or "/" in env_id:
            return ""
        known = self._known(file)
        versions = [other.rpartition("-v")[0] for other in known if other.endswith(f"-v{version}")]
        if env_id in known or not any(_is_a_slip(name, other) for other in versions):
            return ""
        return sentences.unknown("env", env_id, known, brief=True)

    def _known(self, file: MypyFile) -> Sequence[str]:
        if self._ids is None:
            path = self._finder.path(_MODULE, file)
            self._ids = sorted(_registered(Path(path))) if path else ()
        return self._ids


def _registered(path: Path) -> Iterator[str]:
    """Yield the ids of the calls `register(id="...")`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "register":
            for keyword in node.keywords:
                if keyword.arg == "id" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)


def _is_a_slip(name: str, other: str) -> bool:
    """Whether two names differ in upper and lower case, in one letter, or in the order of two neighbours."""
    left, right = name.lower(), other.lower()
    while left and right and left[0] == right[0]:
        left, right = left[1:], right[1:]
    while left and right and left[-1] == right[-1]:
        left, right = left[:-1], right[:-1]
    return max(len(left), len(right)) <= 1 or (len(left) == 2 and left == right[::-1])
