"""runnerkit-minari conforms: one test for each check of RunnerKit's kit."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import runnerkit_minari

from runnerkit.testing import Check, PartOptions, parametrize_with_checks

FOLDER = tempfile.TemporaryDirectory()


def in_a_new_folder() -> runnerkit_minari.MinariFormat:
    """A dataset is made once, below the folder that the environment names."""
    os.environ["MINARI_DATASETS_PATH"] = tempfile.mkdtemp(dir=FOLDER.name)
    return runnerkit_minari.MinariFormat()


@pytest.fixture(autouse=True)
def _come_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


@parametrize_with_checks(runnerkit_minari, PartOptions(make={"minari": in_a_new_folder}))
def test_it_conforms(check: Check) -> None:
    check()
