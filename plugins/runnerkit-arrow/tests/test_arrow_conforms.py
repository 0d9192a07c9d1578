"""runnerkit-arrow conforms: one test for each check of RunnerKit's kit."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import runnerkit_arrow

from runnerkit.testing import Check, PartOptions, parametrize_with_checks

FOLDER = tempfile.TemporaryDirectory()


def in_a_new_folder() -> runnerkit_arrow.ArrowFormat:
    """A stream is made once, in the current folder."""
    os.chdir(tempfile.mkdtemp(dir=FOLDER.name))
    return runnerkit_arrow.ArrowFormat()


@pytest.fixture(autouse=True)
def _come_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@parametrize_with_checks(runnerkit_arrow, PartOptions(make={"arrow": in_a_new_folder}))
def test_it_conforms(check: Check) -> None:
    check()
