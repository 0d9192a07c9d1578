"""What is right passes mypy with the plugin: what the documents show, the packages in plugins/, and the type tests."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from mypy_project import Project

ROOT = Path(__file__).parents[1]
SKIPPED = ("torch.*", "ale_py.*", "cv2.*", "h5py.*", "minari.*", "PIL.*", "pyarrow.*")


def snippets(readme: Path) -> list[str]:
    found: list[str] = re.findall(r"^```python\n(.*?)^```$", readme.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return found


def entry_points(readme: Path) -> Iterator[dict[str, dict[str, str]]]:
    for code in re.findall(r"^```toml\n(.*?)^```$", readme.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        points = tomllib.loads(code).get("project", {}).get("entry-points")
        if points:
            yield points


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("correct"), SKIPPED)
    project.configure(SKIPPED)
    for i, points in enumerate(entry_points(ROOT / "plugins" / "README.md")):
        project.install(f"runnerkit-readme-{i}", points)
    for i, code in enumerate(snippets(ROOT / "plugins" / "README.md")):
        named = re.match(r"# (runnerkit_\w+)\.py\n", code)
        project.write(named[1] if named else f"snippet_{i}", code)
    for path in [ROOT / "README.md", *ROOT.glob(".docs/*.md")]:
        plain = [code for code in snippets(path) if "async def" not in code]  # Gymnasium's methods are typed as plain
        project.write(f"page_{path.stem.lower()}".replace("-", "_"), "\n".join(plain))
    for path in (ROOT / "tests" / "typing" / "pass").glob("*.py"):
        if path.stem != "torch_policy":  # which is about torch, and what is skipped has no types
            project.write(path.stem, path.read_text("utf-8"))
    for source in ROOT.glob("plugins/*/src/runnerkit_*"):
        if importlib.util.find_spec(source.name) is None:
            continue  # without it, what it depends on is hardly installed either
        (project.code / source.name).symlink_to(source)
    return project


def test_nothing_is_said_of_correct_code(project: Project) -> None:
    messages = project.check()
    assert len(messages) > 10
    assert not {module: said for module, said in messages.items() if said}
