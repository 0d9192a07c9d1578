"""How the mypy plugin gets on with mypy: its cache, its daemon, its workers, and several projects at once.

What it says of hook implementations is in typing/plugin/test_hookimpls.yml.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIG = """\
[tool.mypy]
plugins = ["runnerkit_mypy"]
[tool.runnerkit.mypy]
specs = ["project.specs", "project.classes:Specs", "more.specs"]
"""
MARKS = """\
import pluggy
hookspec = pluggy.HookspecMarker("project")
hookimpl = pluggy.HookimplMarker("project")
"""
SPECS = """\
from project import hookspec
@hookspec
def configure(name: str) -> None: ...
"""
CLASSES = """\
from project import hookspec
class Specs:
    @hookspec
    def on_reset(self, name: str) -> None: ...
"""
MORE = """\
from project import hookspec
@hookspec
def more_of_it(name: str) -> None: ...
"""
PLUGIN = """\
from project import hookimpl
@hookimpl
def configure(name: str) -> None: ...
@hookimpl(tryfirst=True)
def on_reset(name: str) -> None: ...
@hookimpl
def more_of_it(name: str) -> None: ...
"""
FILES = {
    "pyproject.toml": CONFIG,
    "project/__init__.py": MARKS,
    "project/specs.py": SPECS,
    "project/classes.py": CLASSES,
    "more/__init__.py": "",
    "more/specs.py": MORE,
    "plugin.py": PLUGIN,
}
# Functions that are hooks by their names; `Name` is of another module, and the import comes late.
BY_NAME = """\
def configure(nam: str) -> None: ...
class Plugin:
    def on_reset(self, name: 'helper.Name') -> None: ...
import helper
"""
HELPER = "class Name: ...\n"
PREFIXES = 'prefixes = ["conf", "on_"]\n'
SAID_BY_NAME = [
    "byname.py:1: error: Hook 'configure' has no argument 'nam'. Did you mean 'name'? Known: name.  [hookimpl]",
    "byname.py:3: error: Argument 'name' of hook 'on_reset' is str, which Name does not take. Annotate it as str.  "
    "[hookimpl]",
]
NAMED_OTHERWISE = "Hook '{}' has no argument 'name'. Did you mean 'nam'? Known: nam.  [hookimpl]"


class Project:
    """A small project, and a plugin of it."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache
        self._clock = 0
        for path, text in FILES.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        """Write a file, each time at another second: the daemon looks at no smaller ones."""
        self._clock += 1
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        os.utime(file, (1_700_000_000 + self._clock, 1_700_000_000 + self._clock))

    def edit(self, path: str, old: str, new: str) -> None:
        assert old in FILES[path]
        self.write(path, FILES[path].replace(old, new))

    def revert(self, path: str) -> None:
        self.write(path, FILES[path])

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={**os.environ, "MYPY_CACHE_DIR": str(self.cache)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,  # rather than for ever, should the daemon be gone
        )
        return done.stdout + done.stderr

    def mypy(self, *options: str) -> list[str]:
        """Return what mypy complains of."""
        return _errors(self.run("mypy", *options, "plugin.py", "project", "more"))


def _errors(output: str) -> list[str]:
    return [line for line in output.splitlines() if not line.startswith(("Success", "Found", "Daemon", "Restarting"))]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy_cache")


@pytest.fixture
def project(tmp_path: Path, cache: Path) -> Project:
    return Project(tmp_path, cache)


@pytest.fixture
def daemon(project: Project) -> Iterator[Project]:
    yield project
    project.run("mypy.dmypy", "stop")


# An edit of each of the three specifications, and what it makes of the plugin, which stays as it is.
EDITS = [
    ("project/specs.py", "configure(name", "configure(nam", 3, NAMED_OTHERWISE.format("configure")),
    ("project/classes.py", "self, name", "self, nam", 5, NAMED_OTHERWISE.format("on_reset")),
    ("more/specs.py", "more_of_it(name", "more_of_it(nam", 7, NAMED_OTHERWISE.format("more_of_it")),
    (
        "project/classes.py",
        "def on_reset",
        "def on_rest",
        5,
        "No hook is called 'on_reset'. Did you mean 'on_rest'? If it is specified elsewhere, add that module to specs "
        "in pyproject.toml.  [hookimpl]",
    ),
    (
        "project/specs.py",
        "name: str",
        "name: bytes",
        3,
        "Argument 'name' of hook 'configure' is bytes, which str does not take. Annotate it as bytes.  [hookimpl]",
    ),
]


@pytest.mark.parametrize("options", [(), ("--no-sqlite-cache",), ("--no-fixed-format-cache",)], ids=lambda o: o[:1])
def test_an_edited_specification_is_seen_though_the_plugin_is_in_the_cache(
    project: Project, tmp_path: Path, options: tuple[str, ...]
) -> None:
    if options:
        project.cache = tmp_path / "cache"
    assert project.mypy(*options) == []
    for path, old, new, line, sentence in EDITS if not options else EDITS[1:2]:
        project.edit(path, old, new)
        expected = [f"plugin.py:{line}: error: {sentence}"]
        assert project.mypy(*options) == expected
        assert project.mypy(*options) == expected, "and again, from the cache"
        project.revert(path)
        assert project.mypy(*options) == []


