"""The documentation site is built without a warning, and its reference has every public name."""

from __future__ import annotations

import html
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reference import PUBLIC

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ".docs/site/mkdocs.yml", "-d", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_has_the_pages_of_the_repository(site: Path) -> None:
    for page in ("", "tutorial", "how-to/ppo", "executors", "plugins", "plugins/runnerkit-arrow", "CHANGELOG"):
        assert (site / page / "index.html").exists(), page
    assert "class ActorCritic" in _words(site / "how-to" / "ppo" / "index.html")


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_explains_every_public_name(site: Path, module: str) -> None:
    page = (site / "reference" / module / "index.html").read_text("utf-8")
    missing = [name for name in importlib.import_module(module).__all__ if f'id="{module}.{name}' not in page]
    assert not missing


def test_code_in_docstrings_is_shown_as_code(site: Path) -> None:
    text = _words(site / "reference" / "runnerkit" / "index.html")
    assert "runner.rollout(agent, steps=1000)" in text
    assert not re.search(r"::\s*$", text, re.MULTILINE)


def _words(page: Path) -> str:
    """Return the text of a page, without tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", page.read_text("utf-8")))
