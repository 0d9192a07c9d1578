"""What the documents say that mypy will say of a faulty file is what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from runnerkit import _sentences as sentences

ROOT = Path(__file__).parents[2]
READMES = (
    ROOT / ".docs" / "typing.md",
    ROOT / "plugins" / "README.md",
    ROOT / "plugins" / "runnerkit-mypy" / "README.md",
)

SHOWN = re.compile(r"^```py\n(# (wrong_\w+\.py)\n.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)

CONFIGURATION = """\
[tool.mypy]
strict = true
plugins = ["runnerkit.mypy"]
[tool.runnerkit.mypy]
specs = ["pytest"]
[[tool.mypy.overrides]]
module = "torch.*"  # which they do not need, and mypy is slow to read
follow_imports = "skip"
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
    # Readers need not have runnerkit-ray, whose executor mypy knows here.
    said = [line.replace(", ray,", ",") for line in done.stdout.splitlines() if not line.startswith("Found ")]
    assert sorted(said) == sorted(line for _, _, text in shown for line in text.splitlines()), done.stderr


def test_the_table_of_what_is_said_of_hooks_is_in_the_words_of_the_plugin() -> None:
    text = READMES[2].read_text("utf-8")
    for sentence in (
        sentences.unknown("hook", "confgure", ["configure"], brief=True),
        sentences.unknown_argument("configure", "nam", ["name"]),
        sentences.wrong_argument("configure", "name", "bytes", "str"),
        sentences.default_argument("configure", "name"),
        sentences.keyword_only_argument("configure", "name"),
        sentences.wrong_result("configure", "int", "str"),
        sentences.async_hook("configure"),
        sentences.wrapper_without_yield("configure"),
        sentences.no_wrapper("executors"),
    ):
        assert f"`{sentence}`" in text
