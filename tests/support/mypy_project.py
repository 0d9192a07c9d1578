"""Folders of Python that mypy checks with the plugin, with packages that are installed as far as mypy can tell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_MESSAGE = re.compile(r"(?P<file>[^:]+)\.py:(?P<line>\d+): (?P<severity>error|note): (?P<text>.*)")

CONFIG = """
[tool.mypy]
strict = true
plugins = ["runnerkit.mypy"]

[[tool.mypy.overrides]]
module = [{skipped}]
follow_imports = "skip"
"""

STAND_INS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "runnerkit-atari": {"runnerkit.env_factories": {"atari": "x:y"}},
    "runnerkit-minari": {"runnerkit.history_formats": {"minari": "x:y"}},
}
"""Packages with their entry points that mypy finds instead of those installed where the tests run."""


class Project:
    """A folder to check. What is not needed of other packages is `skipped`, since mypy is slow to read it::

    project = Project(tmp_path, skipped=("torch.*",))
    project.install("runnerkit-arrow", {"runnerkit.history_formats": {"arrow": "third_arrow:ARROW"}})
    project.write("case", 'runnerkit.make("CartPole-v1", history="arow")')
    project.check()["case"] == ["1: No history format is called 'arow'. ...  [runnerkit-name]"]
    """

    def __init__(self, root: Path, skipped: tuple[str, ...]) -> None:
        self.site = root / "site"
        self.code = root / "code"
        self._cache = root / "cache"
        for folder in (self.site, self.code):
            folder.mkdir(parents=True)
        self.configure(skipped)
        for name, points in STAND_INS.items():
            self.install(name, points)

    def configure(self, skipped: tuple[str, ...], more: str = "") -> None:
        listed = ", ".join(f'"{module}"' for module in skipped)
        (self.code / "pyproject.toml").write_text(CONFIG.format(skipped=listed) + more)

    def install(self, name: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
        """Leave a package's metadata, as pip does."""
        install(self.site, name, entry_points)

    def write(self, module: str, source: str) -> None:
        (self.code / f"{module}.py").write_text(source)

    def write_installed(self, module: str, source: str) -> None:
        """Write a typed package into what stands for site-packages."""
        package = self.site / module
        package.mkdir(exist_ok=True)
        (package / "py.typed").touch()
        (package / "__init__.py").write_text(source)

    def check(self) -> dict[str, list[str]]:
        """Run mypy; return the messages by module, each as `line: text  [code]`, notes as `line: note: text`."""
        command = [sys.executable, "-P", "-m", "mypy", "--no-error-summary", "--cache-dir", str(self._cache), "."]
        environment = {**os.environ, "MYPYPATH": str(self.site)}
        done = subprocess.run(
            command, cwd=self.code, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        assert not done.stderr, done.stderr
        messages: dict[str, list[str]] = {path.stem: [] for path in self.code.glob("*.py")}
        for line in done.stdout.splitlines():
            match = _MESSAGE.fullmatch(line)
            assert match, done.stdout
            severity = "note: " if match["severity"] == "note" else ""
            messages.setdefault(match["file"], []).append(f"{match['line']}: {severity}{match['text']}")
        return messages


def install(site: Path, name: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """Leave a package's metadata in a folder, as pip does."""
    folder = site / f"{name.replace('-', '_')}-1.0.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    sections = (
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in entry_points.items()
    )
    (folder / "entry_points.txt").write_text("\n".join(sections))
