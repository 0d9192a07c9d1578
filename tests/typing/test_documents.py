"""What the READMEs say that mypy will say of a faulty file is what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
READMES = (ROOT / "README.md", ROOT / "plugins" / "README.md")

SHOWN = re.compile(r"^```py\n(# (wrong_\w+\.py)\n.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)

CONFIGURATION = """\
[tool.mypy]
strict = true
plugins = ["runnerkit.mypy"]
[tool.runnerkit.mypy]
specs = ["_pytest.hookspec"]
"""


def test_mypy_says_what_the_readmes_say_that_it_says(tmp_path: Path) -> None:
    shown = [found for readme in READMES for found in SHOWN.findall(readme.read_text("utf-8"))]
    assert len(shown) == sum(readme.read_text("utf-8").count("```py\n") for readme in READMES) == 3
    for code, name, _ in shown:
        (tmp_path / name).write_text(code, "utf-8")
    (tmp_path / "pyproject.toml").write_text(CONFIGURATION, "utf-8")
    names = [name for _, name, _ in shown]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache" / "documents"), *names],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if not line.startswith("Found ")]
    assert sorted(said) == sorted(line for _, _, text in shown for line in text.splitlines()), done.stderr
