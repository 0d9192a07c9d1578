"""Installs plugins that nobody asks for, as pip would leave them: to see that they cost nothing to those who do not.

For example::

    install(tmp_path, 50)           # then run Python with PYTHONPATH=tmp_path
    python tests/support/dummy_plugins.py FOLDER 50
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["install", "put"]

SLOW = "import time\n\ntime.sleep(3)\n"
FORMAT = '''"""A plugin."""

from runnerkit.history import ArrayFormat


class Format(ArrayFormat):
    """The arrays, once more."""
'''


def put(
    folder: Path,
    distribution: str,
    entry_points: dict[str, dict[str, str]],
    modules: dict[str, str],
    *,
    version: str = "1.0",
    requires: tuple[str, ...] = ("runnerkit",),
) -> None:
    """Write a distribution: its modules, as {name: source}, and its metadata."""
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    readme = "\n".join(["What it does, at length."] * 200)
    head = f"Metadata-Version: 2.4\nName: {distribution}\nVersion: {version}\n{needs}"
    (info / "METADATA").write_text(f"{head}\n{readme}")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
        for group, names in entry_points.items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))


def install(folder: Path, number: int) -> None:
    """Install plugins dummy-0, dummy-1, ... of which each declares a history format of its name.

    The import of each takes 3 seconds, but for the first one's.
    """
    for i in range(number):
        group = {"runnerkit.history_formats": {f"dummy-{i}": f"rk_dummy_{i}:Format"}}
        put(folder, f"rk-dummy-{i}", group, {f"rk_dummy_{i}": (SLOW if i else "") + FORMAT})


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    install(Path(sys.argv[1]), int(sys.argv[2]))