def test_the_daemon_sees_each_edit(daemon: Project) -> None:
    def check() -> list[str]:
        return _errors(daemon.run("mypy.dmypy", "run", "--", "plugin.py", "project", "more"))

    assert check() == []
    for path, old, new, line, sentence in EDITS:
        daemon.edit(path, old, new)
        assert check() == [f"plugin.py:{line}: error: {sentence}"]
        daemon.revert(path)
        assert check() == []


def test_the_daemon_begins_anew_when_the_configuration_changes(daemon: Project) -> None:
    def check() -> str:
        return daemon.run("mypy.dmypy", "run", "--", "plugin.py", "project", "more")

    assert "Success" in check()
    daemon.edit("pyproject.toml", ', "more.specs"', "")
    assert "No hook is called 'more_of_it'" in check()
    daemon.edit("pyproject.toml", "specs =", "spec =")
    assert "pyproject.toml: error: [tool.runnerkit.mypy] has no key 'spec'. Did you mean 'specs'?" in check()
    daemon.revert("pyproject.toml")
    assert "Success" in check()


def test_workers_find_the_same(project: Project) -> None:
    for path, old, new, _, _ in EDITS[:3]:
        project.edit(path, old, new)
    expected = [f"plugin.py:{line}: error: {sentence}" for _, _, _, line, sentence in EDITS[:3]]
    assert project.mypy("-n", "2") == expected
    assert project.mypy("-n", "2") == expected
    assert project.mypy("--native-parser") == expected


def test_a_wrong_configuration_is_one_clear_error(project: Project) -> None:
    assert project.mypy() == []
    project.edit("pyproject.toml", "specs =", "spec =")
    expected = [
        "pyproject.toml: error: [tool.runnerkit.mypy] has no key 'spec'. Did you mean 'specs'? "
        "Known: markers, names, prefixes, specs."
    ]
    assert project.mypy() == expected
    assert project.mypy("-n", "2") == expected


def test_a_changed_configuration_is_seen_though_all_is_in_the_cache(project: Project, tmp_path: Path) -> None:
    project.cache = tmp_path / "cache"
    assert project.mypy() == []
    project.edit("pyproject.toml", ', "more.specs"', "")
    assert [line.partition(".")[0] for line in project.mypy()] == ["plugin"]
    project.revert("pyproject.toml")
    assert project.mypy() == []


def test_specifications_are_read_for_files_that_import_the_project_only(project: Project) -> None:
    project.write("alone.py", "import json\n")
    assert "project/specs.py" not in project.run("mypy", "-v", "alone.py")
    project.write("alone.py", "import project\n")
    assert "project/specs.py" in project.run("mypy", "-v", "alone.py")


def test_the_order_of_modules_stays_that_of_their_imports(
    project: Project,
) -> None:
    project.write("project/__init__.py", "")
    project.write("project/marks.py", MARKS)
    for path in ("project/specs.py", "project/classes.py", "more/specs.py", "plugin.py"):
        project.write(path, FILES[path].replace("from project import", "from project.marks import"))
    assert project.mypy() == []


def test_the_error_code_can_be_switched_off(project: Project) -> None:
    path, old, new, _, _ = EDITS[0]
    project.edit(path, old, new)
    assert project.mypy("--disable-error-code", "hookimpl") == []
    assert len(project.mypy()) == 1


@pytest.fixture
def by_name(project: Project) -> Project:
    project.write("pyproject.toml", CONFIG + PREFIXES)
    project.write("byname.py", BY_NAME)
    project.write("helper.py", HELPER)
    return project


def test_functions_that_are_hooks_by_name_are_checked_whatever_has_changed(by_name: Project) -> None:
    def check() -> list[str]:
        return _errors(by_name.run("mypy", "byname.py", "project"))

    assert check() == SAID_BY_NAME
    assert check() == SAID_BY_NAME, "and again, from the cache"
    by_name.write("helper.py", "class Name(str): ...\n")  # the file itself is in the cache
    assert check() == SAID_BY_NAME
    by_name.write("helper.py", "Name = object\n")
    assert check() == SAID_BY_NAME[:1]
    by_name.edit("project/specs.py", "configure(name", "configure(nam")
    assert check() == []


def test_the_daemon_checks_functions_that_are_hooks_by_name(by_name: Project, daemon: Project) -> None:
    def check() -> list[str]:
        return _errors(by_name.run("mypy.dmypy", "run", "--", "byname.py", "project"))

    assert check() == SAID_BY_NAME
    assert check() == SAID_BY_NAME
    by_name.edit("project/specs.py", "configure(name", "configure(nam")
    assert check() == SAID_BY_NAME[1:]
    by_name.write("helper.py", "Name = object\n")
    assert check() == []
    by_name.write("byname.py", BY_NAME.replace("nam:", "nme:"))
    assert [line.partition(" Did")[0] for line in check()] == [
        "byname.py:1: error: Hook 'configure' has no argument 'nme'."
    ]


def test_workers_do_not_see_functions_that_are_hooks_by_name(by_name: Project) -> None:
    assert _errors(by_name.run("mypy", "-n", "2", "byname.py", "project")) == []  # the README says so
