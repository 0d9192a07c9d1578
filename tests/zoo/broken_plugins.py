"""Plugins with one fault each: folders with a pyproject.toml, written into a temporary folder."""

from __future__ import annotations

from pathlib import Path

__all__ = ["written"]

_GOOD = """
from runnerkit import Contribution, hookimpl
from runnerkit.processors import Flatten


@hookimpl.action_preprocessors
def action_preprocessors():
    yield Contribution("zoo-flatten", Flatten, "one vector")
"""

_ENTRY_POINTS = """
[project.entry-points.runnerkit]
{name} = "{name}"

[project.entry-points."runnerkit.action_preprocessors"]
zoo-flatten = "runnerkit.processors:Flatten"
"""

_MODULES = {
    "good": _GOOD,
    "fails_to_import": "import numpyy\n",
    "has_no_hook": "from runnerkit.processors import Flatten\n",
    "misspells_a_hook": _GOOD.replace("def action_preprocessors", "def action_preprocesors").replace(
        "@hookimpl.action_preprocessors", "@hookimpl"
    ),
    "offers_nothing": _GOOD.replace('yield Contribution("zoo-flatten", Flatten, "one vector")', "return []"),
    "has_a_bad_name": _GOOD.replace("zoo-flatten", "ZooFlatten"),
    "has_no_summary": _GOOD.replace("Flatten, ", "lambda: Flatten(), ").replace(', "one vector"', ""),
    "offers_another_part": _GOOD.replace("Flatten, ", "lambda: Flatten(), "),
    "has_a_wrong_default": _GOOD.replace("Flatten, ", "Mine, ")
    + "\n\nclass Mine(Flatten):\n    def __init__(self, k: int = 1.5) -> None:\n        self.k = k\n",
    "takes_long": "import time\nend = time.process_time() + 0.9\nwhile time.process_time() < end:\n    pass\n" + _GOOD,
    "has_no_marker": _GOOD,
    "has_no_entry_point": _GOOD,
    "points_nowhere": _GOOD,
    "offers_an_instance": _GOOD.replace("Flatten, ", "Flatten(), "),
}


def written(fault: str, folder: Path) -> Path:
    """Write the plugin with a fault into a folder, and return its own folder."""
    name = f"zoo_{fault}"
    package = folder / name / "src" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_MODULES[fault])
    if fault != "has_no_marker":
        (package / "py.typed").touch()
    points = _ENTRY_POINTS.format(name=name)
    if fault == "has_a_bad_name":
        points = points.replace("zoo-flatten", "ZooFlatten")
    if fault == "points_nowhere":
        points = points.replace(":Flatten", ":Flaten")
    if fault in ("has_a_wrong_default", "has_no_summary"):
        points = points.partition('[project.entry-points."runnerkit.')[0]
    if fault in ("has_no_entry_point", "offers_nothing"):
        points = points.partition('[project.entry-points."runnerkit.')[0]
    if fault == "has_no_entry_point":
        points = ""
    project = f'[project]\nname = "zoo-{fault.replace("_", "-")}"\nversion = "0.1"\n'
    (folder / name / "pyproject.toml").write_text(project + points)
    return folder / name
