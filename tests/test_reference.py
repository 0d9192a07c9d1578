"""What is public: each name has a home, a docstring and a place in the reference."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from reference import PAGE, PUBLIC, sentence

import runnerkit

NAMES = [(path, name) for path in PUBLIC for name in importlib.import_module(path).__all__]


@pytest.mark.parametrize(("path", "name"), NAMES, ids=lambda part: str(part))
def test_every_public_name_is_there_and_explained(path: str, name: str) -> None:
    assert sentence(importlib.import_module(path), name), f"{path}.{name} has no docstring"


def test_every_public_name_has_a_place_in_the_reference() -> None:
    written = PAGE.read_text("utf-8")
    missing = [
        (path, name)
        for path, name in NAMES
        if f"- `{name}`: " not in written.split(f"## {path}\n")[1].split("\n## ")[0]
    ]
    assert not missing, "write it anew: python tests/support/reference.py"


def test_every_module_without_an_underscore_is_in_the_reference() -> None:
    top = {f"runnerkit.{module.name}" for module in pkgutil.iter_modules(runnerkit.__path__)}
    assert {name for name in top if "._" not in name} == {name for name in PUBLIC if name.count(".") == 1}
